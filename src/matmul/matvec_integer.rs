//! Host of `matvec_integer`: weights times a few columns, as integers.

use super::Operands;
use super::matvec::{MatvecParams, work};
use crate::Result;
use crate::gpu::{Bound, Buffer, Context, Kernel, Spec};

const SHARED: Spec =
    Spec::new("matmul/matvec_integer").slot("sum", "lib/sum_shared").slot("wide", "lib/wide32");
const SUBGROUP: Spec =
    Spec::new("matmul/matvec_integer").slot("sum", "lib/sum_subgroup").slot("wide", "lib/wide32");
const SUBGROUP_64: Spec =
    Spec::new("matmul/matvec_integer").slot("sum", "lib/sum_subgroup").slot("wide", "lib/wide64");

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

/// The compiled kernel, as one of [`VARIANTS`], or of those of [`super::matvec_fixed`], with a decoder.
#[derive(Debug)]
pub struct MatvecInteger(Kernel<MatvecParams>);

impl MatvecInteger {
    /// Compiles `spec`, with the decoder of the weights in its slot `format`.
    pub fn load(gpu: &Context, spec: &Spec) -> Result<Self> {
        Kernel::load(gpu, spec).map(Self)
    }

    /// Binds the product; `x` is what [`super::Activations::integer`] gives, or [`super::Activations::fixed`].
    pub fn bind(&self, gpu: &Context, on: &Operands<'_>, x: (&Buffer, &Buffer)) -> Result<Bound> {
        let mut buffers = on.weights.buffers();
        buffers.extend([("x", x.0), ("x_scales", x.1), ("bias", on.bias), ("y", on.y)]);
        self.0.bind(gpu, &buffers, MatvecParams::new(on)?, work(on))
    }
}
