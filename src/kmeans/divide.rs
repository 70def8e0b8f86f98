//! First centroids that are clusterings themselves: the points are divided into parts, and those again, by k-means of their
//! own points. A part lies on the device while it is divided, in the frame and with the sums of the whole fit, so that its
//! centroids are exact and depend neither on chunks nor on the adapter.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::adapters;
use super::centroid::Scales;
use super::iterate::Lloyd;
use super::metric::Metric;
use super::options::{Init, KMeans};
use super::points::Points;
use super::progress::Progress;
use super::seed;
use super::views::Rows;
use super::weights::of_rows;
use crate::Result;
use crate::gpu::Context;
use crate::random::Random;

/// Most iterations of a division (FAISS): the loop over all points goes on from what it gives.
const ITERATIONS: u32 = 25;

/// The seeds of a division are chosen among a uniform sample of so many points for each part (FAISS), and not of fewer than these.
const SEEDED_AMONG: (u64, u64) = (256, 1 << 14);

/// How points are divided.
pub(super) struct Division<'a> {
    /// Where.
    pub gpu: &'a Context,
    /// All of them.
    pub points: &'a Points<'a>,
    /// Those of the whole fit.
    pub settings: &'a KMeans,
    /// Of the sums over them.
    pub scales: Scales,
}

/// Some of the points.
#[derive(Default)]
struct Part {
    /// Those that weigh more than 0, rising.
    rows: Vec<u64>,
    /// Padded.
    centroid: Vec<f32>,
    /// The sum of their distances to it, times their weights.
    inertia: f64,
    /// The sum of their weights.
    mass: f64,
}

impl Part {
    /// The mean variance of its columns.
    fn variance(&self, d: u64) -> f64 {
        self.inertia / (self.mass * d as f64)
    }
}

impl Division<'_> {
    /// The first centroids beside frozen ones, padded, of points whose columns have this mean `variance`. No point has a label afterwards.
    pub fn first(
        &self,
        variance: f64,
        random: &mut Random,
        progress: &mut dyn FnMut(Progress) -> Result<()>,
    ) -> Result<Vec<f32>> {
        let parts = if matches!(self.settings.init, Init::TwoLevel) {
            self.two_levels(variance, random, progress)
        } else {
            self.bisected(variance, random, progress)
        };
        self.points.forget_labels(self.gpu)?;
        Ok(parts?.into_iter().flat_map(|part| part.centroid).collect())
    }

    /// The part of the largest inertia becomes two, until there are enough.
    fn bisected(
        &self,
        variance: f64,
        random: &mut Random,
        progress: &mut dyn FnMut(Progress) -> Result<()>,
    ) -> Result<Vec<Part>> {
        let k = self.settings.others();
        let mut parts = self.cluster(self.points, None, k.min(2), variance, random)?;
        // Inertias are not negative, so their bits have their order.
        let order =
            |at: usize, part: &Part| (part.rows.len() > 1).then(|| (part.inertia.to_bits(), Reverse(at)));
        let mut largest: BinaryHeap<_> =
            parts.iter().enumerate().filter_map(|(at, part)| order(at, part)).collect();
        while let (true, Some((_, Reverse(at)))) = (parts.len() < k, largest.pop()) {
            progress(Progress::Seeding { chosen: parts.len(), of: k })?;
            let halves = self.divided(std::mem::take(&mut parts[at]), 2, random)?;
            for (at, half) in [at, parts.len()].into_iter().zip(halves) {
                largest.extend(order(at, &half));
                if at < parts.len() { parts[at] = half } else { parts.push(half) }
            }
        }
        Ok(parts)
    }

    /// About as many parts as each of them becomes later.
    fn two_levels(
        &self,
        variance: f64,
        random: &mut Random,
        progress: &mut dyn FnMut(Progress) -> Result<()>,
    ) -> Result<Vec<Part>> {
        let k = self.settings.others();
        let coarse = self.cluster(self.points, None, (k as f64).sqrt().ceil() as usize, variance, random)?;
        let sizes: Vec<u64> = coarse.iter().map(|part| part.rows.len() as u64).collect();
        let mut parts = Vec::with_capacity(k);
        for (part, count) in coarse.into_iter().zip(shares(&sizes, k as u64)) {
            progress(Progress::Seeding { chosen: parts.len(), of: k })?;
            parts.extend(self.divided(part, count as usize, random)?);
        }
        Ok(parts)
    }

    /// `count` parts of one; of points that are all the same, the others are empty.
    fn divided(&self, part: Part, count: usize, random: &mut Random) -> Result<Vec<Part>> {
        if count < 2 || part.inertia == 0.0 {
            let centroid = part.centroid.clone();
            let others = (1..count).map(|_| Part { centroid: centroid.clone(), ..Part::default() });
            let others: Vec<Part> = others.collect();
            return Ok(Some(part).filter(|_| count > 0).into_iter().chain(others).collect());
        }
        let (points, gpu) = (self.points, self.gpu);
        let variance = part.variance(points.d());
        let weights = of_rows(points.weights(), &part.rows);
        let rows = Rows { of: points.source(), rows: &part.rows };
        let share = adapters::share(&[gpu], &rows, weights.as_deref())?;
        let square = points.square().map(f64::from);
        let room = self.settings.room_beside(points);
        let placed = adapters::place(&share, points.transform(), square, count, room)?;
        self.cluster(&placed[0], Some(&part.rows), count, variance, random)
    }

    /// `count` parts of points, which are these `rows` of all, by k-means.
    fn cluster(
        &self,
        points: &Points<'_>,
        rows: Option<&[u64]>,
        count: usize,
        variance: f64,
        random: &mut Random,
    ) -> Result<Vec<Part>> {
        let Self { gpu, settings, scales, .. } = *self;
        // As k-means++, by squared distances where others could be negative.
        let metric = if settings.metric == Metric::Cosine { Metric::Cosine } else { Metric::Euclidean };
        let among = (SEEDED_AMONG.0 * count as u64).max(SEEDED_AMONG.1);
        let bytes = seed::bytes_for(among, points.d(), count as u64).min(settings.seed_bytes);
        let own = KMeans::new(count).seed_bytes(bytes);
        let go_on = &mut |_| Ok(());
        let first = own.first(gpu, points, &[], random, &mut Vec::new(), go_on)?;
        let tol = (settings.tol * variance) as f32;
        let lloyd = Lloyd::new(gpu, points, count as u64, metric, scales, &[tol])?;
        lloyd.start_from(&first)?;
        lloyd.run(ITERATIONS, Vec::new(), None, &mut |_| ())?;
        let labels = lloyd.labels()?;
        let centroids: Vec<f32> = lloyd.labeller.centroids.read(gpu)?;
        let width = centroids.len() / count;
        let mut parts: Vec<Part> =
            centroids.chunks(width).map(|row| Part { centroid: row.to_vec(), ..Part::default() }).collect();
        lloyd.labeller.distances(&mut |first, distances| {
            for (point, weighed) in (first..).zip(points.weighed(first, distances)) {
                let weight = points.weight(point);
                if weight > 0.0 {
                    let part = &mut parts[labels[point as usize] as usize];
                    part.rows.push(rows.map_or(point, |rows| rows[point as usize]));
                    part.inertia += weighed;
                    part.mass += f64::from(weight);
                }
            }
        })?;
        Ok(parts)
    }
}

