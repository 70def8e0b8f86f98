//! Rows drawn by chance, and read.

use super::points::Points;
use crate::Result;
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
