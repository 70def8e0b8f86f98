//! Products with quantized weights: y = W x + b, at the speed of memory.
//!
//! [`Weights`] lie on the device as planes (see [`crate::format::planes`]); [`Activations`] are laid out, or quantized to
//! int8, once for all products that use them. [`Weights::times`] chooses among all kernels by measuring them.

pub mod activation;
pub mod dequantize;
pub mod matvec;
pub mod matvec_integer;
mod weights;

pub use activation::Activations;
pub use weights::Weights;

use crate::gpu::{Bound, Buffer, Context, Spec};
use crate::{Error, Result};

/// Columns are padded with zeros to a multiple of this: what a variant takes at once.
pub const PAD_COLUMNS: u64 = 8;

/// What may be multiplied: weights with f32, or codes with int8.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Path {
    /// The faster of both, as measured on this adapter.
    #[default]
    Auto,
    /// f32 products: as exact as f32 is.
    Float,
    /// Activations are rounded to int8, 32 to a scale; a relative squared error of about 3e-5 for normal ones.
    Integer,
}

/// What a product reads and writes.
#[derive(Clone, Copy, Debug)]
pub struct Operands<'a> {
    /// `[rows, cols]`.
    pub weights: &'a Weights,
    /// `[n, cols]`.
    pub x: &'a Activations,
    /// `[rows]`, or empty.
    pub bias: &'a Buffer,
    /// `[rows, n]`.
    pub y: &'a Buffer,
}

/// Binds the product as `spec`, a variant of any of the kernels, with the decoder in its slot.
pub fn bind(gpu: &Context, spec: &Spec, on: &Operands<'_>) -> Result<Bound> {
    let (rows, cols) = (on.weights.rows, on.weights.cols);
    if on.x.cols != cols {
        return Err(Error::Input(format!(
            "x has columns of {} values; the weights are [{rows}, {cols}]",
            on.x.cols
        )));
    }
    if spec.file == "matmul/matvec_integer" {
        matvec_integer::MatvecInteger::load(gpu, spec)?.bind(gpu, on, on.x.integer(gpu)?)
    } else {
        matvec::Matvec::load(gpu, spec)?.bind(gpu, on, on.x.float(gpu)?)
    }
}

/// Every variant for weights of this format on this path, with the decoder in its slot.
pub fn variants(gpu: &Context, weights: &Weights, path: Path) -> Vec<Spec> {
    let integer = weights.format.integer && gpu.integer_dot;
    let float = if path == Path::Integer { &[] } else { matvec::VARIANTS };
    let integer = if path == Path::Float || !integer { &[] } else { matvec_integer::VARIANTS };
    float.iter().chain(integer).map(|spec| spec.slot("format", weights.format.decoder)).collect()
}
