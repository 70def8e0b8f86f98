//! Several problems of equal shape in one call, as attention heads and layers ask for: `[B, n, d]`, each clustered by itself.
//!
//! A group of problems lies in one buffer, one behind the other. Cluster c of problem p is number p k + c, so the sort, the
//! sums and the means see one large problem; only ranking, seeding and the end of the loop know of several. Each problem
//! is scaled by a power of two to a common size (`group`), which changes no digit: a problem gets the result that it would get alone.

use std::ops::Range;
use std::time::Instant;

use serde::Serialize;

use super::assign;
use super::centroid::Centroid;
use super::drawing::{draw, rows_of};
use super::element::Layout;
use super::fitted::{Fitted, balance, to_labels};
use super::frame::Transform;
use super::group::{Group, Problem, in_problem, part, rows_in, within};
use super::iterate::Lloyd;
use super::labeller::Labeller;
use super::labeller::Reranked;
use super::metric::Metric;
use super::options::{Init, KMeans};
use super::points::{Points, Room, bytes_besides};
use super::progress::Outcome;
use super::progress::Progress;
use super::seed;
use super::source::Source;
use super::views::Window;
use super::weights::check_weights;
use crate::gpu::Context;
use crate::io::npy::Matrix;
use crate::random::Random;
use crate::{Error, Result};

/// Clusterings of several problems.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct FittedBatch {
    /// Problems.
    pub problems: usize,
    /// Points of each.
    pub n: usize,
    /// Dimensions.
    pub d: usize,
    /// Clusters of each.
    pub k: usize,
    /// What "near" means.
    pub metric: Metric,
    /// `[problems]` iterations, of the best start.
    pub n_iter: Vec<u32>,
    /// `[problems]` whether the loop ended by itself ([`Fitted::converged`]).
    pub converged: Vec<bool>,
    /// `[problems]` sums of the distances of the points to their centroids ([`Fitted::inertia`]).
    pub inertia: Vec<f64>,
    /// How often two centroids were too near to each other for scores of f32, in all problems.
    pub reranked: Reranked,
    /// Mean time of an iteration of all problems.
    pub ms_per_iteration: f64,
    /// Time of the whole call.
    pub seconds: f64,
    /// What the caller should know of this result.
    pub notices: Vec<String>,
    /// `[problems k, d]` centroids.
    #[serde(skip)]
    pub cluster_centers: Matrix,
    /// `[problems n]` cluster of each point within its problem.
    #[serde(skip)]
    pub labels: Vec<i32>,
}

/// Labels of the points of several problems by given centroids.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct PredictedBatch {
    /// `[problems]` sums of the distances of the points to their centroids.
    pub inertia: Vec<f64>,
    /// How often two centroids were too near to each other for scores of f32, in all problems.
    pub reranked: Reranked,
    /// `[problems n]` the nearest centroid of each point's problem.
    #[serde(skip)]
    pub labels: Vec<i32>,
}

/// The best start of a problem.
struct Best {
    inertia: f64,
    outcome: Outcome,
    centroids: Vec<f32>,
    /// Whether those on the device are the same numbers.
    kept: bool,
    labels: Vec<u32>,
}

impl KMeans {
    /// Clusters each of several problems by itself: the rows of `data` (`[problems n, d]`) are those of the first problem, then
    /// those of the second, and so on. Given centroids are those of every problem (`[k, d]`), or of each in turn
    /// (`[problems k, d]`). A problem's result is that of [`KMeans::fit`] with the same settings, to the bit, wherever its
    /// points fit the device and number at most 2^24.
    ///
    /// # Errors
    /// Those of [`KMeans::fit`] for each problem; [`Error::Shape`] for rows that are no multiple of the problems, [`Error::Input`] for
    /// settings that are for one problem only: frozen centroids, a sample of the points, checkpoints, the history.
    pub fn fit_batch(
        &self,
        gpu: &Context,
        data: &dyn Source,
        problems: usize,
        progress: impl FnMut(Progress),
    ) -> Result<FittedBatch> {
        self.fit_batch_weighted(gpu, data, problems, None, progress)
    }

