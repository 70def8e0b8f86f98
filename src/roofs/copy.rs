//! Copy: what memory gives to a kernel that reads as much as it writes.

use crate::Result;
use crate::gpu::{Bound, Buffer, Context, Kernel, Spec, Work, params, to_u32};

/// Bytes of a row.
pub const ROW_BYTES: u64 = 16;

const FILE: Spec = Spec::new("roofs/copy").slot("wide", "lib/wide32");
const FILE_64: Spec = Spec::new("roofs/copy").slot("wide", "lib/wide64");

/// From one load in flight to eight, stripes as wide as the workgroup or as a line, one batch or several.
pub const VARIANTS: &[Spec] = &[
    FILE.consts(&[("ITEMS", 4)]).overrides(&[("WG", 256.0)]),
    FILE.consts(&[("ITEMS", 1)]).overrides(&[("WG", 256.0)]),
    FILE.consts(&[("ITEMS", 2)]).overrides(&[("WG", 64.0)]),
    FILE.consts(&[("ITEMS", 8)]).overrides(&[("WG", 256.0)]),
    FILE.consts(&[("ITEMS", 4)]).overrides(&[("WG", 256.0), ("STRIPE", 8.0)]),
    FILE.consts(&[("ITEMS", 4)]).overrides(&[("WG", 256.0), ("STRIPE", 8.0), ("BATCHES", 4.0)]),
    FILE_64.consts(&[("ITEMS", 4)]).overrides(&[("WG", 256.0), ("STRIPE", 8.0), ("BATCHES", 4.0)]),
];

params! {
    /// What the shader is told.
    pub struct CopyParams {
        /// Rows of 16 bytes.
        rows: u32,
    }
}

/// Binds a copy of the first `rows` rows of `x` to `y`; both have rows of 16 bytes.
///
/// # Errors
/// [`crate::Error::Binding`] where a buffer does not fit.
pub fn bind(gpu: &Context, kernel: &Kernel<CopyParams>, x: &Buffer, y: &Buffer, rows: u64) -> Result<Bound> {
    let work = Work { bytes: 2 * rows * ROW_BYTES, ops: 0 };
    kernel.bind(gpu, &[("x", x), ("y", y)], CopyParams { rows: to_u32(rows, "rows")? }, work)
}
