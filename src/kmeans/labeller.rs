//! Labelling by given centroids, of the points of one problem or of several of equal size.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::assign::{self, Assign};
use super::assignment::Assignment;
use super::control::{Control, RUNNING};
use super::distance::Distance;
use super::lloyd::Decision;
use super::metric::Metric;
use super::points::Points;
use super::rerank::{self, Rerank};
use crate::gpu::{Bound, Buffer, Context, Recorder, Spec};
use crate::{Error, Result};

/// Sees the labels and distances of some neighbouring points, and which is the first.
type Seen<'a> = &'a mut dyn FnMut(u64, &[u32], &[f32]);

/// How often scores of f32 could not tell a point's two nearest centroids apart, so that exact arithmetic did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reranked {
    /// Labellings of a point that were decided again.
    pub points: u64,
    /// All labellings.
    pub of: u64,
}

impl Reranked {
    /// The share of labellings that were decided again, 0 to 1.
    pub fn share(&self) -> f64 {
        self.points as f64 / self.of.max(1) as f64
    }
}

impl Serialize for Reranked {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Reranked", 3)?;
        fields.serialize_field("points", &self.points)?;
        fields.serialize_field("of", &self.of)?;
        fields.serialize_field("share", &self.share())?;
        fields.end()
    }
}

impl std::iter::Sum for Reranked {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |a, b| Self { points: a.points + b.points, of: a.of + b.of })
    }
}

/// Refuses more centroids than have room in a binding of the adapter, with so many bytes for each.
pub(super) fn check_bound(gpu: &Context, (clusters, d): (u64, u64), each: u64) -> Result<()> {
    let most = gpu.adapter.max_binding_bytes / each;
    if clusters <= most {
        return Ok(());
    }
    Err(Error::Unsupported(format!(
        "{clusters} centroids of {d} dimensions are more than this adapter can bind at once: at most {most}"
    )))
}

/// Labelling by given centroids: what prediction needs, and the first half of the loop.
pub struct Labeller<'a> {
    pub(super) gpu: &'a Context,
    pub(super) points: &'a Points<'a>,
    /// The variant of assign.
    pub variant: Spec,
    /// Centroids of one problem.
    pub(super) k: u64,
    /// `[problems k, d4]`, as is `next`.
    pub(super) centroids: Buffer,
    /// `[problems k]` their squared norms.
    pub(super) norms: Buffer,
    /// What the centroids become with the next commit.
    pub(super) next: Buffer,
    /// `[problems]`, as is `changed`.
    pub(super) control: Buffer,
    pub(super) changed: Buffer,
    pub(super) distances: Buffer,
    /// Points that scores do not decide, of one block at a time.
    ties: Buffer,
    /// Labellings of a point so far.
    assigned: AtomicU64,
    /// For each block: the assignment, and that of the ties.
    assign: Vec<[Bound; 2]>,
    pub(super) distance: Vec<Bound>,
    pub(super) commit: Bound,
    commit_always: Bound,
}

impl<'a> Labeller<'a> {
    /// Prepares the labelling of `points` by `k` centroids for each problem.
    ///
    /// # Errors
    /// [`Error::Input`] for more centroids than a binding of the adapter holds.
    pub fn new(gpu: &'a Context, points: &'a Points<'a>, k: u64, metric: Metric) -> Result<Self> {
        let (d, problems) = (points.d(), points.problems());
        let (row_bytes, clusters) = (16 * d.div_ceil(4), problems * k);
        check_bound(gpu, (clusters, d), row_bytes)?;
        let centroids = Buffer::new(gpu, "centroids", clusters, row_bytes)?;
        let norms = Buffer::new(gpu, "centroid norms", clusters, 4)?;
        let next = Buffer::new(gpu, "next centroids", clusters, row_bytes)?;
        let changed = Buffer::new(gpu, "changed labels", problems, 4)?;
        let control = Buffer::new(gpu, "control", problems, size_of::<Control>() as u64)?;
        let distances = Buffer::new(gpu, "distances", points.largest(), 4)?;
        let ties = rerank::list(gpu, points.largest())?;

        let variant = assign::tuned(gpu, points.layout(), points.each(), k, d)?;
        let assigner = Assign::load(gpu, &variant, points.square())?;
        let reranker = Rerank::load(gpu, points.layout())?;
        let distancer = Distance::load(gpu, points.layout())?;
        let decision = Decision::load(gpu, (k, d))?;
        let (mut assign, mut distance) = (Vec::new(), Vec::new());
        for block in points.blocks() {
            let on = Assignment {
                points: block.laid(),
                centroids: &centroids,
                norms: &norms,
                control: &control,
                labels: &block.labels,
                changed: &changed,
                ties: &ties,
            };
            assign.push([assigner.bind(gpu, &on, d, metric)?, reranker.bind(gpu, &on, d, metric)?]);
            let to = (&centroids, &block.labels);
            distance.push(distancer.bind(gpu, block.laid(), to, &distances, d, metric)?);
        }
        let into = (&centroids, &norms);
        let commit = decision.bind_commit(gpu, &next, &control, into, d, false)?;
        let commit_always = decision.bind_commit(gpu, &next, &control, into, d, true)?;
        Ok(Self {
            gpu,
            points,
            variant,
            k,
            centroids,
            norms,
            next,
            control,
            changed,
            distances,
            ties,
            assigned: AtomicU64::new(0),
            assign,
            distance,
            commit,
            commit_always,
        })
    }

