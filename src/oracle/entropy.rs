//! Oracle of entropy calibration: NVIDIA's steps of 2017, one after the other, in f64.

/// The divergence of the reference P from the candidate Q for a threshold behind the first `i` of `bins`; infinite where
/// P has what Q has not, or where Q is of one bin or none.
pub fn divergence(bins: &[u64], i: usize) -> f64 {
    let mut counts: Vec<f64> = bins.iter().map(|&count| count as f64).collect();
    counts[0] = counts[1];
    let inside = &counts[..i];
    if inside.iter().filter(|&&count| count > 0.0).count() < 2 {
        return f64::INFINITY;
    }
    let mut p = inside.to_vec();
    p[i - 1] += counts[i..].iter().sum::<f64>();

    let level = |bin: usize| bin * 128 / i;
    let (mut mass, mut occupied) = ([0.0; 128], [0.0; 128]);
    for bin in (0..i).filter(|&bin| inside[bin] > 0.0) {
        mass[level(bin)] += inside[bin];
        occupied[level(bin)] += 1.0;
    }
    let spread = |bin: usize| if inside[bin] > 0.0 { mass[level(bin)] / occupied[level(bin)] } else { 0.0 };
    let q: Vec<f64> = (0..i).map(spread).collect();
    let (p_sum, q_sum): (f64, f64) = (p.iter().sum(), q.iter().sum());
    let mut divergence = 0.0;
    for (p, q) in p.iter().zip(&q).filter(|(p, _)| **p > 0.0) {
        let (p, q) = (p / p_sum, q / q_sum);
        divergence += if q > 0.0 { p * (p / q).ln() } else { f64::INFINITY };
    }
    divergence
}

/// The candidate from 128 to 2047 of the least divergence, the lowest of equals; none if all are infinite.
pub fn entropy(bins: &[u64]) -> Option<usize> {
    let mut best = (f64::INFINITY, None);
    for i in 128..2048 {
        let divergence = divergence(bins, i);
        if divergence < best.0 {
            best = (divergence, Some(i));
        }
    }
    best.1
}
