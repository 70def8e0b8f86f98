//! The result of a clustering.

use serde::Serialize;

use super::labeller::Reranked;
use super::metric::Metric;
use crate::gpu::{OpKind, Spec, Work};
use crate::io::npy::Matrix;
use crate::{Error, Result};

/// A clustering.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Fitted {
    /// Points.
    pub n: usize,
    /// Dimensions.
    pub d: usize,
    /// Clusters.
    pub k: usize,
    /// What "near" means.
    pub metric: Metric,
    /// Iterations, of the best start.
    pub n_iter: u32,
    /// Whether the loop ended by itself: no label changed, or the centroids moved by no more than the tolerance.
    pub converged: bool,
    /// Sum of the distances of the points to their centroids, squared ones for [`Metric::Euclidean`], times their weights.
    pub inertia: f64,
    /// The inertia that each iteration of the best start found, by its labels and the centroids before it moved them; empty
    /// unless asked for ([`KMeans::history`](super::KMeans::history)).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<f64>,
    /// `k` times the sum of the squared sizes of the clusters over the square of their sum: 1 if all are of one size.
    pub imbalance: f64,
    /// Mean time of an iteration, the first left out where there are more: it includes the driver's compilation.
    pub ms_per_iteration: f64,
    /// Time of the whole call: transfers, seeding, and the trying of variants where it was due.
    pub seconds: f64,
    /// Clusters that hold at least one point.
    pub distinct_clusters: usize,
    /// How often two centroids were too near to each other for scores of f32.
    pub reranked: Reranked,
    /// What did the work.
    pub iteration: Iteration,
    /// What the caller should know of this result.
    pub notices: Vec<String>,
    /// `[k, d]` centroids.
    #[serde(skip)]
    pub cluster_centers: Matrix,
    /// `[n]` cluster of each point: the nearest of `cluster_centers`.
    #[serde(skip)]
    pub labels: Vec<i32>,
}

/// An iteration over all points: what ranks the centroids, and how much it is. Labels are the same by any kernel.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Iteration {
    /// The kernel that ranks the centroids of a point, with its variant.
    pub kernel: String,
    /// Of what its scores are made: `f32`, or `f16 pairs`, where each number is the sum of two of f16.
    pub precision: &'static str,
    /// Bytes that have to move: what each kernel reads and writes, once.
    pub bytes: u64,
    /// Operations; a multiplication with an addition is two.
    pub ops: u64,
    #[serde(skip)]
    arithmetic: OpKind,
}

impl Iteration {
    /// Of so much work, by this variant of assign.
    pub(super) fn new(variant: &Spec, Work { bytes, ops }: Work) -> Self {
        let arithmetic = variant.arithmetic(OpKind::F32);
        let precision = if arithmetic == OpKind::Matrix { "f16 pairs" } else { "f32" };
        Self { kernel: variant.label(), precision, bytes, ops, arithmetic }
    }

    /// What its operations are.
    #[doc(hidden)]
    pub fn arithmetic(&self) -> OpKind {
        self.arithmetic
    }
}

/// How many of `k` clusters have points, and how unequal they are ([`Fitted::imbalance`]).
pub(super) fn balance(k: usize, labels: impl Iterator<Item = usize>) -> (usize, f64) {
    let mut sizes = vec![0u64; k];
    labels.for_each(|label| sizes[label] += 1);
    let n: u64 = sizes.iter().sum();
    let squares: f64 = sizes.iter().map(|&size| (size as f64).powi(2)).sum();
    (sizes.iter().filter(|&&size| size > 0).count(), k as f64 * squares / (n as f64).powi(2))
}

/// Of labels by the owner: the memory stays where it is.
pub(super) fn to_labels(labels: Vec<u32>) -> Result<Vec<i32>> {
    let convert =
        |label: u32| i32::try_from(label).map_err(|_| Error::Input(format!("label {label} is no i32")));
    labels.into_iter().map(convert).collect()
}
