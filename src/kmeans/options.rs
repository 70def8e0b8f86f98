//! The settings of a clustering, checked against its data, and what they make of points and given centroids.

use super::centroid::Scales;
use super::frame::{Transform, norm};
use super::keeper::{Checkpoints, sha256_of};
use super::metric::{Empty, Metric};
use super::points::Room;
use super::source::Source;
use super::statistics::Statistics;
use super::weights::Weights;
use crate::io::npy::Matrix;
use crate::{Error, Result};

/// Where the first centroids come from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Init {
    /// Greedy k-means++ (Arthur and Vassilvitskii 2007), with 2 + floor(ln k) trials per step.
    PlusPlus,
    /// k-means|| (Bahmani et al. 2012): five rounds that each draw some 2k points by their squared distances, then k-means++
    /// among those. It reads all points six times, however large `k` is.
    Parallel,
    /// Bisecting k-means (Steinbach, Karypis and Kumar 2000): the part of the points with the largest inertia becomes two, by
    /// 2-means, until there are `k` parts. Their centroids are the first ones.
    Bisecting,
    /// Two levels, for large `k`: about sqrt(`k`) parts by k-means, each of which becomes as many as its share of the points,
    /// one at least, by k-means of its own points. The time is that of sqrt(`k`) centroids for every point, twice.
    TwoLevel,
    /// `k` different points, uniformly drawn.
    Random,
    /// These: `[k, d]`, or one less for each frozen one ([`KMeans::frozen`]).
    Centroids(Matrix),
}

impl Init {
    /// What it is called where it is asked for.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::PlusPlus => "k-means++",
            Self::Parallel => "k-means||",
            Self::Bisecting => "bisecting",
            Self::TwoLevel => "two-level",
            Self::Random => "random",
            Self::Centroids(_) => "centroids",
        }
    }
}

/// How points, and centroids given for them, go to a device.
pub(super) struct Prepared {
    /// What both are multiplied with first.
    pub factor: f32,
    /// What is done to both then.
    pub transform: Transform,
    /// Of the points, so multiplied.
    pub statistics: Statistics,
}

impl Prepared {
    /// As [`Points::within`](super::points::Points::within) takes it.
    pub fn square(&self) -> Option<f64> {
        self.statistics.square_of(&self.transform)
    }

    /// How the points are summed up, times their weights.
    pub fn scales(&self, weights: &Weights) -> Scales {
        weights.scales(self.statistics.size_of(&self.transform), &self.statistics)
    }
}

/// Settings of a clustering; the defaults are scikit-learn's.
#[derive(Clone, Debug)]
pub struct KMeans {
    pub(super) k: usize,
    pub(super) init: Init,
    pub(super) frozen: Option<Matrix>,
    pub(super) metric: Metric,
    pub(super) empty: Empty,
    pub(super) balanced: bool,
    pub(super) n_init: u32,
    pub(super) seed: u64,
    pub(super) max_iter: u32,
    pub(super) tol: f64,
    pub(super) subsample: Option<u64>,
    pub(super) room: Room,
    pub(super) seed_bytes: u64,
    pub(super) checkpoints: Option<Checkpoints>,
    pub(super) history: bool,
}

/// Labels are i32.
const MOST_CLUSTERS: usize = 1 << 31;
/// The most bytes of points that k-means++ chooses among. A constant, so that the choice does not depend on the room.
pub(super) const SEED_BYTES: u64 = 128 << 20;

/// How far the norm of a direction of f32, as fits return it, is from 1 at most: some units of the last place.
const OF_UNIT_LENGTH: f64 = 4e-7;