    /// As [`KMeans::fit_batch`], with a weight for each row (`[problems n]`), as [`KMeans::fit_weighted`] takes them for each problem.
    ///
    /// # Errors
    /// Those of [`KMeans::fit_batch`]; of the weights, those of [`KMeans::fit_weighted`] for each problem.
    pub fn fit_batch_weighted(
        &self,
        gpu: &Context,
        data: &dyn Source,
        problems: usize,
        weights: Option<&[f32]>,
        mut progress: impl FnMut(Progress),
    ) -> Result<FittedBatch> {
        let begun = Instant::now();
        let (n, d, k) = (self.share(data, problems)?, data.cols(), self.k);
        let given = match &self.init {
            Init::Centroids(given) if problems > 1 && given.rows == problems * k => Some(given),
            _ => None,
        };
        self.of_problem(given, 0).check(n, d)?;
        self.refuse_single()?;
        if let Some(weights) = weights {
            check_weights(weights, problems * n, 0)?;
        }
        let (mut bests, mut notices, mut time) = (Vec::with_capacity(problems), Vec::new(), 0.0f64);
        let mut reranked = Vec::new();
        let init = |problem: usize| match (&self.init, given) {
            (_, Some(given)) => Some(part(given, k, problem..problem + 1)),
            (Init::Centroids(all), None) => Some(all.clone()),
            _ => None,
        };
        // k-means|| draws as many candidates as chance has it, divisions are clusterings of their own, and so are auctions.
        let together =
            !self.balanced && !matches!(self.init, Init::Parallel | Init::Bisecting | Init::TwoLevel);
        let most = if together { self.group_size(gpu, n, d, weights.is_some())? } else { 0 };
        for first in (0..problems).step_by(most.max(1)) {
            let range = first..(first + most.max(1)).min(problems);
            let group = |range| self.group(data, n, range, (weights, k), &init);
            let group = if most == 0 { None } else { Some(group(range.clone())?) };
            let Some(group) = group.filter(Group::fits) else {
                // What is too large for a buffer goes its own way, a chunk at a time; and so does what needs sums of its own
                // kind.
                for problem in range {
                    let rows = rows_in(n, problem..problem + 1);
                    let own = weights.map(|weights| &weights[rows.start as usize..rows.end as usize]);
                    let window = Window { of: data, rows };
                    let fitted =
                        self.of_problem(given, problem).fit_weighted(gpu, &window, own, &mut progress);
                    let fitted = fitted.map_err(|error| in_problem(problem, error))?;
                    time += fitted.ms_per_iteration;
                    reranked.push(fitted.reranked);
                    bests.push(best_of(fitted));
                }
                continue;
            };
            let (own_time, own) =
                self.fit_group(gpu, &group, given, range.clone(), &mut bests, &mut progress)?;
            time += own_time;
            reranked.push(own);
            reranked.extend(self.settle(gpu, &group, weights, range, &mut bests)?);
        }
        let mut fitted = FittedBatch {
            problems,
            n,
            d,
            k,
            metric: self.metric,
            n_iter: bests.iter().map(|best| best.outcome.n_iter).collect(),
            converged: bests.iter().map(|best| best.outcome.converged).collect(),
            inertia: bests.iter().map(|best| best.inertia).collect(),
            reranked: reranked.into_iter().sum(),
            ms_per_iteration: time,
            seconds: 0.0,
            notices: Vec::new(),
            cluster_centers: Matrix { rows: problems * k, cols: d, values: Vec::new() },
            labels: Vec::with_capacity(problems * n),
        };
        let few = |best: &&Best| balance(k, best.labels.iter().map(|&label| label as usize)).0 < k;
        let few = bests.iter().filter(few).count();
        if few > 0 {
            notices.push(format!(
                "{few} of {problems} problems have fewer distinct clusters than n_clusters ({k}). \
                 Possibly due to duplicate points in X."
            ));
        }
        let endless = fitted.converged.iter().filter(|converged| !**converged).count();
        if endless > 0 {
            let most = self.max_iter;
            notices.push(format!("{endless} of {problems} problems not converged after {most} iterations"));
        }
        for best in bests {
            fitted.cluster_centers.values.extend(best.centroids);
            fitted.labels.extend(to_labels(best.labels)?);
        }
        Ok(FittedBatch { notices, seconds: begun.elapsed().as_secs_f64(), ..fitted })
    }

