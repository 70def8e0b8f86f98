//! Host of `lloyd`: the loop on the device. Iterations are recorded in batches; the kernels themselves notice when the
//! loop has ended and then leave everything as it is, so the host reads the control block only between batches.

use std::time::{Duration, Instant};

use super::assign::{self, Assign, Assignment};
use super::centroid::{Centroid, Means};
use super::distance::Distance;
use super::radix_sort::RadixSort;
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
        let k = means.counts.rows();
        let buffers =
            [("counts", means.counts), ("shift", means.shift), ("changed", changed), ("control", control)];
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
        d: u64,
        always: bool,
    ) -> Result<Bound> {
        let (k, rows) = (next.rows(), centroids.rows());
        let params = Commit {
            rows: to_u32(rows, "the number of centroids")?,
            k: to_u32(k, "the number of clusters")?,
            d4: to_u32(d.div_ceil(4), "the dimension")?,
            always: u32::from(always),
        };
        let buffers = [("next", next), ("control", control), ("centroids", centroids), ("norms", norms)];
        self.commit.bind(gpu, &buffers, params, Work { bytes: 4 * (2 * k * d + k), ops: 2 * k * d })
    }
}

/// Points that one set of bindings can see: `[rows, d4]` vec4s and their labels.
#[derive(Debug)]
struct Block {
    points: Buffer,
    labels: Buffer,
}

/// Rows of `d` floats each, cut into blocks that fit the adapter's bindings and padded to vec4s.
#[derive(Debug)]
pub struct Points {
    blocks: Vec<Block>,
    n: u64,
    d: u64,
}

impl Points {
    /// Uploads `values` (`[n, d]`) less `shift` (`[d]`), in blocks of at most `most_rows` points.
    pub fn upload(gpu: &Context, values: &[f32], shift: &[f64], most_rows: u64) -> Result<Self> {
        let d = shift.len() as u64;
        let n = values.len() as u64 / d.max(1);
        let row_bytes = 16 * d.div_ceil(4);
        let rows = (gpu.adapter.max_binding_bytes / row_bytes).min(most_rows).max(1);
        let mut blocks = Vec::new();
        for chunk in values.chunks((rows * d) as usize) {
            let here = chunk.len() as u64 / d;
            blocks.push(Block {
                points: Buffer::from_slice(gpu, "points", here, &pad(chunk, shift))?,
                labels: Buffer::from_slice(gpu, "labels", here, &vec![NO_LABEL; here as usize])?,
            });
        }
        Ok(Self { blocks, n, d })
    }

    /// Number of points.
    pub fn n(&self) -> u64 {
        self.n
    }

    fn largest_block(&self) -> u64 {
        self.blocks.iter().map(|block| block.points.rows()).max().unwrap_or(0)
    }

    /// All points, if one block holds them.
    pub fn whole(&self) -> Option<&Buffer> {
        match self.blocks.as_slice() {
            [block] => Some(&block.points),
            _ => None,
        }
    }

    /// The label of every point.
    pub fn labels(&self, gpu: &Context) -> Result<Vec<u32>> {
        let mut all = Vec::with_capacity(self.n as usize);
        for block in &self.blocks {
            all.extend(block.labels.read::<u32>(gpu)?);
        }
        Ok(all)
    }

    fn write_labels(&self, gpu: &Context, labels: &[u32]) -> Result<()> {
        let mut rest = labels;
        for block in &self.blocks {
            let (here, behind) = rest.split_at(block.labels.rows() as usize);
            block.labels.write(gpu, here)?;
            rest = behind;
        }
        Ok(())
    }
}

