//! Mini-batch k-means (Sculley 2010) with scikit-learn's rules: each batch moves its centroids towards its points, at a rate
//! of one over the points that the centroid ever got. A centroid is therefore the mean of those, and the state is their
//! sums and numbers: exact ones of each batch from the device, added up by the host in f64.

use std::time::Instant;

use super::drawn::Drawn;
use super::fitted::{Fitted, balance};
use super::frame::Transform;
use super::iterate::Lloyd;
use super::keeper::{Checkpoints, Keeper};
use super::labeller::Labeller;
use super::learnt::{Learning, State, Trend};
use super::metric::Metric;
use super::options::{Init, KMeans, Prepared};
use super::points::Points;
use super::predict::Predicted;
use super::progress::Progress;
use super::source::Source;
use super::statistics::Statistics;
use super::views::{Rows, Scaled};
use super::weights::{Weights, of_rows, sample_of_heavy};
use crate::gpu::Context;
use crate::io::npy::Matrix;
use crate::random::Random;
use crate::{Error, Result};

/// Settings of a mini-batch clustering, and what [`MiniBatchKMeans::partial_fit`] has learnt; the defaults are
/// scikit-learn's.
#[derive(Clone, Debug)]
pub struct MiniBatchKMeans {
    base: KMeans,
    batch_size: u64,
    max_no_improvement: Option<u32>,
    reassignment_ratio: f64,
    init_size: Option<u64>,
    state: Option<State>,
}

/// Where no value is as large, squared distances vanish in f32.
const LEAST_SIZE: f64 = 1e-15;

impl MiniBatchKMeans {
    /// `k` clusters; batches of 1024, k-means++ among three times as many points, euclidean, one start, seed 0, at most as
    /// many batches as 100 passes over the data have, no tolerance.
    pub fn new(k: usize) -> Self {
        Self {
            base: KMeans::new(k).max_iter(100).tol(0.0),
            batch_size: 1024,
            max_no_improvement: Some(10),
            reassignment_ratio: 0.01,
            init_size: None,
            state: None,
        }
    }

    /// Sets how many points a batch has, at most all.
    pub fn batch_size(self, batch_size: u64) -> Self {
        Self { batch_size, ..self }
    }

    /// Sets the most batches, in passes over the data.
    pub fn max_iter(self, max_iter: u32) -> Self {
        Self { base: self.base.max_iter(max_iter), ..self }
    }

    /// Sets after how many batches that did not lower the smoothed inertia a fit ends. `None`: it does not.
    pub fn max_no_improvement(self, batches: Option<u32>) -> Self {
        Self { max_no_improvement: batches, ..self }
    }

    /// Sets which share of the largest count a centroid has to have got; those below it start again from points of the
    /// batch. 0 to 1; with 0, none does.
    pub fn reassignment_ratio(self, ratio: f64) -> Self {
        Self { reassignment_ratio: ratio, ..self }
    }

    /// Sets how many points the first centroids are chosen among: three batches, or 3 `k` if that is fewer than `k`, if
    /// `None`.
    pub fn init_size(self, points: Option<u64>) -> Self {
        Self { init_size: points, ..self }
    }

    /// Sets the tolerance: a fit ends when a batch shifts the centroids by squares that sum to `tol` times the mean
    /// variance of the data's columns ([`KMeans::tol`]), or less. With 0 it does not.
    pub fn tol(self, tol: f64) -> Self {
        Self { base: self.base.tol(tol), ..self }
    }

    /// Sets where the first centroids come from.
    pub fn init(self, init: Init) -> Self {
        Self { base: self.base.init(init), ..self }
    }

    /// Sets how many choices of first centroids are tried, of which that of the least inertia on a sample counts.
    pub fn n_init(self, n_init: u32) -> Self {
        Self { base: self.base.n_init(n_init), ..self }
    }

    /// Sets the seed of every random choice; one seed gives the same result, to the bit, in every run on every adapter.
    pub fn seed(self, seed: u64) -> Self {
        Self { base: self.base.seed(seed), ..self }
    }

    /// Sets what "near" means.
    pub fn metric(self, metric: Metric) -> Self {
        Self { base: self.base.metric(metric), ..self }
    }

