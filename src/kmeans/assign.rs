//! Host of `assign`: the nearest centroid of every point.

use std::time::Duration;

use super::lloyd::{Control, NO_LABEL};
use super::points::pad;
use crate::Result;
use crate::gpu::{Bound, Buffer, Context, Kernel, Spec, Work, params, time, to_u32, tune};
use crate::random::Random;

/// Interchangeable implementations, all with the same result. The first runs on every adapter.
pub const VARIANTS: &[Spec] = &[
    Spec::new("kmeans/assign"),
    Spec::new("kmeans/assign").consts(&[("POINTS", 8), ("CENTROIDS", 4)]),
    Spec::new("kmeans/assign").consts(&[("POINTS", 8), ("CENTROIDS", 8), ("DEPTH", 2)]),
    // For few centroids in few dimensions, as colours have.
    Spec::new("kmeans/assign").consts(&[("CENTROIDS", 1), ("DEPTH", 1)]),
    SUBGROUP,
    SUBGROUP.consts(&[("POINTS", 2), ("BLOCKS", 1)]),
    SUBGROUP_64,
    SUBGROUP_64.consts(&[("POINTS", 2), ("BLOCKS", 1)]),
];

const SUBGROUP: Spec = Spec::new("kmeans/assign_subgroup").slot("wide", "lib/wide32");
const SUBGROUP_64: Spec = Spec::new("kmeans/assign_subgroup").slot("wide", "lib/wide64");

/// Centroids are padded to a multiple of this: what a tile of the variants takes at once.
pub const PAD: u64 = 16;

params! {
    /// Mirrors `Params` of the shader.
    pub struct AssignParams {
        /// Points.
        rows: u32,
        /// Centroids, padded.
        k: u32,
        /// Dimension in vec4s.
        d4: u32,
    }
}

/// The buffers of one assignment.
#[derive(Clone, Copy, Debug)]
pub struct Assignment<'a> {
    /// `[n, d4]` vec4s.
    pub points: &'a Buffer,
    /// `[k padded to PAD, d4]` vec4s.
    pub centroids: &'a Buffer,
    /// `[k padded to PAD]` squared norms, the largest float for padding.
    pub norms: &'a Buffer,
    /// The loop's control block; the kernel does nothing unless it says running.
    pub control: &'a Buffer,
    /// `[n]` labels, read to count changes, then written.
    pub labels: &'a Buffer,
    /// `[1]` counter of changed labels.
    pub changed: &'a Buffer,
}

/// The kernel, as one of [`VARIANTS`].
#[derive(Debug)]
pub struct Assign(Kernel<AssignParams>);

impl Assign {
    /// Compiles `spec`.
    pub fn load(gpu: &Context, spec: &Spec) -> Result<Self> {
        Kernel::load(gpu, spec).map(Self)
    }

    /// Binds the assignment of every point to one of `k` centroids in `d` dimensions.
    pub fn bind(&self, gpu: &Context, on: &Assignment<'_>, k: u64, d: u64) -> Result<Bound> {
        let n = on.points.rows();
        let params = AssignParams {
            rows: to_u32(n, "the number of points")?,
            k: to_u32(k.next_multiple_of(PAD), "the number of centroids")?,
            d4: to_u32(d.div_ceil(4), "the dimension")?,
        };
        // Each point and centroid once, each label read and written.
        let work = Work { bytes: 4 * (n * d + k * d + 2 * n), ops: 2 * n * k * d };
        let buffers = [
            ("points", on.points),
            ("centroids", on.centroids),
            ("norms", on.norms),
            ("control", on.control),
            ("labels", on.labels),
            ("changed", on.changed),
        ];
        self.0.bind(gpu, &buffers, params, work)
    }
}

/// The inputs and outputs of one assignment, on the device by themselves: for the tuner, tests and benches.
#[derive(Debug)]
pub struct Trial {
    /// `[n, d4]` vec4s.
    pub points: Buffer,
    /// As in [`Assignment`], as are the others.
    pub centroids: Buffer,
    /// Squared norms of the centroids.
    pub norms: Buffer,
    /// Says running.
    pub control: Buffer,
    /// No label yet.
    pub labels: Buffer,
    /// Zero.
    pub changed: Buffer,
}

impl Trial {
    /// Uploads `points` (`[n, d]`) and `centroids` (`[k, d]`).
    pub fn upload(gpu: &Context, points: &[f32], centroids: &[f32], d: usize) -> Result<Self> {
        let (n, k) = ((points.len() / d) as u64, centroids.len() / d);
        let padded = (k as u64).next_multiple_of(PAD);
        let norm = |row: &[f32]| row.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() as f32;
        let mut norms: Vec<f32> = centroids.chunks(d).map(norm).collect();
        norms.resize(padded as usize, f32::MAX);
        let mut rows = pad(centroids, d);
        rows.resize(padded as usize * d.next_multiple_of(4), 0.0);
        Ok(Self {
            points: Buffer::from_slice(gpu, "points", n, &pad(points, d))?,
            centroids: Buffer::from_slice(gpu, "centroids", padded, &rows)?,
            norms: Buffer::from_slice(gpu, "norms", padded, &norms)?,
            control: Buffer::from_slice(gpu, "control", 1, &[Control::default()])?,
            labels: Buffer::from_slice(gpu, "labels", n, &vec![NO_LABEL; n as usize])?,
            changed: Buffer::from_slice(gpu, "changed", 1, &[0u32])?,
        })
    }

    /// The buffers, as [`Assign::bind`] takes them.
    pub fn assignment(&self) -> Assignment<'_> {
        Assignment {
            points: &self.points,
            centroids: &self.centroids,
            norms: &self.norms,
            control: &self.control,
            labels: &self.labels,
            changed: &self.changed,
        }
    }
}

/// Operations of one trial: enough to fill a device, few enough to be over soon on the slowest.
const TRIAL_OPS: usize = 40_000_000_000;
const TRIAL_OPS_SOFTWARE: usize = 100_000_000;

/// The fastest of [`VARIANTS`] for `k` centroids of `d` dimensions on this adapter; large shapes are tried at a smaller
/// size, where the same variant wins.
pub fn tuned(gpu: &Context, k: u64, d: u64) -> Result<&'static Spec> {
    let k = k.next_multiple_of(PAD).next_power_of_two().min(1024);
    let d = d.next_multiple_of(4).next_power_of_two().min(512);
    let ops = if gpu.adapter.is_software() { TRIAL_OPS_SOFTWARE } else { TRIAL_OPS };
    let n = (ops / (2 * k * d) as usize).clamp(1024, 1 << 16);
    let mut trial = None;
    tune::choose(gpu, VARIANTS, &format!("k{k} d{d}"), |spec| {
        let trial = match &mut trial {
            Some(trial) => trial,
            none => {
                let (k, d) = (k as usize, d as usize);
                let mut random = Random::new(0);
                let (points, centroids) = (random.floats(n * d), random.floats(k * d));
                none.insert(Trial::upload(gpu, &points, &centroids, d)?)
            }
        };
        let bound = Assign::load(gpu, spec)?.bind(gpu, &trial.assignment(), k, d)?;
        Ok(time(gpu, &[vec![&bound]], Duration::ZERO)?.us)
    })
}
