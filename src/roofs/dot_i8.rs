//! int8 dot products with 32-bit accumulation, from registers.

use crate::Result;
use crate::gpu::{Bound, Buffer, Context, Kernel, Spec, Work, params, to_u32};

/// Bytes of a row: four words.
pub const ROW_BYTES: u64 = 16;
/// Steps in a batch.
pub const STEPS: u64 = 8;

const FILE: Spec = Spec::new("roofs/dot_i8");

/// From one chain of four words to eight: more hide more latency and take more registers.
pub const VARIANTS: &[Spec] = &[
    FILE.consts(&[("CHAINS", 4)]).overrides(&[("WG", 256.0)]),
    FILE.consts(&[("CHAINS", 1)]).overrides(&[("WG", 256.0)]),
    FILE.consts(&[("CHAINS", 2)]).overrides(&[("WG", 64.0)]),
    FILE.consts(&[("CHAINS", 8)]).overrides(&[("WG", 256.0)]),
];

params! {
    /// What the shader is told.
    pub struct DotParams {
        /// Rows of four words.
        rows: u32,
        /// Batches of 8 steps.
        batches: u32,
        /// Four int8 values, lowest byte first.
        weight: u32,
    }
}

/// Binds 8 * `batches` steps of v = v + dot4I8Packed(v, `weight`) on every word of `x`, with the results in `y`.
///
/// A step counts as 8 operations: four multiplications and four additions.
///
/// # Errors
/// [`crate::Error::Binding`] where a buffer does not fit.
pub fn bind(
    gpu: &Context,
    kernel: &Kernel<DotParams>,
    x: &Buffer,
    y: &Buffer,
    batches: u32,
    weight: u32,
) -> Result<Bound> {
    let rows = x.rows();
    let ops = rows * 4 * STEPS * u64::from(batches) * 8;
    let params = DotParams { rows: to_u32(rows, "rows")?, batches, weight };
    kernel.bind(gpu, &[("x", x), ("y", y)], params, Work { bytes: 2 * rows * ROW_BYTES, ops })
}
