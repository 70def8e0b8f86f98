//! Host of `assign`: the nearest centroid of every point.

use crate::Result;
use crate::gpu::{Bound, Buffer, Context, Kernel, Spec, Work, params, to_u32};

/// Interchangeable implementations, all with the same result. The first runs on every adapter.
pub const VARIANTS: &[Spec] = &[
    Spec::new("kmeans/assign"),
    Spec::new("kmeans/assign").consts(&[("POINTS", 8), ("CENTROIDS", 4)]),
    Spec::new("kmeans/assign").consts(&[("POINTS", 8), ("CENTROIDS", 8), ("DEPTH", 2)]),
    Spec::new("kmeans/assign_subgroup"),
    Spec::new("kmeans/assign_subgroup").consts(&[("POINTS", 2), ("BLOCKS", 1)]),
];

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
