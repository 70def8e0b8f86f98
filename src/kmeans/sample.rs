//! The fit to a sample of rows.

use std::time::Instant;

use super::fitted::{Fitted, balance};
use super::keeper::Hashed;
use super::options::KMeans;
use super::progress::Progress;
use super::source::Source;
use super::views::Rows;
use super::weights::{check_weights, of_rows, sample_of_heavy};
use crate::Result;
use crate::gpu::Context;
use crate::random::Random;

/// Keeps the sample apart from the random choices that follow from the same seed.
const SAMPLE_SEED: u64 = 0x5a3b_1e00;

impl KMeans {
    /// The rows that the centroids are fitted to, rising, if those are not all.
    pub(super) fn sampled(&self, n: u64, weights: Option<&[f32]>) -> Option<Vec<u64>> {
        let most = self.subsample?.saturating_mul(self.k as u64).max(1);
        if n <= most {
            return None;
        }
        let mut random = Random::new(self.seed ^ SAMPLE_SEED);
        let mut rows = sample_of_heavy(n, most, weights, &mut random);
        rows.sort_unstable();
        Some(rows)
    }

    /// The clustering of a sample of the rows, by whose centroids all rows are then labelled.
    pub(super) fn fit_sample(
        &self,
        gpus: &[&Context],
        data: &dyn Source,
        weights: Option<&[f32]>,
        progress: impl FnMut(Progress),
    ) -> Result<Fitted> {
        let begun = Instant::now();
        let (n, k) = (data.rows() as usize, self.k);
        // What would fail at the end fails before the work.
        let watched = self.checkpoints.as_ref().map(|checkpoints| Hashed::new(data, checkpoints));
        let statistics = self.statistics(watched.as_ref().map_or(data, |watched| watched), "X")?;
        self.check(n, data.cols())?;
        self.map_of(&statistics, None)?;
        weights.map(|weights| check_weights(weights, n, k)).transpose()?;
        let whole = Self { subsample: None, ..self.clone() };
        let Some(rows) = self.sampled(data.rows(), weights) else {
            return whole.fit_on(gpus, data, weights, progress);
        };
        let own = of_rows(weights, &rows);
        let sample = Rows { of: data, rows: &rows };
        let fitted = whole.fit_on(gpus, &sample, own.as_deref(), progress)?;
        let labelled = self.label(gpus, data, &statistics, weights, &fitted.cluster_centers)?;
        let (distinct_clusters, imbalance) = balance(k, labelled.labels.iter().map(|&label| label as usize));
        let mut notices = vec![sample.notice()];
        notices.extend(fitted.notices);
        Ok(Fitted {
            n,
            reranked: [fitted.reranked, labelled.reranked].into_iter().sum(),
            inertia: labelled.inertia,
            imbalance,
            distinct_clusters,
            notices,
            labels: labelled.labels,
            seconds: begun.elapsed().as_secs_f64(),
            ..fitted
        })
    }
}
