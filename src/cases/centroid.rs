//! Cases of `centroid`: the whole update, from labels to means, the sort included.

use super::{Case, Entry, Expected, Prepared, Random};
use crate::Result;
use crate::gpu::{Buffer, Context, OpKind, Spec};
use crate::kmeans::centroid::{Centroid, Means, STAGES};
use crate::kmeans::lloyd::pad;
use crate::kmeans::radix_sort::RadixSort;
use crate::oracle;

/// The kernel's place in the registry.
pub const ENTRY: Entry = Entry {
    stem: "centroid",
    variants: &[STAGES[2]],
    stages: STAGES,
    decoders: &[],
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
    }
    // Points in three blocks, as a file larger than a binding has them.
    cases.push(Box::new(Updating::new((1000, 9, 6), Random::new(99), 3)));
    cases
}

fn benches(bytes: u64) -> Vec<Box<dyn Case>> {
    let (k, d) = (256, 64);
    let n = (bytes as usize / (4 * d)).clamp(4_096, 1 << 20);
    vec![Box::new(Updating::new((n, k, d), Random::new(1), 1))]
}

struct Updating {
    points: Vec<f32>,
    labels: Vec<u32>,
    old: Vec<f32>,
    d: usize,
    blocks: usize,
}

impl Updating {
    fn new((n, k, d): (usize, usize, usize), mut random: Random, blocks: usize) -> Self {
        // One cluster has half of the points, and some have none.
        let label = |r: &mut Random| {
            if r.word().is_multiple_of(2) { (k / 2) as u64 } else { r.below((k as u64 * 3).div_ceil(4)) }
        };
        let labels = (0..n).map(|_| label(&mut random) as u32).collect();
        Self { points: random.floats(n * d), labels, old: random.floats(k * d), d, blocks }
    }
}

impl Case for Updating {
    fn name(&self) -> String {
        format!("n={} k={} d={} blocks={}", self.labels.len(), self.old.len() / self.d, self.d, self.blocks)
    }

    fn prepare(&self, gpu: &Context, _: &Spec) -> Result<Prepared> {
        let (d, k) = (self.d as u64, (self.old.len() / self.d) as u64);
        let (d4, zero) = (d.div_ceil(4), vec![0.0; self.d]);
        let (sorter, summer) = (RadixSort::load(gpu)?, Centroid::load(gpu)?);
        let per_block = self.labels.len().div_ceil(self.blocks);
        let sort_scratch = sorter.scratch(gpu, per_block as u64)?;
        let sum_scratch = summer.scratch(gpu, per_block as u64, k, d4)?;
        let centroids = Buffer::from_slice(gpu, "old", k, &pad(&self.old, &zero))?;
        let sums = Buffer::new(gpu, "sums", k, 16 * d4)?;
        let counts = Buffer::new(gpu, "counts", k, 4)?;
        let next = Buffer::new(gpu, "next", k, 16 * d4)?;
        let shift = Buffer::new(gpu, "shift", k, 4)?;
        let means = Means { centroids: &centroids, sums: &sums, counts: &counts, next: &next, shift: &shift };
        let bits = u64::BITS - (k - 1).leading_zeros();
        let (mut passes, mut others) = (Vec::new(), Vec::new());
        let blocks = self.points.chunks(per_block * self.d).zip(self.labels.chunks(per_block));
        for (i, (points, labels)) in blocks.enumerate() {
            let n = labels.len() as u64;
            let points = Buffer::from_slice(gpu, "points", n, &pad(points, &zero))?;
            let labels = Buffer::from_slice(gpu, "labels", n, labels)?;
            let sort = sorter.bind(gpu, &labels, None, bits, &sort_scratch)?;
            let ends = (i == 0, i == self.blocks - 1);
            let sums = summer.bind(gpu, &points, &sort, &means, &sum_scratch, (k, d), ends)?;
            passes.extend(sort.passes);
            passes.extend(sums);
            others.extend([points, labels]);
        }
        others.extend([centroids, sums]);
        Ok(Prepared {
            passes,
            outputs: vec![("counts", counts), ("next", next), ("shift", shift)],
            others,
            before: Vec::new(),
        })
    }

    fn expected(&self) -> Vec<Expected> {
        let means = oracle::centroid::centroid(&self.points, &self.labels, &self.old, self.d);
        let padded = |values: &[f64]| {
            let width = self.d.next_multiple_of(4);
            let row = |row: &[f64]| {
                row.iter().copied().chain(std::iter::repeat_n(0.0, width - self.d)).collect::<Vec<_>>()
            };
            values.chunks(self.d).flat_map(row).collect::<Vec<f64>>()
        };
        vec![
            Expected::Exact(means.counts),
            Expected::Within { values: padded(&means.next), bounds: padded(&means.next_bounds) },
            Expected::Within { values: means.shift, bounds: means.shift_bounds },
        ]
    }
}
