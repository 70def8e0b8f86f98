//! Host of `lloyd`: the loop on the device. Iterations are recorded in batches; the kernels themselves notice when the
//! loop has ended and then leave everything as it is, so the host reads the control block only between batches.

use std::time::{Duration, Instant};

use super::centroid::{Centroid, Means, Scales, Weighted};
use super::checkpoint::{Keeping, Position};
use super::labeller::Labeller;
use super::points::{Points, pad};
use super::radix_sort::RadixSort;
use super::{Empty, Metric};
use crate::Result;
use crate::gpu::{Bound, Buffer, Context, Kernel, Spec, Work, params, to_u32};

/// The decision after an iteration and the taking over of new centroids, each also for few clusters or few dimensions: a
/// workgroup's barriers cost as much for invocations that have nothing to do.
pub const STAGES: &[Spec] = &[DECIDE, DECIDE.consts(&[("WG", 32)]), COMMIT, COMMIT.consts(&[("WG", 16)])];
const DECIDE: Spec = Spec::new("kmeans/lloyd");
const COMMIT: Spec = Spec::new("kmeans/lloyd_commit");

params! {
    struct Decide {
        rows: u32,
        clusters: u32,
        k: u32,
        relocate: u32,
    }
}
params! {
    struct Commit {
        rows: u32,
        problems: u32,
        k: u32,
        d4: u32,
        always: u32,
    }
}

params! {
    /// The control block as it lies in memory (shaders/lib/lloyd.wgsl).
    #[derive(PartialEq)]
    pub struct Control {
        /// One of the states below.
        state: u32,
        /// Iterations completed.
        n_iter: u32,
        /// Whether the last centroids were taken over.
        accept: u32,
        /// Clusters without a point.
        empty: u32,
        /// Labels changed by the last iteration.
        changed: u32,
        /// Sum of the centroids' squared shifts in the last iteration.
        shift: f32,
    }
}

/// The loop goes on.
pub const RUNNING: u32 = 0;
/// No label changed: the centroids are a fixed point.
pub const LABELS_UNCHANGED: u32 = 1;
/// The centroids moved by no more than the tolerance.
pub const SHIFT_WITHIN_TOL: u32 = 2;
/// Clusters are empty, and the host is to relocate them.
pub const EMPTY_CLUSTERS: u32 = 3;
/// The host keeps the loop from going on.
pub const PAUSED: u32 = 4;

/// Iterations in a submission, at most; what is recorded behind the end of the loop is wasted.
const LONGEST_BATCH: u32 = 16;
/// A submission of several steps should not take longer than this, so that progress shows and no driver takes it for a
/// hang.
const BATCH_TIME: Duration = Duration::from_millis(250);
/// A label that no centroid has, so that the first assignment changes every point.
pub const NO_LABEL: u32 = u32::MAX;

/// The kernels that decide and commit.
#[derive(Debug)]
pub struct Decision {
    decide: Kernel<Decide>,
    commit: Kernel<Commit>,
}

impl Decision {
    /// Compiles them for `k` clusters and `d` dimensions.
    pub fn load(gpu: &Context, (k, d): (u64, u64)) -> Result<Self> {
        let (decide, commit) = (usize::from(k <= 64), 2 + usize::from(d <= 64));
        Ok(Self { decide: Kernel::load(gpu, &STAGES[decide])?, commit: Kernel::load(gpu, &STAGES[commit])? })
    }

    /// Binds the decision whether each problem's loop goes on. `relocate`: it stops for empty clusters.
    pub fn bind_decide(
        &self,
        gpu: &Context,
        means: &Means<'_>,
        (tol, changed): (&Buffer, &Buffer),
        control: &Buffer,
        relocate: bool,
    ) -> Result<Bound> {
        let (clusters, problems) = (means.mass.rows(), control.rows());
        let buffers = [
            ("mass", means.mass),
            ("shift", means.shift),
            ("tol", tol),
            ("changed", changed),
            ("control", control),
        ];
        let params = Decide {
            rows: to_u32(problems, "the number of problems")?,
            clusters: to_u32(clusters, "the number of clusters")?,
            k: to_u32(clusters / problems, "the number of clusters")?,
            relocate: u32::from(relocate),
        };
        self.decide.bind(gpu, &buffers, params, Work { bytes: 8 * clusters, ops: 2 * clusters })
    }

