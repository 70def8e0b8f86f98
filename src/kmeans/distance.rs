//! Host of `distance`: the distance of every point to the centroid of its label.

use super::element::{Laid, Layout};
use super::metric::Metric;
use crate::Result;
use crate::gpu::{Bound, Buffer, Context, Kernel, Spec, Work, params, to_u32};

/// The shader, whose slot `points` is to be filled ([`Layout::fill`]).
pub const SPEC: Spec = Spec::new("kmeans/distance").slot("wide", "lib/wide32");

params! {
    struct DistanceParams {
        rows: u32,
        n: u32,
        k: u32,
        d4: u32,
        metric: u32,
    }
}

/// The compiled kernel.
#[derive(Debug)]
pub struct Distance(Kernel<DistanceParams>);

impl Distance {
    /// Compiles it for points so laid.
    pub fn load(gpu: &Context, layout: Layout) -> Result<Self> {
        Kernel::load(gpu, &layout.fill(&SPEC)).map(Self)
    }

    /// Binds the distances of points of `d` dimensions to the centroid that `labels` says.
    pub fn bind(
        &self,
        gpu: &Context,
        points: Laid<'_>,
        (centroids, labels): (&Buffer, &Buffer),
        distances: &Buffer,
        d: u64,
        metric: Metric,
    ) -> Result<Bound> {
        let n = points.rows();
        let params = DistanceParams {
            rows: to_u32(n, "the number of points")?,
            n: to_u32(n, "the number of points")?,
            k: to_u32(centroids.rows(), "the number of centroids")?,
            d4: to_u32(d.div_ceil(4), "the dimension")?,
            metric: metric as u32,
        };
        let work = Work { bytes: 4 * (n * d + centroids.rows() * d + 2 * n), ops: 3 * n * d };
        let buffers =
            points.bindings(&[("centroids", centroids), ("labels", labels), ("distances", distances)]);
        self.0.bind(gpu, &buffers, params, work)
    }
}
