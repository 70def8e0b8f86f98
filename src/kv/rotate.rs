//! Host of `rotate`: the randomised Hadamard rotation that queries take part in where keys do.

use crate::Result;
use crate::codec::rotation::Rotation;
use crate::gpu::{Bound, Buffer, Context, Kernel, Spec, Work, params, to_u32};

/// The shader.
pub const SPEC: Spec = Spec::new("kv/rotate");

params! {
    struct RotateParams {
        rows: u32,
        d4: u32,
    }
}

/// The compiled kernel.
#[derive(Debug)]
pub struct Rotate(Kernel<RotateParams>);

/// The signs of a dimension on the device: eight words of bits.
///
/// # Errors
/// The device's.
pub fn signs(gpu: &Context, dim: usize) -> Result<Buffer> {
    let mut words = Rotation::sign_words(dim);
    words.resize(8, 0);
    Buffer::from_slice(gpu, "signs", 8, &words)
}

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
    pub fn bind(
        &self,
        gpu: &Context,
        input: &Buffer,
        signs: &Buffer,
        output: &Buffer,
        dim: u64,
    ) -> Result<Bound> {
        let rows = input.rows();
        let params = RotateParams {
            rows: to_u32(rows, "the number of vectors")?,
            d4: to_u32(dim / 4, "the head dimension")?,
        };
        let work = Work { bytes: 8 * rows * dim, ops: rows * dim * u64::from(dim.trailing_zeros()) };
        self.0.bind(gpu, &[("input", input), ("signs", signs), ("output", output)], params, work)
    }
}
