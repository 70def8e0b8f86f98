//! The roofs of an adapter: what its memory and its arithmetic really give, measured.
//!
//! A kernel's time is compared with the shortest that the roofs allow (S. Williams, A. Waterman, D. Patterson:
//! Roofline, CACM 52(4), 2009). Gigabytes are 10^9 bytes; copy counts what it reads and what it writes.

pub(crate) mod kernels;
mod measure;
pub(crate) mod products;

use serde::Serialize;

pub use measure::{Effort, MeasureOptions, measure};

use crate::gpu::{AdapterReport, OpKind, Work};

/// The measured roofs of one adapter.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Roofs {
    /// The adapter.
    pub adapter: AdapterReport,
    /// lowbit's version.
    pub version: &'static str,
    /// The commit it was built from; null outside a checkout.
    pub commit: Option<&'static str>,
    /// Bytes of each of the buffers that were used in turn.
    pub buffer_bytes: u64,
    /// Reading as much as writing.
    pub copy: Roof,
    /// Reading, with one word written for 64 read.
    pub read: Roof,
    /// Writing.
    pub write: Roof,
    /// f32 multiply-adds; each is two operations.
    pub fma_f32: Roof,
    /// f16 multiply-adds; null where shaders have no f16.
    pub fma_f16: Option<Roof>,
    /// dot4I8Packed with accumulation; each is eight operations. Null where the driver computes it wrongly.
    pub dot_i8: Option<Roof>,
    /// What it costs to start work.
    pub launch: Launch,
    /// Copies of growing size on one pair of buffers: the steps are the ends of caches.
    pub sweep: Vec<SweepPoint>,
    /// The datasheet's memory bandwidth in GB/s, if it was given.
    pub peak_gbs: Option<f64>,
}

/// The best rate of all variants of a kernel, and of all rounds: a roof is what the adapter can do, so whatever made
/// another round slower does not lower it.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Roof {
    /// The best round's rate at its median time, in `unit`.
    pub value: f64,
    /// The rate at the 90th percentile of the times, of the worst round of the same variant.
    pub low: f64,
    /// The rate at the 10th percentile of the times, of the best round of the same variant.
    pub high: f64,
    /// GB/s, GFLOP/s or GOP/s.
    pub unit: &'static str,
    /// How `value` comes about, such as `2 x 268435456 bytes / 61.2 us`.
    pub formula: String,
    /// The variant that reached it.
    pub variant: String,
    /// Median time of a run in the best round, in microseconds.
    pub us: f64,
    /// Samples over all rounds.
    pub samples: usize,
    /// Whether the GPU's own clock was used.
    pub timestamps: bool,
    /// False for a rate above what the datasheet allows.
    pub valid: bool,
    /// Why it is invalid, or what makes it less certain.
    pub note: Option<String>,
}

/// The cost of starting work.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Launch {
    /// A dispatch that waits for the one before, in microseconds: the time at size zero of a line through the times
    /// of small writes. Null where the line is at or below zero there.
    pub us: Option<f64>,
    /// The line's slope as GB/s; null where larger writes took no longer.
    pub gb_s: Option<f64>,
    /// Submitting one small dispatch and waiting for it, in microseconds: the median.
    pub round_trip_us: f64,
    /// What the line was laid through.
    pub points: Vec<LaunchPoint>,
}

/// A small write.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct LaunchPoint {
    /// Bytes written.
    pub bytes: u64,
    /// Time of one dispatch, in microseconds.
    pub us: f64,
}

/// A copy between the same two buffers, over and over.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SweepPoint {
    /// Bytes copied: a cache must hold twice as many to serve both buffers.
    pub bytes: u64,
    /// Time of one copy, in microseconds.
    pub us: f64,
    /// Rate, reads and writes counted.
    pub gb_s: f64,
}

/// A kernel's time against the roofs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Share {
    /// Shortest possible time over the time taken.
    pub value: f64,
    /// False for a share above 1 or of no time at all: the time, the work or the roof is wrong.
    pub valid: bool,
    /// Which roof is the nearer: `memory` or `arithmetic`.
    pub bound: &'static str,
}

impl Launch {
    /// The cost of a dispatch, in words.
    pub fn dispatch(&self) -> String {
        self.us.map_or("too small to measure".into(), |us| format!("{us:.1} us"))
    }
}

impl Roofs {
    /// Every roof by its name for people; none where the adapter lacks it.
    pub fn named(&self) -> [(&'static str, Option<&Roof>); 6] {
        [
            ("copy", Some(&self.copy)),
            ("read", Some(&self.read)),
            ("write", Some(&self.write)),
            ("f32 multiply-add", Some(&self.fma_f32)),
            ("f16 multiply-add", self.fma_f16.as_ref()),
            ("int8 dot", self.dot_i8.as_ref()),
        ]
    }

    /// The memory roof in GB/s: the better of copy and read.
    pub fn memory_gb_s(&self) -> f64 {
        self.copy.value.max(self.read.value)
    }

    /// The roof of one kind of arithmetic, if this adapter has it.
    #[doc(hidden)]
    pub fn arithmetic(&self, kind: OpKind) -> Option<&Roof> {
        match kind {
            OpKind::F32 => Some(&self.fma_f32),
            OpKind::F16 => self.fma_f16.as_ref(),
            OpKind::I8 => self.dot_i8.as_ref(),
            OpKind::Matrix => None,
        }
    }

    /// The shortest time in which this adapter can do `work`, in microseconds. Arithmetic that has no roof here takes
    /// no time, so that the figure stays a lower bound.
    #[doc(hidden)]
    pub fn floor_us(&self, work: Work, kind: OpKind) -> f64 {
        let (memory, arithmetic) = self.floors(work, kind);
        memory.max(arithmetic)
    }

    /// What part of the time `us` the work had to take.
    #[doc(hidden)]
    pub fn share(&self, work: Work, kind: OpKind, us: f64) -> Share {
        let (memory, arithmetic) = self.floors(work, kind);
        let value = memory.max(arithmetic) / us;
        let bound = if arithmetic > memory { "arithmetic" } else { "memory" };
        Share { value, valid: us > 0.0 && value <= 1.0, bound }
    }

    fn floors(&self, work: Work, kind: OpKind) -> (f64, f64) {
        // A rate in 10^9 per second is one in 10^3 per microsecond.
        let memory = work.bytes as f64 / (self.memory_gb_s() * 1e3);
        let arithmetic = self.arithmetic(kind).map_or(0.0, |roof| work.ops as f64 / (roof.value * 1e3));
        (memory, arithmetic)
    }
}
