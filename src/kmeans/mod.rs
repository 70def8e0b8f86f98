//! Exact k-means on the GPU: FlashAssign and the sort-inverse update (Flash-KMeans, 2025), with scikit-learn's semantics.
//!
//! The points lie on the device as rows of vec4s, less their mean: distances between far-away points would otherwise
//! lose the digits that tell them apart. Sums are exact, so that a result depends neither on how the points are cut into
//! chunks nor on how many of them fit the device.
//!
//! Embeddings by their direction, and an inverted file (IVF) of them: a search looks into the lists of the centroids
//! that are nearest to the query, here 3 of 16.
//!
//! ```
//! use lowbit::gpu::{Context, Options};
//! use lowbit::io::npy::{Matrix, read_matrix};
//! use lowbit::kmeans::{KMeans, Metric};
//!
//! fn main() -> lowbit::Result<()> {
//!     let gpu = Context::open(&Options::default())?;
//!     let points = read_matrix("assets/kmeans/points.npy".as_ref())?;
//!     let coarse = KMeans::new(16).metric(Metric::Cosine).n_init(2);
//!     let fitted = coarse.fit(&gpu, &points, |_| ())?;
//!     let mut lists = vec![Vec::new(); fitted.k];
//!     for (point, &label) in fitted.labels.iter().enumerate() {
//!         lists[label as usize].push(point);
//!     }
//!
//!     let query = Matrix { rows: 1, cols: points.cols, values: points.values[..points.cols].to_vec() };
//!     let distances = coarse.transform(&gpu, &query, &fitted.cluster_centers)?;
//!     let mut nearest: Vec<usize> = (0..fitted.k).collect();
//!     nearest.sort_by(|&a, &b| distances.values[a].total_cmp(&distances.values[b]));
//!     let candidates: Vec<usize> = nearest[..3].iter().flat_map(|&list| lists[list].clone()).collect();
//!     assert!(candidates.contains(&0) && candidates.len() < points.rows);
//!     Ok(())
//! }
//! ```

pub mod adapters;
pub mod assign;
pub mod batch;
pub mod centroid;
pub mod checkpoint;
pub mod distance;
pub mod element;
mod first;
pub mod labeller;
pub mod lloyd;
pub mod mini_batch;
pub mod palette;
mod parallel;
pub mod points;
mod predict;
pub mod product;
pub mod radix_sort;
mod relocate;
pub mod rerank;
pub mod seed;
mod source;
mod statistics;
pub mod transform;
mod views;

use std::time::Instant;

use serde::Serialize;

use crate::gpu::Context;
use crate::io::npy::Matrix;
use crate::random::Random;
use crate::{Error, Result};
pub use batch::{FittedBatch, PredictedBatch};
use centroid::{Scales, power_below};
pub use checkpoint::Checkpoints;
use checkpoint::{Best, Hashed, Keeper, Keeping, Stand};
use first::{rows_of, sample};
pub use labeller::Reranked;
use lloyd::Lloyd;
pub use lloyd::Progress;
pub use mini_batch::MiniBatchKMeans;
pub use points::Source;
use points::{Points, Room, Statistics, Transform};
pub use predict::{Predicted, predict};
use views::Scaled;
pub use views::{Columns, Rows};

/// Where the first centroids come from.
#[derive(Clone, Debug)]
pub enum Init {
    /// Greedy k-means++ (Arthur and Vassilvitskii 2007), with 2 + floor(ln k) trials per step.
    PlusPlus,
    /// k-means|| (Bahmani et al. 2012): five rounds that each draw some 2k points by their squared distances, then k-means++
    /// among those. It reads all points six times, however large `k` is.
    Parallel,
    /// `k` different points, uniformly drawn.
    Random,
    /// These: `[k, d]`.
    Centroids(Matrix),
}

/// What "near" means, and what a centroid is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
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