impl KMeans {
    /// `k` clusters; k-means++, euclidean, one start, seed 0, at most 300 iterations, tolerance 1e-4.
    pub fn new(k: usize) -> Self {
        Self {
            k,
            init: Init::PlusPlus,
            frozen: None,
            metric: Metric::Euclidean,
            empty: Empty::Farthest,
            balanced: false,
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

    /// Sets centroids that stay where they are (FAISS's `frozen_centroids`): `[f, d]`, the first `f` of the `k`, of which [`Init`]
    /// chooses the others; k-means++ and k-means|| away from them, the other ways without regard to them. They are returned to
    /// the bit, but for [`Metric::Cosine`], where they become unit vectors. Points are theirs as of any cluster, and count in the
    /// inertia; without a point they stay too.
    pub fn frozen(self, centroids: Matrix) -> Self {
        Self { frozen: Some(centroids), ..self }
    }

    /// Sets what "near" means.
    pub fn metric(self, metric: Metric) -> Self {
        Self { metric, ..self }
    }

    /// Sets what becomes of clusters without points.
    pub fn empty(self, empty: Empty) -> Self {
        Self { empty, ..self }
    }

    /// Sets whether all clusters get equally many points, up to one ([`Fitted::labels`](super::Fitted::labels) are then not always the
    /// nearest centroids'): near to the least inertia that this allows, as an auction finds it in each iteration. The
    /// loop ends too where the inertia falls no more. Not with weights, several adapters, a subsample or checkpoints.
    pub fn balanced(self, balanced: bool) -> Self {
        Self { balanced, ..self }
    }

    /// Sets how many starts are tried, of which that of the least inertia counts. Given centroids are one start.
    pub fn n_init(self, n_init: u32) -> Self {
        Self { n_init, ..self }
    }

    /// Sets the seed of every random choice; one seed gives the same result, to the bit, in every run on every adapter.
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

    /// Sets whether the inertia that every iteration finds is noted ([`Fitted::history`](super::Fitted::history)), which reads all points once more in
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

    /// What a checkpoint has to have been written for, besides the data itself.
    pub(super) fn identity(
        &self,
        n: usize,
        d: usize,
        weights: Option<&[f32]>,
    ) -> Vec<(&'static str, String)> {
        let init: String = match &self.init {
            Init::Centroids(given) => sha256_of(&given.values),
            init => init.name().into(),
        };
        let init = match &self.frozen {
            Some(frozen) => format!("{init} beside frozen {}", sha256_of(&frozen.values)),
            None => init,
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
            ("weights_sha256", weights.map_or("none".into(), sha256_of)),
        ]
    }

    pub(super) fn check(&self, n: usize, d: usize) -> Result<()> {
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
        if self.subsample == Some(0) {
            return Err(Error::Input("subsample=0 should be >= 1".into()));
        }
        if self.n_init == 0 {
            return Err(Error::Input("n_init=0 should be >= 1".into()));
        }
        if let Some(frozen) = &self.frozen {
            let (f, cols) = (frozen.rows, frozen.cols);
            if f > k {
                return Err(Error::Input(format!("{f} frozen centroids are more than n_clusters={k}")));
            }
            if cols != d {
                return Err(Error::Shape(format!(
                    "The shape of the frozen centers ({f}, {cols}) does not match the number of features of the data {d}."
                )));
            }
        }
        if let Init::Centroids(given) = &self.init {
            if given.rows != self.others() {
                let frozen = match k - self.others() {
                    0 => String::new(),
                    f => format!(", {f} of them frozen"),
                };
                return Err(Error::Shape(format!(
                    "The shape of the initial centers ({}, {}) does not match the number of clusters {k}{frozen}.",
                    given.rows, given.cols
                )));
            }
            if given.cols != d {
                return Err(Error::Shape(format!(
                    "The shape of the initial centers ({}, {}) does not match the number of features of the data {d}.",
                    given.rows, given.cols
                )));
            }
        }
        Ok(())
    }

    /// Clusters whose centroids are not frozen.
    pub(super) fn others(&self) -> usize {
        self.k.saturating_sub(self.frozen.as_ref().map_or(0, |frozen| frozen.rows))
    }

    /// How many starts differ.
    pub(super) fn starts(&self) -> u32 {
        let one = self.others() == 0 || matches!(self.init, Init::Centroids(_));
        if one { 1 } else { self.n_init }
    }

    /// What is known of the centroids that are given, frozen ones and first ones, if any are.
    ///
    /// # Errors
    /// [`Error::Shape`] for none or of no dimensions, [`Error::NotFinite`] for such values.
    pub(super) fn statistics_of_given(&self) -> Result<Option<Statistics>> {
        let frozen = self.frozen.as_ref().map(|frozen| Statistics::of(frozen, "frozen")).transpose()?;
        let first = match &self.init {
            Init::Centroids(given) if self.others() > 0 => Some(Statistics::of(given, "init")?),
            _ => None,
        };
        Ok(match (frozen, first) {
            (Some(frozen), Some(first)) => Some(frozen.reaching(&first)),
            (frozen, first) => frozen.or(first),
        })
    }

    /// What a reading of all rows says of them as they are clustered: of their directions for [`Metric::Cosine`].
    pub(super) fn statistics(&self, data: &dyn Source, what: &str) -> Result<Statistics> {
        match self.metric {
            Metric::Euclidean | Metric::Dot => Statistics::of(data, what),
            Metric::Cosine => Statistics::of_directions(data, what),
        }
    }

    /// How points are transformed, and centroids `given` for them.
    pub(super) fn map_of(&self, statistics: &Statistics, given: Option<&Statistics>) -> Result<Transform> {
        match (self.metric, statistics.zero) {
            (Metric::Euclidean, _) => Ok(Transform::Centred(statistics.centre(given))),
            (Metric::Cosine, Some(row)) => {
                Err(Error::Input(format!("row {row} is 0 throughout: it has no direction for metric=cosine")))
            }
            (Metric::Cosine, None) => Ok(Transform::Unit),
            (Metric::Dot, _) => Ok(Transform::Plain),
        }
    }

    /// How `n` points of such statistics, and centroids `given` for them, go to a device.
    pub(super) fn prepared(
        &self,
        statistics: &Statistics,
        n: u64,
        given: Option<&Statistics>,
    ) -> Result<Prepared> {
        let factor = self.factor(statistics, n, given);
        let statistics = statistics.scaled(factor);
        let transform = self.map_of(&statistics, given.map(|given| given.scaled(factor)).as_ref())?;
        Ok(Prepared { factor, transform, statistics })
    }

    /// What points, and centroids `given` for them, are multiplied with ([`Statistics::factor`]).
    pub(super) fn factor(&self, statistics: &Statistics, n: u64, given: Option<&Statistics>) -> f32 {
        // Directions have a size of their own.
        if self.metric == Metric::Cosine { 1.0 } else { statistics.factor(n, given) }
    }

    /// The same settings for points that are multiplied with a power of two.
    pub(super) fn scaled(&self, factor: f32) -> Self {
        let init = match &self.init {
            Init::Centroids(given) => Init::Centroids(given.scaled(factor)),
            init => init.clone(),
        };
        let frozen = self.frozen.as_ref().map(|frozen| frozen.scaled(factor));
        Self { init, frozen, ..self.clone() }
    }

    /// What distances that count (squared ones, or products) of points so multiplied have to be divided by.
    pub(super) fn measure(factor: f32) -> f64 {
        f64::from(factor).powi(2)
    }

    /// Given centroids, transformed as the points are; errors call them `what`.
    pub(super) fn given(&self, given: &Matrix, transform: &Transform, what: &str) -> Result<Vec<f32>> {
        let statistics = Statistics::of(given, what)?;
        if let (Metric::Cosine, Some(row)) = (self.metric, statistics.zero) {
            return Err(Error::Input(format!("row {row} of {what} is 0 throughout: it has no direction")));
        }
        let mut centroids = transform.apply(&given.values, given.cols);
        if let Transform::Unit = transform {
            // Directions of a fit are those that points were ranked by: rounding them again would rank other ones.
            let width = given.cols.next_multiple_of(4);
            for (row, target) in given.values.chunks(given.cols).zip(centroids.chunks_mut(width)) {
                if (norm(row) - 1.0).abs() < OF_UNIT_LENGTH {
                    target[..row.len()].copy_from_slice(row);
                }
            }
        }
        Ok(centroids)
    }
}
