//! Host of `rotate`: the randomised Hadamard rotation that queries take part in where keys do.

use crate::Result;
use crate::gpu::{Bound, Buffer, Context, Kernel, Spec, Work, params, to_u32};

/// The shader.
pub const SPEC: Spec = Spec::new("kv/rotate");

params! {
    struct RotateParams {
        rows: u32,
        d: u32,
        block: u32,
    }
}

/// The compiled kernel.
#[derive(Debug)]
pub struct Rotate(Kernel<RotateParams>);

impl Rotate {
    /// Compiles it.
    ///
    /// # Errors
    /// The device's.
    pub fn load(gpu: &Context) -> Result<Self> {
        Kernel::load(gpu, &SPEC).map(Self)
    }

    /// Binds the rotation of every row of `input` (`[rows, dim]`) into `output`.
    ///
    /// # Errors
    /// Those of binding.
    pub fn bind(&self, gpu: &Context, input: &Buffer, output: &Buffer, dim: u64) -> Result<Bound> {
        let rows = input.rows();
        let params = RotateParams {
            rows: to_u32(rows, "the number of vectors")?,
            d: to_u32(dim, "the head dimension")?,
            block: 1 << dim.trailing_zeros(),
        };
        let work = Work { bytes: 8 * rows * dim, ops: rows * dim * u64::from(dim.trailing_zeros()) };
        self.0.bind(gpu, &[("input", input), ("output", output)], params, work)
    }
}
