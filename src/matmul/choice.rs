//! Which kernel multiplies: every variant for an operand, and the one that is taken.

use std::time::Duration;

use super::activation::Activations;
use super::known::Known;
use super::split_sum::{Passes, paying};
use super::weights::Weights;
use super::{Path, matmul, matmul_integer, matmul_matrix, matvec, matvec_fixed, matvec_integer};

use crate::format::Format;
use crate::gpu::dispatch::Class;
use crate::gpu::verify::Answer;
use crate::gpu::{Bound, Buffer, Context, Spec, tune};
use crate::{Error, Result};

/// Columns are padded with zeros to a multiple of this: what a variant takes at once.
pub const PAD_COLUMNS: u64 = 8;

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
pub fn bind(gpu: &Context, spec: &Spec, on: &Operands<'_>) -> Result<Passes> {
    let (rows, cols) = (on.weights.rows, on.weights.cols);
    if on.x.cols != cols {
        return Err(Error::Shape(format!(
            "x has columns of {} values; the weights are [{rows}, {cols}]",
            on.x.cols
        )));
    }
    match spec.file {
        "matmul/matvec_integer" => matvec_integer::MatvecInteger::load(gpu, spec)?
            .bind(gpu, on, on.x.integer(gpu)?)
            .map(Passes::from),
        "matmul/matvec_fixed" => {
            matvec_integer::MatvecInteger::load(gpu, spec)?.bind(gpu, on, on.x.fixed(gpu)?).map(Passes::from)
        }
        "matmul/matmul_integer" => {
            matmul_integer::MatmulInteger::load(gpu, spec)?.bind(gpu, on, on.x.integer(gpu)?)
        }
        "matmul/matmul_matrix" => {
            let (x, column_scales) = (on.x.float(gpu)?, on.x.scales(gpu)?);
            let with = matmul_matrix::Scaled { x, column_scales, row_scales: on.weights.scales(gpu)? };
            matmul_matrix::MatmulMatrix::load(gpu, spec)?.bind(gpu, on, &with)
        }
        "matmul/matvec" => matvec::Matvec::load(gpu, spec)?.bind(gpu, on, on.x.float(gpu)?).map(Passes::from),
        _ => matmul::Matmul::load(gpu, spec)?.bind(gpu, on, on.x.float(gpu)?),
    }
}

/// Every variant for `[m, k]` weights of this format and `n` columns of x on this path, with the decoder in its slot.
///
/// # Errors
/// [`Error::Shader`] for one that does not assemble.
pub fn variants(gpu: &Context, format: &Format, shape: [u64; 3], path: Path) -> Result<Vec<Spec>> {
    variants_for(gpu, format, shape, path, true)
}

/// The same for x that may hold what is not `finite`, which fixed point does not stand for.
///
/// # Errors
/// Those of [`variants`].
pub fn variants_for(
    gpu: &Context,
    format: &Format,
    shape: [u64; 3],
    path: Path,
    finite: bool,
) -> Result<Vec<Spec>> {
    let many = shape[2] > MATVEC_COLUMNS;
    let mut list: Vec<&Spec> = Vec::new();
    if matches!(path, Path::Auto | Path::Float) {
        list.extend(if many { matmul::VARIANTS } else { matvec::VARIANTS });
    }
    if path == Path::Float && finite && !many && format.integer && gpu.integer_dot {
        list.extend(matvec_fixed::VARIANTS);
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
    let list: Vec<Spec> = list.iter().map(|spec| spec.slot("format", format.decoder)).collect();
    paying(&list, shape)
}

/// Up to so many columns, weights are multiplied as they are read; above, in tiles.
const MATVEC_COLUMNS: u64 = 8;

/// Products of fewer tiles of this side do not fill a large device with larger ones.
const FEW_TILES: u64 = 1024;
const TILE: u64 = 32;

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
    let class = Class::new(&sizes).of(format!("{path:?}")).of(format.name);
    let few = n > MATVEC_COLUMNS && m.div_ceil(TILE) * n.div_ceil(TILE) < FEW_TILES;
    if few { class.of("few tiles") } else { class }
}

/// The variant on this path for `[m, k]` weights of this format and `n` columns of finite x on this adapter; they are measured, if
/// at all, with the activations already laid out.
///
/// # Errors
/// [`Error::Input`] for the integer path of a format that has none, or on an adapter whose integer dot product is wrong;
/// for the half path on an adapter without cooperative matrices.
pub fn tuned(gpu: &Context, format: &'static Format, shape: [u64; 3], path: Path) -> Result<Spec> {
    tuned_for(gpu, format, shape, path, true)
}

/// The same for x that may hold what is not `finite`.
pub fn tuned_for(
    gpu: &Context,
    format: &'static Format,
    [m, k, n]: [u64; 3],
    path: Path,
    finite: bool,
) -> Result<Spec> {
    let list = variants_for(gpu, format, [m, k, n], path, finite)?;
    if list.is_empty() {
        let (name, adapter) = (format.name, &gpu.adapter.name);
        return Err(Error::Unsupported(if path == Path::Half {
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
        let passes: Vec<&Bound> = bound.all.iter().collect();
        let sample = self.known.sample().clone();
        let expected = self.known.expected(spec);
        let answer = Answer { name: "y", buffer: &self.y, sample: Some(&sample), expected };
        tune::trial(gpu, spec, &passes, &[answer], &passes, Duration::from_millis(20))
    }
}
