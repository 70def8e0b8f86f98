//! Host of `matmul_matrix`: weights times many columns, by cooperative matrices of f16.

use super::Operands;
use super::matvec::{MatvecParams, work};
use super::split_sum::{Passes, around};
use crate::Result;
use crate::gpu::{Buffer, Context, Kernel, Spec};

const SIDE_16: Spec =
    Spec::new("matmul/matmul_matrix").slot("wide", "lib/wide32").slot("matrix", "lib/matrix16");
const SIDE_8: Spec =
    Spec::new("matmul/matmul_matrix").slot("wide", "lib/wide32").slot("matrix", "lib/matrix8");

/// Interchangeable implementations, for adapters with either size of matrix.
pub const VARIANTS: &[Spec] = &[
    // 128 rows x 64 columns, for four subgroups of 32.
    SIDE_16,
    SIDE_16.consts(&[("SPLITS", 4)]),
    SIDE_16.consts(&[("SPLITS", 16)]),
    // The same for four subgroups of 64, or eight of 32 with half the rows each.
    SIDE_16.consts(&[("WG", 256)]),
    SIDE_16.consts(&[("WG", 256), ("STRIPS", 8), ("TM", 1)]),
    // 128 x 128.
    SIDE_16.consts(&[("TN", 8)]),
    // 128 x 32 and 128 x 64 of smaller matrices.
    SIDE_8.consts(&[("TM", 4)]),
    SIDE_8.consts(&[("TM", 4), ("SPLITS", 4)]),
    SIDE_8.consts(&[("TM", 4), ("SPLITS", 16)]),
    SIDE_8.consts(&[("TM", 4), ("TN", 8)]),
];

/// The compiled kernel, as one of [`VARIANTS`] with a decoder.
#[derive(Debug)]
pub struct MatmulMatrix(Kernel<MatvecParams>);

/// The second operand: columns, and the scales that bring columns and rows of weights into the range of f16.
#[derive(Clone, Copy, Debug)]
pub struct Scaled<'a> {
    /// What [`super::Activations::float`] gives.
    pub x: &'a Buffer,
    /// What [`super::Activations::scales`] gives.
    pub column_scales: &'a Buffer,
    /// What [`super::Weights::scales`] gives.
    pub row_scales: &'a Buffer,
}

impl MatmulMatrix {
    /// Compiles `spec`, with the decoder of the weights in its slot `format`.
    pub fn load(gpu: &Context, spec: &Spec) -> Result<Self> {
        Kernel::load(gpu, spec).map(Self)
    }

    /// Binds the product.
    pub fn bind(&self, gpu: &Context, on: &Operands<'_>, with: &Scaled<'_>) -> Result<Passes> {
        around(gpu, self.0.reflection(), on, |y| {
            let mut buffers = on.weights.buffers();
            buffers.extend([("x", with.x), ("bias", on.bias), ("y", y)]);
            buffers.extend([("row_scales", with.row_scales), ("column_scales", with.column_scales)]);
            self.0.bind(gpu, &buffers, MatvecParams::new(on)?, work(on))
        })
    }
}
