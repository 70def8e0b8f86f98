//! Host of `row_scale`: powers of two that bring rows of weights, or columns of activations, into the range of f16.

use crate::Result;
use crate::gpu::{Bound, Buffer, Context, Kernel, Recorder, Spec, Work, params, to_u32};

/// The shader.
pub const VARIANTS: &[Spec] = &[SPEC];
const SPEC: Spec = Spec::new("matmul/row_scale").slot("wide", "lib/wide32");

params! {
    struct RowScaleParams {
        rows: u32,
        pairs: u32,
    }
}

/// The compiled kernel, for one format.
#[derive(Debug)]
pub struct RowScale(Kernel<RowScaleParams>);

impl RowScale {
    /// Compiles `spec`, with the decoder of the weights in its slot `format`.
    pub fn load(gpu: &Context, spec: &Spec) -> Result<Self> {
        Kernel::load(gpu, spec).map(Self)
    }

    /// Binds the scales of rows of `pairs` pairs; `planes` are named as the decoder has them, `scales` is `[rows]`.
    pub fn bind(
        &self,
        gpu: &Context,
        planes: &[(&str, &Buffer)],
        pairs: u64,
        scales: &Buffer,
    ) -> Result<Bound> {
        let params = RowScaleParams {
            rows: to_u32(scales.rows(), "the number of rows")?,
            pairs: to_u32(pairs, "the number of pairs")?,
        };
        let bytes = planes.iter().map(|(_, plane)| plane.bytes()).sum::<u64>() + scales.bytes();
        let work = Work { bytes, ops: 2 * scales.rows() * pairs * crate::format::planes::PAIR as u64 };
        let mut buffers = planes.to_vec();
        buffers.push(("row_scales", scales));
        self.0.bind(gpu, &buffers, params, work)
    }
}

/// Fills `scales` for rows that `decoder` reads.
pub(super) fn fill(
    gpu: &Context,
    decoder: &'static str,
    planes: &[(&str, &Buffer)],
    pairs: u64,
    scales: &Buffer,
) -> Result<()> {
    let bound = RowScale::load(gpu, &SPEC.slot("format", decoder))?.bind(gpu, planes, pairs, scales)?;
    Recorder::run(gpu, [&bound])
}
