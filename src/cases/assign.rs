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
    let floats = sizes.clone().map(|(&size, seed)| Assigning::new(size, 1, Random::new(seed), false));
    let integers = sizes
        .filter(|((_, k, _), _)| *k > 1)
        .map(|(&size, seed)| Assigning::new(size, 1, Random::new(seed), true));
    let batches = [(3, (1, 1, 1)), (5, (63, 17, 5)), (4, (65, 16, 4)), (301, (20, 3, 2)), (2, (600, 70, 33))];
    let batches = batches.map(|(problems, size)| Assigning::new(size, problems, Random::new(7), true));
    floats.chain(integers).chain(batches).map(|case| Box::new(case) as Box<dyn Case>).collect()
}

fn benches(bytes: u64) -> Vec<Box<dyn Case>> {
    let (k, d) = (256, 64);
    let n = (bytes as usize / (4 * d)).clamp(4_096, 1 << 20);
    vec![Box::new(Assigning::new((n, k, d), 1, Random::new(1), false))]
}

/// `n` points to `k` centroids in `d` dimensions, in each of several problems.
struct Assigning {
    points: Vec<f32>,
    centroids: Vec<f32>,
    d: usize,
    problems: usize,
    /// Small whole numbers: no rounding, many ties, and so only one right answer.
    exact: bool,
}

impl Assigning {
    fn new((n, k, d): (usize, usize, usize), problems: usize, mut random: Random, exact: bool) -> Self {
        let mut draw = |count| if exact { random.integers(count, 2) } else { random.floats(count) };
        Self { points: draw(problems * n * d), centroids: draw(problems * k * d), d, problems, exact }
    }
}

impl Case for Assigning {
    fn name(&self) -> String {
        let batch = if self.problems > 1 { format!("B={} ", self.problems) } else { String::new() };
        let (n, k) =
            (self.points.len() / self.d / self.problems, self.centroids.len() / self.d / self.problems);
        format!("{batch}n={n} k={k} d={}{}", self.d, if self.exact { " integers" } else { "" })
    }

    fn prepare(&self, gpu: &Context, spec: &Spec) -> Result<Prepared> {
        let trial = Trial::upload(gpu, &self.points, &self.centroids, self.d, self.problems as u64)?;
        let passes = vec![Assign::load(gpu, spec)?.bind(gpu, &trial.assignment(), self.d as u64)?];
        let labels = vec![NO_LABEL; self.points.len() / self.d];
        Ok(Prepared {
            passes,
            outputs: vec![("labels", trial.labels), ("changed", trial.changed)],
            others: vec![trial.points, trial.centroids, trial.norms, trial.control],
            before: vec![("labels", labels), ("changed", vec![0; self.problems])],
        })
    }

    fn expected(&self) -> Vec<Expected> {
        let (n, k) = (self.points.len() / self.problems, self.centroids.len() / self.problems);
        let changed = vec![(n / self.d) as u32; self.problems];
        if !self.exact {
            let allowed = oracle::assign::allowed(&self.points, &self.centroids, self.d);
            return vec![Expected::OneOf(allowed), Expected::Exact(changed)];
        }
        let mut labels = Vec::new();
        for problem in 0..self.problems {
            let (points, centroids) = (&self.points[problem * n..][..n], &self.centroids[problem * k..][..k]);
            let own = oracle::assign::assign(points, centroids, self.d);
            labels.extend(own.iter().map(|label| label + (problem * k / self.d) as u32));
        }
        vec![Expected::Exact(labels), Expected::Exact(changed)]
    }
}