    /// Labels the points of several problems (`[problems n, d]`) by the nearest of their problem's centroids
    /// (`[problems k, d]`).
    ///
    /// # Errors
    /// Those of [`KMeans::predict`] for each problem; [`Error::Shape`] for rows that are no multiple of the problems.
    pub fn predict_batch(
        &self,
        gpu: &Context,
        data: &dyn Source,
        problems: usize,
        centroids: &Matrix,
    ) -> Result<PredictedBatch> {
        let n = self.share(data, problems)?;
        let (d, k) = (data.cols(), centroids.rows / problems);
        if k == 0 || !centroids.rows.is_multiple_of(problems) || centroids.cols != d {
            return Err(Error::Shape(format!(
                "the shape of the centroids ({}, {}) does not match {problems} problems of {d} features",
                centroids.rows, centroids.cols
            )));
        }
        let most = Self { k, ..self.clone() }.group_size(gpu, n, d, false)?;
        let (mut labels, mut inertia) = (Vec::with_capacity(problems * n), Vec::with_capacity(problems));
        let mut reranked = Vec::new();
        let of = |problem: usize| Some(part(centroids, k, problem..problem + 1));
        for first in (0..problems).step_by(most.max(1)) {
            let range = first..(first + most.max(1)).min(problems);
            let group = |range| self.group(data, n, range, (None, k), &of);
            let group = if most == 0 { None } else { Some(group(range.clone())?) };
            let Some(group) = group.filter(Group::fits) else {
                for problem in range {
                    let window = Window { of: data, rows: rows_in(n, problem..problem + 1) };
                    let predicted = self.predict(gpu, &window, &part(centroids, k, problem..problem + 1));
                    let predicted = predicted.map_err(|error| in_problem(problem, error))?;
                    labels.extend(predicted.labels);
                    inertia.push(predicted.inertia);
                    reranked.push(predicted.reranked);
                }
                continue;
            };
            let own = self.label_group(gpu, &group, &part(centroids, k, range))?;
            labels.extend(own.labels);
            inertia.extend(own.inertia);
            reranked.push(own.reranked);
        }
        Ok(PredictedBatch { inertia, reranked: reranked.into_iter().sum(), labels })
    }

    /// Labels the points of a group, which was made for these `centroids` too.
    fn label_group(&self, gpu: &Context, group: &Group<'_>, centroids: &Matrix) -> Result<PredictedBatch> {
        let (n, count) = (group.each as usize, group.problems.len());
        let k = centroids.rows / count.max(1);
        let points = Points::new(gpu, group, group.weights(), &Transform::Plain, Room::default())?;
        let points = points.within(group.square()).split(count as u64)?;
        let labeller = Labeller::new(gpu, &points, k as u64, self.metric)?;
        labeller.start_from(&self.given_to(group, centroids, k, 0..count)?)?;
        labeller.label()?;
        let sums = group.problems.iter().zip(labeller.inertias()?);
        let inertia = sums.map(|(problem, sum)| problem.inertia(sum)).collect();
        let own = points.labels(gpu)?.into_iter().zip(0..).map(|(label, i)| within(label, i, n, k));
        Ok(PredictedBatch { inertia, reranked: labeller.reranked()?, labels: to_labels(own.collect())? })
    }

    /// Labels the points of a group again where centroids were rounded on their way back to where the data lies: labels are
    /// those of the centroids that are returned.
    fn settle(
        &self,
        gpu: &Context,
        group: &Group<'_>,
        weights: Option<&[f32]>,
        range: Range<usize>,
        bests: &mut [Best],
    ) -> Result<Option<Reranked>> {
        let (n, d, k, count) = (group.each as usize, group.cols(), self.k, range.len());
        let own = bests.len() - count;
        let bests = &mut bests[own..];
        if bests.iter().all(|best| best.kept) {
            return Ok(None);
        }
        let values = bests.iter().flat_map(|best| &best.centroids).copied().collect();
        let centroids = Matrix { rows: count * k, cols: d, values };
        let first = range.start;
        let of = |problem: usize| Some(part(&centroids, k, problem - first..problem - first + 1));
        let group = self.group(group.window.of, n, range, (weights, k), &of)?;
        let labelled = self.label_group(gpu, &group, &centroids)?;
        for ((best, labels), inertia) in
            bests.iter_mut().zip(labelled.labels.chunks(n.max(1))).zip(labelled.inertia)
        {
            // The others stay what they would be alone.
            if !best.kept {
                best.labels = labels.iter().map(|&label| label as u32).collect();
                best.inertia = inertia;
            }
        }
        Ok(Some(labelled.reranked))
    }

