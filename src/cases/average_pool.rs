//! Cases of `average_pool`.

use super::examples::{Values, pack, space};
use super::max_pool::{global, halving, name, windows};
use super::{Case, Entry, Expected, Prepared, Random, Sample};
use crate::classify::average_pool::{self, AveragePool, VARIANTS};
use crate::classify::pooling::Pooling;
use crate::gpu::{Context, OpKind, Spec};
use crate::network::{Element, Window};
use crate::{Result, oracle};

/// The kernel's place in the registry.
pub const ENTRY: Entry = Entry {
    stem: "average_pool",
    variants: VARIANTS,
    stages: &[],
    decoders: &[],
    op: OpKind::F32,
    tests,
    benches,
};

/// The windows of `max_pool`; and one that sees padding alone, which has a mean where padding counts.
fn tests() -> Vec<Box<dyn Case>> {
    let mut cases: Vec<Box<dyn Case>> = Vec::new();
    for (rows, pooling) in windows() {
        for include_pad in [false, true] {
            cases.push(Box::new(Mean::new(rows, pooling, include_pad)));
        }
    }
    let window = Window { kernel: [2, 2], pads: [2, 2], ..Window::POINT };
    let blind = Pooling { channels: 2, input: [3, 2], output: [6, 5], window };
    cases.push(Box::new(Mean::new(3, blind, true)));
    cases
}

fn benches(bytes: u64) -> Vec<Box<dyn Case>> {
    let case = |pooling: Pooling| -> Box<dyn Case> {
        let row = pooling.input_layout().row_bytes(Element::F32);
        Box::new(Mean::new((bytes / row).clamp(1, 1 << 16) as usize, pooling, false))
    };
    vec![case(halving(16, [28, 28])), case(global(64, [14, 14]))]
}

struct Mean {
    rows: usize,
    pooling: Pooling,
    include_pad: bool,
    values: Vec<f32>,
}

impl Mean {
    fn new(rows: usize, pooling: Pooling, include_pad: bool) -> Self {
        let values = Random::new(rows as u64 + 2).floats(rows * pooling.input_layout().elements());
        Self { rows, pooling, include_pad, values }
    }
}

impl Case for Mean {
    fn name(&self) -> String {
        let counts = if self.include_pad { " include_pad" } else { "" };
        format!("{}{counts}", name(self.rows, &self.pooling))
    }

    fn taken(&self, _: &Context, _: &[Spec]) -> Result<Spec> {
        Ok(average_pool::spec(&self.pooling))
    }

    fn prepare(&self, gpu: &Context, spec: &Spec) -> Result<Prepared> {
        let (rows, pooling) = (self.rows as u64, &self.pooling);
        let x = Values::F32(self.values.clone()).upload(gpu, "x", rows, pooling.input_layout())?;
        let y = space(gpu, "y", rows, pooling.output_layout(), Element::F32)?;
        let bound = AveragePool::load(gpu, spec)?.bind(gpu, &x, &y, pooling, self.include_pad)?;
        Ok(Prepared { passes: vec![bound], outputs: vec![("y", y)], others: vec![x], before: Vec::new() })
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn expected(&self, sample: &Sample) -> Vec<Expected> {
        let Pooling { input, output, window, .. } = self.pooling;
        let (mut values, mut bounds) = (Vec::new(), Vec::new());
        for x in sample.pick(&self.values).chunks(self.pooling.input_layout().positions) {
            let means = oracle::average_pool::average_pool(x, input, output, &window, self.include_pad);
            values.extend(means.0);
            bounds.extend(means.1);
        }
        // Padding channels must be 0 exactly.
        let layout = self.pooling.output_layout();
        vec![Expected::Within { values: pack(layout, &values), bounds: pack(layout, &bounds) }]
    }
}
