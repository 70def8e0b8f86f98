//! Host of `matvec_fixed`: weights times a few columns in fixed point, by dot products of int8.

use super::Operands;
use super::matvec::{MatvecParams, work};
use crate::Result;
use crate::gpu::{Bound, Buffer, Context, Kernel, Spec};

const SHARED: Spec =
    Spec::new("matmul/matvec_fixed").slot("sum", "lib/sum_shared").slot("wide", "lib/wide32");
const SUBGROUP: Spec =
    Spec::new("matmul/matvec_fixed").slot("sum", "lib/sum_subgroup").slot("wide", "lib/wide32");
const SUBGROUP_64: Spec =
    Spec::new("matmul/matvec_fixed").slot("sum", "lib/sum_subgroup").slot("wide", "lib/wide64");

/// Interchangeable implementations; the first runs on every adapter.
pub const VARIANTS: &[Spec] = &[
    SHARED,
    SUBGROUP.consts(&[("WG", 128), ("ROWS", 2)]),
    // NVIDIA: a load of 16 bytes is checked by component (NVK), and x is a larger part of what is loaded.
    SUBGROUP_64.consts(&[("WG", 128), ("ROWS", 4)]),
];

/// The compiled kernel, as one of [`VARIANTS`] with a decoder.
#[derive(Debug)]
pub struct MatvecFixed(Kernel<MatvecParams>);

impl MatvecFixed {
    /// Compiles `spec`, with the decoder of the weights in its slot `format`.
    pub fn load(gpu: &Context, spec: &Spec) -> Result<Self> {
        Kernel::load(gpu, spec).map(Self)
    }

    /// Binds the product; `x` is what [`super::Activations::fixed`] gives.
    pub fn bind(&self, gpu: &Context, on: &Operands<'_>, x: (&Buffer, &Buffer)) -> Result<Bound> {
        let mut buffers = on.weights.buffers();
        buffers.extend([("x", x.0), ("x_scales", x.1), ("bias", on.bias), ("y", on.y)]);
        self.0.bind(gpu, &buffers, MatvecParams::new(on)?, work(on))
    }
}
