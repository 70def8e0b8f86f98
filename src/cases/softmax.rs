//! Cases of `softmax`.

use super::examples::{PARTED, Values, pack, space};
use super::{Case, Entry, Expected, FOLDED, Prepared, Random, Sample};
use crate::classify::layout::Layout;
use crate::classify::softmax::{self, Softmax, VARIANTS};
use crate::gpu::{Context, OpKind, Spec};
use crate::network::Element;
use crate::{Result, oracle};

/// The kernel's place in the registry.
pub const ENTRY: Entry = Entry {
    stem: "softmax",
    variants: VARIANTS,
    stages: &[],
    decoders: &[],
    op: OpKind::F32,
    tests,
    benches,
};

/// Rows, channels, positions and how large the inputs are: up to where exponentials vanish.
fn tests() -> Vec<Box<dyn Case>> {
    let sizes = [
        (0, 3, 1, 1.0),
        (1, 1, 1, 1.0),
        (63, 2, 1, 8.0),
        (64, 10, 1, 8.0),
        (65, 4, 1, 0.0),
        (997, 3, 1, 100.0),
        (2, 1000, 1, 8.0),
        (3, 7, 67, 30.0),
        (PARTED, 5, 6, 1.0),
        (5, 9, 1, 1e30),
        (FOLDED, 2, 1, 8.0),
    ];
    sizes.into_iter().map(|size| Box::new(Shares::new(size)) as Box<dyn Case>).collect()
}

fn benches(bytes: u64) -> Vec<Box<dyn Case>> {
    let rows = (bytes / 2 / 48).clamp(1, 1 << 20) as usize;
    vec![Box::new(Shares::new((rows, 10, 1, 8.0)))]
}

struct Shares {
    rows: usize,
    layout: Layout,
    size: f32,
    /// `[rows, channels, positions]`
    values: Vec<f32>,
}

impl Shares {
    fn new((rows, channels, positions, size): (usize, usize, usize, f32)) -> Self {
        let values = Random::new(rows as u64 + 3).floats(rows * channels * positions);
        let values = values.into_iter().map(|value| value * size).collect();
        Self { rows, layout: Layout { channels, positions }, size, values }
    }

    /// `of` each position's channels, in the order of the device.
    fn packed(&self, of: fn(&[f64]) -> Vec<f64>) -> Vec<f64> {
        let Layout { channels, positions } = self.layout;
        let mut values = vec![0.0; self.values.len()];
        for at in 0..self.rows * positions {
            let place = |c| (at / positions * channels + c) * positions + at % positions;
            let x: Vec<f64> = (0..channels).map(|c| f64::from(self.values[place(c)])).collect();
            of(&x).into_iter().enumerate().for_each(|(c, value)| values[place(c)] = value);
        }
        // Padding channels must be 0 exactly.
        pack(self.layout, &values)
    }
}

impl Case for Shares {
    fn name(&self) -> String {
        let Layout { channels, positions } = self.layout;
        format!("rows={} channels={channels} positions={positions} size={}", self.rows, self.size)
    }

    fn taken(&self, _: &Context, _: &[Spec]) -> Result<Spec> {
        Ok(softmax::spec(self.layout))
    }

    fn prepare(&self, gpu: &Context, spec: &Spec) -> Result<Prepared> {
        let rows = self.rows as u64;
        let x = Values::F32(self.values.clone()).upload(gpu, "x", rows, self.layout)?;
        let y = space(gpu, "y", rows, self.layout, Element::F32)?;
        let bound = Softmax::load(gpu, spec)?.bind(gpu, &x, &y, self.layout)?;
        Ok(Prepared { passes: vec![bound], outputs: vec![("y", y)], others: vec![x], before: Vec::new() })
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn expected(&self, sample: &Sample) -> Vec<Expected> {
        let chosen = Self { rows: sample.rows().len(), values: sample.pick(&self.values), ..*self };
        let (values, bounds) =
            (chosen.packed(oracle::softmax::softmax), chosen.packed(oracle::softmax::bounds));
        vec![Expected::Within { values, bounds }]
    }
}
