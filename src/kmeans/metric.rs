//! What k-means calls near, and what becomes of clusters without points.

use serde::Serialize;

/// What "near" means, and what a centroid is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Metric {
    /// Squared euclidean distance; centroids are means.
    #[default]
    Euclidean = 0,
    /// 1 - cosine: rows count by their direction alone, and centroids are unit vectors (spherical k-means).
    Cosine = 1,
    /// The negative inner product; centroids are means.
    Dot = 2,
}

/// What becomes of a cluster without points.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Empty {
    /// It takes the point that lies farthest from its centroid (scikit-learn).
    #[default]
    Farthest,
    /// It takes half of the largest cluster (FAISS): both go on from that one's centroid, times 1 + and - 1/1024 by turns of
    /// the dimension.
    SplitLargest,
    /// It keeps its centroid, and may stay empty.
    Keep,
}
