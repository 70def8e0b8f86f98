//! Cases of `rotate`.

use super::{Case, Entry, Expected, FOLDED, Prepared, Random, Sample};
use crate::Result;
use crate::codec::HEAD_DIMS;
use crate::codec::rotation::Rotation;
use crate::gpu::{Buffer, Context, OpKind, Spec};
use crate::kv::rotate::{Rotate, SPEC};
use crate::oracle;

/// The kernel's place in the registry.
pub const ENTRY: Entry =
    Entry { stem: "rotate", variants: &[SPEC], stages: &[], decoders: &[], op: OpKind::F32, tests, benches };

fn tests() -> Vec<Box<dyn Case>> {
    let case = |(i, dim): (usize, usize)| Rotating { rows: [0, 1, 5, 63, 64, 1009][i], dim };
    let sizes = HEAD_DIMS.into_iter().enumerate().map(case).chain([Rotating { rows: FOLDED, dim: 32 }]);
    sizes.map(|case| Box::new(case) as Box<dyn Case>).collect()
}

fn benches(bytes: u64) -> Vec<Box<dyn Case>> {
    vec![Box::new(Rotating { rows: (bytes as usize / 1024).clamp(64, 1 << 18), dim: 128 })]
}

struct Rotating {
    rows: usize,
    dim: usize,
}

impl Rotating {
    fn input(&self) -> Vec<f32> {
        Random::new(self.dim as u64).floats(self.rows * self.dim)
    }
}

impl Case for Rotating {
    fn name(&self) -> String {
        format!("n={} d={}", self.rows, self.dim)
    }

    fn prepare(&self, gpu: &Context, _: &Spec) -> Result<Prepared> {
        let (rows, dim) = (self.rows as u64, self.dim as u64);
        let input = Buffer::from_slice(gpu, "input", rows, &self.input())?;
        let output = Buffer::new(gpu, "output", rows, 4 * dim)?;
        let bound = Rotate::load(gpu)?.bind(gpu, &input, &output, dim)?;
        Ok(Prepared {
            passes: vec![bound],
            outputs: vec![("output", output)],
            others: vec![input],
            before: Vec::new(),
        })
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn expected(&self, sample: &Sample) -> Vec<Expected> {
        let input = sample.pick(&self.input());
        let values = oracle::rotate::rotate(&input, &Rotation::sign_words(self.dim), self.dim);
        let bounds =
            input.chunks(self.dim).flat_map(|row| vec![oracle::rotate::bound(row); self.dim]).collect();
        vec![Expected::Within { values, bounds }]
    }
}
