//! Cases of `row_scale`.

use super::quantized::{Quantized, SHOWN, filling, format};
use super::{Case, Entry, Expected, FOLDED, Prepared, Random, Sample};
use crate::Result;
use crate::format::{ALL, DECODERS};
use crate::gpu::{Buffer, Context, OpKind, Spec};
use crate::matmul::row_scale::{RowScale, VARIANTS};
use crate::oracle::row_scale::allowed;

/// The kernel's place in the registry.
pub const ENTRY: Entry = Entry {
    stem: "row_scale",
    variants: VARIANTS,
    stages: &[],
    decoders: DECODERS,
    op: OpKind::F32,
    tests,
    benches,
};

/// Every format once; short rows, and values from the least to the largest.
fn tests() -> Vec<Box<dyn Case>> {
    let mut random = Random::new(5);
    let mut cases: Vec<Box<dyn Case>> = Vec::new();
    for format in ALL {
        cases.push(Box::new(Scaled(Quantized::new(format, 5, 1024, &mut random))));
    }
    for (rows, cols, size) in [(1, 1, 1.0), (66, 31, 1e38), (3, 1001, 1e-36), (2, 64, 0.0), (7, 4160, 1e6)] {
        cases.push(Box::new(Scaled(Quantized::sized(format("F32"), rows, cols, size, &mut random))));
    }
    cases.push(Box::new(Scaled(Quantized::new(format("F16"), FOLDED, 32, &mut random))));
    cases
}

fn benches(bytes: u64) -> Vec<Box<dyn Case>> {
    let (mut random, format) = (Random::new(6), format(SHOWN[1]));
    let (rows, cols) = filling(format, bytes);
    vec![Box::new(Scaled(Quantized::new(format, rows, cols, &mut random)))]
}

struct Scaled(Quantized);

impl Case for Scaled {
    fn name(&self) -> String {
        self.0.name()
    }

    fn decoder(&self) -> Option<&'static str> {
        Some(self.0.format.decoder)
    }

    fn prepare(&self, gpu: &Context, spec: &Spec) -> Result<Prepared> {
        let weights = self.0.upload(gpu)?;
        let scales = Buffer::new(gpu, "row_scales", weights.rows, 4)?;
        let bound = RowScale::load(gpu, spec)?.bind(gpu, &weights.buffers(), weights.pairs(), &scales)?;
        Ok(Prepared {
            passes: vec![bound],
            outputs: vec![("row_scales", scales)],
            others: weights.into_buffers(),
            before: Vec::new(),
        })
    }

    fn rows(&self) -> usize {
        self.0.rows
    }

    fn expected(&self, sample: &Sample) -> Vec<Expected> {
        let values = self.0.at(sample).values();
        let rows = values.chunks(self.0.cols);
        vec![Expected::OneOf(rows.map(|row| allowed(row).map(f32::to_bits).to_vec()).collect())]
    }
}
