//! What `assign` and `rerank` share: buffers and parameters.

use super::element::Laid;
use super::metric::Metric;
use crate::Result;
use crate::gpu::{Buffer, params, to_u32};

/// What a point's sum of squares may gain, relative to it, where its values are rounded once more on the device.
const SQUARE_ROUNDING: f64 = 1e-5;

/// A largest sum of squares as kernels take it.
pub(super) fn bound_of(square: f64) -> f32 {
    ((1.0 + SQUARE_ROUNDING) * square) as f32
}

params! {
    /// Mirrors `Params` of `assign` in each variant, and of `rerank`.
    pub struct AssignParams {
        /// Points of all workgroups, those that have none counted too; of `rerank`, workgroups.
        rows: u32,
        /// Points.
        n: u32,
        /// Points of one problem.
        each: u32,
        /// Problems.
        problems: u32,
        /// Centroids.
        clusters: u32,
        /// Centroids of one problem.
        k: u32,
        /// Dimension in vec4s.
        d4: u32,
        /// A [`Metric`].
        metric: u32,
        /// No point has a larger sum of squares, where that decides.
        square: f32,
    }
}

/// The buffers of an assignment in several problems.
#[derive(Clone, Copy, Debug)]
pub struct Assignment<'a> {
    /// `[n, d4]`, laid as the kernel was compiled for.
    pub points: Laid<'a>,
    /// `[problems k, d4]` vec4s.
    pub centroids: &'a Buffer,
    /// `[problems k]` squared norms.
    pub norms: &'a Buffer,
    /// `[4 + n]` or more: points that `rerank` is to decide, empty before and behind it.
    pub ties: &'a Buffer,
    /// `[problems]` the loop's control blocks; a problem that is not running is left alone.
    pub control: &'a Buffer,
    /// `[n]` labels, read to count changes, then written: those of problem p begin at p k.
    pub labels: &'a Buffer,
    /// `[problems]` counters of changed labels.
    pub changed: &'a Buffer,
}

impl Assignment<'_> {
    /// The parameters of a kernel with so many `rows`, in `d` dimensions.
    pub(super) fn params(&self, rows: u64, d: u64, metric: Metric) -> Result<AssignParams> {
        let (n, clusters, problems) = (self.points.rows(), self.centroids.rows(), self.control.rows());
        Ok(AssignParams {
            rows: to_u32(rows, "the number of points")?,
            n: to_u32(n, "the number of points")?,
            each: to_u32(n / problems, "the number of points")?,
            problems: to_u32(problems, "the number of problems")?,
            clusters: to_u32(clusters, "the number of centroids")?,
            k: to_u32(clusters / problems, "the number of centroids")?,
            d4: to_u32(d.div_ceil(4), "the dimension")?,
            metric: metric as u32,
            square: 0.0,
        })
    }
}
