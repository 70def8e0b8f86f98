//! Cases of `transform`.

use super::laid::{Points, layouts};
use super::{Case, Entry, Expected, Prepared, Random, Sample};
use crate::Result;
use crate::gpu::{Buffer, Context, OpKind, Spec};
use crate::kmeans::Metric;
use crate::kmeans::element::FILES;
use crate::kmeans::frame::pad;
use crate::kmeans::transform::{Distances, SPEC};
use crate::oracle;

/// The kernel's place in the registry.
pub const ENTRY: Entry = Entry {
    stem: "transform",
    variants: &[SPEC],
    stages: &[],
    decoders: FILES,
    op: OpKind::F32,
    tests,
    benches,
};

fn tests() -> Vec<Box<dyn Case>> {
    let sizes = [
        (0, 1, 1),
        (1, 1, 1),
        (63, 3, 3),
        (64, 64, 4),
        (65, 65, 7),
        (131, 31, 384),
        (5, 2, 1000),
        (3, 257, 17),
    ];
    let mut cases: Vec<Box<dyn Case>> = Vec::new();
    for size in sizes {
        cases.push(Box::new(Transforming::new(size, Metric::Euclidean)));
    }
    cases.push(Box::new(Transforming::new((65, 5, 7), Metric::Cosine)));
    cases.push(Box::new(Transforming::new((65, 5, 7), Metric::Dot)));
    for (element, transform) in layouts(7) {
        let floats = Transforming::new((65, 5, 7), Metric::Euclidean);
        let points = Points::of_floats(&floats.points.clustered, 7, element, transform);
        cases.push(Box::new(Transforming { points, ..floats }));
    }
    cases
}

fn benches(bytes: u64) -> Vec<Box<dyn Case>> {
    let (k, d) = (256, 64);
    let n = (bytes as usize / (4 * (d + k))).clamp(4_096, 1 << 18);
    vec![Box::new(Transforming::new((n, k, d), Metric::Euclidean))]
}

struct Transforming {
    points: Points,
    centroids: Vec<f32>,
    d: usize,
    metric: Metric,
}

impl Transforming {
    fn new((n, k, d): (usize, usize, usize), metric: Metric) -> Self {
        let mut random = Random::new(n as u64);
        let (mut points, centroids) = (random.floats(n * d), random.floats(k * d));
        // A point on a centroid, whose distance is 0.
        if n > 0 {
            points[..d].copy_from_slice(&centroids[..d]);
        }
        Self { points: Points::plain(points, d), centroids, d, metric }
    }

    fn of_pairs(&self, sample: &Sample, of: impl Fn(&[f32], &[f32]) -> f64) -> Vec<f64> {
        let centroids = || self.centroids.chunks(self.d);
        let points = sample.pick(&self.points.clustered);
        points.chunks(self.d).flat_map(|x| centroids().map(|c| of(x, c)).collect::<Vec<_>>()).collect()
    }
}

impl Case for Transforming {
    fn name(&self) -> String {
        let (n, k) = (self.points.clustered.len() / self.d, self.centroids.len() / self.d);
        format!("n={n} k={k} d={} {:?}{}", self.d, self.metric, self.points.label())
    }

    fn decoder(&self) -> Option<&'static str> {
        Some(self.points.decoder())
    }

    fn prepare(&self, gpu: &Context, _: &Spec) -> Result<Prepared> {
        let (n, k) = ((self.points.clustered.len() / self.d) as u64, (self.centroids.len() / self.d) as u64);
        let points = self.points.upload(gpu)?;
        let centroids = Buffer::from_slice(gpu, "centroids", k, &pad(&self.centroids, self.d))?;
        let distances = Buffer::new(gpu, "distances", n, 4 * k)?;
        let kernel = Distances::load(gpu, self.points.layout())?;
        let bound = kernel.bind(gpu, points.laid(), &centroids, &distances, self.d as u64, self.metric)?;
        Ok(Prepared {
            passes: vec![bound],
            outputs: vec![("distances", distances)],
            others: std::iter::once(centroids).chain(points.into_buffers()).collect(),
            before: Vec::new(),
        })
    }

    fn rows(&self) -> usize {
        self.points.clustered.len() / self.d
    }

    fn expected(&self, sample: &Sample) -> Vec<Expected> {
        let of_pairs = |of: fn(&[f32], &[f32]) -> f64| self.of_pairs(sample, of);
        use oracle::{distance, transform};
        let (values, bounds) = match self.metric {
            Metric::Euclidean => (of_pairs(transform::transform), of_pairs(transform::bound)),
            Metric::Cosine => (of_pairs(|x, c| 0.5 * distance::distance(x, c)), of_pairs(distance::bound)),
            Metric::Dot => (of_pairs(|x, c| -distance::product(x, c)), of_pairs(distance::product_bound)),
        };
        vec![Expected::Within { values, bounds }]
    }
}