/// Settings of a clustering; the defaults are scikit-learn's.
#[derive(Clone, Debug)]
pub struct KMeans {
    k: usize,
    init: Init,
    metric: Metric,
    empty: Empty,
    n_init: u32,
    seed: u64,
    max_iter: u32,
    tol: f64,
    subsample: Option<u64>,
    room: Room,
    seed_bytes: u64,
    checkpoints: Option<Checkpoints>,
    history: bool,
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
    /// What "near" means.
    pub metric: Metric,
    /// Iterations, of the best start.
    pub n_iter: u32,
    /// Whether the loop ended by itself: no label changed, or the centroids moved by no more than the tolerance.
    pub converged: bool,
    /// Sum of the distances of the points to their centroids, squared ones for [`Metric::Euclidean`], times their weights.
    pub inertia: f64,
    /// The inertia that each iteration of the best start found, by its labels and the centroids before it moved them; empty
    /// unless asked for ([`KMeans::history`]).
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
/// With fewer points for each cluster, centroids say more about the sample than about the data (FAISS).
const ENOUGH_POINTS: usize = 39;
/// The most bytes of points that k-means++ chooses among. A constant, so that the choice does not depend on the room.
const SEED_BYTES: u64 = 128 << 20;

impl KMeans {
    /// `k` clusters; k-means++, euclidean, one start, seed 0, at most 300 iterations, tolerance 1e-4.
    pub fn new(k: usize) -> Self {
        Self {
            k,
            init: Init::PlusPlus,
            metric: Metric::Euclidean,
            empty: Empty::Farthest,
            n_init: 1,
            seed: 0,
            max_iter: 300,
            tol: 1e-4,
            subsample: None,
            room: Room::default(),
            seed_bytes: SEED_BYTES,
            checkpoints: None,
            history: false,
        }
    }

    /// Sets where the first centroids come from.
    pub fn init(self, init: Init) -> Self {
        Self { init, ..self }
    }

    /// Sets what "near" means.
    pub fn metric(self, metric: Metric) -> Self {
        Self { metric, ..self }
    }

    /// Sets what becomes of clusters without points.
    pub fn empty(self, empty: Empty) -> Self {
        Self { empty, ..self }
    }