    /// Binds the taking over of `next` (`[problems k, d4]`) into `centroids` and their norms.
    /// `always`: whatever the control blocks say.
    pub fn bind_commit(
        &self,
        gpu: &Context,
        next: &Buffer,
        control: &Buffer,
        (centroids, norms): (&Buffer, &Buffer),
        d: u64,
        always: bool,
    ) -> Result<Bound> {
        let (clusters, problems) = (next.rows(), control.rows());
        let params = Commit {
            rows: to_u32(clusters, "the number of centroids")?,
            problems: to_u32(problems, "the number of problems")?,
            k: to_u32(clusters / problems, "the number of clusters")?,
            d4: to_u32(d.div_ceil(4), "the dimension")?,
            always: u32::from(always),
        };
        let buffers = [("next", next), ("control", control), ("centroids", centroids), ("norms", norms)];
        let work = Work { bytes: 4 * (2 * clusters * d + clusters), ops: 2 * clusters * d };
        self.commit.bind(gpu, &buffers, params, work)
    }
}

/// What the host learns between batches.
#[derive(Clone, Copy, Debug)]
pub enum Progress {
    /// The first centroids are being chosen.
    Seeding {
        /// Centroids chosen.
        chosen: usize,
        /// Centroids to choose.
        of: usize,
    },
    /// The loop is at work.
    Iterating {
        /// Iterations completed; of several problems, those of the one that went farthest.
        n_iter: u32,
        /// Labels that the last of them changed.
        changed: u32,
        /// Sum of the centroids' squared shifts in the last of them.
        shift: f32,
        /// Sum of the points' squared distances to their centroids; of one euclidean problem without weights.
        inertia: Option<f64>,
        /// Problems whose loop goes on.
        running: usize,
    },
}

impl Progress {
    /// What it is of points times a factor.
    pub(super) fn scaled(self, factor: f32) -> Self {
        match self {
            Self::Iterating { n_iter, changed, shift, inertia, running } => Self::Iterating {
                n_iter,
                changed,
                shift: shift * factor * factor,
                inertia: inertia.map(|inertia| inertia * f64::from(factor).powi(2)),
                running,
            },
            seeding @ Self::Seeding { .. } => seeding,
        }
    }
}

/// How the loop ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Iterations completed.
    pub n_iter: u32,
    /// Whether it ended by itself rather than at the most iterations allowed.
    pub converged: bool,
    /// Mean time of an iteration. The first is left out where there are more: drivers compile a kernel when it first
    /// runs.
    pub iteration: Duration,
    /// The inertia that each iteration found, where asked for.
    pub history: Vec<f64>,
}

/// What adds a block's points to the sums of their clusters.
#[derive(Debug)]
struct Update {
    /// The sort, and the sums of runs.
    passes: Vec<Bound>,
    merge: Bound,
    /// The same, starting at zero.
    merge_first: Bound,
}

/// Lloyd's loop over some points: every buffer and binding it needs, made once.
pub struct Lloyd<'a> {
    /// The first half of an iteration, with the centroids.
    pub labeller: Labeller<'a>,
    /// Those of the points on other adapters, which follow.
    pub(super) others: Vec<Self>,
    pub(super) scales: Scales,
    pub(super) metric: Metric,
    pub(super) empty: Empty,
    /// Whether the inertia of every iteration is to be known.
    history: bool,
    /// Sum of the points' squares, if that is known.
    squares: Option<f64>,
    pub(super) sums: Buffer,
    pub(super) counts: Buffer,
    pub(super) mass: Buffer,
    /// For each block.
    update: Vec<Update>,
    pub(super) mean: Bound,
    decide: Bound,
    pub(super) decide_with_empty: Bound,
}

