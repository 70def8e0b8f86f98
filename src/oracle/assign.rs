//! Oracle of `assign`: the definition of the nearest centroid.

use super::rerank;

/// `|c|^2 - 2 x.c`, which ranks centroids as their distance to `x` does, and how far off it may be: in f64.
fn score(x: &[f32], c: &[f32], dot: bool) -> (f64, f64) {
    let (mut score, mut size) = (0.0, 0.0);
    for (&x, &c) in x.iter().zip(c) {
        let (x, c) = (f64::from(x), f64::from(c));
        let square = if dot { 0.0 } else { c * c };
        score += square - 2.0 * x * c;
        size += square + 2.0 * (x * c).abs();
    }
    (score, (x.len() as f64 + 4.0) * f64::EPSILON * size)
}

/// The index of the nearest of `centroids` (`[k, d]`) for each of `points` (`[n, d]`), the lowest of equals; with `dot`, of the
/// one of the largest product. Exact: what f64 cannot tell apart is left to [`rerank`].
pub fn nearest(points: &[f32], centroids: &[f32], d: usize, dot: bool) -> Vec<u32> {
    let label = |x: &[f32]| {
        let scores: Vec<(f64, f64)> = centroids.chunks(d).map(|c| score(x, c, dot)).collect();
        let most = scores.iter().map(|(score, error)| score + error).fold(f64::INFINITY, f64::min);
        let rows: Vec<usize> = (0..scores.len()).filter(|&c| scores[c].0 - scores[c].1 <= most).collect();
        if let [one] = rows[..] {
            return one as u32;
        }
        let left: Vec<f32> = rows.iter().flat_map(|&c| &centroids[c * d..][..d]).copied().collect();
        rows[rerank::rerank(x, &left, d, dot)[0] as usize] as u32
    };
    points.chunks(d).map(label).collect()
}

/// The same by euclidean distance.
pub fn assign(points: &[f32], centroids: &[f32], d: usize) -> Vec<u32> {
    nearest(points, centroids, d, false)
}