    /// Points of each problem.
    fn share(&self, data: &dyn Source, problems: usize) -> Result<usize> {
        let rows = data.rows();
        if problems == 0 || !rows.is_multiple_of(problems as u64) {
            return Err(Error::Shape(format!("{rows} rows cannot be shared equally by {problems} problems")));
        }
        Ok((rows / problems as u64) as usize)
    }

    /// The settings for one problem.
    fn of_problem(&self, given: Option<&Matrix>, problem: usize) -> Self {
        match given {
            Some(given) => {
                Self { init: Init::Centroids(part(given, self.k, problem..problem + 1)), ..self.clone() }
            }
            None => self.clone(),
        }
    }

    fn refuse_single(&self) -> Result<()> {
        let what = if self.frozen.is_some() {
            "frozen centroids"
        } else if self.subsample.is_some() {
            "a subsample"
        } else if self.checkpoints.is_some() {
            "checkpoints"
        } else if self.history {
            "the history"
        } else {
            return Ok(());
        };
        Err(Error::Input(format!("{what} cannot be had for several problems in one call: leave it out")))
    }

    /// How many problems of `n` points can lie on the device at the same time; 0 if one is too large.
    fn group_size(&self, gpu: &Context, n: usize, d: usize, weighted: bool) -> Result<usize> {
        let (n, k, d4) = (n as u64, self.k as u64, d.div_ceil(4) as u64);
        let trials = seed::trials(k);
        let columns = d4 + u64::from(weighted);
        let sums = Centroid::scratch_bytes(n, k, columns);
        let largest = [16 * d4 * n, 4 * trials * n, 64 * columns * k, sums].into_iter().max().unwrap_or(0);
        let all = n * (16 * d4 + bytes_besides(d4, weighted) + 8 * trials) + 100 * columns * k + sums;
        let fit = (gpu.adapter.max_binding_bytes / largest.max(1)).min(self.room.bytes / all.max(1));
        // Labels of all problems of a group are i32, and so are the numbers of their points.
        let fit = fit.min((1 << 31) / n.max(k).max(1));
        let piece = if gpu.is_heeding() {
            assign::points_of_a_piece(gpu, Layout::F32, Some(1.0), (u64::MAX, n), (k, d as u64))?
        } else {
            u64::MAX
        };
        let fit = fit.min((piece / n.max(1)).max(1));
        let small = n <= seed::most_points(gpu.adapter.max_binding_bytes, d as u64, k)
            && n < self.room.chunk.min(piece);
        Ok(if small { usize::try_from(fit).unwrap_or(usize::MAX) } else { 0 })
    }

