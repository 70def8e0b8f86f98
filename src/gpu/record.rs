//! Many dispatches, one submission; in profile mode, each with its own time.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::bound::Dispatch;
use super::buffer::Readback;
use super::{Bound, Buffer, Context, Work, context::lock, pieces};
use crate::{Error, Result};

/// One pass as it ran, kept in profile mode.
#[derive(Clone, Debug, Serialize)]
pub struct PassRecord {
    /// The kernel's name.
    pub label: String,
    /// Bytes and operations of the pass.
    #[serde(skip)]
    pub work: Work,
    /// Start, in microseconds on the device's clock.
    pub start_us: f64,
    /// Duration, in microseconds.
    pub duration_us: f64,
}

/// Most passes that one set of timestamps covers (wgpu allows 4,096 queries in a set).
const PASSES_PER_SET: usize = 1024;

/// A list of dispatches that goes to the device as one submission.
#[derive(Debug)]
pub struct Recorder<'a> {
    gpu: &'a Context,
    steps: Vec<&'a Bound>,
}

impl<'a> Recorder<'a> {
    /// An empty list.
    pub fn new(gpu: &'a Context) -> Self {
        Self { gpu, steps: Vec::new() }
    }

    /// Sends these passes to the device in their order: one submission.
    ///
    /// # Errors
    /// Those of [`Recorder::submit`].
    pub fn run(gpu: &'a Context, passes: impl IntoIterator<Item = &'a Bound>) -> Result<()> {
        Self { gpu, steps: passes.into_iter().collect() }.submit()
    }

    /// Appends a dispatch. It sees what every earlier one wrote.
    pub fn dispatch(&mut self, bound: &'a Bound) {
        self.steps.push(bound);
    }

    /// Sends everything to the device with copies of the first bytes of buffers, each of which must lie in one part: one
    /// submission. [`Readback::fetch`] waits for them.
    pub fn submit_copies(self, reads: &[(&Buffer, &Readback)]) -> Result<()> {
        let gpu = self.gpu;
        let sent = if gpu.profile {
            self.submit()?;
            send(gpu, encode(gpu, &[&[]], None, reads)?)?
        } else {
            pieces::send(gpu, &self.steps, reads)?
        };
        reads.iter().for_each(|(_, readback)| readback.sent(sent.clone()));
        Ok(())
    }

    /// Sends everything to the device. In profile mode it also waits, and keeps each pass's time.
    pub fn submit(self) -> Result<()> {
        if !self.gpu.profile {
            return pieces::send(self.gpu, &self.steps, &[]).map(drop);
        }
        if !self.gpu.adapter.timestamps {
            for step in &self.steps {
                let buffer = encode(self.gpu, &[&[*step]], None, &[])?;
                let begun = Instant::now();
                send(self.gpu, buffer)?;
                self.gpu.wait()?;
                let start = begun.duration_since(self.gpu.opened);
                keep(self.gpu, &step.label, step.work, (microseconds(start), microseconds(begun.elapsed())));
            }
            return Ok(());
        }
        for steps in self.steps.chunks(PASSES_PER_SET) {
            let passes: Vec<&[&Bound]> = steps.chunks(1).collect();
            let stamps = Stamps::new(self.gpu, passes.len())?;
            let buffer = encode(self.gpu, &passes, Some(&stamps), &[])?;
            let begun = Instant::now();
            send(self.gpu, buffer)?;
            self.gpu.wait()?;
            let wall_us = microseconds(begun.elapsed());
            for (step, (start_us, duration_us)) in steps.iter().zip(stamps.read(self.gpu)?) {
                if plausible(duration_us, wall_us) {
                    keep(self.gpu, &step.label, step.work, (start_us, duration_us));
                } else {
                    // A stamp that runs backwards or past the wall clock is no measurement.
                    self.gpu
                        .notice("some passes had no valid timestamps and are missing from the trace".into());
                }
            }
        }
        Ok(())
    }
}

