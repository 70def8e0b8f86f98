//! Host of `lloyd`: the loop on the device. Iterations are recorded in batches; the kernels themselves notice when the
//! loop has ended and then leave everything as it is, so the host reads the control block only between batches.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use super::assign::{self, Assign, Assignment};
use super::centroid::{Centroid, Means, SUM_WORDS, Scales, Weighted, add_steps, read_steps, steps_of};
use super::checkpoint::{Keeping, Position};
use super::distance::Distance;
use super::points::{Points, norm, pad};
use super::radix_sort::RadixSort;
use super::{Empty, Metric};
use crate::gpu::{Bound, Buffer, Context, Kernel, Recorder, Spec, Work, params, to_u32};
use crate::{Error, Result};

/// The decision after an iteration, and the taking over of new centroids.
pub const STAGES: &[Spec] = &[Spec::new("kmeans/lloyd"), Spec::new("kmeans/lloyd_commit")];

params! {
    struct Decide {
        k: u32,
        relocate: u32,
        tol: f32,
    }
}
params! {
    struct Commit {
        rows: u32,
        k: u32,
        d4: u32,
        always: u32,
        metric: u32,
    }
}

/// The control block as it lies in memory (shaders/lib/lloyd.wgsl).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Control {
    /// One of the states below.
    pub state: u32,
    /// Iterations completed.
    pub n_iter: u32,
    /// Whether the last centroids were taken over.
    pub accept: u32,
    /// Clusters without a point.
    pub empty: u32,
    /// Labels changed by the last iteration.
    pub changed: u32,
    /// Sum of the centroids' squared shifts in the last iteration.
    pub shift: f32,
}

/// The loop goes on.
pub const RUNNING: u32 = 0;
/// No label changed: the centroids are a fixed point.
pub const LABELS_UNCHANGED: u32 = 1;
/// The centroids moved by no more than the tolerance.
pub const SHIFT_WITHIN_TOL: u32 = 2;
/// Clusters are empty, and the host is to relocate them.
pub const EMPTY_CLUSTERS: u32 = 3;

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
    /// Compiles them.
    pub fn load(gpu: &Context) -> Result<Self> {
        Ok(Self { decide: Kernel::load(gpu, &STAGES[0])?, commit: Kernel::load(gpu, &STAGES[1])? })
    }

    /// Binds the decision whether the loop goes on. `relocate`: it stops for empty clusters.
    pub fn bind_decide(
        &self,
        gpu: &Context,
        means: &Means<'_>,
        changed: &Buffer,
        control: &Buffer,
        tol: f32,
        relocate: bool,
    ) -> Result<Bound> {
        let k = means.mass.rows();
        let buffers =
            [("mass", means.mass), ("shift", means.shift), ("changed", changed), ("control", control)];
        let params = Decide { k: to_u32(k, "the number of clusters")?, relocate: u32::from(relocate), tol };
        self.decide.bind(gpu, &buffers, params, Work { bytes: 8 * k, ops: 2 * k })
    }

    /// Binds the taking over of `next` (`[k, d4]`) into `centroids` (padded) and their norms.
    /// `always`: whatever the control block says.
    pub fn bind_commit(
        &self,
        gpu: &Context,
        next: &Buffer,
        control: &Buffer,
        (centroids, norms): (&Buffer, &Buffer),
        (d, metric): (u64, Metric),
        always: bool,
    ) -> Result<Bound> {
        let (k, rows) = (next.rows(), centroids.rows());
        let params = Commit {
            rows: to_u32(rows, "the number of centroids")?,
            k: to_u32(k, "the number of clusters")?,
            d4: to_u32(d.div_ceil(4), "the dimension")?,
            always: u32::from(always),
            metric: metric as u32,
        };
        let buffers = [("next", next), ("control", control), ("centroids", centroids), ("norms", norms)];
        self.commit.bind(gpu, &buffers, params, Work { bytes: 4 * (2 * k * d + k), ops: 2 * k * d })
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
        /// Iterations completed.
        n_iter: u32,
        /// Labels that the last of them changed.
        changed: u32,
        /// Sum of the centroids' squared shifts in the last of them.
        shift: f32,
    },
}

