//! Read: what memory gives to a kernel that hardly writes.

use crate::Result;
use crate::gpu::{Bound, Buffer, Context, Kernel, Spec, Work, params, to_u32};

/// Bytes of a row of `x`.
pub const ROW_BYTES: u64 = 2048;
/// Bytes of a row of `y`.
pub const OUT_ROW_BYTES: u64 = 32;

const FILE: Spec = Spec::new("roofs/read_xor").slot("wide", "lib/wide32");
const FILE_64: Spec = Spec::new("roofs/read_xor").slot("wide", "lib/wide64");

/// From one load in flight to sixteen, of 32-bit words or of 64-bit ones.
pub const VARIANTS: &[Spec] = &[
    FILE.consts(&[("ITEMS", 4)]).overrides(&[("WG", 256.0)]),
    FILE.consts(&[("ITEMS", 1)]).overrides(&[("WG", 64.0)]),
    FILE.consts(&[("ITEMS", 8)]).overrides(&[("WG", 256.0)]),
    FILE.consts(&[("ITEMS", 16)]).overrides(&[("WG", 64.0)]),
    FILE.consts(&[("ITEMS", 16)]).overrides(&[("WG", 256.0)]),
    FILE_64.consts(&[("ITEMS", 1)]).overrides(&[("WG", 64.0)]),
    FILE_64.consts(&[("ITEMS", 16)]).overrides(&[("WG", 64.0)]),
];

params! {
    /// What the shader is told.
    pub struct ReadParams {
        /// Rows of 2 KiB.
        rows: u32,
    }
}

/// Binds the reading of all of `x`, in rows of 2 KiB, with 8 words to `y` for each.
///
/// # Errors
/// [`crate::Error::Binding`] where a buffer does not fit.
pub fn bind(gpu: &Context, kernel: &Kernel<ReadParams>, x: &Buffer, y: &Buffer) -> Result<Bound> {
    let rows = x.rows();
    let work = Work { bytes: rows * (ROW_BYTES + OUT_ROW_BYTES), ops: 0 };
    kernel.bind(gpu, &[("x", x), ("y", y)], ReadParams { rows: to_u32(rows, "rows")? }, work)
}
