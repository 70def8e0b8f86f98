//! Write: what memory takes from a kernel that reads nothing; also what fills buffers with words that look random.

use crate::Result;
use crate::gpu::{Bound, Buffer, Context, Kernel, Spec, Work, params, to_u32};

/// Bytes of a row.
pub const ROW_BYTES: u64 = 16;

const FILE: Spec = Spec::new("roofs/write");

/// From one store in flight to eight, stripes as wide as the workgroup or as a line.
pub const VARIANTS: &[Spec] = &[
    FILE.consts(&[("ITEMS", 4)]).overrides(&[("WG", 256.0)]),
    FILE.consts(&[("ITEMS", 1)]).overrides(&[("WG", 64.0)]),
    FILE.consts(&[("ITEMS", 8)]).overrides(&[("WG", 256.0)]),
    FILE.consts(&[("ITEMS", 8)]).overrides(&[("WG", 256.0), ("STRIPE", 8.0)]),
];

params! {
    /// What the shader is told.
    pub struct WriteParams {
        /// Rows of 16 bytes.
        rows: u32,
        /// The first of them.
        first_row: u32,
        /// What makes one pattern differ from another.
        seed: u32,
    }
}

/// Binds the writing of `seed`'s pattern to the first `rows` rows of `y`, which are of 16 bytes.
///
/// # Errors
/// [`crate::Error::Binding`] where the buffer does not fit.
pub fn bind(gpu: &Context, kernel: &Kernel<WriteParams>, y: &Buffer, rows: u64, seed: u32) -> Result<Bound> {
    let params = WriteParams { rows: to_u32(rows, "rows")?, first_row: 0, seed };
    kernel.bind(gpu, &[("y", y)], params, Work { bytes: rows * ROW_BYTES, ops: 0 })
}