/// How the loop ended.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// Iterations completed.
    pub n_iter: u32,
    /// Whether it ended by itself rather than at the most iterations allowed.
    pub converged: bool,
    /// Mean time of an iteration. The first is left out where there are more: drivers compile a kernel when it first
    /// runs.
    pub iteration: Duration,
}

/// Sees the labels and distances of some neighbouring points, and which is the first.
type Seen<'a> = &'a mut dyn FnMut(u64, &[u32], &[f32]);

/// Labelling by given centroids: what prediction needs, and the first half of the loop.
pub struct Labeller<'a> {
    pub(super) gpu: &'a Context,
    pub(super) points: &'a Points<'a>,
    pub(super) k: u64,
    pub(super) centroids: Buffer,
    /// `[k, d4]` what the centroids become with the next commit.
    next: Buffer,
    control: Buffer,
    pub(super) changed: Buffer,
    distances: Buffer,
    /// For each block.
    assign: Vec<Bound>,
    distance: Vec<Bound>,
    commit: Bound,
    commit_always: Bound,
}

impl<'a> Labeller<'a> {
    /// Prepares the labelling of `points` by `k` centroids.
    ///
    /// # Errors
    /// [`Error::Input`] for more centroids than a binding of the adapter holds.
    pub fn new(gpu: &'a Context, points: &'a Points<'a>, k: u64, metric: Metric) -> Result<Self> {
        let d = points.d();
        let row_bytes = 16 * d.div_ceil(4);
        let padded = k.next_multiple_of(assign::PAD);
        let most = gpu.adapter.max_binding_bytes / row_bytes;
        if padded > most {
            return Err(Error::Input(format!(
                "{k} centroids of {d} dimensions are more than this adapter can bind at once: at most {most}"
            )));
        }
        let centroids = Buffer::new(gpu, "centroids", padded, row_bytes)?;
        let norms = Buffer::new(gpu, "centroid norms", padded, 4)?;
        let next = Buffer::new(gpu, "next centroids", k, row_bytes)?;
        let changed = Buffer::from_slice(gpu, "changed labels", 1, &[0u32])?;
        let control = Buffer::from_slice(gpu, "control", 1, &[Control::default()])?;
        let distances = Buffer::new(gpu, "distances", points.largest(), 4)?;

        let assigner = Assign::load(gpu, assign::tuned(gpu, k, d)?)?;
        let distancer = Distance::load(gpu)?;
        let decision = Decision::load(gpu)?;
        let (mut assign, mut distance) = (Vec::new(), Vec::new());
        for block in points.blocks() {
            let on = Assignment {
                points: &block.points,
                centroids: &centroids,
                norms: &norms,
                control: &control,
                labels: &block.labels,
                changed: &changed,
            };
            assign.push(assigner.bind(gpu, &on, k, d)?);
            let to = (&centroids, &block.labels);
            distance.push(distancer.bind(gpu, &block.points, to, &distances, d, metric)?);
        }
        let into = (&centroids, &norms);
        let commit = decision.bind_commit(gpu, &next, &control, into, (d, metric), false)?;
        let commit_always = decision.bind_commit(gpu, &next, &control, into, (d, metric), true)?;
        Ok(Self {
            gpu,
            points,
            k,
            centroids,
            next,
            control,
            changed,
            distances,
            assign,
            distance,
            commit,
            commit_always,
        })
    }

    /// Takes these centroids: `[k, d]`, transformed and padded as the points are. A new loop begins.
    pub fn start_from(&self, padded: &[f32]) -> Result<()> {
        self.next.write(self.gpu, padded)?;
        self.control.write(self.gpu, &[Control::default()])?;
        self.changed.write(self.gpu, &[0u32])?;
        self.submit([&self.commit_always])
    }

