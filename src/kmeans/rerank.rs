//! Host of `rerank`: the nearest centroid, exactly, of the points that `assign` could not decide.

use super::assignment::{AssignParams, Assignment};
use super::element::Layout;
use super::metric::Metric;
use crate::Result;
use crate::gpu::{Bound, Buffer, Context, Kernel, Spec, Work};

/// The shader, whose slot `points` is to be filled ([`Layout::fill`]).
pub const SPEC: Spec = Spec::new("kmeans/rerank").slot("wide", "lib/wide32");

/// Words in front of the points of a list (shaders/lib/near_tie.wgsl).
pub(super) const HEAD: u64 = 4;
/// Workgroups, each with every so manieth point of the list: enough to fill a large device, and few, since the list is short for
/// most data.
const WORKGROUPS: u64 = 512;
/// The same in software, where a workgroup without a point costs a microsecond or two.
const WORKGROUPS_SOFTWARE: u64 = 16;

/// An empty list for up to `n` points.
///
/// # Errors
/// The device's.
pub fn list(gpu: &Context, n: u64) -> Result<Buffer> {
    let list = Buffer::new(gpu, "ties", HEAD + n, 4)?;
    list.write(gpu, &vec![0u32; (HEAD + n) as usize])?;
    Ok(list)
}

/// How many points were ever put on a list.
///
/// # Errors
/// The device's.
pub fn listed(gpu: &Context, list: &Buffer) -> Result<u64> {
    let words: Vec<u32> = list.read_rows(gpu, 0..HEAD)?;
    Ok(u64::from(words[2]) | (u64::from(words[3]) << 32))
}

/// The compiled kernel.
#[derive(Debug)]
pub struct Rerank(Kernel<AssignParams>);

impl Rerank {
    /// Compiles it for points so laid.
    pub fn load(gpu: &Context, layout: Layout) -> Result<Self> {
        Kernel::load(gpu, &layout.fill(&SPEC)).map(Self)
    }

    /// Binds what follows an assignment in `d` dimensions.
    pub fn bind(&self, gpu: &Context, on: &Assignment<'_>, d: u64, metric: Metric) -> Result<Bound> {
        let workgroups = if gpu.adapter.is_software() { WORKGROUPS_SOFTWARE } else { WORKGROUPS };
        self.bind_in(gpu, on, (d, metric), workgroups)
    }

    /// The same in so many workgroups, but not more than points.
    pub fn bind_in(
        &self,
        gpu: &Context,
        on: &Assignment<'_>,
        (d, metric): (u64, Metric),
        workgroups: u64,
    ) -> Result<Bound> {
        let params = on.params(on.points.rows().min(workgroups), d, metric)?;
        let buffers = on.points.bindings(&[
            ("centroids", on.centroids),
            ("ties", on.ties),
            ("labels", on.labels),
            ("changed", on.changed),
        ]);
        // How many points it finds, only the device knows; most often next to none.
        self.0.bind(gpu, &buffers, params, Work::default())
    }
}