    /// Sets how many starts are tried, of which that of the least inertia counts. Given centroids are one start.
    pub fn n_init(self, n_init: u32) -> Self {
        Self { n_init, ..self }
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
    /// data's columns, or less; those of the rows' directions for [`Metric::Cosine`], whose centroids are directions too.
    /// Weights play no part in it (as in scikit-learn).
    pub fn tol(self, tol: f64) -> Self {
        Self { tol, ..self }
    }

    /// Sets how many points for each cluster the centroids are fitted to, at most: a uniform sample, by whose centroids all
    /// points are labelled. All points if `None`.
    pub fn subsample(self, per_cluster: Option<u64>) -> Self {
        Self { subsample: per_cluster, ..self }
    }

    /// Sets how many bytes of the device's memory points may take. What does not fit is sent again in each iteration; the
    /// result is the same.
    pub fn memory(self, bytes: u64) -> Self {
        Self { room: Room { bytes, ..self.room }, ..self }
    }

    /// Sets where a fit keeps its state, so that one that was ended can be resumed.
    pub fn checkpoints(self, checkpoints: Checkpoints) -> Self {
        Self { checkpoints: Some(checkpoints), ..self }
    }

    /// Sets whether the inertia that every iteration finds is noted ([`Fitted::history`]), which reads all points once more in
    /// each.
    pub fn history(self, history: bool) -> Self {
        Self { history, ..self }
    }

    /// Sets how many points one chunk holds at most, which otherwise follows from the adapter and the memory.
    #[doc(hidden)]
    pub fn chunk_rows(self, chunk: u64) -> Self {
        Self { room: Room { chunk, ..self.room }, ..self }
    }

    /// Sets the most bytes that k-means++ chooses among.
    #[doc(hidden)]
    pub fn seed_bytes(self, seed_bytes: u64) -> Self {
        Self { seed_bytes, ..self }
    }

    /// Clusters the rows of `data` (`[n, d]`).
    ///
    /// # Errors
    /// [`Error::Input`] for k = 0, more clusters than points, values that are not finite, centroids of the wrong shape;
    /// those of reading; those of [`Checkpoints`]; the device's.
    pub fn fit(&self, gpu: &Context, data: &dyn Source, progress: impl FnMut(Progress)) -> Result<Fitted> {
        self.fit_weighted(gpu, data, None, progress)
    }

    /// As [`KMeans::fit`], with a weight for each row (`[n]`): it counts as often. Rows of weight 0 get a label too.
    ///
    /// # Errors
    /// Those of [`KMeans::fit`]; [`Error::Input`] for weights that are negative, not finite, all 0, or not `n`.
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
    /// and [`KMeans::memory`] is that of each. The result is that of the first alone, to the bit, if they all are of one
    /// model; otherwise points that lie almost as near to another centroid may go there.
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
        mut keeper: Option<&mut Keeper>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Fitted> {
        let begun = Instant::now();
        let (n, d, k) = (data.rows() as usize, data.cols(), self.k);
        let statistics = match (&mut keeper, &self.checkpoints) {
            (Some(keeper), Some(checkpoints)) => {
                let hashed = Hashed::new(data, checkpoints);
                let statistics = self.statistics(&hashed, "X")?;
                keeper.identify(hashed.finish()?)?;
                statistics
            }
            _ => self.statistics(data, "X")?,
        };
        self.check(n, d)?;
        // Only how weights relate to each other matters, so the heaviest is brought between 1 and 2: none is then beyond f32.
        let unit = match weights {
            Some(weights) => power_below(check_weights(weights, n, k)?),
            None => 1.0,
        };
        let weights: Option<Vec<f32>> =
            weights.map(|weights| weights.iter().map(|&weight| (f64::from(weight) / unit) as f32).collect());
        let weights = weights.as_deref();
        let heaviest = weights.map(|weights| f64::from(weights.iter().copied().fold(0.0, f32::max)));
        let lightest = weights.into_iter().flatten().copied().filter(|&weight| weight > 0.0);
        let lightest = f64::from(lightest.fold(f32::INFINITY, f32::min));
        let given = match &self.init {
            Init::Centroids(given) => Some(Statistics::of(given, "init")?),
            _ => None,
        };
        let factor = self.factor(&statistics, n as u64, given.as_ref());
        let (settings, statistics) = (self.scaled(factor), statistics.scaled(factor));
        let scaled = Scaled { of: data, factor };
        let (whole, data) = (data, scaled.source());
        let mut progress = |news: Progress| progress(news.scaled(1.0 / factor));
        let given = given.map(|given| given.scaled(factor));
        let transform = self.map_of(&statistics, given.as_ref())?;
        let size = statistics.size_of(&transform);
        let starts = if matches!(self.init, Init::Centroids(_)) { 1 } else { self.n_init };
        let (mut stand, mut position) = (Stand::new(Random::new(self.seed)), None);
        if let Some(keeper) = &mut keeper {
            if let Transform::Centred(mean) = &transform {
                keeper.mean = mean.iter().copied().map(f64::from).collect();
            }
            (stand, position) = keeper.begin(&adapters::names(gpus), starts, stand)?;
        }
        let parts = adapters::share(gpus, data, weights)?;
        let gpu = parts[0].gpu;
        let points = adapters::place(&parts, &transform, statistics.square_of(&transform), self.room)?;
        let tol = (self.tol * statistics.variance) as f32;
        let scales = Scales::new(size, heaviest).reaching(&statistics, lightest);
        let loops = parts
            .iter()
            .zip(&points)
            .map(|(part, points)| Lloyd::new(part.gpu, points, k as u64, self.metric, scales, &[tol]));
        let squares = match (&transform, weights) {
            (Transform::Centred(centre), None) => Some(statistics.squares(n as f64, centre)),
            _ => None,
        };
        let lloyd = Lloyd::joined(loops)?.empty(self.empty).history(self.history).squares(squares);
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
                let first = settings.first(gpu, all, &transform, &mut random, &mut notices, &mut watched)?;
                if stand.start == 0 {
                    stand.notices.append(&mut notices);
                }
                stand.random = random;
                lloyd.start_from(&first)?;
            }
            let keeping = keeper.as_deref_mut().map(|keeper| Keeping { keeper, stand: &stand });
            let outcomes = lloyd.run(self.max_iter, history, keeping, &mut progress)?;
            let [outcome] = &outcomes[..] else {
                return Err(Error::DeviceLost("the control block is empty".into()));
            };
            let inertia = lloyd.inertia()?;
            if stand.best.as_ref().is_none_or(|best| inertia < best.inertia) {
                let (centroids, labels) = (lloyd.labeller.centroids()?, Some(lloyd.labels()?));
                stand.best = Some(Best { inertia, outcome: outcome.clone(), centroids, labels });
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
        let cluster_centers = there.scaled(1.0 / factor);
        let kept = transform.keeps(&centroids, &cluster_centers.scaled(factor));
        let mut reranked = lloyd.reranked()?;
        let labels = match labels {
            Some(labels) if kept => to_labels(labels)?,
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
            notices.push(format!("not converged after {} iterations (--max-iter)", outcome.n_iter));
        }
        if n / k < ENOUGH_POINTS {
            notices
                .push(format!("{n} points for {k} clusters: {ENOUGH_POINTS} or more for each are advised"));
        }
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
            notices,
            cluster_centers,
            labels,
        })
    }

