//! Exact k-means on the GPU: FlashAssign and the sort-inverse update (Flash-KMeans, 2025), with scikit-learn's semantics.
//!
//! The points lie on the device as rows of vec4s, less their mean: distances between far-away points would otherwise
//! lose the digits that tell them apart.

pub mod assign;
pub mod centroid;
pub mod distance;
pub mod lloyd;
pub mod palette;
pub mod radix_sort;
pub mod seed;

use std::time::Instant;

use serde::Serialize;

use crate::gpu::{Buffer, Context};
use crate::io::npy::Matrix;
use crate::random::Random;
use crate::{Error, Result};
pub use lloyd::Progress;
use lloyd::{Labeller, Lloyd, Points};

/// Where the first centroids come from.
#[derive(Clone, Debug)]
pub enum Init {
    /// Greedy k-means++ (Arthur and Vassilvitskii 2007), with 2 + floor(ln k) trials per step.
    PlusPlus,
    /// `k` different points, uniformly drawn.
    Random,
    /// These: `[k, d]`.
    Centroids(Matrix),
}

/// Settings of a clustering; the defaults are scikit-learn's.
#[derive(Clone, Debug)]
pub struct KMeans {
    k: usize,
    init: Init,
    seed: u64,
    max_iter: u32,
    tol: f64,
    block_rows: u64,
}

/// A clustering.
#[derive(Clone, Debug, Serialize)]
pub struct Fitted {
    /// Points.
    pub n: usize,
    /// Dimensions.
    pub d: usize,
    /// Clusters.
    pub k: usize,
    /// Iterations.
    pub n_iter: u32,
    /// Whether the loop ended by itself: no label changed, or the centroids moved by no more than the tolerance.
    pub converged: bool,
    /// Sum of the squared distances of the points to their centroids.
    pub inertia: f64,
    /// Mean time of an iteration, the first left out where there are more: it includes the driver's compilation.
    pub ms_per_iteration: f64,
    /// Time of the whole call: transfers, seeding, and the trying of variants where it was due.
    pub seconds: f64,
    /// Clusters that hold at least one point.
    pub distinct_clusters: usize,
    /// What the caller should know of this result.
    pub notices: Vec<String>,
    /// `[k, d]` centroids.
    #[serde(skip)]
    pub cluster_centers: Matrix,
    /// `[n]` cluster of each point: the nearest of `cluster_centers`.
    #[serde(skip)]
    pub labels: Vec<i32>,
}

/// Labels are i32.
const MOST_CLUSTERS: usize = 1 << 31;

impl KMeans {
    /// `k` clusters; k-means++, seed 0, at most 300 iterations, tolerance 1e-4.
    pub fn new(k: usize) -> Self {
        Self { k, init: Init::PlusPlus, seed: 0, max_iter: 300, tol: 1e-4, block_rows: u64::MAX }
    }

    /// Sets where the first centroids come from.
    pub fn init(self, init: Init) -> Self {
        Self { init, ..self }
    }

    /// Sets the seed of every random choice; one seed gives the same result in every run on one adapter.
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Sets the most iterations.
    pub fn max_iter(self, max_iter: u32) -> Self {
        Self { max_iter, ..self }
    }

    /// Sets the tolerance: the loop ends when the centroids' squared shifts sum to `tol` times the mean variance of the
    /// data's columns, or less.
    pub fn tol(self, tol: f64) -> Self {
        Self { tol, ..self }
    }

    /// Sets how many points one block holds at most, which otherwise follows from the adapter's binding limit.
    #[doc(hidden)]
    pub fn block_rows(self, block_rows: u64) -> Self {
        Self { block_rows, ..self }
    }

