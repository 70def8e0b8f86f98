//! Many dispatches, one submission; in profile mode, each with its own time.

use std::time::Instant;

use serde::Serialize;

use super::{Bound, Context, Work, context::lock};
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

/// A list of dispatches and copies that goes to the device as one submission.
#[derive(Debug)]
pub struct Recorder<'a> {
    gpu: &'a Context,
    steps: Vec<Step<'a>>,
}

#[derive(Debug)]
enum Step<'a> {
    Dispatch(&'a Bound),
    Copy { from: &'a wgpu::Buffer, from_at: u64, to: &'a wgpu::Buffer, to_at: u64, bytes: u64 },
}

impl<'a> Recorder<'a> {
    /// An empty list.
    pub fn new(gpu: &'a Context) -> Self {
        Self { gpu, steps: Vec::new() }
    }

    /// Appends a dispatch. It sees what every earlier step wrote.
    pub fn dispatch(&mut self, bound: &'a Bound) {
        self.steps.push(Step::Dispatch(bound));
    }

    /// Appends a copy of all of `from` to the start of `to`; both lie in one part.
    pub fn copy(&mut self, from: &'a super::Buffer, to: &'a super::Buffer) -> Result<()> {
        let ([a], [b]) = (from.parts.as_slice(), to.parts.as_slice()) else {
            return Err(Error::Input(format!("{} and {} are not both in one part", from.label, to.label)));
        };
        if from.bytes() > to.bytes() {
            return Err(Error::Input(format!("{} does not fit into {}", from.label, to.label)));
        }
        let bytes = from.bytes();
        self.steps.push(Step::Copy { from: &a.raw, from_at: a.start, to: &b.raw, to_at: b.start, bytes });
        Ok(())
    }

    /// Sends everything to the device. In profile mode it also waits, and keeps each pass's time.
    pub fn submit(self) -> Result<()> {
        if self.gpu.profile {
            return self.submit_profiled();
        }
        let buffer = self.gpu.scoped("recording", 0, || encode(self.gpu, &self.steps, None))?;
        self.gpu.scoped("submission", 0, || self.gpu.queue.submit([buffer])).map(drop)
    }

    fn submit_profiled(self) -> Result<()> {
        for steps in self.steps.chunks(PASSES_PER_SET) {
            if self.gpu.adapter.timestamps {
                let stamps = Stamps::new(self.gpu, steps.len())?;
                let buffer = self.gpu.scoped("recording", 0, || encode(self.gpu, steps, Some(&stamps)))?;
                let begun = Instant::now();
                self.gpu.scoped("submission", 0, || self.gpu.queue.submit([buffer]))?;
                self.gpu.wait()?;
                let wall_us = begun.elapsed().as_secs_f64() * 1e6;
                let times = stamps.read(self.gpu)?;
                for (step, (start_us, duration_us)) in steps.iter().zip(times) {
                    // A stamp that runs backwards or past the wall clock is no measurement.
                    if let Step::Dispatch(bound) = step
                        && duration_us > 0.0
                        && duration_us <= wall_us
                    {
                        keep(self.gpu, bound, start_us, duration_us);
                    }
                }
            } else {
                for step in steps {
                    let buffer = self.gpu.scoped("recording", 0, || encode(self.gpu, &[*step], None))?;
                    let begun = Instant::now();
                    self.gpu.scoped("submission", 0, || self.gpu.queue.submit([buffer]))?;
                    self.gpu.wait()?;
                    let duration_us = begun.elapsed().as_secs_f64() * 1e6;
                    if let Step::Dispatch(bound) = step {
                        let start_us = begun.duration_since(self.gpu.opened).as_secs_f64() * 1e6;
                        keep(self.gpu, bound, start_us, duration_us);
                    }
                }
            }
        }
        Ok(())
    }
}

impl Clone for Step<'_> {
    fn clone(&self) -> Self {
        *self
    }
}
impl Copy for Step<'_> {}

fn keep(gpu: &Context, bound: &Bound, start_us: f64, duration_us: f64) {
    lock(&gpu.passes).push(PassRecord {
        label: bound.label.clone(),
        work: bound.work,
        start_us,
        duration_us,
    });
}

/// Neighbouring dispatches share a pass, unless each is to be timed: stamps inside a pass are not reliable.
fn encode(gpu: &Context, steps: &[Step<'_>], stamps: Option<&Stamps>) -> wgpu::CommandBuffer {
    let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    let mut at = 0;
    while at < steps.len() {
        if let Step::Copy { from, from_at, to, to_at, bytes } = steps[at] {
            encoder.copy_buffer_to_buffer(from, from_at, to, to_at, bytes);
            at += 1;
            continue;
        }
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
            label: None,
            timestamp_writes: stamps.map(|stamps| stamps.of(at)),
        });
        while let Some(Step::Dispatch(bound)) = steps.get(at) {
            pass.set_pipeline(&bound.pipeline);
            for (group, [x, y, z]) in &bound.dispatches {
                pass.set_bind_group(0, group, &[]);
                pass.dispatch_workgroups(*x, *y, *z);
            }
            at += 1;
            if stamps.is_some() {
                break;
            }
        }
    }
    if let Some(stamps) = stamps {
        stamps.resolve(&mut encoder);
    }
    encoder.finish()
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
