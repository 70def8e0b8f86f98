//! Oracle of `centroid`: the mean of the points of each label.

/// Unit roundoff of f32.
const UNIT: f64 = 1.0 / 16_777_216.0;

/// What sums in steps of 2^-24 of 2^-24 of the largest value lose at most, of that value.
const STEP: f64 = 1.0 / (1u64 << 46) as f64;

/// Means with their error bounds, for `k` clusters in `d` dimensions.
#[derive(Clone, Debug)]
pub struct Means {
    /// `[k]` points of each cluster.
    pub counts: Vec<u32>,
    /// `[k]` their weights in sum.
    pub mass: Vec<f64>,
    /// `[k, d]` means; the old centroid where a cluster has no mass.
    pub next: Vec<f64>,
    /// `[k, d]` largest error of each in f32.
    pub next_bounds: Vec<f64>,
    /// `[k]` squared distance between the means and the old centroids.
    pub shift: Vec<f64>,
    /// `[k]` largest error of each in f32.
    pub shift_bounds: Vec<f64>,
}

/// The means of `points` (`[n, d]`) by `labels` (`[n]`), against the `old` centroids (`[k, d]`); unit vectors if
/// `spherical`. The first `frozen` centroids stay. With `weights` (`[n]`) each point counts so often.
pub fn centroid(
    points: &[f32],
    labels: &[u32],
    weights: Option<&[f32]>,
    old: &[f32],
    d: usize,
    spherical: bool,
    frozen: usize,
) -> Means {
    let k = old.len() / d;
    let (mut counts, mut mass) = (vec![0u32; k], vec![0.0f64; k]);
    let (mut sums, mut sizes, mut largest) = (vec![0.0f64; k * d], vec![0.0f64; k * d], 0.0f64);
    for (i, (x, &label)) in points.chunks(d).zip(labels).enumerate() {
        let c = label as usize;
        let weight = weights.map_or(1.0, |weights| f64::from(weights[i]));
        counts[c] += 1;
        mass[c] += weight;
        for (j, &x) in x.iter().enumerate() {
            let value = weight * f64::from(x);
            sums[c * d + j] += value;
            sizes[c * d + j] += value.abs();
            largest = largest.max(value.abs());
        }
    }
    let mut means = Means {
        next: old.iter().map(|&x| f64::from(x)).collect(),
        next_bounds: vec![0.0; k * d],
        shift: vec![0.0; k],
        shift_bounds: vec![0.0; k],
        counts,
        mass,
    };
    for c in frozen..k {
        let (count, mass) = (f64::from(means.counts[c]), means.mass[c]);
        let own = c * d..(c + 1) * d;
        if mass > 0.0 {
            // A weight times a value rounds once; then only the quotient does.
            let product = if weights.is_some() { UNIT } else { 0.0 };
            for j in own.clone() {
                means.next[j] = sums[j] / mass;
                means.next_bounds[j] =
                    4.0 * UNIT * means.next[j].abs() + (product * sizes[j] + STEP * largest * count) / mass;
            }
        }
        let norm = means.next[own.clone()].iter().map(|x| x * x).sum::<f64>().sqrt();
        if spherical && norm > 0.0 {
            let off: f64 =
                own.clone().map(|j| means.next_bounds[j] * means.next[j].abs()).sum::<f64>() / norm;
            for j in own.clone() {
                means.next[j] /= norm;
                means.next_bounds[j] = (means.next_bounds[j] + off * means.next[j].abs()) / norm
                    + (d as f64 + 8.0) * UNIT * means.next[j].abs();
            }
        }
        for j in own {
            let (moved, bound) = (means.next[j] - f64::from(old[j]), means.next_bounds[j]);
            let bound = bound + UNIT * (means.next[j].abs() + f64::from(old[j]).abs());
            means.shift[c] += moved * moved;
            means.shift_bounds[c] += 2.0 * moved.abs() * bound + bound * bound;
        }
        means.shift_bounds[c] += (d as f64 + 4.0) * UNIT * means.shift[c];
    }
    means
}