/// Rows less `shift`, each padded with zeros to whole vec4s.
pub fn pad(values: &[f32], shift: &[f64]) -> Vec<f32> {
    let width = shift.len().next_multiple_of(4);
    let mut padded = vec![0.0; values.len() / shift.len().max(1) * width];
    for (row, target) in values.chunks(shift.len().max(1)).zip(padded.chunks_mut(width.max(1))) {
        for ((&value, &by), target) in row.iter().zip(shift).zip(target) {
            *target = (f64::from(value) - by) as f32;
        }
    }
    padded
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

/// Labelling by given centroids: what prediction needs, and the first half of the loop.
#[derive(Debug)]
pub struct Labeller<'a> {
    gpu: &'a Context,
    points: &'a Points,
    k: u64,
    centroids: Buffer,
    /// `[k, d4]` what the centroids become with the next commit.
    next: Buffer,
    control: Buffer,
    changed: Buffer,
    distances: Buffer,
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
    pub fn new(gpu: &'a Context, points: &'a Points, k: u64) -> Result<Self> {
        let d = points.d;
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
        let distances = Buffer::new(gpu, "distances", points.largest_block(), 4)?;

        let assigner = Assign::load(gpu, assign::tuned(gpu, k, d)?)?;
        let distancer = Distance::load(gpu)?;
        let decision = Decision::load(gpu)?;
        let (mut assign, mut distance) = (Vec::new(), Vec::new());
        for block in &points.blocks {
            let on = Assignment {
                points: &block.points,
                centroids: &centroids,
                norms: &norms,
                control: &control,
                labels: &block.labels,
                changed: &changed,
            };
            assign.push(assigner.bind(gpu, &on, k, d)?);
            distance.push(distancer.bind(gpu, &block.points, &centroids, &block.labels, &distances, d)?);
        }
        let into = (&centroids, &norms);
        let commit = decision.bind_commit(gpu, &next, &control, into, d, false)?;
        let commit_always = decision.bind_commit(gpu, &next, &control, into, d, true)?;
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

    /// Takes these centroids: `[k, d]`, already less the points' shift, padded as [`pad`] does.
    pub fn start_from(&self, padded: &[f32]) -> Result<()> {
        self.next.write(self.gpu, padded)?;
        self.submit([&self.commit_always])
    }

    /// Labels every point by the centroids as they are.
    pub fn label(&self) -> Result<()> {
        let control = self.control()?;
        self.control.write(self.gpu, &[Control { state: RUNNING, ..control }])?;
        self.submit(&self.assign)
    }

    /// The centroids, `[k, d]` without padding.
    pub fn centroids(&self) -> Result<Vec<f32>> {
        let d = self.points.d as usize;
        let padded: Vec<f32> = self.centroids.read(self.gpu)?;
        Ok(padded
            .chunks(d.next_multiple_of(4))
            .take(self.k as usize)
            .flat_map(|row| &row[..d])
            .copied()
            .collect())
    }

    /// The sum of the squared distances of the points to the centroids of their labels.
    pub fn inertia(&self) -> Result<f64> {
        Ok(self.distances()?.iter().map(|&x| f64::from(x)).sum())
    }

    /// The squared distance of every point to the centroid of its label.
    pub fn distances(&self) -> Result<Vec<f32>> {
        let mut all = Vec::with_capacity(self.points.n as usize);
        for (bound, block) in self.distance.iter().zip(&self.points.blocks) {
            self.submit([bound])?;
            let mut here: Vec<f32> = self.distances.read(self.gpu)?;
            here.truncate(block.points.rows() as usize);
            all.extend(here);
        }
        Ok(all)
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

/// Lloyd's loop over some points: every buffer and binding it needs, made once.
#[derive(Debug)]
pub struct Lloyd<'a> {
    /// The first half of an iteration, with the centroids.
    pub labeller: Labeller<'a>,
    counts: Buffer,
    update: Vec<Bound>,
    decide: Bound,
    decide_with_empty: Bound,
}

impl<'a> Lloyd<'a> {
    /// Prepares the loop for `k` clusters that ends at squared shifts of `tol` in sum.
    pub fn new(gpu: &'a Context, points: &'a Points, k: u64, tol: f32) -> Result<Self> {
        let labeller = Labeller::new(gpu, points, k)?;
        let d = points.d;
        let d4 = d.div_ceil(4);
        let sums = Buffer::new(gpu, "sums", k, 16 * d4)?;
        let counts = Buffer::new(gpu, "counts", k, 4)?;
        let shift = Buffer::new(gpu, "shifts", k, 4)?;
        let (sorter, summer) = (RadixSort::load(gpu)?, Centroid::load(gpu)?);
        let largest = points.largest_block();
        let sort_scratch = sorter.scratch(gpu, largest)?;
        let sum_scratch = summer.scratch(gpu, largest, k, d4)?;
        let bits = u64::BITS - (k - 1).leading_zeros();
        let means = Means {
            centroids: &labeller.centroids,
            sums: &sums,
            counts: &counts,
            next: &labeller.next,
            shift: &shift,
        };
        let mut update = Vec::new();
        let last = points.blocks.len().saturating_sub(1);
        for (i, block) in points.blocks.iter().enumerate() {
            let sort = sorter.bind(gpu, &block.labels, None, bits, &sort_scratch)?;
            let ends = (i == 0, i == last);
            let sums = summer.bind(gpu, &block.points, &sort, &means, &sum_scratch, (k, d), ends)?;
            update.extend(sort.passes);
            update.extend(sums);
        }
        let decision = Decision::load(gpu)?;
        let (changed, control) = (&labeller.changed, &labeller.control);
        let decide = decision.bind_decide(gpu, &means, changed, control, tol, true)?;
        let decide_with_empty = decision.bind_decide(gpu, &means, changed, control, tol, false)?;
        Ok(Self { labeller, counts, update, decide, decide_with_empty })
    }

    /// Iterates until the loop ends or `max_iter` iterations are done, then makes labels and centroids agree.
    pub fn run(&self, max_iter: u32, mut progress: impl FnMut(Progress)) -> Result<Outcome> {
        let labeller = &self.labeller;
        let mut batch = Batch::new(LONGEST_BATCH);
        let mut done = Control::default();
        // Relocated centroids have not seen an assignment yet.
        let mut labels_current = false;
        while done.n_iter < max_iter {
            let (from, size) = (Instant::now(), batch.size.min(max_iter - done.n_iter));
            let iteration =
                || labeller.assign.iter().chain(&self.update).chain([&self.decide, &labeller.commit]);
            labeller.submit((0..size).flat_map(|_| iteration()))?;
            done = labeller.control()?;
            batch.took(from.elapsed(), size);
            let mut relocated = false;
            if done.state == EMPTY_CLUSTERS {
                relocated = self.relocate(done)?;
                done = labeller.control()?;
            }
            progress(Progress::Iterating { n_iter: done.n_iter, changed: done.changed, shift: done.shift });
            if done.state != RUNNING {
                labels_current = done.state == LABELS_UNCHANGED && !relocated;
                break;
            }
        }
        if !labels_current {
            labeller.label()?;
        }
        labeller.gpu.wait()?;
        Ok(Outcome { n_iter: done.n_iter, converged: done.state != RUNNING, iteration: batch.each() })
    }

    /// The iteration that found empty clusters, finished as scikit-learn does: the points farthest from their centroids
    /// become the centroids of the empty clusters and leave their own. Whether any was moved.
    fn relocate(&self, found: Control) -> Result<bool> {
        let Labeller { gpu, points, .. } = self.labeller;
        let counts: Vec<u32> = self.counts.read(gpu)?;
        let empty: Vec<u32> =
            (0u32..).zip(&counts).filter(|(_, count)| **count == 0).map(|(c, _)| c).collect();
        let distances = self.labeller.distances()?;
        let farthest = farthest(&distances, empty.len());
        let moves = farthest.first().is_some_and(|&i| distances[i] > 0.0);
        self.labeller.control.write(gpu, &[Control { state: RUNNING, ..found }])?;
        let finish = [&self.decide_with_empty, &self.labeller.commit];
        if !moves {
            self.labeller.submit(finish)?;
            return Ok(false);
        }
        let labels = points.labels(gpu)?;
        let mut moved = labels.clone();
        for (&point, &cluster) in farthest.iter().zip(&empty) {
            moved[point] = cluster;
        }
        points.write_labels(gpu, &moved)?;
        self.labeller.submit(self.update.iter().chain(finish))?;
        // The next iteration counts its changes against the assignment, not against the relocation.
        points.write_labels(gpu, &labels)?;
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

/// The indices of the `count` largest distances, the largest first, the highest index first among equals: scikit-learn's
/// order in the cases whose answers it publishes.
fn farthest(distances: &[f32], count: usize) -> Vec<usize> {
    let mut all: Vec<usize> = (0..distances.len()).collect();
    let order = |a: &usize, b: &usize| distances[*b].total_cmp(&distances[*a]).then(b.cmp(a));
    if count < all.len() {
        all.select_nth_unstable_by(count, order);
        all.truncate(count);
    }
    all.sort_unstable_by(order);
    all
}

#[cfg(test)]
mod tests {
    use super::farthest;

    #[test]
    fn farthest_are_ordered_and_ties_take_the_highest_index() {
        assert_eq!(farthest(&[1.0, 3.0, 3.0, 0.0], 2), [2, 1]);
        assert_eq!(farthest(&[1.0, 3.0, 2.0, 3.0], 3), [3, 1, 2]);
        assert_eq!(farthest(&[1.0, 2.0], 5), [1, 0]);
        assert!(farthest(&[], 1).is_empty());
    }
}
