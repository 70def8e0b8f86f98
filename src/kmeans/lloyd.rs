//! Host of `lloyd`: the decision after an iteration, on the device, and the taking over of new centroids.

use super::centroid::Means;
use crate::Result;
use crate::gpu::{Bound, Buffer, Context, Kernel, Spec, Work, params, to_u32};

/// The decision after an iteration and the taking over of new centroids, each also for few clusters or few dimensions: a
/// workgroup's barriers cost as much for invocations that have nothing to do.
pub const STAGES: &[Spec] = &[DECIDE, DECIDE.consts(&[("WG", 32)]), COMMIT, COMMIT.consts(&[("WG", 16)])];
const DECIDE: Spec = Spec::new("kmeans/lloyd");
const COMMIT: Spec = Spec::new("kmeans/lloyd_commit");

params! {
    struct Decide {
        rows: u32,
        clusters: u32,
        k: u32,
        relocate: u32,
        frozen: u32,
    }
}
params! {
    struct Commit {
        rows: u32,
        problems: u32,
        k: u32,
        d4: u32,
        always: u32,
    }
}

/// The kernels that decide and commit.
#[derive(Debug)]
pub struct Decision {
    decide: Kernel<Decide>,
    commit: Kernel<Commit>,
}

impl Decision {
    /// Compiles them for `k` clusters and `d` dimensions.
    pub fn load(gpu: &Context, (k, d): (u64, u64)) -> Result<Self> {
        let (decide, commit) = (usize::from(k <= 64), 2 + usize::from(d <= 64));
        Ok(Self { decide: Kernel::load(gpu, &STAGES[decide])?, commit: Kernel::load(gpu, &STAGES[commit])? })
    }

    /// Binds the decision whether each problem's loop goes on. `relocate`: it stops for empty clusters, but not for the first `frozen`.
    pub fn bind_decide(
        &self,
        gpu: &Context,
        means: &Means<'_>,
        (tol, changed): (&Buffer, &Buffer),
        control: &Buffer,
        relocate: bool,
        frozen: u64,
    ) -> Result<Bound> {
        let (clusters, problems) = (means.mass.rows(), control.rows());
        let buffers = [
            ("mass", means.mass),
            ("shift", means.shift),
            ("tol", tol),
            ("changed", changed),
            ("control", control),
        ];
        let params = Decide {
            rows: to_u32(problems, "the number of problems")?,
            clusters: to_u32(clusters, "the number of clusters")?,
            k: to_u32(clusters / problems, "the number of clusters")?,
            relocate: u32::from(relocate),
            frozen: to_u32(frozen, "the number of frozen centroids")?,
        };
        self.decide.bind(gpu, &buffers, params, Work { bytes: 8 * clusters, ops: 2 * clusters })
    }

    /// Binds the taking over of `next` (`[problems k, d4]`) into `centroids` and their norms.
    /// `always`: whatever the control blocks say.
    pub fn bind_commit(
        &self,
        gpu: &Context,
        next: &Buffer,
        control: &Buffer,
        (centroids, norms): (&Buffer, &Buffer),
        d: u64,
        always: bool,
    ) -> Result<Bound> {
        let (clusters, problems) = (next.rows(), control.rows());
        let params = Commit {
            rows: to_u32(clusters, "the number of centroids")?,
            problems: to_u32(problems, "the number of problems")?,
            k: to_u32(clusters / problems, "the number of clusters")?,
            d4: to_u32(d.div_ceil(4), "the dimension")?,
            always: u32::from(always),
        };
        let buffers = [("next", next), ("control", control), ("centroids", centroids), ("norms", norms)];
        let work = Work { bytes: 4 * (2 * clusters * d + clusters), ops: 2 * clusters * d };
        self.commit.bind(gpu, &buffers, params, work)
    }
}
