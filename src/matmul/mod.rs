//! Products with quantized weights: y = W x + b, at the speed of memory.
//!
//! [`Weights`] lie on the device as planes (see [`crate::format::planes`]); [`Activations`] are laid out, or quantized to
//! int8, once for all products that use them. [`Weights::times`] chooses among all kernels.

pub mod activation;
pub mod dequantize;
pub(crate) mod known;
#[allow(clippy::module_inception, reason = "the kernel is called as its domain")]
pub mod matmul;
pub mod matmul_integer;
pub mod matmul_matrix;
pub mod matvec;
pub mod matvec_integer;
pub mod row_scale;
mod weights;

pub use activation::Activations;
pub use weights::{Order, Weights};

use std::time::Duration;

use known::Known;

use crate::format::Format;
use crate::gpu::dispatch::Class;
use crate::gpu::verify::Answer;
use crate::gpu::{Bound, Buffer, Context, Recorder, Spec, tune};
use crate::{Error, Result};

/// Columns are padded with zeros to a multiple of this: what a variant takes at once.
pub const PAD_COLUMNS: u64 = 8;

/// What may be multiplied: weights with f32, codes with int8, or weights with f16.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Path {
    /// The fastest of all on such adapters; f16 only for many columns.
    #[default]
    Auto,
    /// f32 products: as exact as f32 is.
    Float,
    /// Activations are rounded to int8, 32 to a scale; a relative squared error of about 3e-5 for normal ones.
    Integer,
    /// f16 products with f32 sums, on adapters with cooperative matrices; a relative squared error of about 1e-7. Rows of
    /// weights and columns of activations are scaled by powers of two, so that none exceeds the range of f16.
    Half,
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
    match spec.file {
        "matmul/matvec_integer" => {
            matvec_integer::MatvecInteger::load(gpu, spec)?.bind(gpu, on, on.x.integer(gpu)?)
        }
        "matmul/matmul_integer" => {
            matmul_integer::MatmulInteger::load(gpu, spec)?.bind(gpu, on, on.x.integer(gpu)?)
        }
        "matmul/matmul_matrix" => {
            let (x, column_scales) = (on.x.float(gpu)?, on.x.scales(gpu)?);
            let with = matmul_matrix::Scaled { x, column_scales, row_scales: on.weights.scales(gpu)? };
            matmul_matrix::MatmulMatrix::load(gpu, spec)?.bind(gpu, on, &with)
        }
        "matmul/matvec" => matvec::Matvec::load(gpu, spec)?.bind(gpu, on, on.x.float(gpu)?),
        _ => matmul::Matmul::load(gpu, spec)?.bind(gpu, on, on.x.float(gpu)?),
    }
}

/// Every variant for `n` columns of x and weights of this format on this path, with the decoder in its slot.
pub fn variants(gpu: &Context, format: &Format, n: u64, path: Path) -> Vec<Spec> {
    let many = n > MATVEC_COLUMNS;
    let mut list: Vec<&Spec> = Vec::new();
    if matches!(path, Path::Auto | Path::Float) {
        list.extend(if many { matmul::VARIANTS } else { matvec::VARIANTS });
    }
    if matches!(path, Path::Auto | Path::Integer) && format.integer && gpu.integer_dot {
        if many {
            list.extend(matmul_integer::VARIANTS);
        }
        // Where workgroup memory is slow, they are faster than tiles for many columns too.
        list.extend(matvec_integer::VARIANTS);
    }
    let matrices = gpu.adapter.has_matrices(16) || gpu.adapter.has_matrices(8);
    if matrices && (path == Path::Half || (path == Path::Auto && many)) {
        list.extend(matmul_matrix::VARIANTS);
    }
    list.iter().map(|spec| spec.slot("format", format.decoder)).collect()
}

/// Up to so many columns, weights are multiplied as they are read; above, in tiles.
const MATVEC_COLUMNS: u64 = 8;

/// Bytes of weights on which variants are tried: more than caches hold, few enough for every adapter.
const TRIAL_BYTES: u64 = 96 << 20;
const TRIAL_BYTES_SOFTWARE: u64 = 8 << 20;

/// The number of columns by which variants differ.
fn columns(n: u64) -> u64 {
    if n <= PAD_COLUMNS { n } else { n.next_power_of_two().min(512) }
}

/// What the choice of a variant for `[m, k]` weights and `n` columns depends on.
pub fn class(path: Path, format: &Format, [m, k, n]: [u64; 3]) -> Class {
    let sizes = [("m", m.next_power_of_two()), ("k", k.next_power_of_two()), ("n", columns(n))];
    Class::new(&sizes).of(format!("{path:?}")).of(format.name)
}

