//! Host of `bid`: the cheapest cluster of each point, and how much more the next one costs.

use super::element::{Laid, Layout};
use super::metric::Metric;
use crate::Result;
use crate::gpu::{Bound, Buffer, Context, Kernel, Spec, Work, params, to_u32};

/// The shader, whose slot `points` is to be filled ([`Layout::fill`]).
pub const SPEC: Spec = Spec::new("kmeans/bid").slot("wide", "lib/wide32");

params! {
    struct BidParams {
        rows: u32,
        n: u32,
        k: u32,
        d4: u32,
        metric: u32,
    }
}

/// The compiled kernel.
#[derive(Debug)]
pub struct Bid(Kernel<BidParams>);

impl Bid {
    /// Compiles it for points so laid.
    pub fn load(gpu: &Context, layout: Layout) -> Result<Self> {
        Kernel::load(gpu, &layout.fill(&SPEC)).map(Self)
    }

    /// Binds the choice of points of `d` dimensions among `centroids` (`[k, d4]` vec4s) at these prices (`[k]`).
    pub fn bind(
        &self,
        gpu: &Context,
        points: Laid<'_>,
        (centroids, prices): (&Buffer, &Buffer),
        (labels, regrets): (&Buffer, &Buffer),
        (d, metric): (u64, Metric),
    ) -> Result<Bound> {
        let (n, k) = (points.rows(), centroids.rows());
        let params = BidParams {
            rows: to_u32(n, "the number of points")?,
            n: to_u32(n, "the number of points")?,
            k: to_u32(k, "the number of centroids")?,
            d4: to_u32(d.div_ceil(4), "the dimension")?,
            metric: metric as u32,
        };
        let work = Work { bytes: 4 * (n * d + k * d + k + 2 * n), ops: 3 * n * k * d };
        let buffers = points.bindings(&[
            ("centroids", centroids),
            ("prices", prices),
            ("labels", labels),
            ("regrets", regrets),
        ]);
        self.0.bind(gpu, &buffers, params, work)
    }
}
