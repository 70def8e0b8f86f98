//! Host of `matmul`: weights times many columns, in f32.

use super::Operands;
use super::matvec::{MatvecParams, work};
use super::split_sum::{Passes, around};
use crate::Result;
use crate::gpu::{Buffer, Context, Kernel, Spec};

const TILED: Spec = Spec::new("matmul/matmul").slot("wide", "lib/wide32");
const SUBGROUP: Spec = Spec::new("matmul/matmul_subgroup").slot("wide", "lib/wide32");
const SUBGROUP_64: Spec = Spec::new("matmul/matmul_subgroup").slot("wide", "lib/wide64");

/// Interchangeable implementations; the first runs on every adapter.
pub const VARIANTS: &[Spec] = &[
    // 32 rows x 32 columns.
    TILED,
    // The same tiles, where they are few.
    TILED.consts(&[("SPLITS", 4)]),
    TILED.consts(&[("SPLITS", 16)]),
    // 64 rows x 64 columns.
    TILED.consts(&[("WG", 256), ("ACROSS", 16)]),
    // 128 x 128.
    TILED.consts(&[("WG", 256), ("ACROSS", 16), ("TM", 8), ("TN", 8), ("GRANULES", 1)]),
    SUBGROUP,
    SUBGROUP_64,
    SUBGROUP_64.consts(&[("POINTS", 1)]),
];

/// The compiled kernel, as one of [`VARIANTS`] with a decoder.
#[derive(Debug)]
pub struct Matmul(Kernel<MatvecParams>);

impl Matmul {
    /// Compiles `spec`, with the decoder of the weights in its slot `format`.
    pub fn load(gpu: &Context, spec: &Spec) -> Result<Self> {
        Kernel::load(gpu, spec).map(Self)
    }

    /// Binds the product; `x` is what [`super::Activations::float`] gives.
    pub fn bind(&self, gpu: &Context, on: &Operands<'_>, x: &Buffer) -> Result<Passes> {
        around(gpu, self.0.reflection(), on, |y| {
            let mut buffers = on.weights.buffers();
            buffers.extend([("x", x), ("bias", on.bias), ("y", y)]);
            self.0.bind(gpu, &buffers, MatvecParams::new(on)?, work(on))
        })
    }
}