impl<'a> Lloyd<'a> {
    /// Prepares the loop for `k` clusters of each problem, which ends at squared shifts of its `tol` (`[problems]`) in sum.
    pub fn new(
        gpu: &'a Context,
        points: &'a Points<'a>,
        k: u64,
        metric: Metric,
        scales: Scales,
        tol: &[f32],
    ) -> Result<Self> {
        let labeller = Labeller::new(gpu, points, k, metric)?;
        let (d, problems) = (points.d(), points.problems());
        let clusters = problems * k;
        let columns = Centroid::columns(d, scales);
        let sums = Buffer::new(gpu, "sums", clusters, 4 * scales.words() * columns)?;
        let counts = Buffer::new(gpu, "counts", clusters, 4)?;
        let mass = Buffer::new(gpu, "mass", clusters, 4)?;
        let shift = Buffer::new(gpu, "shifts", clusters, 4)?;
        let tol = Buffer::from_slice(gpu, "tolerances", problems, tol)?;
        let (sorter, summer) = (RadixSort::load(gpu)?, Centroid::tuned(gpu, points.layout(), d, scales)?);
        let largest = points.largest();
        let sort_scratch = sorter.scratch(gpu, largest)?;
        let sum_scratch = summer.scratch(gpu, largest, clusters, columns)?;
        let bits = u64::BITS - (clusters - 1).leading_zeros();
        let means = Means {
            centroids: &labeller.centroids,
            sums: &sums,
            counts: &counts,
            next: &labeller.next,
            shift: &shift,
            mass: &mass,
        };
        let mut update = Vec::new();
        for block in points.blocks() {
            let mut sort = sorter.bind(gpu, &block.labels, None, bits, &sort_scratch)?;
            let mut passes = std::mem::take(&mut sort.passes);
            let weighted = Weighted { points: block.laid(), weights: &block.weights };
            let bind =
                |first| summer.bind(gpu, weighted, &sort, &means, &sum_scratch, (clusters, d), scales, first);
            let [start, partial, merge] = bind(false)?;
            let [_, _, merge_first] = bind(true)?;
            passes.extend([start, partial]);
            update.push(Update { passes, merge, merge_first });
        }
        let mean = summer.bind_mean(gpu, &means, d, scales, metric == Metric::Cosine)?;
        let decision = Decision::load(gpu, (k, d))?;
        let (changed, control) = (&labeller.changed, &labeller.control);
        let decide = decision.bind_decide(gpu, &means, (&tol, changed), control, true)?;
        let decide_with_empty = decision.bind_decide(gpu, &means, (&tol, changed), control, false)?;
        let empty = Empty::default();
        Ok(Self {
            labeller,
            others: Vec::new(),
            scales,
            metric,
            empty,
            history: false,
            squares: None,
            sums,
            counts,
            mass,
            update,
            mean,
            decide,
            decide_with_empty,
        })
    }

    /// The same loop with another rule for empty clusters than the default.
    pub fn empty(self, empty: Empty) -> Self {
        match empty {
            Empty::Farthest | Empty::SplitLargest => Self { empty, ..self },
            // The device then never stops for them.
            Empty::Keep => {
                let (decide, decide_with_empty) = (self.decide_with_empty, self.decide);
                Self { empty, decide, decide_with_empty, ..self }
            }
        }
    }

    /// The same loop, which notes the inertia that every iteration finds.
    pub fn history(self, history: bool) -> Self {
        Self { history, ..self }
    }

    /// The same loop, over points whose squares sum to this.
    pub fn squares(self, squares: Option<f64>) -> Self {
        Self { squares, ..self }
    }

    /// What an iteration does with a chunk of points that lies in `block`.
    pub(super) fn passes(&self, chunk: u64, block: usize) -> Vec<&Bound> {
        self.labeller.assigns(block).chain(self.updates(chunk, block)).collect()
    }

    /// The same behind the assignment.
    fn updates(&self, chunk: u64, block: usize) -> impl Iterator<Item = &Bound> {
        let update = &self.update[block];
        let merge = if chunk == 0 { &update.merge_first } else { &update.merge };
        update.passes.iter().chain([merge])
    }

    /// The dispatches of an iteration over points that all stay on the device: the assignment, and the update up to the
    /// means.
    pub fn stages(&self) -> [Vec<&Bound>; 2] {
        let update = (0..self.update.len()).flat_map(|at| self.updates(at as u64, at));
        let assign = (0..self.update.len()).flat_map(|at| self.labeller.assigns(at));
        [assign.collect(), update.chain([&self.mean]).collect()]
    }

    /// Where the second of [`Self::stages`] leaves the means, `[problems k, d4]` vec4s.
    pub fn means(&self) -> &Buffer {
        &self.labeller.next
    }

