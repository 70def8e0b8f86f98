//! The first centroids: given, drawn, or chosen among the points.

use super::element::{Laid, Layout};
use super::points::{Points, Room, Transform};
use super::{Init, KMeans, Progress, SEED_BYTES, check_weights, parallel, seed};
use crate::gpu::{Buffer, Context};
use crate::random::Random;
use crate::{Error, Result};

impl KMeans {
    /// The first centroids, transformed and padded as the points are.
    pub(super) fn first(
        &self,
        gpu: &Context,
        points: &Points<'_>,
        transform: &Transform,
        random: &mut Random,
        notices: &mut Vec<String>,
        progress: &mut dyn FnMut(Progress) -> Result<()>,
    ) -> Result<Vec<f32>> {
        let chosen = match &self.init {
            Init::Centroids(given) => return self.given(given, transform, "init"),
            Init::Random => choose(points.n() as usize, self.k, points.weights(), random),
            Init::PlusPlus => self.plus_plus(gpu, points, random, notices, progress)?,
            Init::Parallel => parallel::choose(gpu, points, self.k, random, progress)?,
        };
        rows_of(points, &chosen)
    }

    /// Room for the points of all adapters on the first one, beside its own, while seeds are chosen.
    pub(super) fn room_to_choose(&self, d: usize) -> Room {
        // Four points fit in any case.
        Room { bytes: self.room.bytes.min(SEED_BYTES.max(128 * d as u64)), ..self.room }
    }

    /// The points that k-means++ chooses. Of more than a 24-bit random number can tell apart, or of very many bytes, it
    /// sees a uniform sample.
    fn plus_plus(
        &self,
        gpu: &Context,
        points: &Points<'_>,
        random: &mut Random,
        notices: &mut Vec<String>,
        progress: &mut dyn FnMut(Progress) -> Result<()>,
    ) -> Result<Vec<u64>> {
        let (n, d, k) = (points.n(), points.d(), self.k as u64);
        let most = seed::most_points(gpu.adapter.max_binding_bytes.min(self.seed_bytes), d, k);
        let mut choose =
            |random: &mut Random, (from, layout): (Laid<'_>, Layout), weights: Option<&[f32]>| {
                let seeds = seed::Seed::tuned(gpu, layout, from.rows(), d, k)?;
                seeds.choose(gpu, (from, 1), weights, d, k, random, progress)
            };
        if n <= most
            && let Some(block) = points.whole()
        {
            let chosen = choose(random, (block.laid(), points.layout()), points.weights())?;
            return Ok(chosen.into_iter().map(u64::from).collect());
        }
        let rows: Vec<u64> = if n <= most {
            (0..n).collect()
        } else {
            if most < k {
                return Err(Error::Input(format!(
                    "k-means++ can choose among at most {most} points of this size on this adapter, fewer than \
                     n_clusters={k}: use --init random"
                )));
            }
            notices.push(format!("k-means++ chose among a uniform sample of {most} of the {n} points"));
            let mut rows = sample(n, most, random);
            // In the order in which they lie in a file.
            rows.sort_unstable();
            rows
        };
        let values = rows_of(points, &rows)?;
        let weights: Option<Vec<f32>> =
            points.weights().map(|weights| rows.iter().map(|&row| weights[row as usize]).collect());
        if let Some(weights) = &weights {
            check_weights(weights, rows.len(), self.k)?;
        }
        let from = Buffer::from_slice(gpu, "points to choose from", rows.len() as u64, &values)?;
        let chosen = choose(random, ((&from).into(), Layout::F32), weights.as_deref())?;
        Ok(chosen.into_iter().map(|i| rows[i as usize]).collect())
    }
}

/// Points as they lie on the device, padded.
pub(super) fn rows_of(points: &Points<'_>, rows: &[u64]) -> Result<Vec<f32>> {
    let width = (points.d() as usize).next_multiple_of(4);
    let mut values = Vec::with_capacity(rows.len() * width);
    for &row in rows {
        values.extend(points.row(row)?);
        values.resize(values.len().next_multiple_of(width), 0.0);
    }
    Ok(values)
}

/// `k` different points, drawn by their weights if they have any.
pub(super) fn choose(n: usize, k: usize, weights: Option<&[f32]>, random: &mut Random) -> Vec<u64> {
    let Some(weights) = weights else { return sample(n as u64, k as u64, random) };
    // The largest of u^(1/w) (Efraimidis and Spirakis 2006).
    let mut keys: Vec<(f64, u64)> = (0..)
        .zip(weights)
        .filter(|(_, weight)| **weight > 0.0)
        .map(|(row, &weight)| (random.unit().max(f64::MIN_POSITIVE).ln() / f64::from(weight), row))
        .collect();
    keys.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    keys.into_iter().take(k).map(|(_, row)| row).collect()
}

/// `k` different numbers below `n`, uniformly drawn (Floyd's method), in random order.
pub(super) fn sample(n: u64, k: u64, random: &mut Random) -> Vec<u64> {
    let mut seen = std::collections::HashSet::new();
    let mut chosen = Vec::with_capacity(k as usize);
    for last in n - k..n {
        let drawn = random.below(last + 1);
        let taken = if seen.insert(drawn) { drawn } else { last };
        seen.insert(taken);
        chosen.push(taken);
    }
    for i in (1..chosen.len()).rev() {
        chosen.swap(i, random.below(i as u64 + 1) as usize);
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_different_and_complete() {
        let mut random = Random::new(1);
        for (n, k) in [(1, 1), (10, 10), (100, 7)] {
            let mut drawn = sample(n, k, &mut random);
            drawn.sort_unstable();
            drawn.dedup();
            assert_eq!(drawn.len() as u64, k);
            assert!(drawn.iter().all(|&i| i < n));
        }
    }
}