    /// Clusters the rows of `data` (`[n, d]`).
    ///
    /// # Errors
    /// [`Error::Input`] for k = 0, more clusters than points, values that are not finite, centroids of the wrong shape;
    /// the device's errors.
    pub fn fit(&self, gpu: &Context, data: &Matrix, mut progress: impl FnMut(Progress)) -> Result<Fitted> {
        let begun = Instant::now();
        let (n, d, k) = (data.rows, data.cols, self.k);
        self.check(data)?;
        let (mean, variance) = mean_and_variance(data);
        check_magnitude(data, &mean, "row")?;
        let points = Points::upload(gpu, &data.values, &mean, self.block_rows)?;
        let mut notices = Vec::new();
        let first = match &self.init {
            Init::Centroids(given) => {
                check_magnitude(given, &mean, "initial centroid")?;
                lloyd::pad(&given.values, &mean)
            }
            Init::Random => {
                let chosen = sample(n, k, &mut Random::new(self.seed));
                lloyd::pad(&rows_of(data, &chosen), &mean)
            }
            Init::PlusPlus => {
                let chosen = self.plus_plus(gpu, data, &mean, &points, &mut notices, &mut progress)?;
                lloyd::pad(&rows_of(data, &chosen), &mean)
            }
        };
        let tol = (self.tol * variance) as f32;
        let lloyd = Lloyd::new(gpu, &points, k as u64, tol)?;
        lloyd.labeller.start_from(&first)?;
        let outcome = lloyd.run(self.max_iter, progress)?;

        let labels = points.labels(gpu)?;
        let inertia = lloyd.labeller.inertia()?;
        let mut cluster_centers = lloyd.labeller.centroids()?;
        for row in cluster_centers.chunks_mut(d) {
            for (value, by) in row.iter_mut().zip(&mean) {
                *value = (f64::from(*value) + by) as f32;
            }
        }
        let mut used = vec![false; k];
        for &label in &labels {
            if let Some(used) = used.get_mut(label as usize) {
                *used = true;
            }
        }
        let distinct_clusters = used.iter().filter(|used| **used).count();
        if distinct_clusters < k {
            notices.push(format!(
                "Number of distinct clusters ({distinct_clusters}) found smaller than n_clusters ({k}). \
                 Possibly due to duplicate points in X."
            ));
        }
        if !outcome.converged {
            notices.push(format!("not converged after {} iterations (--max-iter)", outcome.n_iter));
        }
        Ok(Fitted {
            n,
            d,
            k,
            n_iter: outcome.n_iter,
            converged: outcome.converged,
            inertia,
            ms_per_iteration: outcome.iteration.as_secs_f64() * 1e3,
            seconds: begun.elapsed().as_secs_f64(),
            distinct_clusters,
            notices,
            cluster_centers: Matrix { rows: k, cols: d, values: cluster_centers },
            labels: to_labels(&labels)?,
        })
    }

    fn check(&self, data: &Matrix) -> Result<()> {
        let (n, d, k) = (data.rows, data.cols, self.k);
        check_points(data, "X")?;
        if k == 0 {
            return Err(Error::Input("n_clusters=0 should be >= 1".into()));
        }
        if n < k {
            return Err(Error::Input(format!("n_samples={n} should be >= n_clusters={k}.")));
        }
        if k > MOST_CLUSTERS {
            return Err(Error::Input(format!("n_clusters={k} should be <= {MOST_CLUSTERS}")));
        }
        if !(self.tol >= 0.0 && self.tol.is_finite()) {
            return Err(Error::Input(format!("tol={} should be a number >= 0", self.tol)));
        }
        if self.max_iter == 0 {
            return Err(Error::Input("max_iter=0 should be >= 1".into()));
        }
        if let Init::Centroids(given) = &self.init {
            if given.rows != k {
                return Err(Error::Input(format!(
                    "The shape of the initial centers ({}, {}) does not match the number of clusters {k}.",
                    given.rows, given.cols
                )));
            }
            if given.cols != d {
                return Err(Error::Input(format!(
                    "The shape of the initial centers ({}, {}) does not match the number of features of the data {d}.",
                    given.rows, given.cols
                )));
            }
            check_points(given, "init")?;
        }
        Ok(())
    }

