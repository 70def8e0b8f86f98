//! Cases of `centroid`: the whole update, from labels to means, the sort included.

use super::laid::{Points, layouts};
use super::{Case, Entry, Expected, FOLDED, Prepared, Random, Sample};
use crate::Result;
use crate::gpu::dispatch::Class;
use crate::gpu::{Buffer, Context, OpKind, Spec};
use crate::kmeans::centroid::{self, Centroid, Means, STAGES, Scales, VARIANTS, Weighted};
use crate::kmeans::element::FILES;
use crate::kmeans::frame::pad;
use crate::kmeans::radix_sort::RadixSort;
use crate::oracle;

/// The kernel's place in the registry.
pub const ENTRY: Entry = Entry {
    stem: "centroid",
    variants: VARIANTS,
    stages: STAGES,
    decoders: FILES,
    op: OpKind::F32,
    tests,
    benches,
};

fn tests() -> Vec<Box<dyn Case>> {
    let sizes = [
        (1, 1, 1),
        (31, 4, 3),
        (32, 1, 4),
        (33, 40, 5),
        (1000, 7, 3),
        (1025, 64, 16),
        (4099, 300, 2),
        (777, 3, 384),
        (67, 5, 1000),
        (20_011, 2, 1),
    ];
    let mut cases: Vec<Box<dyn Case>> = Vec::new();
    for (i, &size) in sizes.iter().enumerate() {
        cases.push(Box::new(Updating::new(size, Random::new(i as u64), 1)));
        cases.push(Box::new(Updating::new(size, Random::new(i as u64), 1).weighted()));
    }
    // Points in three blocks, as a file larger than a binding has them.
    cases.push(Box::new(Updating::new((1000, 9, 6), Random::new(99), 3)));
    cases.push(Box::new(Updating::new((1000, 9, 6), Random::new(98), 3).weighted()));
    // More clusters than a row of a grid has workgroups.
    cases.push(Box::new(Updating::new((1000, FOLDED, 1), Random::new(96), 1)));
    for frozen in [0, 5, 9] {
        // Half of the points are in number 4, and numbers 7 and 8 have none.
        let new = |seed| Updating { frozen, ..Updating::new((1000, 9, 6), Random::new(seed), 1) };
        cases.push(Box::new(Updating { spherical: true, ..new(97) }));
        cases.push(Box::new(new(95).weighted()));
    }
    for (d, (element, transform)) in
        [3, 4, 65].into_iter().flat_map(|d| layouts(d).into_iter().map(move |of| (d, of)))
    {
        let new = |seed| {
            let floats = Updating::new((1025, 9, d), Random::new(seed), 2);
            let points = Points::of_floats(&floats.points.clustered, d, element, transform.clone());
            Updating { points, ..floats }
        };
        cases.push(Box::new(new(1)));
        cases.push(Box::new(new(2).weighted()));
    }
    cases
}

fn benches(bytes: u64) -> Vec<Box<dyn Case>> {
    let (k, d) = (256, 64);
    let n = (bytes as usize / (4 * d)).clamp(4_096, 1 << 20);
    vec![Box::new(Updating::new((n, k, d), Random::new(1), 1))]
}

struct Updating {
    points: Points,
    labels: Vec<u32>,
    weights: Option<Vec<f32>>,
    old: Vec<f32>,
    d: usize,
    blocks: usize,
    spherical: bool,
    frozen: usize,
}

impl Updating {
    fn new((n, k, d): (usize, usize, usize), mut random: Random, blocks: usize) -> Self {
        // One cluster has half of the points, and some have none.
        let label = |r: &mut Random| {
            if r.word().is_multiple_of(2) { (k / 2) as u64 } else { r.below((k as u64 * 3).div_ceil(4)) }
        };
        let labels = (0..n).map(|_| label(&mut random) as u32).collect();
        let (points, old) = (Points::plain(random.floats(n * d), d), random.floats(k * d));
        Self { points, labels, weights: None, old, d, blocks, spherical: false, frozen: 0 }
    }

    /// The same with weights, some of them 0.
    fn weighted(mut self) -> Self {
        let mut random = Random::new(self.labels.len() as u64);
        let weight = |_| if random.below(5) == 0 { 0.0 } else { 3.0 * random.unit() as f32 };
        self.weights = Some((0..self.labels.len()).map(weight).collect());
        self
    }
}

