//! Cases of `assign`.

use super::laid::{Points, layouts};
use super::{Case, Entry, Expected, Prepared, Random, Sample};
use crate::Result;
use crate::gpu::dispatch::Class;
use crate::gpu::{Context, OpKind, Spec};
use crate::kmeans::Metric;
use crate::kmeans::assign::{self, Assign, Trial, VARIANTS};
use crate::kmeans::control::NO_LABEL;
use crate::kmeans::element::{Element, FILES};
use crate::kmeans::rerank::Rerank;
use crate::oracle;

/// The kernel's place in the registry.
pub const ENTRY: Entry = Entry {
    stem: "assign",
    variants: VARIANTS,
    stages: &[],
    decoders: FILES,
    op: OpKind::F32,
    tests,
    benches,
};

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
    let types = [(65, 17, 5), (257, 65, 8)].into_iter().zip(0..).flat_map(|((n, k, d), seed)| {
        layouts(d).into_iter().map(move |(element, transform)| {
            let mut random = Random::new(seed);
            let points = Points::of_floats(&random.floats(n * d), d, element, transform);
            let centroids = near(&points, k, &mut random);
            Assigning { points, centroids, d, problems: 1, metric: Metric::Euclidean }
        })
    });
    let whole = [Element::F16, Element::U8, Element::I8].map(|element| {
        let case = Assigning::new((63, 17, 5), 3, Random::new(8), true);
        Assigning { points: Points::of_integers(&case.points.clustered, 5, element), ..case }
    });
    let hard = [1e3, 1e5, 1e7]
        .into_iter()
        .flat_map(|far| [301, 303].map(|n| Assigning::far((n, 17, 5), far, Random::new(9))));
    let products = [Metric::Cosine, Metric::Dot].into_iter().flat_map(|metric| {
        [false, true].map(|integers| {
            let n = if integers { 131 } else { 129 };
            let case = Assigning::new((n, 19, 6), 1, Random::new(10), integers);
            Assigning { metric, ..case }
        })
    });
    // Points whose squares are 0 in f32, and centroids that differ by less than products tell.
    let tiny = [129, 131].map(|n| {
        let mut random = Random::new(11);
        let points: Vec<f32> = random.floats(n * 6).iter().map(|value| 1e-24 * value).collect();
        let centroids = random.floats(19 * 6).iter().map(|value| 1.0 + 1e-7 * value).collect();
        let points = Points::plain(points, 6);
        Assigning { points, centroids, d: 6, problems: 1, metric: Metric::Dot }
    });
    // Values of all sizes in one row, of which f16 would lose the small ones.
    let mixed = [Metric::Euclidean, Metric::Dot].into_iter().flat_map(|metric| {
        [(129, 33, 17), (131, 65, 40)]
            .map(|size| Assigning { metric, ..Assigning::mixed(size, Random::new(12)) })
    });
    let all = floats
        .chain(integers)
        .chain(batches)
        .chain(types)
        .chain(whole)
        .chain(hard)
        .chain(products)
        .chain(tiny)
        .chain(mixed);
    all.map(|case| Box::new(case) as Box<dyn Case>).collect()
}

fn benches(bytes: u64) -> Vec<Box<dyn Case>> {
    let (k, d) = (256, 64);
    let n = (bytes as usize / (4 * d)).clamp(4_096, 1 << 20);
    vec![Box::new(Assigning::new((n, k, d), 1, Random::new(1), false))]
}

/// `k` centroids, each half-way between two points.
fn near(points: &Points, k: usize, random: &mut Random) -> Vec<f32> {
    let (values, d) = (&points.clustered, points.d());
    let mut row = || &values[random.below((values.len() / d) as u64) as usize * d..][..d];
    let mut middle = || row().iter().zip(row()).map(|(a, b)| (a + b) / 2.0).collect::<Vec<_>>();
    (0..k).flat_map(|_| middle()).collect()
}

/// `n` points to `k` centroids in `d` dimensions, in each of several problems.
struct Assigning {
    points: Points,
    centroids: Vec<f32>,
    d: usize,
    problems: usize,
    metric: Metric,
}

