//! f32 multiply-adds from registers: what arithmetic gives to a kernel that hardly touches memory.

use crate::Result;
use crate::gpu::{Bound, Buffer, Context, Kernel, Spec, Work, params, to_u32};

/// Bytes of a row: four values.
pub const ROW_BYTES: u64 = 16;
/// Steps in a batch.
pub const STEPS: u64 = 8;

const FILE: Spec = Spec::new("roofs/fma_f32");

/// From one chain of four values to eight: more hide more latency and take more registers.
pub const VARIANTS: &[Spec] = &[
    FILE.consts(&[("CHAINS", 4)]).overrides(&[("WG", 256.0)]),
    FILE.consts(&[("CHAINS", 1)]).overrides(&[("WG", 256.0)]),
    FILE.consts(&[("CHAINS", 2)]).overrides(&[("WG", 64.0)]),
    FILE.consts(&[("CHAINS", 8)]).overrides(&[("WG", 256.0)]),
];

params! {
    /// What the shader is told.
    pub struct FmaParams {
        /// Rows of four values.
        rows: u32,
        /// Batches of 8 steps.
        batches: u32,
        /// What a value is multiplied with; between -1 and 1.
        factor: f32,
        /// What is added then.
        addend: f32,
    }
}

/// Binds 8 * `batches` steps of v = v * `factor` + `addend` on every value of `x`, with the results in `y`.
///
/// # Errors
/// [`crate::Error::Binding`] where a buffer does not fit.
pub fn bind(
    gpu: &Context,
    kernel: &Kernel<FmaParams>,
    x: &Buffer,
    y: &Buffer,
    batches: u32,
    [factor, addend]: [f32; 2],
) -> Result<Bound> {
    let rows = x.rows();
    let ops = rows * 4 * STEPS * u64::from(batches) * 2;
    let params = FmaParams { rows: to_u32(rows, "rows")?, batches, factor, addend };
    kernel.bind(gpu, &[("x", x), ("y", y)], params, Work { bytes: 2 * rows * ROW_BYTES, ops })
}