    /// What a checkpoint has to have been written for, besides the data itself.
    fn identity(&self, n: usize, d: usize, weights: Option<&[f32]>) -> Vec<(&'static str, String)> {
        let init = match &self.init {
            Init::PlusPlus => "k-means++".into(),
            Init::Parallel => "k-means||".into(),
            Init::Random => "random".into(),
            Init::Centroids(given) => checkpoint::sha256_of(&given.values),
        };
        vec![
            ("n_samples", n.to_string()),
            ("n_features", d.to_string()),
            ("n_clusters", self.k.to_string()),
            ("metric", format!("{:?}", self.metric).to_lowercase()),
            ("init", init),
            ("n_init", self.n_init.to_string()),
            ("seed", self.seed.to_string()),
            ("max_iter", self.max_iter.to_string()),
            ("tol", self.tol.to_string()),
            ("empty", format!("{:?}", self.empty)),
            ("with_history", self.history.to_string()),
            ("weights_sha256", weights.map_or("none".into(), checkpoint::sha256_of)),
        ]
    }

    fn check(&self, n: usize, d: usize) -> Result<()> {
        let k = self.k;
        if k == 0 {
            return Err(Error::Input("n_clusters=0 should be >= 1".into()));
        }
        if n < k {
            return Err(Error::Input(format!("n_samples={n} should be >= n_clusters={k}.")));
        }
        if k > MOST_CLUSTERS {
            return Err(Error::Input(format!("n_clusters={k} should be <= {MOST_CLUSTERS}")));
        }
        if n as u64 >= 1 << 32 {
            return Err(Error::Input(format!("n_samples={n} should be < 2^32")));
        }
        if !(self.tol >= 0.0 && self.tol.is_finite()) {
            return Err(Error::Input(format!("tol={} should be a number >= 0", self.tol)));
        }
        if self.max_iter == 0 {
            return Err(Error::Input("max_iter=0 should be >= 1".into()));
        }
        if self.n_init == 0 {
            return Err(Error::Input("n_init=0 should be >= 1".into()));
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
        }
        Ok(())
    }

    /// What a reading of all rows says of them as they are clustered: of their directions for [`Metric::Cosine`].
    fn statistics(&self, data: &dyn Source, what: &str) -> Result<Statistics> {
        match self.metric {
            Metric::Euclidean | Metric::Dot => Statistics::of(data, what),
            Metric::Cosine => Statistics::of_directions(data, what),
        }
    }

    /// How points are transformed, and centroids `given` for them.
    fn map_of(&self, statistics: &Statistics, given: Option<&Statistics>) -> Result<Transform> {
        match (self.metric, statistics.zero) {
            (Metric::Euclidean, _) => Ok(Transform::Centred(statistics.centre(given))),
            (Metric::Cosine, Some(row)) => {
                Err(Error::Input(format!("row {row} is 0 throughout: it has no direction for metric=cosine")))
            }
            (Metric::Cosine, None) => Ok(Transform::Unit),
            (Metric::Dot, _) => Ok(Transform::Plain),
        }
    }