    /// Sets how many bytes of the device's memory points may take.
    pub fn memory(self, bytes: u64) -> Self {
        Self { base: self.base.memory(bytes), ..self }
    }

    /// Sets where a fit keeps its state, so that one that was ended can be resumed. Its stop is looked at between batches.
    pub fn checkpoints(self, checkpoints: Checkpoints) -> Self {
        Self { base: self.base.checkpoints(checkpoints), ..self }
    }

    fn check(&self) -> Result<()> {
        if self.batch_size == 0 {
            return Err(Error::Input("batch_size=0 should be >= 1".into()));
        }
        if !(0.0..=1.0).contains(&self.reassignment_ratio) {
            let found = self.reassignment_ratio;
            return Err(Error::Input(format!("reassignment_ratio={found} should be a number from 0 to 1")));
        }
        if let (Some(size), k) = (self.init_size, self.base.k as u64)
            && size < k
        {
            return Err(Error::Input(format!("init_size={size} should be >= n_clusters={k}")));
        }
        Ok(())
    }

    /// The first centroids, chosen among some of the rows; the best of some choices by some other rows.
    fn first(
        &self,
        gpu: &Context,
        data: &dyn Source,
        weights: Option<&[f32]>,
        transform: &Transform,
        random: &mut Random,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Vec<f32>> {
        let (n, k) = (data.rows(), self.base.k as u64);
        let three = 3 * self.batch_size.min(n);
        let size = self.init_size.unwrap_or(if three < k { 3 * k } else { three }).min(n);
        let mut watched = |news| {
            progress(news);
            Ok(())
        };
        let rows_in_order = |random: &mut Random| {
            let mut rows = sample_of_heavy(n, size, weights, random);
            rows.sort_unstable();
            rows
        };
        let starts = self.base.starts();
        let test = if starts > 1 { rows_in_order(random) } else { vec![0] };
        let test_weights = of_rows(weights, &test);
        let test = Rows { of: data, rows: &test };
        let test = Points::new(gpu, &test, test_weights.as_deref(), transform, self.base.room)?;
        let labeller = Labeller::new(gpu, &test, k, self.base.metric)?;
        let mut best: Option<(f64, Vec<f32>)> = None;
        for _ in 0..starts {
            let rows = rows_in_order(random);
            let own = of_rows(weights, &rows);
            let rows = Rows { of: data, rows: &rows };
            let points = Points::new(gpu, &rows, own.as_deref(), transform, self.base.room)?;
            let first = self.base.first(gpu, &points, &[], random, &mut Vec::new(), &mut watched)?;
            let mut inertia = 0.0;
            if starts > 1 {
                labeller.start_from(&first)?;
                let mut add = |first: u64, _: &[u32], far: &[f32]| {
                    inertia += test.weighed(first, far).sum::<f64>();
                };
                labeller.nearest(&mut add)?;
            }
            if best.as_ref().is_none_or(|(least, _)| inertia < *least) {
                best = Some((inertia, first));
            }
        }
        best.map(|(_, first)| first).ok_or_else(|| Error::Input("n_init=0 should be >= 1".into()))
    }

    /// Clusters the rows of `data` (`[n, d]`) by batches that are drawn from it with replacement, then labels all rows. An
    /// iteration of the result is as many batches as a pass over the data has. What `partial_fit` has learnt plays no part.
    ///
    /// # Errors
    /// Those of [`KMeans::fit`]; [`Error::Input`] for settings out of their range.
    pub fn fit(&self, gpu: &Context, data: &dyn Source, progress: impl FnMut(Progress)) -> Result<Fitted> {
        self.fit_weighted(gpu, data, None, progress)
    }

    /// As [`MiniBatchKMeans::fit`], with a weight for each row (`[n]`): it is drawn as often, and counts as often in the inertia.
    ///
    /// # Errors
    /// Those of [`KMeans::fit_weighted`] and [`MiniBatchKMeans::fit`].
    pub fn fit_weighted(
        &self,
        gpu: &Context,
        data: &dyn Source,
        weights: Option<&[f32]>,
        mut progress: impl FnMut(Progress),
    ) -> Result<Fitted> {
        self.fit_whole(gpu, data, weights, &mut progress).map(|(fitted, _)| fitted)
    }

    /// The same, from which [`MiniBatchKMeans::partial_fit`] goes on.
    ///
    /// # Errors
    /// Those of [`MiniBatchKMeans::fit_weighted`].
    pub fn learn(
        &mut self,
        gpu: &Context,
        data: &dyn Source,
        weights: Option<&[f32]>,
        mut progress: impl FnMut(Progress),
    ) -> Result<Fitted> {
        let (fitted, learnt) = self.fit_whole(gpu, data, weights, &mut progress)?;
        let State { random, counts, steps, .. } = learnt;
        let centers = &fitted.cluster_centers;
        self.state = Some(State::learnt(self.base.metric, random, centers, counts, steps));
        Ok(fitted)
    }

    /// Goes on from what was learnt elsewhere: centroids (`[k, d]`) and how many points each has got (`[k]`), as
    /// [`MiniBatchKMeans::cluster_centers`] and [`MiniBatchKMeans::counts`] give them.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of either than clusters, [`Error::NotFinite`] for such values, [`Error::Input`] for a negative
    /// count.
    pub fn resume(&mut self, centers: &Matrix, counts: &[f64]) -> Result<()> {
        let k = self.base.k;
        if centers.rows != k || counts.len() != k || centers.cols == 0 {
            return Err(Error::Shape(format!(
                "{} centroids of {} values and {} counts for {k} clusters",
                centers.rows,
                centers.cols,
                counts.len()
            )));
        }
        Statistics::of(centers, "the centroids")?;
        if let Some(count) = counts.iter().find(|count| !count.is_finite() || **count < 0.0) {
            return Err(Error::Input(format!("a centroid cannot have got {count} points")));
        }
        let random = Random::new(self.base.seed);
        self.state = Some(State::learnt(self.base.metric, random, centers, counts.to_vec(), 0));
        Ok(())
    }

    fn fit_whole(
        &self,
        gpu: &Context,
        data: &dyn Source,
        weights: Option<&[f32]>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(Fitted, State)> {
        let Some(checkpoints) = &self.base.checkpoints else {
            return self.fit_kept(gpu, data, weights, None, progress);
        };
        let identity = self.identity(data.rows() as usize, data.cols(), weights);
        let mut keeper = Keeper::open(checkpoints, identity, (self.base.k, data.cols()))?;
        let _heeding = gpu.heed(&checkpoints.stop);
        let fitted = self.fit_kept(gpu, data, weights, Some(&mut keeper), progress);
        fitted.map_err(|error| keeper.close(error))
    }

    /// What a checkpoint has to have been written for, besides the data itself.
    fn identity(&self, n: usize, d: usize, weights: Option<&[f32]>) -> Vec<(&'static str, String)> {
        let text = |value: Option<String>| value.unwrap_or_else(|| "none".into());
        let mut identity = self.base.identity(n, d, weights);
        identity.extend([
            ("batch_size", self.batch_size.to_string()),
            ("max_no_improvement", text(self.max_no_improvement.map(|most| most.to_string()))),
            ("reassignment_ratio", self.reassignment_ratio.to_string()),
            ("init_size", text(self.init_size.map(|size| size.to_string()))),
        ]);
        identity
    }

    /// The fit, whose state `keeper` keeps.
    fn fit_kept(
        &self,
        gpu: &Context,
        data: &dyn Source,
        weights: Option<&[f32]>,
        mut keeper: Option<&mut Keeper<Learning>>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(Fitted, State)> {
        let begun = Instant::now();
        let (n, d, k) = (data.rows(), data.cols(), self.base.k);
        let read = |data: &dyn Source| self.base.statistics(data, "X");
        let statistics = match &mut keeper {
            Some(keeper) => keeper.identify(data, read)?,
            None => read(data)?,
        };
        self.base.check(n as usize, d)?;
        self.check()?;
        let weighing = Weights::new(weights, n as usize, k)?;
        let given = self.base.statistics_of_given()?;
        let prepared = self.base.prepared(&statistics, n, given.as_ref())?;
        // What is drawn by its weight counts as one.
        let scales = prepared.scales(&Weights::new(None, n as usize, k)?);
        let Prepared { factor, transform, statistics } = prepared;
        let settings = Self { base: self.base.scaled(factor), ..self.clone() };
        let base = &settings.base;
        let scaled = Scaled { of: data, factor };
        let data = scaled.source();
        let progress = &mut |news: Progress| progress(news.scaled(1.0 / factor));
        let weights = weighing.values();
        let kept = match &mut keeper {
            Some(keeper) => keeper.begin(&gpu.adapter.name, &transform, |_, _| Ok(()))?,
            None => None,
        };
        let (mut state, mut trend, mut converged) = match kept {
            Some(Learning { state, trend, converged }) => (state.with(transform.clone()), trend, converged),
            None => {
                let mut random = Random::new(base.seed);
                let first = settings.first(gpu, data, weights, &transform, &mut random, progress)?;
                (State::new(transform.clone(), random, first, (k, d)), Trend::default(), false)
            }
        };

        let size = self.batch_size.min(n);
        let tol = base.tol * statistics.variance;
        let alpha = (size as f64 * 2.0 / (n as f64 + 1.0)).min(1.0);
        let steps = (u64::from(base.max_iter) * n / size).max(1);
        let passes = |steps: u64| u32::try_from((steps * size).div_ceil(n)).unwrap_or(u32::MAX);
        let before = state.steps;
        let iteration;
        let looped = Instant::now();
        {
            // A point's weight is in how often it is drawn.
            let batch = Drawn::new(data, size as usize, weights);
            let points = Points::new(gpu, &batch, None, &transform, base.room)?;
            let points = points.within(statistics.square_of(&transform));
            let lloyd = Lloyd::new(gpu, &points, k as u64, base.metric, scales, &[0.0])?;
            iteration = lloyd.iteration(n);
            while state.steps < steps && !converged {
                if let Some(keeper) = &mut keeper {
                    let (due, done) = (keeper.due(), state.steps);
                    let learning = Learning { state: state.clone(), trend: trend.clone(), converged };
                    keeper.reach(learning, due, || format!("after {done} batches"))?;
                }
                batch.draw(&mut state.random);
                points.upload(gpu)?;
                let step = state.step(&lloyd, &points, base.metric, self.reassignment_ratio, 1.0)?;
                // The first batch's inertia is that of the first centroids.
                if state.steps > 1 {
                    let without = trend.add(step.inertia / size as f64, alpha);
                    converged = (tol > 0.0 && step.shift <= tol)
                        || self.max_no_improvement.is_some_and(|most| without >= most);
                }
                progress(Progress::Iterating {
                    n_iter: passes(state.steps),
                    changed: size as u32,
                    shift: step.shift as f32,
                    inertia: None,
                    running: 1,
                });
                // What keeps checkpoints ends where it has written one.
                if keeper.is_none() {
                    gpu.go_on(|| format!("after {} batches", state.steps))?;
                }
            }
        }
        let looped = looped.elapsed().as_secs_f64();
        let own = state.steps - before;
        if let Some(keeper) = &mut keeper {
            let learning = Learning { state: state.clone(), trend, converged };
            keeper.reach(learning, false, String::new)?;
        }

        let cluster_centers = state.centers(d);
        let Predicted { inertia, reranked, labels, .. } =
            base.label(&[gpu], data, &statistics, weights, &cluster_centers)?;
        let (distinct_clusters, imbalance) = balance(k, labels.iter().map(|&label| label as usize));
        let done = state.steps;
        let mut notices = vec![format!("{done} batches of {size} points")];
        if distinct_clusters < k {
            notices.push(format!("{} of the {k} clusters have no point", k - distinct_clusters));
        }
        if !converged {
            notices.push(format!("not converged after {done} batches (`max-iter`)"));
        }
        let fitted = Fitted {
            n: n as usize,
            d,
            k,
            metric: base.metric,
            n_iter: passes(done),
            converged,
            inertia: inertia / KMeans::measure(factor) * weighing.unit,
            history: Vec::new(),
            imbalance,
            ms_per_iteration: looped * 1e3 / (own.max(1) * size) as f64 * n as f64,
            seconds: begun.elapsed().as_secs_f64(),
            distinct_clusters,
            reranked,
            iteration,
            notices,
            cluster_centers: cluster_centers.scaled(1.0 / factor),
            labels,
        };
        Ok((fitted, state))
    }

    /// Takes in the rows of `batch` (`[n, d]`) and moves the centroids; the first one also chooses them, and has to have `k`
    /// rows. Returns the batch's inertia by the centroids before it. Nothing has changed after an error.
    ///
    /// # Errors
    /// Those of [`MiniBatchKMeans::fit`]; [`Error::Shape`] for another number of columns than before.
    pub fn partial_fit(&mut self, gpu: &Context, batch: &dyn Source) -> Result<f64> {
        self.partial_fit_weighted(gpu, batch, None)
    }

    /// As [`MiniBatchKMeans::partial_fit`], with a weight for each row (`[n]`): it counts as often.
    ///
    /// # Errors
    /// Those of [`MiniBatchKMeans::partial_fit`]; of the weights, those of [`KMeans::fit_weighted`], and [`Error::Input`] if all are 0.
    pub fn partial_fit_weighted(
        &mut self,
        gpu: &Context,
        batch: &dyn Source,
        weights: Option<&[f32]>,
    ) -> Result<f64> {
        let (n, d, k) = (batch.rows(), batch.cols(), self.base.k);
        let statistics = self.base.statistics(batch, "X")?;
        self.check()?;
        if self.base.metric == Metric::Cosine {
            self.base.map_of(&statistics, None)?;
        }
        // Later batches choose no centroids.
        let weighing = Weights::new(weights, n as usize, if self.state.is_some() { 1 } else { k })?;
        let weights = weighing.values();
        let mut state = match &self.state {
            Some(state) => {
                let before = state.sums.len() / k;
                if d != before {
                    return Err(Error::Shape(format!(
                        "X has {d} features, but the batches before had {before}"
                    )));
                }
                if n >= 1 << 32 {
                    return Err(Error::Input(format!("n_samples={n} should be < 2^32")));
                }
                state.clone()
            }
            None => {
                self.base.check(n as usize, d)?;
                // Which centre would cost later batches no digit is not known yet.
                let transform = match self.base.map_of(&statistics, None)? {
                    Transform::Centred(_) => Transform::Plain,
                    transform => transform,
                };
                let mut random = Random::new(self.base.seed);
                let first = self.first(gpu, batch, weights, &transform, &mut random, &mut |_| ())?;
                State::new(transform, random, first, (k, d))
            }
        };
        let transform = state.transform.clone();
        // A scale of one batch would not be that of the next.
        let vanish =
            self.base.metric != Metric::Cosine && statistics.size > 0.0 && statistics.size < LEAST_SIZE;
        if vanish || self.base.factor(&statistics, n, None) < 1.0 {
            return Err(Error::Input(format!(
                "X has values of {:.3e}: squared distances would overflow, or vanish; scale the data",
                statistics.size
            )));
        }
        let scales = weighing.scales(statistics.size_of(&transform), &statistics);
        let square = statistics.square_of(&transform);
        let room = self.base.room.in_pieces(gpu, batch, &transform, square, k)?;
        let points = Points::new(gpu, batch, weights, &transform, room)?.within(square);
        let lloyd = Lloyd::new(gpu, &points, k as u64, self.base.metric, scales, &[0.0])?;
        let ratio = self.reassignment_ratio;
        let step = state.step(&lloyd, &points, self.base.metric, ratio, weighing.unit)?;
        self.state = Some(state);
        Ok(step.inertia)
    }

    /// The centroids by what was learnt, `[k, d]`.
    pub fn cluster_centers(&self) -> Option<Matrix> {
        self.state.as_ref().map(|state| state.centers(state.sums.len() / state.counts.len().max(1)))
    }

    /// How many points each centroid has got, `[k]`, or the sums of their weights.
    pub fn counts(&self) -> &[f64] {
        self.state.as_ref().map_or(&[], |state| &state.counts)
    }

    /// Batches that were learnt from, here: those before a [`MiniBatchKMeans::resume`] are not among them.
    pub fn n_steps(&self) -> u64 {
        self.state.as_ref().map_or(0, |state| state.steps)
    }
}