    /// Labels every point by the centroids as they are.
    pub fn label(&self) -> Result<()> {
        let control = self.control()?;
        self.control.write(self.gpu, &[Control { state: RUNNING, ..control }])?;
        self.points.sweep(self.gpu, &|_, block| vec![&self.assign[block]], None)
    }

    /// The centroids, `[k, d]` without padding.
    pub fn centroids(&self) -> Result<Vec<f32>> {
        let d = self.points.d() as usize;
        let padded: Vec<f32> = self.centroids.read(self.gpu)?;
        Ok(padded
            .chunks(d.next_multiple_of(4))
            .take(self.k as usize)
            .flat_map(|row| &row[..d])
            .copied()
            .collect())
    }

    /// The sum of the distances of the points to the centroids of their labels, times their weights, in the order of
    /// the points.
    pub fn inertia(&self) -> Result<f64> {
        self.add_inertia(0.0)
    }

    /// The same, added to the sum over the points before these.
    pub(super) fn add_inertia(&self, mut sum: f64) -> Result<f64> {
        self.distances(&mut |first, distances| {
            for (point, &distance) in (first..).zip(distances) {
                sum += f64::from(distance) * f64::from(self.points.weight(point));
            }
        })?;
        Ok(sum)
    }

    /// Shows the distance of every point to the centroid of its label, from some first point on.
    fn distances(&self, each: &mut dyn FnMut(u64, &[f32])) -> Result<()> {
        let passes = |_, block: usize| vec![&self.distance[block]];
        self.points.sweep(
            self.gpu,
            &passes,
            Some(&mut |block, first| {
                let distances: Vec<f32> = self.distances.read(self.gpu)?;
                each(first, &distances[..block.points.rows() as usize]);
                Ok(())
            }),
        )
    }

    /// Labels every point by the centroids as they are, and shows labels and distances, from some first point on.
    pub(super) fn nearest(&self, each: Seen<'_>) -> Result<()> {
        let passes = |_, block: usize| vec![&self.assign[block], &self.distance[block]];
        self.points.sweep(
            self.gpu,
            &passes,
            Some(&mut |block, first| {
                let (labels, distances): (Vec<u32>, Vec<f32>) =
                    (block.labels.read(self.gpu)?, self.distances.read(self.gpu)?);
                each(first, &labels, &distances[..labels.len()]);
                Ok(())
            }),
        )
    }

    fn control(&self) -> Result<Control> {
        let read: Vec<Control> = self.control.read(self.gpu)?;
        read.first().copied().ok_or_else(|| Error::DeviceLost("the control block is empty".into()))
    }

    fn submit<'b>(&'b self, passes: impl IntoIterator<Item = &'b Bound>) -> Result<()> {
        let mut record = Recorder::new(self.gpu);
        for pass in passes {
            record.dispatch(pass);
        }
        record.submit()
    }
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
    scales: Scales,
    metric: Metric,
    empty: Empty,
    pub(super) sums: Buffer,
    pub(super) counts: Buffer,
    mass: Buffer,
    /// For each block.
    update: Vec<Update>,
    mean: Bound,
    decide: Bound,
    decide_with_empty: Bound,
}

