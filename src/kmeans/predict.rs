//! Labels of points by given centroids.

use serde::Serialize;

use super::adapters;
use super::fitted::{Fitted, to_labels};
use super::labeller::Labeller;
use super::labeller::Reranked;
use super::options::{KMeans, Prepared};
use super::source::Source;
use super::statistics::Statistics;
use super::views::Scaled;
use super::weights::Weights;
use crate::gpu::Context;
use crate::io::npy::Matrix;
use crate::{Error, Result};

/// Labels of points by given centroids.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Predicted {
    /// Points.
    pub n: usize,
    /// Dimensions.
    pub d: usize,
    /// Clusters.
    pub k: usize,
    /// Sum of the squared distances of the points to their centroids, times their weights.
    pub inertia: f64,
    /// The negative inertia, as scikit-learn's `score` gives it.
    pub score: f64,
    /// How often two centroids were too near to each other for scores of f32.
    pub reranked: Reranked,
    /// `[n]` the nearest centroid of each point, the lowest index of equals.
    #[serde(skip)]
    pub labels: Vec<i32>,
}

impl KMeans {
    /// Labels the rows of `data` (`[n, d]`) by the nearest row of `centroids` (`[k, d]`), by this metric and memory.
    ///
    /// # Errors
    /// [`Error::Shape`] for shapes that do not match, [`Error::NotFinite`] for such values; those of reading; the device's.
    pub fn predict(&self, gpu: &Context, data: &dyn Source, centroids: &Matrix) -> Result<Predicted> {
        self.predict_weighted(gpu, data, None, centroids)
    }

    /// As [`KMeans::predict`], with a weight for each row (`[n]`): its distance counts as often.
    ///
    /// # Errors
    /// Those of [`KMeans::predict`]; of the weights, those of [`KMeans::fit_weighted`].
    pub fn predict_weighted(
        &self,
        gpu: &Context,
        data: &dyn Source,
        weights: Option<&[f32]>,
        centroids: &Matrix,
    ) -> Result<Predicted> {
        let weights = Weights::new(weights, data.rows() as usize, 0)?;
        let predicted = self.label(&[gpu], data, &Statistics::of(data, "X")?, weights.values(), centroids)?;
        let inertia = predicted.inertia * weights.unit;
        Ok(Predicted { inertia, score: -inertia, ..predicted })
    }

    pub(super) fn label(
        &self,
        gpus: &[&Context],
        data: &dyn Source,
        statistics: &Statistics,
        weights: Option<&[f32]>,
        centroids: &Matrix,
    ) -> Result<Predicted> {
        let (n, d, k) = (data.rows() as usize, data.cols(), centroids.rows);
        let (prepared, first) = self.prepare(data, statistics, centroids)?;
        let (factor, transform, square) = (prepared.factor, &prepared.transform, prepared.square());
        let scaled = Scaled { of: data, factor };
        let data = scaled.source();
        let parts = adapters::share(gpus, data, weights)?;
        let points = adapters::place(&parts, transform, square, k, self.room)?;
        let labellers = parts.iter().zip(&points);
        let labellers = labellers
            .map(|(part, points)| Labeller::new(part.gpu, points, k as u64, self.metric))
            .collect::<Result<Vec<_>>>()?;
        adapters::at_once(&labellers, |labeller| {
            labeller.start_from(&first)?;
            labeller.label()
        })?;
        let inertia = adapters::inertia(&labellers)? / Self::measure(factor);
        let labels = to_labels(adapters::labels(&labellers)?)?;
        let reranked = adapters::reranked(&labellers)?;
        Ok(Predicted { n, d, k, inertia, score: -inertia, reranked, labels })
    }

    /// Checks points and given centroids, and finds how both are transformed; the centroids so transformed, padded.
    pub(super) fn prepare(
        &self,
        data: &dyn Source,
        statistics: &Statistics,
        centroids: &Matrix,
    ) -> Result<(Prepared, Vec<f32>)> {
        let (d, cols) = (data.cols(), centroids.cols);
        if d != cols {
            return Err(Error::Shape(format!("X has {d} features, but the centroids have {cols}")));
        }
        let given = Statistics::of(centroids, "centroids")?;
        let prepared = self.prepared(statistics, data.rows(), Some(&given))?;
        let first = self.given(&centroids.scaled(prepared.factor), &prepared.transform, "centroids")?;
        Ok((prepared, first))
    }
}

impl Fitted {
    /// Labels the rows of `data` (`[n, d]`) by the nearest of these centroids, by the metric that they were fitted with.
    ///
    /// # Errors
    /// Those of [`KMeans::predict`].
    pub fn predict(&self, gpu: &Context, data: &dyn Source) -> Result<Predicted> {
        KMeans::new(self.k).metric(self.metric).predict(gpu, data, &self.cluster_centers)
    }
}