    /// Clusters the problems of a group, and appends the best start of each; the time of an iteration, in milliseconds, and how
    /// often points were ranked again.
    fn fit_group(
        &self,
        gpu: &Context,
        group: &Group<'_>,
        given: Option<&Matrix>,
        range: Range<usize>,
        bests: &mut Vec<Best>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(f64, Reranked)> {
        let (n, d, k, count) = (group.each as usize, group.cols(), self.k, range.len());
        let points = Points::new(gpu, group, group.weights(), &Transform::Plain, Room::default())?;
        let points = points.within(group.square()).split(count as u64)?;
        let tol =
            |problem: &Problem| (f64::from((self.tol * problem.variance) as f32) * problem.squared()) as f32;
        let tol: Vec<f32> = group.problems.iter().map(tol).collect();
        let lloyd = Lloyd::new(gpu, &points, k as u64, self.metric, group.scales(), &tol)?;
        let lloyd = lloyd.empty(self.empty);
        // What a problem draws by weight follows from its own.
        let mut random = vec![Random::new(self.seed); count];
        let mut own: Vec<Option<Best>> = (0..count).map(|_| None).collect();
        let starts = self.starts();
        let mut time = 0.0f64;
        for _ in 0..starts {
            lloyd.forget_labels()?;
            lloyd.start_from(&self.first_of_each(
                gpu,
                group,
                &points,
                given,
                range.clone(),
                &mut random,
                progress,
            )?)?;
            let outcomes = lloyd.run(self.max_iter, Vec::new(), None, progress)?;
            let (centroids, labels) = (lloyd.labeller.centroids()?, lloyd.labels()?);
            for (at, sum) in lloyd.labeller.inertias()?.into_iter().enumerate() {
                let inertia = group.problems[at].inertia(sum);
                if own[at].as_ref().is_some_and(|best| best.inertia <= inertia) {
                    continue;
                }
                let problem = &group.problems[at];
                let there = &centroids[at * k * d..][..k * d];
                let mut centroids = there.to_vec();
                centroids.chunks_mut(d).for_each(|row| problem.undo(row));
                let mut again = centroids.clone();
                again.chunks_mut(d).for_each(|row| problem.apply_to(row));
                // Directions stay directions.
                let kept = self.metric == Metric::Cosine || again == there;
                let labels = labels[at * n..][..n].iter().zip(at * n..);
                let labels = labels.map(|(&label, i)| within(label, i, n, k)).collect();
                time = time.max(outcomes[at].iteration.as_secs_f64() * 1e3);
                own[at] = Some(Best { inertia, outcome: outcomes[at].clone(), centroids, kept, labels });
            }
        }
        bests.extend(own.into_iter().flatten());
        Ok((time, lloyd.reranked()?))
    }

    /// The first centroids of every problem, as they lie on the device.
    #[allow(clippy::too_many_arguments, reason = "they are the parts of one group, each of another kind")]
    fn first_of_each(
        &self,
        gpu: &Context,
        group: &Group<'_>,
        points: &Points<'_>,
        given: Option<&Matrix>,
        range: Range<usize>,
        random: &mut [Random],
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Vec<f32>> {
        let (n, d, k, count) = (group.each, group.cols() as u64, self.k as u64, range.len() as u64);
        let chosen: Vec<u64> = match &self.init {
            Init::Centroids(all) => return self.given_to(group, given.unwrap_or(all), self.k, range),
            Init::Random => {
                let each = random.iter_mut().enumerate();
                each.flat_map(|(at, random)| draw(n as usize, self.k, group.weights_of(at), random)).collect()
            }
            Init::PlusPlus | Init::Parallel | Init::Bisecting | Init::TwoLevel => {
                let Some(block) = points.whole() else {
                    return Err(Error::Input("the problems of a group do not lie in one buffer".into()));
                };
                let seeds = seed::Seed::tuned(gpu, Layout::F32, n, d, k)?;
                let mut watch = |news| {
                    progress(news);
                    Ok(())
                };
                let from = (block.laid(), count);
                // All draw as often.
                let mut one = random[0].clone();
                let chosen = seeds.choose(gpu, from, (group.weights(), None), d, k, &mut one, &mut watch)?;
                random.fill(one);
                chosen.into_iter().map(u64::from).collect()
            }
        };
        let place = |(i, point): (usize, u64)| i as u64 / k * n + point;
        let rows: Vec<u64> = chosen.into_iter().enumerate().map(place).collect();
        rows_of(points, &rows)
    }
}

fn best_of(fitted: Fitted) -> Best {
    let iteration = std::time::Duration::from_secs_f64(fitted.ms_per_iteration / 1e3);
    Best {
        inertia: fitted.inertia,
        outcome: Outcome {
            n_iter: fitted.n_iter,
            converged: fitted.converged,
            iteration,
            history: Vec::new(),
        },
        centroids: fitted.cluster_centers.values,
        kept: true,
        labels: fitted.labels.into_iter().map(|label| label as u32).collect(),
    }
}