    /// Labels every point by the centroids as they are; the sums of the points of each cluster (`[k, d]`, before any
    /// division), their numbers, and the inertia. Takes no weights.
    pub(super) fn sums(&self) -> Result<(Vec<f64>, Vec<u32>, f64)> {
        let Labeller { gpu, points, distance, distances, .. } = &self.labeller;
        let mut inertia = 0.0;
        let passes = |chunk, block: usize| {
            let mut passes = self.passes(chunk, block);
            passes.push(&distance[block]);
            passes
        };
        points.sweep(
            gpu,
            &passes,
            Some(&mut |block, _| {
                let distances: Vec<f32> = distances.read(gpu)?;
                let here = &distances[..block.rows() as usize];
                inertia += here.iter().map(|&distance| f64::from(distance)).sum::<f64>();
                Ok(())
            }),
        )?;
        let (d, row) = (points.d() as usize, (self.scales.words() * points.d().div_ceil(4)) as usize);
        let words: Vec<u32> = self.sums.read(gpu)?;
        let scale = f64::from(self.scales.points);
        let scales = self.scales;
        let sums = words.chunks_exact(row).flat_map(|row| (0..d).map(move |at| scales.read(row, at) / scale));
        let sums = sums.collect();
        Ok((sums, self.counts.read(gpu)?, inertia))
    }

    fn finish(&self) -> [&Bound; 3] {
        [&self.mean, &self.decide, &self.labeller.commit]
    }

    /// Whether the device goes from one iteration to the next by itself.
    fn runs_on(&self) -> bool {
        self.others.is_empty() && self.labeller.points.all_resident() && !self.history
    }

    /// Starts `size` iterations; of points that do not all stay on one device, or of which the inertia is to be noted, one.
    fn iterate(&self, size: u32, history: &mut Vec<f64>) -> Result<u32> {
        let Labeller { gpu, points, .. } = self.labeller;
        let mut note = || {
            if self.history {
                history.push(self.inertia()?);
            }
            Ok::<_, crate::Error>(())
        };
        if !self.others.is_empty() {
            self.add_up()?;
            note()?;
            self.labeller.submit(self.finish())?;
            self.pass_on()?;
            return Ok(1);
        }
        if !points.all_resident() || self.history {
            points.sweep(gpu, &|chunk, block| self.passes(chunk, block), None)?;
            note()?;
            self.labeller.submit(self.finish())?;
            return Ok(1);
        }
        let chunks = || (0..points.blocks().len()).flat_map(|at| self.passes(at as u64, at));
        self.labeller.submit((0..size).flat_map(|_| chunks().chain(self.finish())))?;
        Ok(size)
    }

    /// Stands where a loop stood. No point has a label yet.
    pub fn restore(&self, at: &Position) -> Result<()> {
        let labeller = &self.labeller;
        let d = labeller.points.d() as usize;
        // The next iteration counts the labels that differ from those of the last one, which the centroids before it gave.
        if let (Some(before), RUNNING) = (&at.before, at.state) {
            self.start_from(&pad(before, d))?;
            self.label()?;
        }
        self.start_from(&pad(&at.centroids, d))?;
        labeller
            .control
            .write(labeller.gpu, &[Control { n_iter: at.n_iter, state: at.state, ..Control::default() }])
    }