/// How many clusters parts of so many points get of `k`: one each, none without points; the rest in proportion to their other
/// points, the largest remainders first. No part gets more than it has points, where all have `k` or more.
fn shares(sizes: &[u64], k: u64) -> Vec<u64> {
    let mut shares: Vec<u64> = sizes.iter().map(|&size| size.min(1)).collect();
    let (given, points): (u64, u64) = (shares.iter().sum(), sizes.iter().sum());
    let (rest, others) = (u128::from(k - given), u128::from(points - given).max(1));
    let mut remainders: Vec<(u128, Reverse<usize>)> = Vec::with_capacity(sizes.len());
    for (at, (share, &size)) in shares.iter_mut().zip(sizes).enumerate() {
        let due = rest * u128::from(size.saturating_sub(1));
        *share += (due / others) as u64;
        remainders.push((due % others, Reverse(at)));
    }
    let left = (k - shares.iter().sum::<u64>()) as usize;
    remainders.sort_unstable();
    for (_, Reverse(at)) in remainders.into_iter().rev().take(left) {
        shares[at] += 1;
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::shares;
    use crate::random::Random;

    #[test]
    fn shares_sum_to_k_and_follow_the_sizes() {
        assert_eq!(shares(&[10, 10, 10], 3), [1, 1, 1]);
        assert_eq!(shares(&[100, 0, 300], 8), [2, 0, 6]);
        assert_eq!(shares(&[1, 1, 98], 10), [1, 1, 8]);
        assert_eq!(shares(&[3, 2, 0, 1], 6), [3, 2, 0, 1]);
        assert_eq!(shares(&[7], 4), [4]);
        let mut random = Random::new(4);
        for _ in 0..500 {
            let sizes: Vec<u64> = (0..1 + random.below(20)).map(|_| random.below(50)).collect();
            let (points, filled) =
                (sizes.iter().sum::<u64>(), sizes.iter().filter(|&&size| size > 0).count());
            if points == 0 {
                continue;
            }
            let k = filled as u64 + random.below(points - filled as u64 + 1);
            let shares = shares(&sizes, k);
            assert_eq!(shares.iter().sum::<u64>(), k, "{sizes:?} {k}");
            for (&share, &size) in shares.iter().zip(&sizes) {
                assert!((size.min(1)..=size).contains(&share), "{sizes:?} {k} {shares:?}");
                let due = k as f64 * size as f64 / points as f64;
                assert!(share as f64 <= due + 2.0 && share as f64 + filled as f64 >= due, "{sizes:?} {k}");
            }
        }
    }
}
