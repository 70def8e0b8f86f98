//! Cases of `distance`.

use super::laid::{Points, layouts};
use super::{Case, Entry, Expected, Prepared, Random, Sample};
use crate::Result;
use crate::gpu::{Buffer, Context, OpKind, Spec};
use crate::kmeans::Metric;
use crate::kmeans::distance::{Distance, SPEC};
use crate::kmeans::element::FILES;
use crate::kmeans::frame::pad;
use crate::oracle;

/// The kernel's place in the registry.
pub const ENTRY: Entry = Entry {
    stem: "distance",
    variants: &[SPEC],
    stages: &[],
    decoders: FILES,
    op: OpKind::F32,
    tests,
    benches,
};

fn tests() -> Vec<Box<dyn Case>> {
    let sizes = [(0, 1, 1), (1, 1, 1), (63, 3, 3), (64, 5, 4), (65, 2, 7), (997, 31, 384), (5, 2, 1000)];
    let mut cases: Vec<Box<dyn Case>> = Vec::new();
    for size in sizes {
        cases.push(Box::new(Measuring::new(size, Metric::Euclidean)));
    }
    cases.push(Box::new(Measuring::new((65, 5, 7), Metric::Cosine)));
    cases.push(Box::new(Measuring::new((65, 5, 7), Metric::Dot)));
    for (d, (element, transform)) in
        [4, 7].into_iter().flat_map(|d| layouts(d).into_iter().map(move |of| (d, of)))
    {
        let floats = Measuring::new((65, 5, d), Metric::Euclidean);
        let points = Points::of_floats(&floats.points.clustered, d, element, transform);
        cases.push(Box::new(Measuring { points, ..floats }));
    }
    cases
}

fn benches(bytes: u64) -> Vec<Box<dyn Case>> {
    let d = 64;
    vec![Box::new(Measuring::new(
        ((bytes as usize / (4 * d)).clamp(4_096, 1 << 20), 256, d),
        Metric::Euclidean,
    ))]
}

struct Measuring {
    points: Points,
    centroids: Vec<f32>,
    labels: Vec<u32>,
    d: usize,
    metric: Metric,
}

impl Measuring {
    fn new((n, k, d): (usize, usize, usize), metric: Metric) -> Self {
        let mut random = Random::new(n as u64);
        let labels = (0..n).map(|_| random.below(k as u64) as u32).collect();
        let points = Points::plain(random.floats(n * d), d);
        Self { points, centroids: random.floats(k * d), labels, d, metric }
    }

    /// The points and centroids of some rows.
    fn pairs<'a>(&'a self, sample: &'a Sample) -> impl Iterator<Item = (&'a [f32], &'a [f32])> {
        let row = |values: &'a [f32], row: usize| &values[row * self.d..][..self.d];
        sample
            .rows()
            .iter()
            .map(move |&at| (row(&self.points.clustered, at), row(&self.centroids, self.labels[at] as usize)))
    }
}

impl Case for Measuring {
    fn name(&self) -> String {
        let (n, k, d, label) =
            (self.labels.len(), self.centroids.len() / self.d, self.d, self.points.label());
        format!("n={n} k={k} d={d} {:?}{label}", self.metric)
    }

    fn decoder(&self) -> Option<&'static str> {
        Some(self.points.decoder())
    }

    fn prepare(&self, gpu: &Context, _: &Spec) -> Result<Prepared> {
        let n = self.labels.len() as u64;
        let k = (self.centroids.len() / self.d) as u64;
        let points = self.points.upload(gpu)?;
        let centroids = Buffer::from_slice(gpu, "centroids", k, &pad(&self.centroids, self.d))?;
        let labels = Buffer::from_slice(gpu, "labels", n, &self.labels)?;
        let distances = Buffer::new(gpu, "distances", n, 4)?;
        let to = (&centroids, &labels);
        let kernel = Distance::load(gpu, self.points.layout())?;
        let bound = kernel.bind(gpu, points.laid(), to, &distances, self.d as u64, self.metric)?;
        Ok(Prepared {
            passes: vec![bound],
            outputs: vec![("distances", distances)],
            others: [centroids, labels].into_iter().chain(points.into_buffers()).collect(),
            before: Vec::new(),
        })
    }

    fn rows(&self) -> usize {
        self.labels.len()
    }

    fn expected(&self, sample: &Sample) -> Vec<Expected> {
        type Of = fn(&[f32], &[f32]) -> f64;
        let (distance, bound): (Of, Of) = match self.metric {
            Metric::Dot => (|x, c| -oracle::distance::product(x, c), oracle::distance::product_bound),
            _ => (oracle::distance::distance, oracle::distance::bound),
        };
        let factor = if self.metric == Metric::Cosine { 0.5 } else { 1.0 };
        vec![Expected::Within {
            values: self.pairs(sample).map(|(x, c)| factor * distance(x, c)).collect(),
            bounds: self.pairs(sample).map(|(x, c)| bound(x, c)).collect(),
        }]
    }
}