    /// The rows that k-means++ chooses. Data in several blocks, or of more points than a 24-bit random number can tell
    /// apart, is seeded from a uniform sample of it.
    fn plus_plus(
        &self,
        gpu: &Context,
        data: &Matrix,
        mean: &[f64],
        points: &Points,
        notices: &mut Vec<String>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Vec<usize>> {
        let mut random = Random::new(self.seed);
        let (n, d, k) = (data.rows as u64, data.cols as u64, self.k as u64);
        let row_bytes = (16 * d.div_ceil(4)).max(4 * seed::trials(k));
        let most = (gpu.adapter.max_binding_bytes / row_bytes).min(1 << 24);
        let mut choose = |random: &mut Random, from: &Buffer| {
            seed::Seed::tuned(gpu, d, k)?.choose(gpu, from, d, k, random, progress)
        };
        if let Some(whole) = points.whole().filter(|_| n <= most) {
            return Ok(choose(&mut random, whole)?.into_iter().map(|i| i as usize).collect());
        }
        let size = most.min(n).min(self.block_rows);
        if size < k {
            return Err(Error::Input(format!(
                "k-means++ can choose among at most {size} points of this size on this adapter, fewer than \
                 n_clusters={k}: use --init random"
            )));
        }
        notices.push(format!("k-means++ chose among a uniform sample of {size} of the {n} points"));
        let rows = sample(data.rows, size as usize, &mut random);
        let values = lloyd::pad(&rows_of(data, &rows), mean);
        let points = Buffer::from_slice(gpu, "points to choose from", size, &values)?;
        Ok(choose(&mut random, &points)?.into_iter().map(|i| rows[i as usize]).collect())
    }
}

/// Labels of points by given centroids.
#[derive(Clone, Debug, Serialize)]
pub struct Predicted {
    /// Points.
    pub n: usize,
    /// Dimensions.
    pub d: usize,
    /// Clusters.
    pub k: usize,
    /// Sum of the squared distances of the points to their centroids.
    pub inertia: f64,
    /// `[n]` the nearest centroid of each point, the lowest index of equals.
    #[serde(skip)]
    pub labels: Vec<i32>,
}

/// Labels the rows of `data` (`[n, d]`) by the nearest row of `centroids` (`[k, d]`).
///
/// # Errors
/// [`Error::Input`] for shapes that do not match or values that are not finite; the device's errors.
pub fn predict(gpu: &Context, data: &Matrix, centroids: &Matrix) -> Result<Predicted> {
    check_points(data, "X")?;
    check_points(centroids, "centroids")?;
    if data.cols != centroids.cols {
        return Err(Error::Input(format!(
            "X has {} features, but the centroids have {}",
            data.cols, centroids.cols
        )));
    }
    // Any common shift serves; the data's own mean is the one that `fit` uses.
    let (mean, _) = mean_and_variance(data);
    check_magnitude(data, &mean, "row")?;
    check_magnitude(centroids, &mean, "centroid")?;
    let points = Points::upload(gpu, &data.values, &mean, u64::MAX)?;
    let labeller = Labeller::new(gpu, &points, centroids.rows as u64)?;
    labeller.start_from(&lloyd::pad(&centroids.values, &mean))?;
    labeller.label()?;
    let inertia = labeller.inertia()?;
    let labels = to_labels(&points.labels(gpu)?)?;
    Ok(Predicted { n: data.rows, d: data.cols, k: centroids.rows, inertia, labels })
}

fn check_points(data: &Matrix, what: &str) -> Result<()> {
    if data.rows.checked_mul(data.cols) != Some(data.values.len()) {
        let (rows, cols, values) = (data.rows, data.cols, data.values.len());
        return Err(Error::Input(format!("{what} has {values} values, which are not {rows} rows of {cols}")));
    }
    if data.rows == 0 || data.cols == 0 {
        return Err(Error::Input(format!("{what} is empty: {} rows of {} values", data.rows, data.cols)));
    }
    if let Some((row, col)) = data.first_non_finite() {
        let value = data.values[row * data.cols + col];
        let name = if value.is_nan() { "NaN" } else { "infinity" };
        return Err(Error::Input(format!("Input {what} contains {name}: row {row}, column {col}.")));
    }
    Ok(())
}

/// Refuses values whose squared distances would overflow an f32.
fn check_magnitude(data: &Matrix, mean: &[f64], what: &str) -> Result<()> {
    let most = (f64::from(f32::MAX) / (16.0 * data.cols as f64)).sqrt();
    for (i, row) in data.values.chunks(data.cols).enumerate() {
        if row.iter().zip(mean).any(|(&value, by)| (f64::from(value) - by).abs() > most) {
            return Err(Error::Input(format!(
                "{what} {i} lies farther than {most:.3e} from the mean: squared distances would overflow; \
                 scale the data down"
            )));
        }
    }
    Ok(())
}

/// The mean of each column, and the mean of the columns' variances.
fn mean_and_variance(data: &Matrix) -> (Vec<f64>, f64) {
    let n = data.rows as f64;
    let mut mean = vec![0.0; data.cols];
    for row in data.values.chunks(data.cols) {
        for (sum, &value) in mean.iter_mut().zip(row) {
            *sum += f64::from(value);
        }
    }
    mean.iter_mut().for_each(|sum| *sum /= n);
    let mut squares = 0.0;
    for row in data.values.chunks(data.cols) {
        squares += row.iter().zip(&mean).map(|(&value, by)| (f64::from(value) - by).powi(2)).sum::<f64>();
    }
    (mean, squares / n / data.cols as f64)
}

fn rows_of(data: &Matrix, rows: &[usize]) -> Vec<f32> {
    rows.iter().flat_map(|&row| &data.values[row * data.cols..(row + 1) * data.cols]).copied().collect()
}

/// `k` different numbers below `n`, uniformly drawn (Floyd's method), in random order.
fn sample(n: usize, k: usize, random: &mut Random) -> Vec<usize> {
    let mut seen = std::collections::HashSet::new();
    let mut chosen = Vec::with_capacity(k);
    for last in n - k..n {
        let drawn = random.below(last as u64 + 1) as usize;
        let taken = if seen.insert(drawn) { drawn } else { last };
        seen.insert(taken);
        chosen.push(taken);
    }
    for i in (1..chosen.len()).rev() {
        chosen.swap(i, random.below(i as u64 + 1) as usize);
    }
    chosen
}

fn to_labels(labels: &[u32]) -> Result<Vec<i32>> {
    let convert =
        |&label: &u32| i32::try_from(label).map_err(|_| Error::Input(format!("label {label} is no i32")));
    labels.iter().map(convert).collect()
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
            assert_eq!(drawn.len(), k);
            assert!(drawn.iter().all(|&i| i < n));
        }
    }
}
