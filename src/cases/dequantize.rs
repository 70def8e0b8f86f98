//! Cases of `dequantize`.

use super::quantized::{Quantized, SHOWN, filling, format};
use super::{Case, Entry, Expected, FOLDED, Prepared, Random, Sample};
use crate::Result;
use crate::format::{ALL, DECODERS};
use crate::gpu::{Buffer, Context, OpKind, Spec};
use crate::matmul::dequantize::{Dequantize, VARIANTS};
use crate::oracle;

/// The kernel's place in the registry.
pub const ENTRY: Entry = Entry {
    stem: "dequantize",
    variants: VARIANTS,
    stages: &[],
    decoders: DECODERS,
    op: OpKind::F32,
    tests,
    benches,
};

/// Every format with more pairs than a tile has, and then some; short rows where the blocks allow.
fn tests() -> Vec<Box<dyn Case>> {
    let mut random = Random::new(3);
    let mut cases: Vec<Box<dyn Case>> = Vec::new();
    for format in ALL {
        let block = format.elements.max(32);
        for cols in [block, 768, 1024 + block] {
            cases.push(Box::new(Quantized::new(format, 5, cols, &mut random)));
        }
    }
    for cols in [1, 31, 33, 1001] {
        cases.push(Box::new(Quantized::new(format("F16"), 3, cols, &mut random)));
        cases.push(Box::new(Quantized::new(format("F32"), 66, cols, &mut random)));
    }
    cases.push(Box::new(Quantized::new(format("F16"), FOLDED, 32, &mut random)));
    cases
}

fn benches(bytes: u64) -> Vec<Box<dyn Case>> {
    let (mut random, format) = (Random::new(4), format(SHOWN[1]));
    // The values take most of the bytes.
    let (rows, cols) = filling(format, bytes / 8);
    vec![Box::new(Quantized::new(format, rows, cols, &mut random))]
}

impl Case for Quantized {
    fn name(&self) -> String {
        self.name()
    }

    fn decoder(&self) -> Option<&'static str> {
        Some(self.format.decoder)
    }

    fn prepare(&self, gpu: &Context, spec: &Spec) -> Result<Prepared> {
        let weights = self.upload(gpu)?;
        let values = Buffer::new(gpu, "values", weights.rows, 4 * weights.cols)?;
        let bound = Dequantize::load(gpu, spec)?.bind(gpu, &weights, &values)?;
        Ok(Prepared {
            passes: vec![bound],
            outputs: vec![("values", values)],
            others: weights.into_buffers(),
            before: Vec::new(),
        })
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn expected(&self, sample: &Sample) -> Vec<Expected> {
        let values = self.at(sample).values();
        let bounds = oracle::dequantize::bounds(&values);
        vec![Expected::Within { values: values.into_iter().map(f64::from).collect(), bounds }]
    }
}