impl Assigning {
    fn new((n, k, d): (usize, usize, usize), problems: usize, mut random: Random, integers: bool) -> Self {
        let mut draw = |count| if integers { random.integers(count, 2) } else { random.floats(count) };
        let points = Points::plain(draw(problems * n * d), d);
        Self { points, centroids: draw(problems * k * d), d, problems, metric: Metric::Euclidean }
    }
}

impl Assigning {
    /// Values whose sizes lie up to 2^40 apart, and centroids half-way between points.
    fn mixed((n, k, d): (usize, usize, usize), mut random: Random) -> Self {
        let values = random.floats(n * d).into_iter();
        let values = values.map(|value| value * (-(random.below(41) as f32)).exp2()).collect();
        let points = Points::plain(values, d);
        let centroids = near(&points, k, &mut random);
        Self { points, centroids, d, problems: 1, metric: Metric::Euclidean }
    }

    /// Groups far from each other, which scores of f32 cannot tell from their neighbours.
    fn far((n, k, d): (usize, usize, usize), far: f32, mut random: Random) -> Self {
        let mut draw = |count: usize| {
            let mut values = random.floats(count * d);
            for (row, values) in values.chunks_mut(d).enumerate() {
                values.iter_mut().for_each(|value| *value += far * (row % 3) as f32);
            }
            values
        };
        let points = Points::plain(draw(n), d);
        Self { points, centroids: draw(k), d, problems: 1, metric: Metric::Euclidean }
    }
}

impl Case for Assigning {
    fn name(&self) -> String {
        let batch = if self.problems > 1 { format!("B={} ", self.problems) } else { String::new() };
        let (n, k) = (
            self.points.clustered.len() / self.d / self.problems,
            self.centroids.len() / self.d / self.problems,
        );
        format!("{batch}n={n} k={k} d={} {:?}{}", self.d, self.metric, self.points.label())
    }

    fn class(&self) -> Class {
        let points = self.points.clustered.len() / self.d;
        let [each, k] = [points, self.centroids.len() / self.d].map(|count| (count / self.problems) as u64);
        assign::class(self.points.layout(), each, k, self.d as u64)
    }

    fn decoder(&self) -> Option<&'static str> {
        Some(self.points.decoder())
    }

    fn prepare(&self, gpu: &Context, spec: &Spec) -> Result<Prepared> {
        let trial =
            Trial::upload(gpu, self.points.upload(gpu)?, &self.centroids, self.d, self.problems as u64)?;
        // Half of the cases know how long their points are.
        let known = self.rows() % 4 < 2;
        let square = known.then(|| assign::largest_square(&self.points.clustered, self.d));
        let (on, d, metric) = (trial.assignment(), self.d as u64, self.metric);
        let passes = vec![
            Assign::load(gpu, &self.points.fill(spec), square)?.bind(gpu, &on, d, metric)?,
            Rerank::load(gpu, self.points.layout())?.bind(gpu, &on, d, metric)?,
        ];
        let labels = vec![NO_LABEL; self.points.clustered.len() / self.d];
        Ok(Prepared {
            passes,
            outputs: vec![("labels", trial.labels), ("changed", trial.changed)],
            others: [trial.centroids, trial.norms, trial.control, trial.ties]
                .into_iter()
                .chain(trial.points.into_buffers())
                .collect(),
            before: vec![("labels", labels), ("changed", vec![0; self.problems])],
        })
    }

    fn rows(&self) -> usize {
        self.points.clustered.len() / self.d
    }

    fn expected(&self, sample: &Sample) -> Vec<Expected> {
        let all = &self.points.clustered;
        let (n, k) = (all.len() / self.problems, self.centroids.len() / self.problems);
        let changed = vec![(n / self.d) as u32; self.problems];
        let dot = self.metric == Metric::Dot;
        let label = |&row: &usize| {
            let problem = row * self.d / n;
            let (point, centroids) = (&all[row * self.d..][..self.d], &self.centroids[problem * k..][..k]);
            oracle::assign::nearest(point, centroids, self.d, dot)[0] + (problem * k / self.d) as u32
        };
        vec![Expected::Exact(sample.rows().iter().map(label).collect()), Expected::Exact(changed)]
    }
}
