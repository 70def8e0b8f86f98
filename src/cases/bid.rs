//! Cases of `bid`.

use super::laid::{Points, layouts};
use super::{Case, Entry, Expected, Prepared, Random, Sample};
use crate::Result;
use crate::gpu::{Buffer, Context, OpKind, Spec};
use crate::kmeans::Metric;
use crate::kmeans::bid::{Bid, SPEC};
use crate::kmeans::element::FILES;
use crate::kmeans::frame::pad;
use crate::oracle;

/// The kernel's place in the registry.
pub const ENTRY: Entry =
    Entry { stem: "bid", variants: &[SPEC], stages: &[], decoders: FILES, op: OpKind::F32, tests, benches };

fn tests() -> Vec<Box<dyn Case>> {
    let sizes = [(0, 1, 1), (1, 1, 1), (63, 3, 3), (64, 5, 4), (65, 2, 7), (997, 31, 33), (5, 9, 1000)];
    let mut cases: Vec<Box<dyn Case>> = Vec::new();
    for size in sizes {
        cases.push(Box::new(Bidding::new(size, Metric::Euclidean)));
    }
    cases.push(Box::new(Bidding::new((65, 6, 7), Metric::Cosine)));
    cases.push(Box::new(Bidding::new((65, 6, 7), Metric::Dot)));
    // Many equal costs.
    let equal = Bidding::new((200, 8, 1), Metric::Euclidean);
    let whole = |values: &[f32]| values.iter().map(|x| x.round()).collect::<Vec<f32>>();
    let points = Points::plain(whole(&equal.points.clustered), 1);
    cases.push(Box::new(Bidding {
        points,
        centroids: whole(&equal.centroids),
        prices: vec![0.0; 8],
        ..equal
    }));
    for (element, transform) in layouts(7) {
        let floats = Bidding::new((65, 5, 7), Metric::Euclidean);
        let points = Points::of_floats(&floats.points.clustered, 7, element, transform);
        cases.push(Box::new(Bidding { points, ..floats }));
    }
    cases
}

fn benches(bytes: u64) -> Vec<Box<dyn Case>> {
    let d = 64;
    vec![Box::new(Bidding::new(((bytes as usize / (4 * d)).clamp(4_096, 1 << 18), 64, d), Metric::Euclidean))]
}

struct Bidding {
    points: Points,
    centroids: Vec<f32>,
    prices: Vec<f32>,
    d: usize,
    metric: Metric,
}

impl Bidding {
    fn new((n, k, d): (usize, usize, usize), metric: Metric) -> Self {
        let mut random = Random::new(n as u64);
        let points = Points::plain(random.floats(n * d), d);
        let (centroids, prices) = (random.floats(k * d), random.floats(k));
        Self { points, centroids, prices, d, metric }
    }

    /// What the clusters cost the point of a row.
    fn bid(&self, row: usize) -> (u32, f32) {
        let x = &self.points.clustered[row * self.d..][..self.d];
        let factor = if self.metric == Metric::Cosine { 0.5 } else { 1.0 };
        let clusters = self.centroids.chunks(self.d).zip(&self.prices);
        oracle::bid::bid(
            clusters
                .map(|(c, price)| oracle::bid::distance(x, c, factor, self.metric == Metric::Dot) + price),
        )
    }
}

impl Case for Bidding {
    fn name(&self) -> String {
        let (n, k, d) = (self.points.clustered.len() / self.d, self.prices.len(), self.d);
        format!("n={n} k={k} d={d} {:?}{}", self.metric, self.points.label())
    }

    fn decoder(&self) -> Option<&'static str> {
        Some(self.points.decoder())
    }

    fn prepare(&self, gpu: &Context, _: &Spec) -> Result<Prepared> {
        let (n, k) = (self.rows() as u64, self.prices.len() as u64);
        let points = self.points.upload(gpu)?;
        let centroids = Buffer::from_slice(gpu, "centroids", k, &pad(&self.centroids, self.d))?;
        let prices = Buffer::from_slice(gpu, "prices", k, &self.prices)?;
        let (labels, regrets) = (Buffer::new(gpu, "labels", n, 4)?, Buffer::new(gpu, "regrets", n, 4)?);
        let kernel = Bid::load(gpu, self.points.layout())?;
        let of = (self.d as u64, self.metric);
        let bound = kernel.bind(gpu, points.laid(), (&centroids, &prices), (&labels, &regrets), of)?;
        Ok(Prepared {
            passes: vec![bound],
            outputs: vec![("labels", labels), ("regrets", regrets)],
            others: [centroids, prices].into_iter().chain(points.into_buffers()).collect(),
            before: Vec::new(),
        })
    }

    fn rows(&self) -> usize {
        self.points.clustered.len() / self.d
    }

    fn expected(&self, sample: &Sample) -> Vec<Expected> {
        let (labels, regrets) = sample
            .rows()
            .iter()
            .map(|&row| self.bid(row))
            .map(|(label, regret)| (label, regret.to_bits()))
            .unzip();
        vec![Expected::Exact(labels), Expected::Exact(regrets)]
    }
}
