//! Host of `assign`: the nearest centroid of every point that scores of f32 can decide; `rerank` decides the others.

use std::time::Duration;

use super::assignment::{AssignParams, Assignment, bound_of};
use super::control::{Control, NO_LABEL};
use super::element::{Layout, Stored, dimensions};
use super::frame::{norm, pad};
use super::metric::Metric;
use super::rerank::{self, Rerank};
use crate::Result;
use crate::gpu::dispatch::Class;
use crate::gpu::verify::{Answer, Expected, Sample};
use crate::gpu::{Bound, Buffer, Context, Kernel, Spec, Work, tune};
use crate::oracle;
use crate::random::Random;

/// Interchangeable implementations, all with the same result, once the slot `points` is filled ([`Layout::fill`]). The first
/// runs on every adapter.
pub const VARIANTS: &[Spec] = &[
    TILES,
    TILES.consts(&[("POINTS", 8), ("CENTROIDS", 4)]),
    TILES.consts(&[("POINTS", 8), ("CENTROIDS", 8), ("DEPTH", 2)]),
    // For few centroids in few dimensions, as colours have.
    TILES.consts(&[("CENTROIDS", 1), ("DEPTH", 1)]),
    SUBGROUP,
    SUBGROUP.consts(&[("POINTS", 2), ("BLOCKS", 1)]),
    SUBGROUP_64,
    SUBGROUP_64.consts(&[("POINTS", 2), ("BLOCKS", 1)]),
    // For problems of few points.
    TILES.consts(&[("POINTS", 1), ("CENTROIDS", 1)]),
    SUBGROUP.consts(&[("POINTS", 1)]),
    SUBGROUP_64.consts(&[("POINTS", 1)]),
    // 128 points x 64 centroids, for four subgroups of 32 or less, and of 64.
    MATRIX_16,
    MATRIX_16.consts(&[("WG", 256)]),
    // Half of both, in less than 16 KiB of workgroup memory.
    MATRIX_16.consts(&[("TM", 1), ("TN", 2)]),
    // The same sizes of smaller matrices.
    MATRIX_8.consts(&[("TM", 4), ("TN", 8)]),
    MATRIX_8,
];

const TILES: Spec = Spec::new("kmeans/assign").slot("wide", "lib/wide32");
const SUBGROUP: Spec = Spec::new("kmeans/assign_subgroup").slot("wide", "lib/wide32");
const SUBGROUP_64: Spec = Spec::new("kmeans/assign_subgroup").slot("wide", "lib/wide64");
const MATRIX_16: Spec =
    Spec::new("kmeans/assign_matrix").slot("wide", "lib/wide32").slot("matrix", "lib/matrix16");
const MATRIX_8: Spec =
    Spec::new("kmeans/assign_matrix").slot("wide", "lib/wide32").slot("matrix", "lib/matrix8");

/// The largest sum of squares of these points (`[n, d]`), or a little more.
pub fn largest_square(values: &[f32], d: usize) -> f32 {
    bound_of(values.chunks_exact(d).map(|row| norm(row).powi(2)).fold(0.0, f64::max))
}

/// The kernel, as one of [`VARIANTS`] with its slot filled.
#[derive(Debug)]
pub struct Assign {
    kernel: Kernel<AssignParams>,
    square: Option<f32>,
}

impl Assign {
    /// Compiles `spec` for points of which none has a larger sum of squares than `square`, and few a much smaller one; where
    /// there is no such bound, it finds that of each.
    pub fn load(gpu: &Context, spec: &Spec, square: Option<f32>) -> Result<Self> {
        let spec = if square.is_some() { spec.set("OWN", 0) } else { *spec };
        Ok(Self { kernel: Kernel::load(gpu, &spec)?, square })
    }

    /// Binds the assignment of every point to one of its problem's centroids in `d` dimensions.
    pub fn bind(&self, gpu: &Context, on: &Assignment<'_>, d: u64, metric: Metric) -> Result<Bound> {
        let (n, clusters, problems) = (on.points.rows(), on.centroids.rows(), on.control.rows());
        let (each, k) = (n / problems, clusters / problems);
        let group_rows = u64::from(self.kernel.reflection().rows_per_group.unwrap_or(1));
        let params = on.params(problems * each.next_multiple_of(group_rows), d, metric)?;
        let params = AssignParams { square: self.square.unwrap_or_default(), ..params };
        // Each point and centroid once, each label read and written.
        let work = Work { bytes: 4 * (n * d + clusters * d + 2 * n), ops: 2 * n * k * d };
        let buffers = on.points.bindings(&[
            ("centroids", on.centroids),
            ("norms", on.norms),
            ("control", on.control),
            ("labels", on.labels),
            ("changed", on.changed),
            ("ties", on.ties),
        ]);
        self.kernel.bind(gpu, &buffers, params, work)
    }
}

/// The inputs and outputs of one assignment, on the device by themselves: for the tuner, tests and benches.
#[derive(Debug)]
pub struct Trial {
    /// `[n, d4]`
    pub points: Stored,
    /// As in [`Assignment`], as are the others.
    pub centroids: Buffer,
    /// Squared norms of the centroids.
    pub norms: Buffer,
    /// All running.
    pub control: Buffer,
    /// No label yet.
    pub labels: Buffer,
    /// Zeros.
    pub changed: Buffer,
    /// An empty list.
    pub ties: Buffer,
}