    /// What points, and centroids `given` for them, are multiplied with ([`Statistics::factor`]).
    fn factor(&self, statistics: &Statistics, n: u64, given: Option<&Statistics>) -> f32 {
        // Directions have a size of their own.
        if self.metric == Metric::Cosine { 1.0 } else { statistics.factor(n, given) }
    }

    /// The same settings for points that are multiplied with a power of two.
    fn scaled(&self, factor: f32) -> Self {
        let init = match &self.init {
            Init::Centroids(given) => Init::Centroids(given.scaled(factor)),
            init => init.clone(),
        };
        Self { init, ..self.clone() }
    }

    /// What distances that count (squared ones, or products) of points so multiplied have to be divided by.
    fn measure(factor: f32) -> f64 {
        f64::from(factor).powi(2)
    }

    /// Given centroids, transformed as the points are; errors call them `what`.
    fn given(&self, given: &Matrix, transform: &Transform, what: &str) -> Result<Vec<f32>> {
        let statistics = Statistics::of(given, what)?;
        if let (Metric::Cosine, Some(row)) = (self.metric, statistics.zero) {
            return Err(Error::Input(format!("row {row} of {what} is 0 throughout: it has no direction")));
        }
        let mut centroids = transform.apply(&given.values, given.cols);
        if let Transform::Unit = transform {
            // Directions of a fit are those that points were ranked by: rounding them again would rank other ones.
            let width = given.cols.next_multiple_of(4);
            for (row, target) in given.values.chunks(given.cols).zip(centroids.chunks_mut(width)) {
                if (points::norm(row) - 1.0).abs() < OF_UNIT_LENGTH {
                    target[..row.len()].copy_from_slice(row);
                }
            }
        }
        Ok(centroids)
    }
}

/// Keeps a fit that is about to choose the centroids of a start.
fn keep(keeper: &mut Option<&mut Keeper>, stand: &Stand) -> Result<()> {
    let Some(keeper) = keeper else { return Ok(()) };
    let mut keeping = Keeping { keeper, stand };
    let due = keeping.due();
    keeping.reach(None, due)
}

/// How far the norm of a direction of f32, as fits return it, is from 1 at most: some units of the last place.
const OF_UNIT_LENGTH: f64 = 4e-7;

/// How many of `k` clusters have points, and how unequal they are ([`Fitted::imbalance`]).
fn balance(k: usize, labels: impl Iterator<Item = usize>) -> (usize, f64) {
    let mut sizes = vec![0u64; k];
    labels.for_each(|label| sizes[label] += 1);
    let n: u64 = sizes.iter().sum();
    let squares: f64 = sizes.iter().map(|&size| (size as f64).powi(2)).sum();
    (sizes.iter().filter(|&&size| size > 0).count(), k as f64 * squares / (n as f64).powi(2))
}

/// The largest of `n` weights, at least `k` of which have to be more than 0.
fn check_weights(weights: &[f32], n: usize, k: usize) -> Result<f64> {
    let found = weights.len();
    if found != n {
        return Err(Error::Input(format!("there are {found} weights for {n} points")));
    }
    if let Some(row) = weights.iter().position(|&weight| !(weight >= 0.0 && weight.is_finite())) {
        return Err(Error::Input(format!(
            "the weight of row {row} is {}: weights are numbers >= 0",
            weights[row]
        )));
    }
    let heavy = weights.iter().filter(|&&weight| weight > 0.0).count();
    if heavy < k {
        return Err(Error::Input(format!(
            "{heavy} points have a weight above 0: there should be at least n_clusters={k}"
        )));
    }
    Ok(f64::from(weights.iter().copied().fold(0.0, f32::max)))
}

/// Of labels by the owner: the memory stays where it is.
fn to_labels(labels: Vec<u32>) -> Result<Vec<i32>> {
    let convert =
        |label: u32| i32::try_from(label).map_err(|_| Error::Input(format!("label {label} is no i32")));
    labels.into_iter().map(convert).collect()
}