/// Records `passes`, each a list of dispatches that share a compute pass and its stamps: stamps inside a pass are not
/// reliable.
pub(super) fn encode<'a>(
    gpu: &Context,
    passes: &[&[&'a Bound]],
    stamps: Option<&Stamps>,
    reads: &[(&Buffer, &Readback)],
) -> Result<wgpu::CommandBuffer> {
    let whole = |steps: &&[&'a Bound]| {
        let dispatches = steps.iter().flat_map(|&bound| bound.dispatches.iter().map(move |of| (bound, of)));
        dispatches.collect()
    };
    encode_dispatches(gpu, &passes.iter().map(whole).collect::<Vec<_>>(), stamps, reads)
}

/// The same of single dispatches, each with the kernel that it is of.
pub(super) fn encode_dispatches<'a>(
    gpu: &Context,
    passes: &[Vec<(&'a Bound, &'a Dispatch)>],
    stamps: Option<&Stamps>,
    reads: &[(&Buffer, &Readback)],
) -> Result<wgpu::CommandBuffer> {
    if let Some((foreign, _)) = passes.iter().flatten().find(|(bound, _)| bound.context != gpu.id) {
        let problem = format!("{}: this work is of another context, and not for its device", foreign.label);
        return Err(Error::Input(problem));
    }
    let compiled = |steps: &Vec<(&'a Bound, &'a Dispatch)>| {
        steps.iter().map(|&(bound, dispatch)| Ok((bound.kernel.pipeline(gpu)?, dispatch))).collect()
    };
    let passes: Vec<Vec<(&wgpu::ComputePipeline, &Dispatch)>> =
        passes.iter().map(compiled).collect::<Result<_>>()?;
    gpu.scoped("recording", 0, || {
        let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        for (i, steps) in passes.iter().enumerate() {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                label: None,
                timestamp_writes: stamps.map(|stamps| stamps.of(i)),
            });
            for (pipeline, (group, [x, y, z])) in steps {
                pass.set_pipeline(pipeline);
                pass.set_bind_group(0, group, &[]);
                pass.dispatch_workgroups(*x, *y, *z);
            }
        }
        if let Some(stamps) = stamps {
            stamps.resolve(&mut encoder);
        }
        for (buffer, readback) in reads {
            readback.copy(&mut encoder, buffer);
        }
        encoder.finish()
    })
}

/// Sends what [`encode`] recorded.
pub(super) fn send(gpu: &Context, buffer: wgpu::CommandBuffer) -> Result<wgpu::SubmissionIndex> {
    gpu.scoped("submission", 0, || gpu.queue.submit([buffer]))
}

/// Whether stamps say a time that can be: the GPU cannot have worked longer than we waited for it.
pub(super) fn plausible(stamped_us: f64, wall_us: f64) -> bool {
    stamped_us > 0.0 && stamped_us <= wall_us
}

/// Keeps a pass for [`Context::take_passes`].
pub(super) fn keep(gpu: &Context, label: &str, work: Work, (start_us, duration_us): (f64, f64)) {
    lock(&gpu.passes).push(PassRecord { label: label.to_owned(), work, start_us, duration_us });
}

fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// A start and an end for each of some passes.
pub(super) struct Stamps {
    set: wgpu::QuerySet,
    resolved: super::buffer::Raw,
    passes: usize,
}

impl Stamps {
    pub(super) fn new(gpu: &Context, passes: usize) -> Result<Self> {
        let count = super::to_u32(2 * passes, "timestamps")?;
        let set = gpu.scoped("timestamps", 0, || {
            gpu.device.create_query_set(&wgpu::QuerySetDescriptor {
                label: None,
                ty: wgpu::QueryType::Timestamp,
                count,
            })
        })?;
        let resolved = super::buffer::Raw::new(gpu, "timestamps", 8 * u64::from(count))?;
        Ok(Self { set, resolved, passes })
    }

    pub(super) fn of(&self, pass: usize) -> wgpu::ComputePassTimestampWrites<'_> {
        // `new` has checked that twice the number of passes is a u32.
        let at = 2 * pass as u32;
        wgpu::ComputePassTimestampWrites {
            query_set: &self.set,
            beginning_of_pass_write_index: Some(at),
            end_of_pass_write_index: Some(at + 1),
        }
    }

    pub(super) fn resolve(&self, encoder: &mut wgpu::CommandEncoder) {
        encoder.resolve_query_set(&self.set, 0..2 * self.passes as u32, &self.resolved.buffer, 0);
    }

    /// Start and duration of each pass, in microseconds; zero where the stamps make no sense.
    pub(super) fn read(&self, gpu: &Context) -> Result<Vec<(f64, f64)>> {
        let ticks = self.resolved.read::<u64>(gpu)?;
        let us = f64::from(gpu.queue.get_timestamp_period()) / 1e3;
        let pair = |pair: &[u64]| match *pair {
            [start, end] if start > 0 && end > start => (start as f64 * us, (end - start) as f64 * us),
            _ => (0.0, 0.0),
        };
        Ok(ticks.chunks(2).map(pair).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::plausible;

    #[test]
    fn stamps_that_exceed_the_wait_are_no_measurement() {
        assert!(plausible(1.0, 2.0) && plausible(2.0, 2.0));
        for stamped in [0.0, -1.0, 2.1, f64::NAN, f64::INFINITY] {
            assert!(!plausible(stamped, 2.0), "{stamped}");
        }
    }
}
