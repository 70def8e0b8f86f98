//! How long passes take: warmed up, repeated, over rotating buffers, by GPU timestamps checked against the wall clock.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::record::{self, Stamps};
use super::{Bound, Context, Work};
use crate::Result;
use crate::percentile::{percentile, sorted};

/// The time of one run, from repeated samples.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Timing {
    /// Median, in microseconds.
    pub us: f64,
    /// 10th percentile, in microseconds.
    pub low_us: f64,
    /// 90th percentile, in microseconds.
    pub high_us: f64,
    /// Number of samples.
    pub samples: usize,
    /// Whether the GPU's own clock was used.
    pub timestamps: bool,
}

impl Timing {
    /// Base-10 gigabytes per second for `work` done in the median time.
    pub fn gb_s(&self, work: Work) -> f64 {
        work.bytes as f64 / self.us / 1e3
    }

    /// Billions of operations per second for `work` done in the median time.
    pub fn gop_s(&self, work: Work) -> f64 {
        work.ops as f64 / self.us / 1e3
    }
}

/// A sample should take at least this long, so that clock resolution and launch cost do not show.
const SAMPLE: Duration = Duration::from_millis(2);
/// Most runs in a sample.
const MOST_REPEATS: usize = 256;

/// Times one run: `runs[0]`, `runs[1]`, … are the same work on different buffers, taken in turn so that caches do not
/// serve it. Takes about `budget` in all, and at least 5 samples.
pub fn time(gpu: &Context, runs: &[Vec<&Bound>], budget: Duration) -> Result<Timing> {
    if runs.is_empty() {
        return Err(crate::Error::Input("there is nothing to time".into()));
    }
    let mut turn = 0;
    // Warm-up: every run once, which also pages its buffers in; then one sample to learn the duration from.
    for _ in 0..runs.len() {
        sample(gpu, runs, &mut turn, 1)?;
    }
    let (once, _) = sample(gpu, runs, &mut turn, 1)?;
    let repeats = ((SAMPLE.as_secs_f64() * 1e6 / once).ceil() as usize).clamp(1, MOST_REPEATS);
    let begun = Instant::now();
    let mut times = Vec::new();
    let mut timestamps = gpu.adapter.timestamps;
    while times.len() < 5 || (begun.elapsed() < budget && times.len() < 1000) {
        let (us, stamped) = sample(gpu, runs, &mut turn, repeats)?;
        timestamps &= stamped;
        times.push(us);
    }
    let times = sorted(times);
    let at = |share| percentile(&times, share).unwrap_or_default();
    Ok(Timing { us: at(0.5), low_us: at(0.1), high_us: at(0.9), samples: times.len(), timestamps })
}

/// Microseconds for one run, as the mean of `repeats` of them in one pass, and whether the GPU's clock said so.
fn sample(gpu: &Context, runs: &[Vec<&Bound>], turn: &mut usize, repeats: usize) -> Result<(f64, bool)> {
    gpu.go_on(|| "while a kernel was timed".into())?;
    let stamps = if gpu.adapter.timestamps { Some(Stamps::new(gpu, 1)?) } else { None };
    let mut steps: Vec<&Bound> = Vec::new();
    for _ in 0..repeats {
        steps.extend(&runs[*turn % runs.len()]);
        *turn += 1;
    }
    let buffer = record::encode(gpu, &[&steps], stamps.as_ref(), &[])?;
    let begun = Instant::now();
    record::send(gpu, buffer)?;
    gpu.wait()?;
    let wall_us = begun.elapsed().as_secs_f64() * 1e6;
    let (start, stamped) = match &stamps {
        Some(stamps) => stamps.read(gpu)?.first().copied().unwrap_or_default(),
        None => (0.0, 0.0),
    };
    let trusted = record::plausible(stamped, wall_us);
    if let (true, true, Some(first)) = (gpu.profile, trusted, steps.first()) {
        record::keep(gpu, &first.label, steps.iter().map(|step| step.work).sum(), (start, stamped));
    }
    Ok((if trusted { stamped } else { wall_us } / repeats as f64, trusted))
}
