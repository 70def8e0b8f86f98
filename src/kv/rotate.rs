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
        width: u32,
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

    /// Binds the rotation of every row of `input` (`[rows, dim]`) into `output`. Rows may be longer, as those of queries of
    /// latents are: what lies behind the first `dim` values is copied.
    ///
    /// # Errors
    /// Those of binding.
    pub fn bind(&self, gpu: &Context, input: &Buffer, output: &Buffer, dim: u64) -> Result<Bound> {
        let rows = input.rows();
        let width = (input.bytes() / 4 / rows.max(1)).max(dim);
        let params = RotateParams {
            rows: to_u32(rows, "the number of vectors")?,
            d: to_u32(dim, "the head dimension")?,
            block: 1 << dim.trailing_zeros(),
            width: to_u32(width, "the values of a vector")?,
        };
        let work = Work { bytes: 8 * rows * width, ops: rows * dim * u64::from(dim.trailing_zeros()) };
        self.0.bind(gpu, &[("input", input), ("output", output)], params, work)
    }
}
