//! Chains of f32 multiply-adds.

use super::{Case, Entry, Expected, Prepared, Random, Sample};
use crate::gpu::{Buffer, Context, Kernel, OpKind, Spec};
use crate::roofs::fma_f32::{ROW_BYTES, STEPS, VARIANTS, bind};
use crate::{Result, oracle};

/// The kernel's place in the house.
pub const ENTRY: Entry = Entry {
    stem: "fma_f32",
    variants: VARIANTS,
    stages: &[],
    decoders: &[],
    op: OpKind::F32,
    tests,
    benches,
};

type Oracle = fn(&[f32], f32, f32, u64) -> (Vec<f64>, Vec<f64>);

/// Chains in either precision: every input is a multiple of 1/256 below 1, which f16 holds exactly.
pub(super) struct Fma {
    pub(super) rows: u64,
    pub(super) batches: u32,
    pub(super) oracle: Oracle,
}

impl Fma {
    /// The two constants and the values.
    fn inputs(&self) -> ([f32; 2], Vec<f32>) {
        let mut random = Random::new(self.rows + u64::from(self.batches));
        let mut signed = |from: u64| {
            let size = (from + random.below(240 - from)) as f32 / 256.0;
            if random.below(2) == 0 { size } else { -size }
        };
        // A large factor, so that the start still shows in the result.
        let constants = [signed(200), signed(1)];
        (constants, (0..self.rows * 4).map(|_| signed(1)).collect())
    }
}

impl Case for Fma {
    fn name(&self) -> String {
        format!("rows={} batches={}", self.rows, self.batches)
    }

    fn prepare(&self, gpu: &Context, spec: &Spec) -> Result<Prepared> {
        let (constants, values) = self.inputs();
        let x = Buffer::from_slice(gpu, "x", self.rows, &values)?;
        let y = Buffer::new(gpu, "y", self.rows, ROW_BYTES)?;
        let bound = bind(gpu, &Kernel::load(gpu, spec)?, &x, &y, self.batches, constants)?;
        Ok(Prepared { passes: vec![bound], outputs: vec![("y", y)], others: vec![x], before: vec![] })
    }

    fn expected(&self, _: &Sample) -> Vec<Expected> {
        let ([factor, addend], values) = self.inputs();
        let (values, bounds) = (self.oracle)(&values, factor, addend, STEPS * u64::from(self.batches));
        vec![Expected::Within { values, bounds }]
    }
}

pub(super) fn sizes(oracle: Oracle) -> Vec<Box<dyn Case>> {
    let rows = [(0, 1), (1, 0), (1, 1), (63, 2), (64, 1), (65, 1), (255, 1), (256, 2), (257, 1), (4099, 2)];
    rows.into_iter()
        .map(|(rows, batches)| -> Box<dyn Case> { Box::new(Fma { rows, batches, oracle }) })
        .collect()
}

/// Arithmetic fills a device long before memory does, so there are at most 2^20 rows.
pub(super) fn filling(bytes: u64, oracle: Oracle) -> Box<dyn Case> {
    Box::new(Fma { rows: (bytes / 2 / ROW_BYTES).clamp(1, 1 << 20), batches: 64, oracle })
}

fn tests() -> Vec<Box<dyn Case>> {
    sizes(oracle::fma_f32::fma_f32)
}

fn benches(bytes: u64) -> Vec<Box<dyn Case>> {
    vec![filling(bytes, oracle::fma_f32::fma_f32)]
}