impl Trial {
    /// The `points` of so many problems, and their `centroids` (`[clusters, d]`), which it uploads.
    pub fn upload(gpu: &Context, points: Stored, centroids: &[f32], d: usize, problems: u64) -> Result<Self> {
        let (n, clusters) = (points.values.rows(), (centroids.len() / d) as u64);
        let norms: Vec<f32> = centroids.chunks(d).map(|row| norm(row).powi(2) as f32).collect();
        let controls = vec![Control::default(); problems as usize];
        Ok(Self {
            points,
            centroids: Buffer::from_slice(gpu, "centroids", clusters, &pad(centroids, d))?,
            norms: Buffer::from_slice(gpu, "norms", clusters, &norms)?,
            control: Buffer::from_slice(gpu, "control", problems, &controls)?,
            labels: Buffer::from_slice(gpu, "labels", n, &vec![NO_LABEL; n as usize])?,
            changed: Buffer::from_slice(gpu, "changed", problems, &vec![0u32; problems as usize])?,
            ties: rerank::list(gpu, n)?,
        })
    }

    /// The buffers, as [`Assign::bind`] takes them.
    pub fn assignment(&self) -> Assignment<'_> {
        Assignment {
            points: self.points.laid(),
            centroids: &self.centroids,
            norms: &self.norms,
            control: &self.control,
            labels: &self.labels,
            changed: &self.changed,
            ties: &self.ties,
        }
    }
}

/// How many of `n` points are labelled by `k` centroids in a piece of work ([`Context::ops_of_a_piece`]); `square` as
/// [`Assign::load`] takes it.
pub fn points_of_a_piece(
    gpu: &Context,
    layout: Layout,
    square: Option<f32>,
    (n, each): (u64, u64),
    (k, d): (u64, u64),
) -> Result<u64> {
    let assign = Assign::load(gpu, &tuned(gpu, layout, each, k, d)?, square)?;
    let of_point = (2 * k * d).max(1);
    let ops = gpu.ops_of_a_piece(&assign.kernel, n.saturating_mul(of_point), || {
        let n = (TRIAL_OPS_SOFTWARE / of_point).clamp(FEW_POINTS, 1 << 16);
        let (points, values) = layout.random(gpu, n, d, &mut Random::new(0))?;
        let centroids: Vec<f32> = values.into_iter().cycle().take((k * d) as usize).collect();
        let trial = Trial::upload(gpu, points, &centroids, d as usize, 1)?;
        assign.bind(gpu, &trial.assignment(), d, Metric::Euclidean)
    })?;
    Ok((ops / of_point).max(FEW_POINTS))
}

/// Operations of one trial: enough to fill a device, few enough to be over soon on the slowest.
const TRIAL_OPS: u64 = 40_000_000_000;
const TRIAL_OPS_SOFTWARE: u64 = 100_000_000;

/// Problems of more points fill their workgroups in every variant.
const FEW_POINTS: u64 = 256;

/// The sizes by which variants differ.
fn sizes(k: u64, d: u64) -> [u64; 2] {
    [k.next_power_of_two().clamp(16, 1024), dimensions(d)]
}

/// What the choice of a variant depends on.
pub fn class(layout: Layout, each: u64, k: u64, d: u64) -> Class {
    let [k, d] = sizes(k, d);
    let class = layout.class(Class::new(&[("k", k), ("d", d)]));
    if each < FEW_POINTS { class.of("few points") } else { class }
}

/// The one of [`VARIANTS`] for problems of `each` points, `k` centroids and `d` dimensions on this adapter; where they are
/// measured, large shapes are tried at a smaller size, where the same variant wins.
pub fn tuned(gpu: &Context, layout: Layout, each: u64, k: u64, d: u64) -> Result<Spec> {
    let [k, d] = sizes(k, d);
    let ops = if gpu.adapter.is_software() { TRIAL_OPS_SOFTWARE } else { TRIAL_OPS };
    let n = (ops / (2 * k * d)).clamp(1024, 1 << 16).next_multiple_of(64);
    let problems = if each < FEW_POINTS { n / 64 } else { 1 };
    let mut trial = None;
    let variants = layout.fill_all(VARIANTS);
    tune::choose(gpu, &variants, class(layout, each, k, d), |spec| {
        let trial = match &mut trial {
            Some(trial) => trial,
            none => {
                let (points, values) = layout.random(gpu, n, d, &mut Random::new(0))?;
                let (width, each) = (d as usize, k as usize);
                // Some of the points, so that labels differ.
                let of_points = (0..(problems * k) as usize).map(|at| at * 7 % n as usize * width);
                let centroids: Vec<f32> = of_points.flat_map(|at| &values[at..at + width]).copied().collect();
                let sample = Sample::of(n as usize, []);
                let labels = sample.rows().iter().map(|&row| {
                    let problem = row / (n / problems) as usize;
                    let (point, own) =
                        (&values[row * width..][..width], &centroids[problem * each * width..]);
                    oracle::assign::assign(point, &own[..each * width], width)[0] + (problem * each) as u32
                });
                let labels = Expected::Exact(labels.collect());
                let trial = Trial::upload(gpu, points, &centroids, width, problems)?;
                none.insert((trial, largest_square(&values, width), sample, labels))
            }
        };
        let (trial, square, sample, labels) = trial;
        let (on, metric) = (trial.assignment(), Metric::Euclidean);
        let bound = Assign::load(gpu, spec, Some(*square))?.bind(gpu, &on, d, metric)?;
        let rerank = Rerank::load(gpu, layout)?.bind(gpu, &on, d, metric)?;
        let answer = Answer { name: "labels", buffer: &trial.labels, sample: Some(sample), expected: labels };
        let passes = [&bound, &rerank];
        tune::trial(gpu, spec, &passes, &[answer], &passes, Duration::ZERO)
    })
    .copied()
}
