//! The fit: statistics, placement on the adapters, starts, and what is returned of the best.

use std::time::Instant;

use super::adapters;
use super::checkpoint::{Best, Keeping, Stand, State};
use super::divide::Division;
use super::fitted::{Fitted, balance, to_labels};
use super::frame::Transform;
use super::iterate::Lloyd;
use super::keeper::Keeper;
use super::options::{Init, KMeans, Prepared};
use super::points::Points;
use super::progress::Progress;
use super::source::Source;
use super::views::Scaled;
use super::weights::Weights;
use crate::gpu::Context;
use crate::io::npy::Matrix;
use crate::random::Random;
use crate::{Error, Result};

/// With fewer points for each cluster, centroids say more about the sample than about the data (FAISS).
pub(super) const ENOUGH_POINTS: usize = 39;

/// What to say of that.
pub(super) fn too_few(n: usize, k: usize) -> Option<String> {
    let text = || format!("{n} points for {k} clusters: {ENOUGH_POINTS} or more for each are advised");
    (n / k < ENOUGH_POINTS).then(text)
}

impl KMeans {
    /// Clusters the rows of `data` (`[n, d]`).
    ///
    /// # Errors
    /// [`Error::Input`] for k = 0 and more clusters than points, [`Error::NotFinite`] for such values, [`Error::Shape`] for no points and
    /// centroids of the wrong shape; those of reading; those of [`Checkpoints`](super::Checkpoints); the device's.
    pub fn fit(&self, gpu: &Context, data: &dyn Source, progress: impl FnMut(Progress)) -> Result<Fitted> {
        self.fit_weighted(gpu, data, None, progress)
    }

    /// As [`KMeans::fit`], with a weight for each row (`[n]`): it counts as often. Rows of weight 0 get a label too.
    ///
    /// # Errors
    /// Those of [`KMeans::fit`]; [`Error::Input`] for weights that are negative or all 0, [`Error::NotFinite`] for such ones,
    /// [`Error::Shape`] where they are not `n`.
    pub fn fit_weighted(
        &self,
        gpu: &Context,
        data: &dyn Source,
        weights: Option<&[f32]>,
        progress: impl FnMut(Progress),
    ) -> Result<Fitted> {
        self.fit_on(&[gpu], data, weights, progress)
    }

    /// As [`KMeans::fit_weighted`], on several adapters (or several devices of one): each has an equal share of the points,
    /// and [`KMeans::memory`] is that of each. The result is that of any of them alone, to the bit.
    ///
    /// # Errors
    /// Those of [`KMeans::fit_weighted`]; [`Error::Input`] for no adapter.
    pub fn fit_on(
        &self,
        gpus: &[&Context],
        data: &dyn Source,
        weights: Option<&[f32]>,
        mut progress: impl FnMut(Progress),
    ) -> Result<Fitted> {
        self.check_balanced(weights.is_some(), gpus.len())?;
        if self.subsample.is_some() {
            return self.fit_sample(gpus, data, weights, progress);
        }
        let Some(checkpoints) = &self.checkpoints else {
            return self.fit_kept(gpus, data, weights, None, &mut progress);
        };
        let shape = (self.k, data.cols());
        let identity = self.identity(data.rows() as usize, data.cols(), weights);
        let mut keeper = Keeper::open(checkpoints, identity, shape)?;
        let _heeding: Vec<_> = gpus.iter().map(|gpu| gpu.heed(&checkpoints.stop)).collect();
        let fitted = self.fit_kept(gpus, data, weights, Some(&mut keeper), &mut progress);
        fitted.map_err(|error| keeper.close(error))
    }

