//! Lloyd's loop. Iterations are recorded in batches; the kernels themselves notice when the loop has ended and then leave
//! everything as it is, so the host reads the control block only between batches.

use std::time::Instant;

use super::centroid::{Centroid, Means, Scales, Weighted};
use super::checkpoint::{Keeping, Position};
use super::control::{Control, EMPTY_CLUSTERS, LABELS_UNCHANGED, PAUSED, RUNNING, SHIFT_WITHIN_TOL};
use super::fitted::Iteration;
use super::frame::pad;
use super::labeller::{Labeller, check_bound};
use super::lloyd::Decision;
use super::metric::{Empty, Metric};
use super::points::Points;
use super::progress::{Batch, Outcome, Progress};
use super::radix_sort::RadixSort;
use crate::Result;
use crate::gpu::{Bound, Buffer, Context, Work};

/// Iterations in a submission, at most; what is recorded behind the end of the loop is wasted.
const LONGEST_BATCH: u32 = 16;

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
    /// Clusters, the first ones, whose centroids stay.
    pub(super) frozen: u64,
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
        Self::with_frozen(gpu, points, (k, 0), metric, scales, tol)
    }

    /// As [`Lloyd::new`], where the first `frozen` centroids of one problem stay where they begin.
    pub(super) fn with_frozen(
        gpu: &'a Context,
        points: &'a Points<'a>,
        (k, frozen): (u64, u64),
        metric: Metric,
        scales: Scales,
        tol: &[f32],
    ) -> Result<Self> {
        let (d, problems) = (points.d(), points.problems());
        let clusters = problems * k;
        let columns = Centroid::columns(d, scales);
        let of_sums = 4 * scales.words() * columns;
        // The largest of what there is for each centroid.
        check_bound(gpu, (clusters, d), of_sums)?;
        let labeller = Labeller::new(gpu, points, k, metric)?;
        let sums = Buffer::new(gpu, "sums", clusters, of_sums)?;
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
        let mean = summer.bind_mean(gpu, &means, d, scales, metric == Metric::Cosine, frozen)?;
        let decision = Decision::load(gpu, (k, d))?;
        let (changed, control) = (&labeller.changed, &labeller.control);
        let decide = decision.bind_decide(gpu, &means, (&tol, changed), control, true, frozen)?;
        let decide_with_empty = decision.bind_decide(gpu, &means, (&tol, changed), control, false, frozen)?;
        let empty = Empty::default();
        Ok(Self {
            labeller,
            others: Vec::new(),
            scales,
            metric,
            empty,
            frozen,
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

    /// An iteration over `n` points, of which these blocks may hold a part.
    pub(super) fn iteration(&self, n: u64) -> Iteration {
        let loops = || std::iter::once(self).chain(&self.others);
        let held: u64 = loops().flat_map(|own| own.labeller.points.blocks()).map(|block| block.rows()).sum();
        let work: Work = loops().flat_map(Self::stages).flatten().map(Bound::work).sum();
        let of_all = |amount: u64| (amount as f64 / held.max(1) as f64 * n as f64) as u64;
        Iteration::new(&self.labeller.variant, Work { bytes: of_all(work.bytes), ops: of_all(work.ops) })
    }

    /// Where the second of [`Self::stages`] leaves the means, `[problems k, d4]` vec4s.
    pub fn means(&self) -> &Buffer {
        &self.labeller.next
    }

    /// Labels every point by the centroids as they are; the sums of the points of each cluster, times their weights (`[k, d]`,
    /// before any division), their numbers, or the sums of their weights, and the inertia.
    pub(super) fn sums(&self) -> Result<(Vec<f64>, Vec<f64>, f64)> {
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
            Some(&mut |block, first| {
                let distances: Vec<f32> = distances.read(gpu)?;
                inertia += points.weighed(first, &distances[..block.rows() as usize]).sum::<f64>();
                Ok(())
            }),
        )?;
        let (d, scales) = (points.d() as usize, self.scales);
        let row = (scales.words() * Centroid::columns(points.d(), scales)) as usize;
        let words: Vec<u32> = self.sums.read(gpu)?;
        let rows = || words.chunks_exact(row);
        let scale = f64::from(scales.points);
        let sums = rows().flat_map(|row| (0..d).map(move |at| scales.read(row, at) / scale)).collect();
        let masses = match scales.weights {
            Some(scale) => {
                rows().map(|row| scales.read(row, d.next_multiple_of(4)) / f64::from(scale)).collect()
            }
            None => self.counts.read::<u32>(gpu)?.into_iter().map(f64::from).collect(),
        };
        Ok((sums, masses, inertia))
    }

    /// Gives all points of one problem these labels, and the centroids the means of theirs; the sum of the squared shifts.
    pub(super) fn take(&self, labels: &[u32]) -> Result<f32> {
        let Labeller { gpu, points, control, .. } = &self.labeller;
        points.set_labels(gpu, labels)?;
        control.write(gpu, &[Control::default()])?;
        points.sweep(gpu, &|chunk, block| self.updates(chunk, block).collect(), None)?;
        self.labeller.submit([&self.mean, &self.decide_with_empty, &self.labeller.commit])?;
        Ok(self.labeller.controls()?.iter().map(|control| control.shift).sum())
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
            // What keeps checkpoints ends where it has written one.
            if keeping.is_none() {
                labeller.gpu.go_on(|| format!("after {n_iter} iterations"))?;
            }
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
