//! Rows drawn by chance, and read; and how far all of them are from what was chosen.

use super::labeller::Labeller;
use super::metric::Metric;
use super::points::Points;
use crate::Result;
use crate::gpu::Context;
use crate::random::Random;

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

/// Shows every point's nearest of these centroids (padded) and its squared distance to it, not yet times its weight, in the order
/// of the points. By squared distances whatever the metric: they are never negative. The points get labels by it.
pub(super) fn nearest(
    gpu: &Context,
    points: &Points<'_>,
    centroids: &[f32],
    each: &mut dyn FnMut(usize, u32, f32),
) -> Result<()> {
    let width = (points.d() as usize).next_multiple_of(4);
    let labeller = Labeller::new(gpu, points, (centroids.len() / width) as u64, Metric::Euclidean)?;
    labeller.start_from(centroids)?;
    labeller.nearest(&mut |first, labels, distances| {
        for (point, (&label, &distance)) in (first as usize..).zip(labels.iter().zip(distances)) {
            each(point, label, distance);
        }
    })
}

/// Every point's squared distance to the nearest of these centroids (padded), if there are any. No point has a label
/// afterwards.
pub(super) fn distances_to(
    gpu: &Context,
    points: &Points<'_>,
    centroids: &[f32],
) -> Result<Option<Vec<f32>>> {
    if centroids.is_empty() {
        return Ok(None);
    }
    let mut distances = vec![0.0; points.n() as usize];
    nearest(gpu, points, centroids, &mut |point, _, distance| distances[point] = distance)?;
    points.forget_labels(gpu)?;
    Ok(Some(distances))
}

/// `k` different points, drawn by their weights if they have any.
pub(super) fn draw(n: usize, k: usize, weights: Option<&[f32]>, random: &mut Random) -> Vec<u64> {
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
