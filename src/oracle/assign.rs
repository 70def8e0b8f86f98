//! Oracle of `assign`: the definition of the nearest centroid.

/// Unit roundoff of f32.
const UNIT: f64 = 1.0 / 16_777_216.0;

/// `|c|^2 - 2 x.c`, which ranks centroids as their distance to `x` does.
pub fn score(x: &[f32], c: &[f32]) -> f64 {
    x.iter().zip(c).map(|(&x, &c)| f64::from(c) * f64::from(c) - 2.0 * f64::from(x) * f64::from(c)).sum()
}

/// Largest error of [`score`] as f32 sums of `d` rounded products each, in any order, with or without fused adds.
pub fn bound(x: &[f32], c: &[f32]) -> f64 {
    let size: f64 = x
        .iter()
        .zip(c)
        .map(|(&x, &c)| {
            let (x, c) = (f64::from(x), f64::from(c));
            c * c + 2.0 * (x * c).abs()
        })
        .sum();
    (x.len() as f64 + 4.0) * UNIT * size
}

/// The index of the nearest of `centroids` (`[k, d]`) for each of `points` (`[n, d]`), the lowest of equals.
pub fn assign(points: &[f32], centroids: &[f32], d: usize) -> Vec<u32> {
    points
        .chunks(d)
        .map(|x| {
            let mut best = (f64::INFINITY, 0);
            for (label, c) in (0..).zip(centroids.chunks(d)) {
                let score = score(x, c);
                if score < best.0 {
                    best = (score, label);
                }
            }
            best.1
        })
        .collect()
}

/// For each point every label that f32 arithmetic may give: those whose score is within the bounds of the best.
pub fn allowed(points: &[f32], centroids: &[f32], d: usize) -> Vec<Vec<u32>> {
    points
        .chunks(d)
        .map(|x| {
            let scores: Vec<(f64, f64)> = centroids.chunks(d).map(|c| (score(x, c), bound(x, c))).collect();
            let most = scores.iter().map(|(score, bound)| score + bound).fold(f64::INFINITY, f64::min);
            (0..)
                .zip(&scores)
                .filter(|(_, (score, bound))| score - bound <= most)
                .map(|(label, _)| label)
                .collect()
        })
        .collect()
}
