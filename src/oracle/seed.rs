//! Oracle of `seed`: one step of greedy k-means++.

use super::distance;

/// A random word for each (seed, step, stream): PCG-RXS-M-XS (O'Neill 2014) as a hash.
pub fn random_word(seed: u32, step: u32, stream: u32) -> u32 {
    let pcg = |input: u32| {
        let state = input.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
        let word = ((state >> ((state >> 28) + 4)) ^ state).wrapping_mul(277_803_737);
        (word >> 22) ^ word
    };
    pcg(pcg(pcg(seed).wrapping_add(step)).wrapping_add(stream))
}

/// Uniform in [0, 1), with 24 bits.
pub fn random_unit(seed: u32, step: u32, stream: u32) -> f64 {
    f64::from(random_word(seed, step, stream) >> 8) / 16_777_216.0
}

/// `nearest[i, t]` after the trial `t`, with bounds: the least of `before[i]` and the squared distance to its candidate, times
/// the point's weight if there are `weights`.
pub fn nearest(
    points: &[f32],
    weights: Option<&[f32]>,
    before: &[f64],
    candidates: &[u32],
    d: usize,
) -> (Vec<f64>, Vec<f64>) {
    let row = |i: usize| &points[i * d..][..d];
    let mut found = (Vec::new(), Vec::new());
    for (i, &before) in before.iter().enumerate() {
        let weight = weights.map_or(1.0, |weights| f64::from(weights[i]));
        for &candidate in candidates {
            let c = row(candidate as usize);
            found.0.push(before.min(weight * distance::distance(row(i), c)));
            found.1.push(weight * distance::bound(row(i), c));
        }
    }
    found
}

/// The trial with the least sum of `nearest` (`[n, trials]`), the lowest of equals.
pub fn best(nearest: &[f64], trials: usize) -> u32 {
    let mut sums = vec![0.0; trials];
    for row in nearest.chunks(trials) {
        for (sum, x) in sums.iter_mut().zip(row) {
            *sum += x;
        }
    }
    let least = sums.iter().copied().fold(f64::INFINITY, f64::min);
    sums.iter().position(|&sum| sum == least).unwrap_or(0) as u32
}

/// The point whose interval of the cumulated `weights` holds `unit` times their sum; by number if all are zero.
pub fn draw(weights: &[f64], unit: f64) -> u32 {
    let total: f64 = weights.iter().sum();
    if total <= 0.0 {
        return ((unit * weights.len() as f64) as u32).min(weights.len() as u32 - 1);
    }
    let mut sum = 0.0;
    let mut drawn = 0;
    for (i, &weight) in (0..).zip(weights) {
        sum += weight;
        if weight > 0.0 {
            drawn = i;
            if sum > unit * total {
                break;
            }
        }
    }
    drawn
}