    /// Iterates until every problem's loop ends or has done `max_iter` iterations, then makes labels and centroids agree; how
    /// each ended. `history` is what was noted before.
    ///
    /// # Errors
    /// Those of keeping, [`Error::Interrupted`](crate::Error::Interrupted) among them; the device's.
    pub fn run(
        &self,
        max_iter: u32,
        mut history: Vec<f64>,
        mut keeping: Option<Keeping<'_>>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Vec<Outcome>> {
        let labeller = &self.labeller;
        let mut batch = Batch::new(LONGEST_BATCH);
        let mut done = labeller.controls()?;
        let begun: u64 = done.iter().map(|control| u64::from(control.n_iter)).sum();
        // The centroids before the last iteration, if it was a submission of its own.
        let mut before = None;
        // Relocated centroids have not seen an assignment yet.
        let mut labels_current = false;
        loop {
            self.hold(&mut done, max_iter)?;
            // Problems whose clusters were empty are behind the others.
            let running = || done.iter().filter(|control| control.state == RUNNING);
            let Some(n_iter) = running().map(|control| control.n_iter).max() else { break };
            let mut size = batch.size.min(max_iter - n_iter);
            if !self.runs_on() {
                size = 1;
            }
            if let Some(keeping) = &mut keeping {
                let due = keeping.due();
                if due {
                    size = 1;
                }
                let centroids = if size == 1 { Some(labeller.centroids()?) } else { None };
                let known = n_iter == 0 || before.is_some();
                if let (Some(centroids), true) = (centroids.clone(), known) {
                    let (before, history) = (before.take(), history.clone());
                    let position = Position { n_iter, state: RUNNING, before, centroids, history };
                    keeping.reach(Some(position), due)?;
                }
                before = centroids;
            }
            let from = Instant::now();
            let size = self.iterate(size, &mut history)?;
            done = labeller.controls()?;
            batch.took(from.elapsed(), size);
            let empty = done.iter().any(|control| control.state == EMPTY_CLUSTERS);
            if empty {
                self.fill_empty(&done)?;
                self.pass_on()?;
                done = labeller.controls()?;
            }
            let running = done.iter().filter(|control| control.state == RUNNING).count();
            progress(Progress::Iterating {
                n_iter: done.iter().map(|control| control.n_iter).max().unwrap_or(0),
                changed: done.iter().fold(0, |sum, control| sum.saturating_add(control.changed)),
                shift: done.iter().map(|control| control.shift).sum(),
                inertia: self.inertia_by_means()?,
                running,
            });
            labels_current = !empty && done.iter().all(|control| control.state == LABELS_UNCHANGED);
        }
        let ended: u64 = done.iter().map(|control| u64::from(control.n_iter)).sum();
        for (_, labeller) in self.placed() {
            labeller.count((ended - begun) * labeller.points.each());
        }
        if let (Some(keeping), [Control { n_iter, state, .. }]) = (&mut keeping, &done[..]) {
            let (n_iter, state, centroids) = (*n_iter, *state, labeller.centroids()?);
            // Nothing is compared with the labels before any more.
            let before = Some(before.unwrap_or_else(|| centroids.clone()));
            let history = history.clone();
            keeping.reach(Some(Position { n_iter, state, before, centroids, history }), false)?;
        }
        if !labels_current {
            self.label()?;
        }
        labeller.gpu.wait()?;
        let iteration = batch.each();
        let outcome = |control: &Control| {
            let converged = matches!(control.state, LABELS_UNCHANGED | SHIFT_WITHIN_TOL);
            Outcome { n_iter: control.n_iter, converged, iteration, history: history.clone() }
        };
        Ok(done.iter().map(outcome).collect())
    }

    /// The inertia of the last labels by their means: squares are as large as those of the means and of the ways to them.
    fn inertia_by_means(&self) -> Result<Option<f64>> {
        let Some(squares) = self.squares else { return Ok(None) };
        let (norms, mass): (Vec<f32>, Vec<f32>) =
            (self.labeller.norms.read(self.labeller.gpu)?, self.mass.read(self.labeller.gpu)?);
        let of_means: f64 =
            norms.iter().zip(&mass).map(|(&norm, &mass)| f64::from(norm) * f64::from(mass)).sum();
        Ok(Some((squares - of_means).max(0.0)))
    }

    /// Keeps the problems that have done all their iterations from more of them.
    fn hold(&self, controls: &mut [Control], max_iter: u32) -> Result<()> {
        let through = |control: &&mut Control| control.state == RUNNING && control.n_iter >= max_iter;
        if controls.iter_mut().filter(through).map(|control| control.state = PAUSED).count() > 0 {
            self.labeller.control.write(self.labeller.gpu, controls)?;
        }
        Ok(())
    }
}

/// How many steps to put into the next submission, learnt from the time that the last ones took.
#[derive(Debug)]
pub(super) struct Batch {
    /// Steps in the next submission.
    pub(super) size: u32,
    most: u32,
    first: Option<Duration>,
    later: (Duration, u32),
}

impl Batch {
    pub(super) fn new(most: u32) -> Self {
        Self { size: 1, most, first: None, later: (Duration::ZERO, 0) }
    }

    /// `steps` steps took `time`.
    pub(super) fn took(&mut self, time: Duration, steps: u32) {
        // The first submission includes the driver's compilation, and tells nothing about the next.
        if self.first.is_none() {
            self.first = Some(time / steps);
            return;
        }
        self.later = (self.later.0 + time, self.later.1 + steps);
        let each = (time / steps).as_secs_f64().max(1e-9);
        let fit = (BATCH_TIME.as_secs_f64() / each) as u32;
        self.size = (self.size * 2).min(fit).clamp(1, self.most);
    }

    /// Mean time of a step, the first submission left out if there were more.
    fn each(&self) -> Duration {
        if self.later.1 > 0 { self.later.0 / self.later.1 } else { self.first.unwrap_or_default() }
    }
}
