//! Oracle of `centroid`: the mean of the points of each label.

/// Unit roundoff of f32.
const UNIT: f64 = 1.0 / 16_777_216.0;

/// Means with their error bounds, for `k` clusters in `d` dimensions.
#[derive(Clone, Debug)]
pub struct Means {
    /// `[k]` points of each cluster.
    pub counts: Vec<u32>,
    /// `[k, d]` means; the old centroid where a cluster is empty.
    pub next: Vec<f64>,
    /// `[k, d]` largest error of each in f32.
    pub next_bounds: Vec<f64>,
    /// `[k]` squared distance between the means and the old centroids.
    pub shift: Vec<f64>,
    /// `[k]` largest error of each in f32.
    pub shift_bounds: Vec<f64>,
}

/// The means of `points` (`[n, d]`) by `labels` (`[n]`), against the `old` centroids (`[k, d]`).
pub fn centroid(points: &[f32], labels: &[u32], old: &[f32], d: usize) -> Means {
    let k = old.len() / d;
    let (mut counts, mut sums, mut sizes) = (vec![0u32; k], vec![0.0f64; k * d], vec![0.0f64; k * d]);
    for (x, &label) in points.chunks(d).zip(labels) {
        let c = label as usize;
        counts[c] += 1;
        for (j, &x) in x.iter().enumerate() {
            sums[c * d + j] += f64::from(x);
            sizes[c * d + j] += f64::from(x).abs();
        }
    }
    let mut means = Means {
        next: old.iter().map(|&x| f64::from(x)).collect(),
        next_bounds: vec![0.0; k * d],
        shift: vec![0.0; k],
        shift_bounds: vec![0.0; k],
        counts,
    };
    for c in 0..k {
        let count = f64::from(means.counts[c]);
        for j in c * d..(c + 1) * d {
            if count > 0.0 {
                means.next[j] = sums[j] / count;
                // A sum of `count` values in any order, then a division that may be off by 2.5 units.
                means.next_bounds[j] = (count + 4.0) * UNIT * sizes[j] / count;
            }
            let (moved, bound) = (means.next[j] - f64::from(old[j]), means.next_bounds[j]);
            let bound = bound + UNIT * (means.next[j].abs() + f64::from(old[j]).abs());
            means.shift[c] += moved * moved;
            means.shift_bounds[c] += 2.0 * moved.abs() * bound + bound * bound;
        }
        means.shift_bounds[c] += (d as f64 + 4.0) * UNIT * means.shift[c];
    }
    means
}
