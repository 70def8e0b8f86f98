//! Cases of `rerank`.

use super::laid::{Points, layouts};
use super::{Case, Entry, Expected, FOLDED, Prepared, Random, Sample};
use crate::Result;
use crate::gpu::{Context, OpKind, Spec};
use crate::kmeans::Metric;
use crate::kmeans::assign::Trial;
use crate::kmeans::control::NO_LABEL;
use crate::kmeans::element::FILES;
use crate::kmeans::rerank::{Rerank, SPEC};
use crate::oracle;

/// The kernel's place in the registry.
pub const ENTRY: Entry = Entry {
    stem: "rerank",
    variants: &[SPEC],
    stages: &[],
    decoders: FILES,
    op: OpKind::F32,
    tests,
    benches,
};

fn tests() -> Vec<Box<dyn Case>> {
    let mut cases: Vec<Reranking> = Vec::new();
    for size in [(1, 1, 1), (63, 3, 3), (64, 64, 4), (65, 65, 5), (513, 130, 7), (1031, 20, 2), (40, 9, 385)]
    {
        for kind in [Kind::Apart, Kind::Ties, Kind::Equal, Kind::Far, Kind::Wide, Kind::Tiny] {
            cases.push(Reranking::new(size, kind, Metric::Euclidean));
        }
    }
    // More workgroups than a row of a grid has.
    let many = Reranking::new((FOLDED, 2, 1), Kind::Apart, Metric::Euclidean);
    cases.push(Reranking { workgroups: FOLDED as u64, ..many });
    for kind in [Kind::Apart, Kind::Ties, Kind::Equal, Kind::Wide] {
        cases.push(Reranking::new((130, 71, 6), kind, Metric::Dot));
    }
    cases.push(Reranking::new((130, 71, 6), Kind::Ties, Metric::Cosine));
    for (element, transform) in layouts(6) {
        let case = Reranking::new((65, 66, 6), Kind::Apart, Metric::Euclidean);
        let points = Points::of_floats(&case.points.clustered, 6, element, transform);
        cases.push(Reranking { points, ..case });
    }
    cases.into_iter().map(|case| Box::new(case) as Box<dyn Case>).collect()
}

fn benches(bytes: u64) -> Vec<Box<dyn Case>> {
    let (k, d) = (256, 64);
    let n = (bytes as usize / (4 * d)).clamp(1_024, 1 << 13);
    vec![Box::new(Reranking::new((n, k, d), Kind::Apart, Metric::Euclidean))]
}

/// What makes points hard to decide.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Nothing.
    Apart,
    /// They lie half-way between two centroids, up to rounding.
    Ties,
    /// Small whole numbers: several centroids are as near, and some the same.
    Equal,
    /// Groups far from each other.
    Far,
    /// Values of every size.
    Wide,
    /// Squares below the normal numbers.
    Tiny,
}

/// All of `n` points, listed for `k` centroids in `d` dimensions.
struct Reranking {
    points: Points,
    centroids: Vec<f32>,
    d: usize,
    kind: Kind,
    metric: Metric,
    workgroups: u64,
}

impl Reranking {
    fn new((n, k, d): (usize, usize, usize), kind: Kind, metric: Metric) -> Self {
        let mut random = Random::new((n * k) as u64);
        let mut draw = |rows: usize| match kind {
            Kind::Equal => random.integers(rows * d, 2),
            Kind::Far => {
                let values = random.floats(rows * d).into_iter().enumerate();
                values.map(|(at, value)| value + 1e6 * (at / d % 3) as f32).collect()
            }
            Kind::Wide => {
                let mut wide = || (random.below(120) as f32 - 60.0).exp2();
                let sizes: Vec<f32> = (0..rows * d).map(|_| wide()).collect();
                random.floats(rows * d).into_iter().zip(sizes).map(|(value, size)| value * size).collect()
            }
            Kind::Tiny => random.floats(rows * d).into_iter().map(|value| value * 1e-30).collect(),
            Kind::Apart | Kind::Ties => random.floats(rows * d),
        };
        let (mut points, centroids): (Vec<f32>, Vec<f32>) = (draw(n), draw(k));
        if let Kind::Ties = kind {
            for row in points.chunks_mut(d) {
                let [a, b] = [0, 1].map(|_| &centroids[random.below(k as u64) as usize * d..][..d]);
                row.iter_mut().zip(a.iter().zip(b)).for_each(|(value, (a, b))| *value = (a + b) / 2.0);
            }
        }
        Self { points: Points::plain(points, d), centroids, d, kind, metric, workgroups: 17 }
    }

    fn n(&self) -> usize {
        self.points.clustered.len() / self.d
    }
}

impl Case for Reranking {
    fn name(&self) -> String {
        let (n, k, d) = (self.n(), self.centroids.len() / self.d, self.d);
        format!("n={n} k={k} d={d} {:?} {:?}{}", self.kind, self.metric, self.points.label())
    }

    fn decoder(&self) -> Option<&'static str> {
        Some(self.points.decoder())
    }

    fn prepare(&self, gpu: &Context, _: &Spec) -> Result<Prepared> {
        let trial = Trial::upload(gpu, self.points.upload(gpu)?, &self.centroids, self.d, 1)?;
        let rerank = Rerank::load(gpu, self.points.layout())?;
        let n = self.n() as u32;
        Ok(Prepared {
            passes: vec![rerank.bind_in(
                gpu,
                &trial.assignment(),
                (self.d as u64, self.metric),
                self.workgroups,
            )?],
            outputs: vec![("labels", trial.labels), ("changed", trial.changed), ("ties", trial.ties)],
            others: [trial.centroids, trial.norms, trial.control]
                .into_iter()
                .chain(trial.points.into_buffers())
                .collect(),
            before: vec![
                ("labels", vec![NO_LABEL; self.n()]),
                ("changed", vec![0]),
                ("ties", [n, 0, 0, 0].into_iter().chain(0..n).collect()),
            ],
        })
    }

    fn rows(&self) -> usize {
        self.n()
    }

    fn expected(&self, sample: &Sample) -> Vec<Expected> {
        let n = self.n() as u32;
        let dot = self.metric == Metric::Dot;
        let points = sample.rows().iter().flat_map(|&row| &self.points.clustered[row * self.d..][..self.d]);
        let points: Vec<f32> = points.copied().collect();
        let labels = oracle::rerank::rerank(&points, &self.centroids, self.d, dot);
        vec![
            Expected::Exact(labels),
            Expected::Exact(vec![n]),
            Expected::Exact([0, 0, n, 0].into_iter().chain(0..n).collect()),
        ]
    }
}