/// The variant on this path for `[m, k]` weights of this format and `n` columns of x on this adapter; they are measured, if at
/// all, with the activations already laid out.
///
/// # Errors
/// [`Error::Input`] for the integer path of a format that has none, or on an adapter whose integer dot product is wrong;
/// for the half path on an adapter without cooperative matrices.
pub fn tuned(gpu: &Context, format: &'static Format, [m, k, n]: [u64; 3], path: Path) -> Result<Spec> {
    let list = variants(gpu, format, n, path);
    if list.is_empty() {
        let (name, adapter) = (format.name, &gpu.adapter.name);
        return Err(Error::Input(if path == Path::Half {
            format!("{adapter} has no cooperative matrices of f16; take the float path")
        } else if format.integer {
            format!("{adapter}: its integer dot product gives wrong answers; take the float path")
        } else {
            format!("{name} weights have no integer path: their codes do not fit int8; take the float path")
        }));
    }
    let n = columns(n);
    let class = class(path, format, [m, k, n]);
    let mut trial = None;
    let spec = tune::choose(gpu, &list, class, |spec| {
        let trial = match &mut trial {
            Some(trial) => trial,
            none => none.insert(Trial::new(gpu, format, [m, k, n])?),
        };
        trial.attempt(gpu, spec)
    })?;
    Ok(*spec)
}

/// Made-up operands of the same format and shape; of many rows only as many as fill a device.
struct Trial {
    known: Known,
    weights: Weights,
    x: Activations,
    bias: Buffer,
    y: Buffer,
}

impl Trial {
    fn new(gpu: &Context, format: &'static Format, [m, k, n]: [u64; 3]) -> Result<Self> {
        let bytes = if gpu.adapter.is_software() { TRIAL_BYTES_SOFTWARE } else { TRIAL_BYTES };
        let row_bytes = (k / format.elements as u64 * format.bytes as u64).max(1);
        // Software takes long for many columns: what is fastest for some rows is for many.
        let rows = m.min((bytes / row_bytes / n.div_ceil(PAD_COLUMNS)).max(64));
        let known = Known::new(format, rows, k, n)?;
        let weights = known.upload(gpu)?;
        Ok(Self {
            x: Activations::upload(gpu, &known.x, k as usize)?,
            bias: Buffer::new(gpu, "bias", 0, 4)?,
            y: Buffer::new(gpu, "y", weights.rows, 4 * n)?,
            weights,
            known,
        })
    }

    fn attempt(&mut self, gpu: &Context, spec: &Spec) -> Result<tune::Score> {
        let on = Operands { weights: &self.weights, x: &self.x, bias: &self.bias, y: &self.y };
        let bound = bind(gpu, spec, &on)?;
        let sample = self.known.sample().clone();
        let expected = self.known.expected(spec);
        let answer = Answer { name: "y", buffer: &self.y, sample: Some(&sample), expected };
        tune::trial(gpu, spec, &[&bound], &[answer], &[&bound], Duration::from_millis(20))
    }
}

impl Weights {
    /// `y[row, column] = sum_k weights[row, k] x[column, k] + bias[row]`, row by row; `bias` may be empty.
    ///
    /// # Errors
    /// [`Error::Input`] for shapes that do not fit, and for a path that the weights, x or the adapter do not have; the device's.
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
            return Err(Error::Input(format!("{} biases for {} rows", bias.len(), weights.rows)));
        }
        let path = match path {
            Path::Integer | Path::Half if !x.are_finite() => {
                return Err(Error::Input(
                    "x has values that are not finite: neither int8 nor scaled f16 can stand for them".into(),
                ));
            }
            Path::Auto if !x.are_finite() => Path::Float,
            path => path,
        };
        let spec = tuned(gpu, weights.format, [weights.rows, weights.cols, x.n], path)?;
        let bias = Buffer::from_slice(gpu, "bias", bias.len() as u64, bias)?;
        let y = Buffer::new(gpu, "y", weights.rows, 4 * x.n)?;
        bound.push((bind(gpu, &spec, &Operands { weights, x, bias: &bias, y: &y })?, y, spec.label()));
    }
    Recorder::run(gpu, bound.iter().map(|(bound, ..)| bound))?;
    let product = |(_, y, variant): (Bound, Buffer, String)| Ok(Product { values: y.read(gpu)?, variant });
    bound.into_iter().map(product).collect()
}

/// What [`Weights::times`] gives.
#[derive(Clone, Debug)]
pub struct Product {
    /// `[rows, n]`.
    pub values: Vec<f32>,
    /// The variant that made it.
    pub variant: String,
}
