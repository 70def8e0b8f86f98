//! Long work in pieces: while somebody may ask for an end ([`Context::heed`]), no submission is to take much longer than [`PIECE`].
//! Windows of rows are cut by how fast their kernel has been on this device; each piece is waited for, and then the request is
//! looked at. What a workgroup computes does not depend on the window that it is in, so neither do results.

use std::ops::Range;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::bound::Dispatch;
use super::buffer::Readback;
use super::compiled::Compiled;
use super::context::lock;
use super::kernel::Params;
use super::record::{encode, encode_dispatches, send as submit};
use super::{Bound, Buffer, Context, Kernel};
use crate::Result;

/// How long a piece is to take: little beside half a second, in which an end has to come, and much beside a submission.
pub(crate) const PIECE: Duration = Duration::from_millis(100);

/// Operations or bytes a second that no device is below, by which a kernel is cut that was not measured yet.
const LEAST: f64 = 1e9;

/// How many operations (or bytes, where those are more) of a kernel its device does in a second, as far as that is known.
#[derive(Debug, Default)]
pub(super) struct Pace(Mutex<Option<f64>>);

impl Pace {
    fn get(&self) -> f64 {
        lock(&self.0).unwrap_or(LEAST)
    }

    /// It took `seconds` where `expected` were expected. It falls at once and grows twofold at most: a kernel that had nothing to
    /// do, since its loop had ended, is no faster for that.
    fn learn(&self, expected: f64, seconds: f64) {
        if expected > 0.0 {
            *lock(&self.0).get_or_insert(LEAST) *= (expected / seconds.max(1e-9)).min(2.0);
        }
    }
}

impl Bound {
    fn amount(&self) -> f64 {
        self.work.ops.max(self.work.bytes) as f64
    }

    /// Seconds that so many of its rows are expected to take.
    fn seconds(&self, rows: u64) -> f64 {
        self.amount() * rows as f64 / self.rows().max(1) as f64 / self.kernel.pace.get()
    }
}

impl Context {
    /// How many operations of a kernel whose rows cannot be cut are a piece, out of `all`: what works on more has to be bound for
    /// fewer rows. `trial` binds some, which are run to see, unless it is known how fast the kernel is. All of them while nobody may
    /// ask for an end.
    pub(crate) fn ops_of_a_piece<P: Params>(
        &self,
        kernel: &Kernel<P>,
        all: u64,
        trial: impl FnOnce() -> Result<Bound>,
    ) -> Result<u64> {
        let most = PIECE.as_secs_f64();
        if !self.is_heeding() || all as f64 <= LEAST * most {
            return Ok(u64::MAX);
        }
        let pace = &kernel.compiled().pace;
        if lock(&pace.0).is_none() {
            let trial = trial()?;
            let run = || {
                let commands = encode(self, &[&[&trial]], None, &[])?;
                let begun = Instant::now();
                self.wait_for(Some(submit(self, commands)?))?;
                Ok::<_, crate::Error>(begun.elapsed().as_secs_f64())
            };
            // The first one may wait for more than the kernel.
            run()?;
            let seconds = run()?;
            *lock(&pace.0) = Some(trial.amount() / seconds.max(1e-9));
        }
        Ok((pace.get() * most) as u64)
    }
}

/// What is to be submitted together.
#[derive(Default)]
struct Piece<'a> {
    dispatches: Vec<(&'a Bound, Dispatch)>,
    /// That it is expected to take.
    seconds: f64,
}

impl<'a> Piece<'a> {
    fn push(&mut self, bound: &'a Bound, dispatch: Dispatch, rows: u64) {
        self.seconds += bound.seconds(rows);
        self.dispatches.push((bound, dispatch));
    }

    fn submit(&self, gpu: &Context, reads: &[(&Buffer, &Readback)]) -> Result<wgpu::SubmissionIndex> {
        let dispatches = self.dispatches.iter().map(|(bound, dispatch)| (*bound, dispatch)).collect();
        submit(gpu, encode_dispatches(gpu, &[dispatches], None, reads)?)
    }

    /// Runs it to its end, from which more is known of its kernels.
    fn run(self, gpu: &Context) -> Result<()> {
        let begun = Instant::now();
        gpu.wait_for(Some(self.submit(gpu, &[])?))?;
        let seconds = begun.elapsed().as_secs_f64();
        let mut kernels: Vec<&Compiled> = Vec::new();
        for (bound, _) in &self.dispatches {
            if !kernels.iter().any(|kernel| std::ptr::eq(*kernel, &*bound.kernel)) {
                kernels.push(&bound.kernel);
            }
        }
        kernels.into_iter().for_each(|kernel| kernel.pace.learn(self.seconds, seconds));
        Ok(())
    }
}

/// Sends these passes to the device in their order, and copies behind them: one submission, or the last of several.
///
/// # Errors
/// [`Error::Interrupted`](crate::Error::Interrupted) between two of several; the device's.
pub(super) fn send(
    gpu: &Context,
    steps: &[&Bound],
    reads: &[(&Buffer, &Readback)],
) -> Result<wgpu::SubmissionIndex> {
    if !gpu.is_heeding() {
        return submit(gpu, encode(gpu, &[steps], None, reads)?);
    }
    gpu.go_on(|| "before the device computed".into())?;
    let most = PIECE.as_secs_f64();
    let mut piece = Piece::default();
    for bound in steps {
        let unit = bound.unit().unwrap_or(u64::MAX);
        for (&(first, count), whole) in bound.windows.iter().zip(&bound.dispatches) {
            let largest =
                gpu.cut.map_or(u64::MAX, |cut| (count / cut.max(1) / unit).max(1).saturating_mul(unit));
            let mut left: Range<u64> = first..first + count;
            loop {
                let rows = left.end - left.start;
                let (seconds, room) = (bound.seconds(rows), most - piece.seconds);
                if (seconds <= room && rows <= largest) || (piece.dispatches.is_empty() && rows <= unit) {
                    let dispatch =
                        if rows == count { whole.clone() } else { bound.window(gpu, left.start, rows)? };
                    piece.push(bound, dispatch, rows);
                    break;
                }
                let fit = ((rows as f64 * room.max(0.0) / seconds) as u64).min(largest) / unit * unit;
                let fit = if piece.dispatches.is_empty() { fit.max(unit) } else { fit };
                if fit > 0 {
                    piece.push(bound, bound.window(gpu, left.start, fit)?, fit);
                    left.start += fit;
                }
                std::mem::take(&mut piece).run(gpu)?;
                gpu.go_on(|| "while the device computed".into())?;
            }
        }
    }
    piece.submit(gpu, reads)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_falls_at_once_and_grows_twofold_at_most() {
        let pace = Pace::default();
        pace.learn(0.1, 0.001);
        assert_eq!(pace.get(), 2.0 * LEAST);
        pace.learn(0.1, 0.08);
        assert_eq!(pace.get(), 2.5 * LEAST);
        pace.learn(0.1, 1.0);
        assert!((pace.get() - 0.25 * LEAST).abs() < 1.0);
        pace.learn(0.0, 0.0);
        assert!(pace.get() > 0.0);
    }
}
