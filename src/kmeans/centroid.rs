//! Host of `centroid`: the mean of the points of each label, from a sort by label, without float atomics.

use super::radix_sort::Sort;
use crate::Result;
use crate::gpu::{Bound, Buffer, Context, Kernel, Spec, Work, params, to_u32};

/// Where each cluster begins, the partial sums of runs, and their merging into means.
pub const STAGES: &[Spec] =
    &[Spec::new("kmeans/centroid_start"), Spec::new("kmeans/centroid_partial"), Spec::new("kmeans/centroid")];

/// Most sorted points that one invocation adds up in a row: it bounds the rounding error of a sum.
const LONGEST_RUN: u64 = 256;
/// Invocations that keep a device busy; runs are made shorter where there would be fewer.
const ENOUGH_INVOCATIONS: u64 = 1 << 16;

params! {
    struct Start {
        rows: u32,
        k: u32,
    }
}
params! {
    struct Partial {
        rows: u32,
        n: u32,
        d4: u32,
        slots: u32,
        run_length: u32,
    }
}
params! {
    struct Merge {
        rows: u32,
        d4: u32,
        slots: u32,
        run_length: u32,
        lanes: u32,
        first: u32,
        last: u32,
    }
}

/// The compiled stages.
#[derive(Debug)]
pub struct Centroid {
    start: Kernel<Start>,
    partial: Kernel<Partial>,
    merge: Kernel<Merge>,
}

/// Room for the sums of up to a number of points.
#[derive(Debug)]
pub struct Scratch {
    start: Buffer,
    partial: Buffer,
    /// Sorted points in a run, the same for every block: the partial sums of a smaller block then fit as well.
    run_length: u64,
}

/// What the means are computed from and into; all `[k, d4]` vec4s unless said otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Means<'a> {
    /// The centroids before.
    pub centroids: &'a Buffer,
    /// Sums over all blocks of points so far.
    pub sums: &'a Buffer,
    /// `[k]` points of each cluster in all blocks so far.
    pub counts: &'a Buffer,
    /// The centroids after.
    pub next: &'a Buffer,
    /// `[k]` squared distance between the two.
    pub shift: &'a Buffer,
}

/// Sorted points in a run, for blocks of up to `n` points.
fn run_length(n: u64, d4: u64) -> u64 {
    (n * d4 / ENOUGH_INVOCATIONS).next_power_of_two().clamp(32, LONGEST_RUN)
}

impl Centroid {
    /// Compiles the stages.
    pub fn load(gpu: &Context) -> Result<Self> {
        Ok(Self {
            start: Kernel::load(gpu, &STAGES[0])?,
            partial: Kernel::load(gpu, &STAGES[1])?,
            merge: Kernel::load(gpu, &STAGES[2])?,
        })
    }

    /// Room for blocks of up to `n` points in `k` clusters.
    pub fn scratch(&self, gpu: &Context, n: u64, k: u64, d4: u64) -> Result<Scratch> {
        let run_length = run_length(n, d4);
        let slots = n.div_ceil(run_length) + k;
        Ok(Scratch {
            run_length,
            start: Buffer::new(gpu, "cluster starts", k + 1, 4)?,
            partial: Buffer::new(gpu, "partial sums", slots, 16 * d4)?,
        })
    }

    /// Binds the sums of one block of `points`, sorted by label; `first` and `last` say which block of all it is.
    #[allow(clippy::too_many_arguments, reason = "they are the kernel's own inputs, each of another kind")]
    pub fn bind(
        &self,
        gpu: &Context,
        points: &Buffer,
        sort: &Sort<'_>,
        means: &Means<'_>,
        scratch: &Scratch,
        (k, d): (u64, u64),
        (first, last): (bool, bool),
    ) -> Result<Vec<Bound>> {
        let (n, d4) = (points.rows(), d.div_ceil(4));
        let run = scratch.run_length;
        let runs = n.div_ceil(run);
        let slots = to_u32(runs + k, "the number of partial sums")?;
        let (n32, k32) = (to_u32(n, "the number of points")?, to_u32(k, "the number of clusters")?);
        let (d4_32, run_length) = (to_u32(d4, "the dimension")?, to_u32(run, "the run length")?);
        let start = self.start.bind(
            gpu,
            &[("sorted_labels", sort.keys), ("start", &scratch.start)],
            Start { rows: n32, k: k32 },
            Work { bytes: 4 * (n + k), ops: n },
        )?;
        let partial = self.partial.bind(
            gpu,
            &[
                ("points", points),
                ("order", sort.values),
                ("sorted_labels", sort.keys),
                ("partial", &scratch.partial),
            ],
            Partial { rows: to_u32(runs * d4, "the number of sums")?, n: n32, d4: d4_32, slots, run_length },
            Work { bytes: 4 * (n * d + 2 * n + runs.max(k) * d), ops: n * d },
        )?;
        let lanes = d4_32.next_power_of_two().min(64);
        let merge = self.merge.bind(
            gpu,
            &[
                ("start", &scratch.start),
                ("partial", &scratch.partial),
                ("centroids", means.centroids),
                ("sums", means.sums),
                ("counts", means.counts),
                ("next", means.next),
                ("shift", means.shift),
            ],
            Merge {
                rows: k32,
                d4: d4_32,
                slots,
                run_length,
                lanes,
                first: u32::from(first),
                last: u32::from(last),
            },
            Work { bytes: 4 * (runs.max(k) * d + 3 * k * d), ops: (runs.max(k) + 4 * k) * d },
        )?;
        Ok(vec![start, partial, merge])
    }
}
