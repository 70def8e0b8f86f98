//! Host of `softmax`: over the channels, for each position.

use super::layout::{Layout, examples, variant};
use crate::Result;
use crate::gpu::{Bound, Buffer, Context, Kernel, Spec, Work, params, to_u32};

/// The shader, for examples of many positions and of few.
pub const VARIANTS: &[Spec; 2] = &examples(Spec::new("classify/softmax"));

params! {
    struct SoftmaxParams {
        rows: u32,
        positions: u32,
        channels: u32,
        c4: u32,
    }
}

/// The variant for activations of `layout`.
pub fn spec(layout: Layout) -> Spec {
    variant(VARIANTS, layout.positions)
}

/// The compiled kernel.
#[derive(Debug)]
pub struct Softmax(Kernel<SoftmaxParams>);

impl Softmax {
    /// Compiles `spec`.
    pub fn load(gpu: &Context, spec: &Spec) -> Result<Self> {
        Kernel::load(gpu, spec).map(Self)
    }

    /// Binds `y = softmax(x)`; both have a row for each example, of f32 in `layout`.
    pub fn bind(&self, gpu: &Context, x: &Buffer, y: &Buffer, layout: Layout) -> Result<Bound> {
        let params = SoftmaxParams {
            rows: to_u32(y.rows(), "the number of examples")?,
            positions: to_u32(layout.positions, "the number of positions")?,
            channels: to_u32(layout.channels, "the number of channels")?,
            c4: to_u32(layout.c4(), "the number of channels")?,
        };
        // A comparison, a difference, an exponential, an addition and a division for each.
        let work = Work { bytes: x.bytes() + y.bytes(), ops: 5 * y.rows() * layout.elements() as u64 };
        self.0.bind(gpu, &[("x", x), ("y", y)], params, work)
    }
}