impl Case for Updating {
    fn name(&self) -> String {
        let (k, weighted) = (self.old.len() / self.d, if self.weights.is_some() { " weighted" } else { "" });
        let spherical = if self.spherical { " spherical" } else { "" };
        let frozen = if self.frozen > 0 { format!(" frozen={}", self.frozen) } else { String::new() };
        let label = self.points.label();
        format!(
            "n={} k={k} d={} blocks={}{weighted}{spherical}{frozen}{label}",
            self.labels.len(),
            self.d,
            self.blocks
        )
    }

    fn class(&self) -> Class {
        centroid::class(self.points.layout(), self.d as u64)
    }

    fn decoder(&self) -> Option<&'static str> {
        Some(self.points.decoder())
    }

    fn prepare(&self, gpu: &Context, spec: &Spec) -> Result<Prepared> {
        let (d, k) = (self.d as u64, (self.old.len() / self.d) as u64);
        let d4 = d.div_ceil(4);
        let size = |values: &[f32]| f64::from(values.iter().fold(0.0, |most: f32, x| most.max(x.abs())));
        let scales = Scales::new(size(&self.points.clustered), self.weights.as_deref().map(size));
        let columns = Centroid::columns(d, scales);
        let (sorter, summer) =
            (RadixSort::load(gpu)?, Centroid::load(gpu, &self.points.fill(spec), self.d as u64)?);
        let per_block = self.labels.len().div_ceil(self.blocks);
        let sort_scratch = sorter.scratch(gpu, per_block as u64)?;
        let sum_scratch = summer.scratch(gpu, per_block as u64, k, columns)?;
        let centroids = Buffer::from_slice(gpu, "old", k, &pad(&self.old, self.d))?;
        let sums = Buffer::new(gpu, "sums", k, 4 * scales.words() * columns)?;
        let counts = Buffer::new(gpu, "counts", k, 4)?;
        let next = Buffer::new(gpu, "next", k, 16 * d4)?;
        let shift = Buffer::new(gpu, "shift", k, 4)?;
        let mass = Buffer::new(gpu, "mass", k, 4)?;
        let means = Means {
            centroids: &centroids,
            sums: &sums,
            counts: &counts,
            next: &next,
            shift: &shift,
            mass: &mass,
        };
        let bits = u64::BITS - (k - 1).leading_zeros();
        let (mut passes, mut others) = (Vec::new(), Vec::new());
        let one = [1.0];
        let weights: Vec<&[f32]> = match &self.weights {
            Some(weights) => weights.chunks(per_block).collect(),
            None => vec![&one; self.blocks],
        };
        let blocks = self.labels.chunks(per_block).zip(weights);
        for (i, (labels, weights)) in blocks.enumerate() {
            let n = labels.len() as u64;
            let points = self.points.rows(i * per_block..i * per_block + labels.len()).upload(gpu)?;
            let labels = Buffer::from_slice(gpu, "labels", n, labels)?;
            let weights = Buffer::from_slice(gpu, "weights", weights.len() as u64, weights)?;
            let sort = sorter.bind(gpu, &labels, None, bits, &sort_scratch)?;
            let block = Weighted { points: points.laid(), weights: &weights };
            let sums = summer.bind(gpu, block, &sort, &means, &sum_scratch, (k, d), scales, i == 0)?;
            passes.extend(sort.passes);
            passes.extend(sums);
            others.extend([labels, weights].into_iter().chain(points.into_buffers()));
        }
        passes.push(summer.bind_mean(gpu, &means, d, scales, self.spherical, self.frozen as u64)?);
        others.extend([centroids, sums]);
        Ok(Prepared {
            passes,
            outputs: vec![("counts", counts), ("mass", mass), ("next", next), ("shift", shift)],
            others,
            before: Vec::new(),
        })
    }

    fn expected(&self, _: &Sample) -> Vec<Expected> {
        let weights = self.weights.as_deref();
        let means = oracle::centroid::centroid(
            &self.points.clustered,
            &self.labels,
            weights,
            &self.old,
            self.d,
            self.spherical,
            self.frozen,
        );
        let padded = |values: &[f64]| {
            let width = self.d.next_multiple_of(4);
            let row = |row: &[f64]| {
                row.iter().copied().chain(std::iter::repeat_n(0.0, width - self.d)).collect::<Vec<_>>()
            };
            values.chunks(self.d).flat_map(row).collect::<Vec<f64>>()
        };
        vec![
            Expected::Exact(means.counts),
            Expected::Within {
                bounds: means.mass.iter().map(|mass| 1e-7 * mass).collect(),
                values: means.mass.clone(),
            },
            Expected::Within { values: padded(&means.next), bounds: padded(&means.next_bounds) },
            Expected::Within { values: means.shift, bounds: means.shift_bounds },
        ]
    }
}
