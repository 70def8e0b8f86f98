//! Products with quantized weights: y = W x + b, at the speed of memory.
//!
//! [`Weights`] lie on the device as planes of codes and scales; [`Activations`] are laid out, or quantized to
//! int8, once for all products that use them. [`Weights::times`] chooses among all kernels.

pub(crate) mod activation;
pub(crate) mod choice;
pub(crate) mod dequantize;
pub(crate) mod known;
#[allow(clippy::module_inception, reason = "the kernel is called as its domain")]
pub(crate) mod matmul;
pub(crate) mod matmul_integer;
pub(crate) mod matmul_matrix;
pub(crate) mod matvec;
pub(crate) mod matvec_fixed;
pub(crate) mod matvec_integer;
pub(crate) mod row_scale;
pub(crate) mod split_sum;
mod weights;

pub use activation::Activations;
pub use weights::{Order, Weights};

pub(crate) use choice::{Operands, PAD_COLUMNS, bind, class, tuned};

use crate::gpu::{Bound, Buffer, Context, Recorder};
use crate::{Error, Result};

/// What may be multiplied: weights with f32, codes with int8, or weights with f16.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Path {
    /// The fastest of all on such adapters; f16 only for many columns.
    #[default]
    Auto,
    /// f32 products; or, on GPUs with dot products of int8, exact products of codes with x in fixed point: 32 values to a scale, each
    /// within 2^-23 of the largest of them, which is as near as sums of f32 are unless the weights of large values are 0.
    Float,
    /// Activations are rounded to int8, 32 to a scale; a relative squared error of about 3e-5 for normal ones.
    Integer,
    /// f16 products with f32 sums, on adapters with cooperative matrices; a relative squared error of about 1e-7. Rows of
    /// weights and columns of activations are scaled by powers of two, so that none exceeds the range of f16.
    Half,
}

impl Weights {
    /// `y[row, column] = sum_k weights[row, k] x[column, k] + bias[row]`, row by row; `bias` may be empty.
    ///
    /// # Errors
    /// [`Error::Shape`] for shapes that do not fit, [`Error::Unsupported`] for a path that the weights, x or the adapter do not have; the device's.
    pub fn times(&self, gpu: &Context, x: &Activations, bias: &[f32], path: Path) -> Result<Product> {
        let mut products = products(gpu, &[(self, x, bias)], path)?;
        products.pop().ok_or_else(|| Error::Input("there is no product".into()))
    }
}

/// A batch of products in one submission: weights, columns and a bias for each. Where a batch shares its weights or its
/// columns, the same ones are given several times.
///
/// # Errors
/// Those of [`Weights::times`].
pub fn products(
    gpu: &Context,
    batch: &[(&Weights, &Activations, &[f32])],
    path: Path,
) -> Result<Vec<Product>> {
    let mut bound = Vec::new();
    for &(weights, x, bias) in batch {
        if !bias.is_empty() && bias.len() as u64 != weights.rows {
            return Err(Error::Shape(format!("{} biases for {} rows", bias.len(), weights.rows)));
        }
        let path = match path {
            Path::Integer | Path::Half if !x.are_finite() => {
                return Err(Error::NotFinite(
                    "x has values that are not finite: neither int8 nor scaled f16 can stand for them".into(),
                ));
            }
            Path::Auto if !x.are_finite() => Path::Float,
            path => path,
        };
        let shape = [weights.rows, weights.cols, x.n];
        let spec = choice::tuned_for(gpu, weights.format, shape, path, x.are_finite())?;
        let bias = Buffer::from_slice(gpu, "bias", bias.len() as u64, bias)?;
        let y = Buffer::new(gpu, "y", weights.rows, 4 * x.n)?;
        let passes = bind(gpu, &spec, &Operands { weights, x, bias: &bias, y: &y })?.all;
        bound.push((passes, y, spec.label()));
    }
    Recorder::run(gpu, bound.iter().flat_map(|(passes, ..)| passes))?;
    let product =
        |(_, y, variant): (Vec<Bound>, Buffer, String)| Ok(Product { values: y.read(gpu)?, variant });
    bound.into_iter().map(product).collect()
}

/// What [`Weights::times`] gives.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Product {
    /// `[rows, n]`.
    pub values: Vec<f32>,
    /// The variant that made it.
    pub variant: String,
}
