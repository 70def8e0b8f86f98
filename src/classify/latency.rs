//! How fast an engine answers: one example at a time, as a control loop asks, and in batches.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::engine::Engine;
use crate::gpu::{Bound, Context, Timing, time};
use crate::network::quantize::{Quantized, quantize};
use crate::network::{Network, Op};
use crate::percentile::{percentile, sorted};
use crate::{Error, Result};

/// Runs before the first that counts.
const WARM_UP: usize = 200;
/// Least runs: of fewer there is no p99.9.
pub const LEAST_RUNS: usize = 1000;
/// What a loop of 1 kHz has for an answer, in microseconds.
pub const DEADLINE_US: f64 = 1000.0;

/// The times from an example on the host to its answer on the host: upload, every pass, read-back, wait. Each run is one
/// call of [`Engine::run`], by the wall clock.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Latency {
    /// Runs, after a warm-up.
    pub runs: usize,
    /// Median, in microseconds.
    pub p50_us: f64,
    /// Of 99 % of the runs, in microseconds.
    pub p99_us: f64,
    /// Of 99.9 % of the runs, in microseconds.
    pub p999_us: f64,
    /// The longest, in microseconds.
    pub max_us: f64,
    /// Runs that took longer than [`DEADLINE_US`]: cycles that a loop of 1 kHz would have missed.
    pub missed: usize,
}

/// How many times there were of each length, in whole microseconds: as many as come, in the same memory.
#[derive(Clone, Debug)]
pub struct Times {
    /// Of times below [`Times::RESOLVED`], by the microsecond.
    counts: Vec<u64>,
    all: u64,
    missed: u64,
    longest_us: f64,
}

impl Default for Times {
    fn default() -> Self {
        Self { counts: vec![0; Self::RESOLVED], all: 0, missed: 0, longest_us: 0.0 }
    }
}

impl Times {
    /// Microseconds from which on times are told apart no more: a percentile there is the longest time.
    const RESOLVED: usize = 100_000;

    /// Adds a time in microseconds.
    pub fn add(&mut self, us: f64) {
        if let Some(count) = self.counts.get_mut(us.ceil() as usize) {
            *count += 1;
        }
        self.all += 1;
        self.missed += u64::from(us > DEADLINE_US);
        self.longest_us = self.longest_us.max(us);
    }

    /// The least time that this share of all does not exceed, rounded up; 0 where there is none.
    pub fn percentile(&self, share: f64) -> f64 {
        let rank = ((share * self.all as f64).ceil() as u64).max(1);
        let mut seen = 0;
        let found = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        found.map_or(self.longest_us, |us| (us as f64).min(self.longest_us))
    }

    /// How many were longer than [`DEADLINE_US`].
    pub fn missed(&self) -> u64 {
        self.missed
    }
}

impl Latency {
    /// Of times in microseconds. A percentile is the least time that so many do not exceed.
    fn of(times: Vec<f64>) -> Self {
        let times = sorted(times);
        let at = |share| percentile(&times, share).unwrap_or_default();
        Self {
            runs: times.len(),
            p50_us: at(0.5),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: at(1.0),
            missed: times.iter().filter(|&&us| us > DEADLINE_US).count(),
        }
    }
}

/// Times `runs` answers to `example`.
///
/// # Errors
/// [`Error::Input`] for fewer than [`LEAST_RUNS`]; those of [`Engine::run`].
pub fn latency(gpu: &Context, engine: &Engine, example: &[f32], runs: usize) -> Result<Latency> {
    if runs < LEAST_RUNS {
        return Err(Error::Input(format!("{runs} runs are too few for a p99.9: it takes {LEAST_RUNS}")));
    }
    for _ in 0..WARM_UP {
        engine.run(gpu, example)?;
    }
    let mut times = Vec::with_capacity(runs);
    for _ in 0..runs {
        let begun = Instant::now();
        engine.run(gpu, example)?;
        times.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    Ok(Latency::of(times))
}

/// Times a batch on the device: every pass, without upload and read-back. The same buffers serve every run, so that a
/// batch which fits into a cache is timed from there.
///
/// # Errors
/// The device's.
pub fn batch(gpu: &Context, engine: &Engine, budget: Duration) -> Result<Timing> {
    let passes: Vec<&Bound> = engine.passes().iter().collect();
    if passes.is_empty() {
        return Err(Error::Input("the network computes nothing".into()));
    }
    time(gpu, &[passes], budget)
}

/// `network` in integers by scales that are made up: as fast as by calibrated ones, and no good for anything else.
pub fn made_up(network: &Network) -> Quantized {
    quantize(network, |_| Some(4.0 / 127.0), |_| true)
}

/// Whether some of it runs on integers.
pub fn has_integers(network: &Network) -> bool {
    network.layers.iter().any(|layer| matches!(layer.op, Op::Integer(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_occurred() {
        let times = (1..=1000).rev().map(f64::from).chain([5000.0; 10]).collect();
        let found = Latency::of(times);
        assert_eq!((found.runs, found.p50_us, found.p99_us), (1010, 505.0, 1000.0));
        assert_eq!((found.p999_us, found.max_us, found.missed), (5000.0, 5000.0, 10));
    }

    #[test]
    fn times_in_fixed_memory_have_the_same_percentiles() {
        let mut times = Times::default();
        assert_eq!(times.percentile(0.99), 0.0);
        (1..=1000).rev().map(f64::from).chain([5000.0, 2e6]).for_each(|us| times.add(us));
        assert_eq!((times.percentile(0.5), times.percentile(0.99), times.missed()), (501.0, 992.0, 2));
        assert_eq!((times.percentile(0.999), times.percentile(1.0)), (5000.0, 2e6));
    }
}