    /// Takes these centroids: `[problems k, d]`, transformed and padded as the points are. A new loop begins.
    pub fn start_from(&self, padded: &[f32]) -> Result<()> {
        self.next.write(self.gpu, padded)?;
        let problems = self.points.problems() as usize;
        self.control.write(self.gpu, &vec![Control::default(); problems])?;
        self.changed.write(self.gpu, &vec![0u32; problems])?;
        self.submit([&self.commit_always])
    }

    /// Labels every point by the centroids as they are.
    pub fn label(&self) -> Result<()> {
        let mut controls = self.controls()?;
        controls.iter_mut().for_each(|control| control.state = RUNNING);
        self.control.write(self.gpu, &controls)?;
        self.count(self.points.n());
        self.points.sweep(self.gpu, &|_, block| self.assigns(block).collect(), None)
    }

    /// What labels a block's points.
    pub(super) fn assigns(&self, block: usize) -> impl Iterator<Item = &Bound> {
        self.assign[block].iter()
    }

    /// So many labellings of a point were made by [`Labeller::assigns`].
    pub(super) fn count(&self, assigned: u64) {
        self.assigned.fetch_add(assigned, Relaxed);
    }

    /// Labellings of a point so far, and how many of them scores of f32 did not decide.
    pub(super) fn reranked(&self) -> Result<Reranked> {
        Ok(Reranked { points: rerank::listed(self.gpu, &self.ties)?, of: self.assigned.load(Relaxed) })
    }

    /// The centroids, `[problems k, d]` without padding.
    pub fn centroids(&self) -> Result<Vec<f32>> {
        let d = self.points.d() as usize;
        let padded: Vec<f32> = self.centroids.read(self.gpu)?;
        Ok(padded.chunks(d.next_multiple_of(4)).flat_map(|row| &row[..d]).copied().collect())
    }

    /// The sum of the distances of the points to the centroids of their labels, times their weights, in the order of
    /// the points.
    pub fn inertia(&self) -> Result<f64> {
        self.add_inertia(0.0)
    }

    /// The same of each problem.
    pub fn inertias(&self) -> Result<Vec<f64>> {
        let each = self.points.each();
        let mut sums = vec![0.0; self.points.problems() as usize];
        self.distances(&mut |first, distances| {
            for (point, weighed) in (first..).zip(self.points.weighed(first, distances)) {
                sums[(point / each) as usize] += weighed;
            }
        })?;
        Ok(sums)
    }

    /// The same, added to the sum over the points before these.
    pub(super) fn add_inertia(&self, mut sum: f64) -> Result<f64> {
        self.distances(&mut |first, distances| {
            self.points.weighed(first, distances).for_each(|weighed| sum += weighed);
        })?;
        Ok(sum)
    }

    /// Shows the distance of every point to the centroid of its label, from some first point on.
    pub(super) fn distances(&self, each: &mut dyn FnMut(u64, &[f32])) -> Result<()> {
        let passes = |_, block: usize| vec![&self.distance[block]];
        self.points.sweep(
            self.gpu,
            &passes,
            Some(&mut |block, first| {
                let distances: Vec<f32> = self.distances.read(self.gpu)?;
                each(first, &distances[..block.rows() as usize]);
                Ok(())
            }),
        )
    }

    /// Labels every point by the centroids as they are, and shows labels and distances, from some first point on.
    pub(super) fn nearest(&self, each: Seen<'_>) -> Result<()> {
        self.count(self.points.n());
        let passes = |_, block: usize| self.assigns(block).chain([&self.distance[block]]).collect();
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

    /// Where the loop of each problem stands.
    pub(super) fn controls(&self) -> Result<Vec<Control>> {
        self.control.read(self.gpu)
    }

    pub(super) fn submit<'b>(&'b self, passes: impl IntoIterator<Item = &'b Bound>) -> Result<()> {
        let mut record = Recorder::new(self.gpu);
        for pass in passes {
            record.dispatch(pass);
        }
        record.submit()
    }
}