impl<'a> Lloyd<'a> {
    /// Prepares the loop for `k` clusters that ends at squared shifts of `tol` in sum.
    pub fn new(
        gpu: &'a Context,
        points: &'a Points<'a>,
        k: u64,
        metric: Metric,
        scales: Scales,
        tol: f32,
    ) -> Result<Self> {
        let labeller = Labeller::new(gpu, points, k, metric)?;
        let d = points.d();
        let columns = Centroid::columns(d, scales);
        let sums = Buffer::new(gpu, "sums", k, 4 * SUM_WORDS * columns)?;
        let counts = Buffer::new(gpu, "counts", k, 4)?;
        let mass = Buffer::new(gpu, "mass", k, 4)?;
        let shift = Buffer::new(gpu, "shifts", k, 4)?;
        let (sorter, summer) = (RadixSort::load(gpu)?, Centroid::tuned(gpu, d)?);
        let largest = points.largest();
        let sort_scratch = sorter.scratch(gpu, largest)?;
        let sum_scratch = summer.scratch(gpu, largest, k, columns)?;
        let bits = u64::BITS - (k - 1).leading_zeros();
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
            let weighted = Weighted { points: &block.points, weights: &block.weights };
            let bind = |first| summer.bind(gpu, weighted, &sort, &means, &sum_scratch, (k, d), scales, first);
            let [start, partial, merge] = bind(false)?;
            let [_, _, merge_first] = bind(true)?;
            passes.extend([start, partial]);
            update.push(Update { passes, merge, merge_first });
        }
        let mean = summer.bind_mean(gpu, &means, d, scales, metric == Metric::Cosine)?;
        let decision = Decision::load(gpu)?;
        let (changed, control) = (&labeller.changed, &labeller.control);
        let decide = decision.bind_decide(gpu, &means, changed, control, tol, true)?;
        let decide_with_empty = decision.bind_decide(gpu, &means, changed, control, tol, false)?;
        let empty = Empty::default();
        Ok(Self {
            labeller,
            others: Vec::new(),
            scales,
            metric,
            empty,
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

    /// What an iteration does with a chunk of points that lies in `block`.
    pub(super) fn passes(&self, chunk: u64, block: usize) -> Vec<&Bound> {
        std::iter::once(&self.labeller.assign[block]).chain(self.updates(chunk, block)).collect()
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
        [self.labeller.assign.iter().collect(), update.chain([&self.mean]).collect()]
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
                let here = &distances[..block.points.rows() as usize];
                inertia += here.iter().map(|&distance| f64::from(distance)).sum::<f64>();
                Ok(())
            }),
        )?;
        let (d, row) = (points.d() as usize, (SUM_WORDS * points.d().div_ceil(4)) as usize);
        let words: Vec<u32> = self.sums.read(gpu)?;
        let scale = f64::from(self.scales.points);
        let sum = |words: &[u32], at: usize| {
            let [coarse, fine] = read_steps(words, at);
            (coarse as f64 + fine as f64 / 16_777_216.0) / scale
        };
        let sums = words.chunks_exact(row).flat_map(|row| (0..d).map(move |at| sum(row, at))).collect();
        Ok((sums, self.counts.read(gpu)?, inertia))
    }

    fn finish(&self) -> [&Bound; 3] {
        [&self.mean, &self.decide, &self.labeller.commit]
    }

    /// Whether the device goes from one iteration to the next by itself.
    fn runs_on(&self) -> bool {
        self.others.is_empty() && self.labeller.points.all_resident()
    }

    /// Starts `size` iterations; of points that do not all stay on one device, one.
    fn iterate(&self, size: u32) -> Result<u32> {
        let Labeller { gpu, points, .. } = self.labeller;
        if !self.others.is_empty() {
            self.add_up()?;
            self.labeller.submit(self.finish())?;
            self.pass_on()?;
            return Ok(1);
        }
        if !points.all_resident() {
            points.sweep(gpu, &|chunk, block| self.passes(chunk, block), None)?;
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
        if let Some(before) = &at.before {
            self.start_from(&pad(before, d))?;
            self.label()?;
        }
        self.start_from(&pad(&at.centroids, d))?;
        labeller.control.write(labeller.gpu, &[Control { n_iter: at.n_iter, ..Control::default() }])
    }

    /// Iterates until the loop ends or `max_iter` iterations are done, then makes labels and centroids agree.
    ///
    /// # Errors
    /// Those of keeping, [`Error::Interrupted`] among them; the device's.
    pub fn run(
        &self,
        max_iter: u32,
        mut keeping: Option<Keeping<'_>>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Outcome> {
        let labeller = &self.labeller;
        let mut batch = Batch::new(LONGEST_BATCH);
        let mut done = labeller.control()?;
        // The centroids before the last iteration, if it was a submission of its own.
        let mut before = None;
        // Relocated centroids have not seen an assignment yet.
        let mut labels_current = false;
        while done.n_iter < max_iter {
            let mut size = batch.size.min(max_iter - done.n_iter);
            if !self.runs_on() {
                size = 1;
            }
            if let Some(keeping) = &mut keeping {
                if keeping.due() && (done.n_iter == 0 || before.is_some()) {
                    let centroids = labeller.centroids()?;
                    keeping.keep(Some(Position { n_iter: done.n_iter, before: before.take(), centroids }))?;
                }
                if keeping.due() {
                    size = 1;
                }
                before = if size == 1 { Some(labeller.centroids()?) } else { None };
            }
            let from = Instant::now();
            let size = self.iterate(size)?;
            done = labeller.control()?;
            batch.took(from.elapsed(), size);
            let mut relocated = false;
            if done.state == EMPTY_CLUSTERS {
                relocated = self.relocate(done)?;
                self.pass_on()?;
                done = labeller.control()?;
            }
            progress(Progress::Iterating { n_iter: done.n_iter, changed: done.changed, shift: done.shift });
            if done.state != RUNNING {
                labels_current = done.state == LABELS_UNCHANGED && !relocated;
                break;
            }
        }
        if !labels_current {
            self.label()?;
        }
        labeller.gpu.wait()?;
        Ok(Outcome { n_iter: done.n_iter, converged: done.state != RUNNING, iteration: batch.each() })
    }

    /// The iteration that found empty clusters, finished as scikit-learn does: the points farthest from their centroids
    /// become the centroids of the empty clusters and leave their own. Whether any was moved.
    fn relocate(&self, found: Control) -> Result<bool> {
        if self.empty == Empty::SplitLargest {
            return self.split(found);
        }
        let Labeller { gpu, points, .. } = self.labeller;
        let mass: Vec<f32> = self.mass.read(gpu)?;
        let empty: Vec<usize> = (0..mass.len()).filter(|&c| mass[c] == 0.0).collect();
        let mut far: Vec<(f32, u64)> = Vec::new();
        for (from, labeller) in self.placed() {
            labeller.distances(&mut |first, distances| {
                far.extend((from + first..).zip(distances).map(|(point, &distance)| (distance, point)));
                farthest(&mut far, empty.len());
            })?;
        }
        self.labeller.control.write(gpu, &[Control { state: RUNNING, ..found }])?;
        let moves = far.first().is_some_and(|&(distance, _)| distance > 0.0);
        if moves {
            let labels = self.labels()?;
            let columns = Centroid::columns(points.d(), self.scales) as usize;
            let mut sums: Vec<u32> = self.sums.read(gpu)?;
            let mut counts: Vec<u32> = self.counts.read(gpu)?;
            for (&(_, point), &cluster) in far.iter().zip(&empty) {
                let donor = labels[point as usize] as usize;
                let (mut values, weight) = self.point(point)?;
                if self.scales.weights.is_some() {
                    values.iter_mut().for_each(|value| *value *= weight);
                }
                for (cluster, sign) in [(donor, -1), (cluster, 1)] {
                    let sums = &mut sums[cluster * columns * SUM_WORDS as usize..];
                    let mut add = |at, value, scale| {
                        add_steps(sums, at, steps_of(value, scale).map(|steps| sign * steps));
                    };
                    for (at, &value) in values.iter().enumerate() {
                        add(at, value, self.scales.points);
                    }
                    if let Some(scale) = self.scales.weights {
                        add(4 * (columns - 1), weight, scale);
                    }
                    counts[cluster] = counts[cluster].wrapping_add_signed(sign as i32);
                }
            }
            self.sums.write(gpu, &sums)?;
            self.counts.write(gpu, &counts)?;
        }
        self.labeller.submit([&self.mean, &self.decide_with_empty, &self.labeller.commit])?;
        Ok(moves)
    }

    /// The iteration that found empty clusters, finished as FAISS does: each takes half of the cluster that is largest by
    /// then. Both go on from its centroid, a little larger in the one and smaller in the other, by turns of the dimension.
    fn split(&self, found: Control) -> Result<bool> {
        const LITTLE: f32 = 1.0 / 1024.0;
        let Labeller { gpu, next, control, commit, .. } = &self.labeller;
        control.write(gpu, &[Control { state: RUNNING, ..found }])?;
        self.labeller.submit([&self.mean, &self.decide_with_empty])?;
        let decided = self.labeller.control()?;
        if decided.state == LABELS_UNCHANGED {
            // The last halves could not be told apart, and no more could the next.
            self.labeller.submit([commit])?;
            return Ok(true);
        }
        control.write(gpu, &[Control { state: RUNNING, ..decided }])?;
        let mass: Vec<f32> = self.mass.read(gpu)?;
        let mut centroids: Vec<f32> = next.read(gpu)?;
        let width = centroids.len() / mass.len().max(1);
        let order = |at: usize, mass: f32| (mass.to_bits(), Reverse(at));
        let mut largest: BinaryHeap<_> = mass.iter().enumerate().map(|(at, &mass)| order(at, mass)).collect();
        for empty in (0..mass.len()).filter(|&at| mass[at] == 0.0) {
            let Some((size, Reverse(donor))) = largest.pop() else { break };
            let half = f32::from_bits(size) / 2.0;
            largest.extend([order(donor, half), order(empty, half)]);
            let whole = centroids[donor * width..][..width].to_vec();
            for (cluster, sign) in [(empty, 1.0), (donor, -1.0)] {
                let row = &mut centroids[cluster * width..][..width];
                for (i, (value, from)) in row.iter_mut().zip(&whole).enumerate() {
                    *value = from * (1.0 + if i % 2 == 0 { sign * LITTLE } else { -sign * LITTLE });
                }
                if self.metric == Metric::Cosine {
                    let norm = norm(row);
                    row.iter_mut().for_each(|value| *value = (f64::from(*value) / norm) as f32);
                }
            }
        }
        next.write(gpu, &centroids)?;
        self.labeller.submit([commit])?;
        Ok(true)
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

/// Leaves the `count` largest distances, the largest first, the highest index first among equals: scikit-learn's order in
/// the cases whose answers it publishes.
fn farthest(distances: &mut Vec<(f32, u64)>, count: usize) {
    let order = |a: &(f32, u64), b: &(f32, u64)| b.0.total_cmp(&a.0).then(b.1.cmp(&a.1));
    if count < distances.len() {
        distances.select_nth_unstable_by(count, order);
        distances.truncate(count);
    }
    distances.sort_unstable_by(order);
}

#[cfg(test)]
mod tests {
    use super::farthest;

    #[test]
    fn farthest_are_ordered_and_ties_take_the_highest_index() {
        let of = |distances: &[f32], count| {
            let mut all: Vec<(f32, u64)> = distances.iter().copied().zip(0..).collect();
            farthest(&mut all, count);
            all.into_iter().map(|(_, point)| point).collect::<Vec<_>>()
        };
        assert_eq!(of(&[1.0, 3.0, 3.0, 0.0], 2), [2, 1]);
        assert_eq!(of(&[1.0, 3.0, 2.0, 3.0], 3), [3, 1, 2]);
        assert_eq!(of(&[1.0, 2.0], 5), [1, 0]);
        assert!(of(&[], 1).is_empty());
    }
}
