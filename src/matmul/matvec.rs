//! Host of `matvec`: weights times a few columns, in f32.

use super::Operands;
use crate::Result;
use crate::gpu::{Bound, Buffer, Context, Kernel, Spec, Work, params, to_u32};

const SHARED: Spec = Spec::new("matmul/matvec").slot("sum", "lib/sum_shared").slot("wide", "lib/wide32");
const SUBGROUP: Spec = Spec::new("matmul/matvec").slot("sum", "lib/sum_subgroup").slot("wide", "lib/wide32");
const SUBGROUP_64: Spec =
    Spec::new("matmul/matvec").slot("sum", "lib/sum_subgroup").slot("wide", "lib/wide64");

/// Interchangeable implementations; the first runs on every adapter.
pub const VARIANTS: &[Spec] = &[
    SHARED,
    // A workgroup for each row: for few rows.
    SHARED.consts(&[("WG", 128), ("LANES", 128), ("ROWS", 1)]),
    SUBGROUP.consts(&[("WG", 128), ("ROWS", 1)]),
    SUBGROUP.consts(&[("WG", 128), ("ROWS", 2)]),
    SUBGROUP.consts(&[("LANES", 16), ("ROWS", 2), ("COLUMNS", 4)]),
    SUBGROUP.consts(&[("LANES", 8), ("ROWS", 4), ("COLUMNS", 2)]),
    // NVIDIA: NVK checks a load of 16 bytes by component.
    SUBGROUP_64.consts(&[("WG", 128), ("ROWS", 2)]),
    SUBGROUP_64.consts(&[("LANES", 8), ("ROWS", 8)]),
    SUBGROUP_64.consts(&[("LANES", 8), ("ROWS", 4), ("COLUMNS", 4)]),
];

params! {
    /// Mirrors `Params` of both matvec shaders.
    pub struct MatvecParams {
        /// Rows of the window.
        rows: u32,
        /// Where the window begins.
        first_row: u32,
        /// Columns.
        n: u32,
        /// Columns, padded.
        columns: u32,
        /// Pairs of 32 weights in a row.
        pairs: u32,
        /// All rows, or 0.
        biases: u32,
    }
}

impl MatvecParams {
    /// For these operands.
    pub(super) fn new(on: &Operands<'_>) -> Result<Self> {
        Ok(Self {
            rows: to_u32(on.weights.rows, "the number of rows")?,
            first_row: 0,
            n: to_u32(on.x.n, "the number of columns")?,
            columns: to_u32(on.x.padded(), "the number of columns")?,
            pairs: to_u32(on.weights.pairs(), "the number of pairs")?,
            biases: to_u32(on.bias.rows(), "the number of biases")?,
        })
    }
}

/// Least work of a product: weights, activations, biases and results once.
pub(super) fn work(on: &Operands<'_>) -> Work {
    let (rows, cols, n) = (on.weights.rows, on.weights.cols, on.x.n);
    Work { bytes: on.weights.bytes() + 4 * (n * cols + on.bias.rows() + rows * n), ops: 2 * rows * cols * n }
}

/// The compiled kernel, as one of [`VARIANTS`] with a decoder.
#[derive(Debug)]
pub struct Matvec(Kernel<MatvecParams>);

impl Matvec {
    /// Compiles `spec`, with the decoder of the weights in its slot `format`.
    pub fn load(gpu: &Context, spec: &Spec) -> Result<Self> {
        Kernel::load(gpu, spec).map(Self)
    }

    /// Binds `y[row, column] = sum_k weights[row, k] x[column, k] + bias[row]`; `x` is what
    /// [`super::Activations::float`] gives.
    pub fn bind(&self, gpu: &Context, on: &Operands<'_>, x: &Buffer) -> Result<Bound> {
        let mut buffers = on.weights.buffers();
        buffers.extend([("x", x), ("bias", on.bias), ("y", on.y)]);
        self.0.bind(gpu, &buffers, MatvecParams::new(on)?, work(on))
    }
}
