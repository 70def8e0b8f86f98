//! Cases of `histogram`.

use super::extent::{Tensor, filling};
use super::{Case, Entry, Expected, Prepared, Sample};
use crate::calibration::{BINS, Histogram};
use crate::classify::extent::choose;
use crate::classify::histogram::{Count, VARIANTS};
use crate::gpu::{Buffer, Context, OpKind, Spec};
use crate::{Result, oracle};

/// The kernel's place in the registry.
pub const ENTRY: Entry = Entry {
    stem: "histogram",
    variants: VARIANTS,
    stages: &[],
    decoders: &[],
    op: OpKind::F32,
    tests,
    benches,
};

fn tests() -> Vec<Box<dyn Case>> {
    let mut cases: Vec<Box<dyn Case>> = Vec::new();
    for tensor in Tensor::all() {
        cases.push(Box::new(Counting { tensor, amax: 1.0, before: 0 }));
    }
    // Values beyond the last bin, bins of a width that is no power of two, everything in one bin, earlier batches.
    for (amax, before) in [(0.3, 0), (17.77, 5), (1e-30, 0), (0.0, 1), (f32::MAX, u32::MAX)] {
        cases.push(Box::new(Counting { tensor: Tensor::new(1031, 5, 7, None).strange(), amax, before }));
    }
    cases
}

fn benches(bytes: u64) -> Vec<Box<dyn Case>> {
    vec![Box::new(Counting { tensor: filling(bytes).positive(), amax: 1.0, before: 0 })]
}

struct Counting {
    tensor: Tensor,
    amax: f32,
    /// What every bin holds before.
    before: u32,
}

impl Counting {
    fn scale(&self) -> f32 {
        Histogram { amax: self.amax, ..Histogram::default() }.bins_per_unit()
    }
}

impl Case for Counting {
    fn name(&self) -> String {
        format!("{} amax={}", self.tensor.name(), self.amax)
    }

    fn taken(&self, _: &Context, variants: &[Spec]) -> Result<Spec> {
        Ok(*choose(self.tensor.layout(), variants))
    }

    fn prepare(&self, gpu: &Context, spec: &Spec) -> Result<Prepared> {
        let x = self.tensor.upload(gpu)?;
        let counts = Buffer::new(gpu, "counts", BINS as u64, 4)?;
        let (rows, scale) = (self.tensor.rows as u64, self.scale());
        let bound = Count::load(gpu, spec)?.bind(gpu, &x, rows, self.tensor.layout(), scale, &counts)?;
        Ok(Prepared {
            passes: vec![bound],
            outputs: vec![("counts", counts)],
            others: vec![x],
            before: vec![("counts", vec![self.before; BINS])],
        })
    }

    fn expected(&self, _: &Sample) -> Vec<Expected> {
        let counts = oracle::histogram::histogram(&self.tensor.counted(), self.scale(), BINS);
        vec![Expected::Exact(counts.iter().map(|&count| self.before.wrapping_add(count as u32)).collect())]
    }
}
