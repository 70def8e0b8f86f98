//! Cases of `assign`.

use super::{Case, Entry, Expected, Prepared, Random};
use crate::Result;
use crate::gpu::{Context, OpKind, Spec};
use crate::kmeans::assign::{Assign, Trial, VARIANTS};
use crate::kmeans::lloyd::NO_LABEL;
use crate::oracle;

/// The kernel's place in the registry.
pub const ENTRY: Entry =
    Entry { stem: "assign", variants: VARIANTS, stages: &[], decoders: &[], op: OpKind::F32, tests, benches };

/// Sizes around the tiles of every variant, dimensions around the vec4, and the issue's own.
const SIZES: &[(usize, usize, usize)] = &[
    (0, 1, 1),
    (1, 1, 1),
    (1, 1, 3),
    (63, 5, 3),
    (64, 16, 4),
    (65, 17, 5),
    (255, 15, 1),
    (256, 64, 16),
    (257, 65, 7),
    (997, 101, 31),
    (130, 7, 384),
    (41, 3, 1000),
    (1031, 257, 65),
];

fn tests() -> Vec<Box<dyn Case>> {
    let sizes = SIZES.iter().zip(0..);
    let floats = sizes.clone().map(|(&size, seed)| Assigning::new(size, Random::new(seed), false));
    let integers = sizes
        .filter(|((_, k, _), _)| *k > 1)
        .map(|(&size, seed)| Assigning::new(size, Random::new(seed), true));
    floats.chain(integers).map(|case| Box::new(case) as Box<dyn Case>).collect()
}

fn benches(bytes: u64) -> Vec<Box<dyn Case>> {
    let (k, d) = (256, 64);
    let n = (bytes as usize / (4 * d)).clamp(4_096, 1 << 20);
    vec![Box::new(Assigning::new((n, k, d), Random::new(1), false))]
}

/// `n` points to `k` centroids in `d` dimensions.
struct Assigning {
    points: Vec<f32>,
    centroids: Vec<f32>,
    d: usize,
    /// Small whole numbers: no rounding, many ties, and so only one right answer.
    exact: bool,
}

impl Assigning {
    fn new((n, k, d): (usize, usize, usize), mut random: Random, exact: bool) -> Self {
        let mut draw = |count| if exact { random.integers(count, 2) } else { random.floats(count) };
        Self { points: draw(n * d), centroids: draw(k * d), d, exact }
    }
}

impl Case for Assigning {
    fn name(&self) -> String {
        let (n, k) = (self.points.len() / self.d, self.centroids.len() / self.d);
        format!("n={n} k={k} d={}{}", self.d, if self.exact { " integers" } else { "" })
    }

    fn prepare(&self, gpu: &Context, spec: &Spec) -> Result<Prepared> {
        let trial = Trial::upload(gpu, &self.points, &self.centroids, self.d)?;
        let (k, d) = (self.centroids.len() / self.d, self.d);
        let passes = vec![Assign::load(gpu, spec)?.bind(gpu, &trial.assignment(), k as u64, d as u64)?];
        let labels = vec![NO_LABEL; self.points.len() / self.d];
        Ok(Prepared {
            passes,
            outputs: vec![("labels", trial.labels), ("changed", trial.changed)],
            others: vec![trial.points, trial.centroids, trial.norms, trial.control],
            before: vec![("labels", labels), ("changed", vec![0])],
        })
    }

    fn expected(&self) -> Vec<Expected> {
        let n = (self.points.len() / self.d) as u32;
        let labels = if self.exact {
            Expected::Exact(oracle::assign::assign(&self.points, &self.centroids, self.d))
        } else {
            Expected::OneOf(oracle::assign::allowed(&self.points, &self.centroids, self.d))
        };
        vec![labels, Expected::Exact(vec![n])]
    }
}