    /// All starts, whose states `keeper` keeps.
    fn fit_kept(
        &self,
        gpus: &[&Context],
        data: &dyn Source,
        weights: Option<&[f32]>,
        mut keeper: Option<&mut Keeper<State>>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Fitted> {
        let begun = Instant::now();
        let (n, d, k) = (data.rows() as usize, data.cols(), self.k);
        let read = |data: &dyn Source| self.statistics(data, "X");
        let statistics = match &mut keeper {
            Some(keeper) => keeper.identify(data, read)?,
            None => read(data)?,
        };
        self.check(n, d)?;
        let weighing = Weights::new(weights, n, k)?;
        let (weights, unit) = (weighing.values(), weighing.unit);
        let given = self.statistics_of_given()?;
        let prepared = self.prepared(&statistics, n as u64, given.as_ref())?;
        let (square, scales) = (prepared.square(), prepared.scales(&weighing));
        let Prepared { factor, transform, statistics } = prepared;
        let settings = self.scaled(factor);
        let scaled = Scaled { of: data, factor };
        let (whole, data) = (data, scaled.source());
        let mut progress = |news: Progress| progress(news.scaled(1.0 / factor));
        let (starts, frozen) = (self.starts(), k - self.others());
        let (mut stand, mut position) = (Stand::new(Random::new(self.seed)), None);
        if let Some(keeper) = &mut keeper {
            (stand, position) = keeper.begin_at(&adapters::names(gpus), &transform, starts, stand)?;
        }
        let parts = adapters::share(gpus, data, weights)?;
        let gpu = parts[0].gpu;
        let points = adapters::place(&parts, &transform, square, k, self.room)?;
        let tol = (self.tol * statistics.variance) as f32;
        let clusters = (k as u64, frozen as u64);
        let loops = parts
            .iter()
            .zip(&points)
            .map(|(part, of)| Lloyd::with_frozen(part.gpu, of, clusters, self.metric, scales, &[tol]));
        // By the means, which frozen centroids are not.
        let squares = match (&transform, weights) {
            (Transform::Centred(centre), None) if frozen == 0 => Some(statistics.squares(n as f64, centre)),
            _ => None,
        };
        let lloyd = Lloyd::joined(loops)?.empty(self.empty).history(self.history).squares(squares);
        let mut iteration = None;
        while stand.start < starts {
            lloyd.forget_labels()?;
            let mut history = Vec::new();
            if let Some(position) = position.take() {
                lloyd.restore(&position)?;
                history = position.history;
            } else {
                let (mut random, mut notices) = (stand.random.clone(), Vec::new());
                keep(&mut keeper, &stand)?;
                let mut watched = |news| {
                    progress(news);
                    keep(&mut keeper, &stand)
                };
                // What chooses among all points finds them on the first adapter.
                let all = match (&self.init, &points[..]) {
                    (Init::Centroids(_), _) | (_, [_]) => None,
                    _ => Some(Points::new(gpu, data, weights, &transform, self.room_to_choose(d))?),
                };
                let all = all.as_ref().unwrap_or(&points[0]);
                let mut first = settings.frozen_rows(&transform)?;
                if frozen < k {
                    first.extend(if matches!(self.init, Init::Bisecting | Init::TwoLevel) {
                        let division = Division { gpu, points: all, settings: &settings, scales };
                        division.first(statistics.variance, &mut random, &mut watched)?
                    } else {
                        settings.first(gpu, all, &first, &mut random, &mut notices, &mut watched)?
                    });
                }
                if stand.start == 0 {
                    stand.notices.append(&mut notices);
                }
                stand.random = random;
                lloyd.start_from(&first)?;
            }
            let outcome = if self.balanced {
                let (outcome, own) = self.run_balanced(&lloyd, tol, &mut progress)?;
                iteration = Some(own);
                outcome
            } else {
                let keeping = keeper.as_deref_mut().map(|keeper| Keeping { keeper, stand: &stand });
                let outcomes = lloyd.run(self.max_iter, history, keeping, &mut progress)?;
                let of_one = outcomes.into_iter().next();
                of_one.ok_or_else(|| Error::DeviceLost("the control block is empty".into()))?
            };
            let inertia = lloyd.inertia()?;
            if stand.best.as_ref().is_none_or(|best| inertia < best.inertia) {
                let (centroids, labels) = (lloyd.labeller.centroids()?, Some(lloyd.labels()?));
                stand.best = Some(Best { inertia, outcome, centroids, labels });
            }
            stand.start += 1;
        }
        let Stand { best: Some(best), mut notices, .. } = stand else {
            return Err(Error::Input("n_init=0 should be >= 1".into()));
        };
        let Best { mut inertia, outcome, centroids, labels } = best;
        let measure = Self::measure(factor);
        inertia /= measure;
        let there = Matrix { rows: k, cols: d, values: transform.undone(&centroids, d) };
        let mut cluster_centers = there.scaled(1.0 / factor);
        if let (Some(frozen), Transform::Centred(_) | Transform::Plain) = (&self.frozen, &transform) {
            cluster_centers.values[..frozen.values.len()].copy_from_slice(&frozen.values);
        }
        let kept = transform.keeps(&centroids, &cluster_centers.scaled(factor));
        let mut reranked = lloyd.reranked()?;
        let iteration = iteration.unwrap_or_else(|| lloyd.iteration(n as u64));
        let labels = match labels {
            Some(labels) if kept || self.balanced => to_labels(labels)?,
            // Labels are those of the centroids that are returned; and a checkpoint, from which the best start may have been
            // resumed, has none.
            _ => {
                drop(lloyd);
                drop(points);
                let labelled =
                    self.label(gpus, whole, &statistics.scaled(1.0 / factor), weights, &cluster_centers)?;
                reranked = [reranked, labelled.reranked].into_iter().sum();
                if !kept {
                    inertia = labelled.inertia;
                }
                labelled.labels
            }
        };
        notices.extend(adapters::notice(gpus, &parts));
        let (distinct_clusters, imbalance) = balance(k, labels.iter().map(|&label| label as usize));
        if distinct_clusters < k {
            notices.push(format!(
                "Number of distinct clusters ({distinct_clusters}) found smaller than n_clusters ({k}). \
                 Possibly due to duplicate points in X."
            ));
        }
        if !outcome.converged {
            notices.push(format!("not converged after {} iterations (`max-iter`)", outcome.n_iter));
        }
        notices.extend(too_few(n, k));
        Ok(Fitted {
            n,
            d,
            k,
            metric: self.metric,
            n_iter: outcome.n_iter,
            converged: outcome.converged,
            inertia: inertia * unit,
            history: outcome.history.iter().map(|inertia| inertia / measure * unit).collect(),
            imbalance,
            ms_per_iteration: outcome.iteration.as_secs_f64() * 1e3,
            seconds: begun.elapsed().as_secs_f64(),
            distinct_clusters,
            reranked,
            iteration,
            notices,
            cluster_centers,
            labels,
        })
    }
}

/// Keeps a fit that is about to choose the centroids of a start.
fn keep(keeper: &mut Option<&mut Keeper<State>>, stand: &Stand) -> Result<()> {
    let Some(keeper) = keeper else { return Ok(()) };
    let mut keeping = Keeping { keeper, stand };
    let due = keeping.due();
    keeping.reach(None, due)
}
