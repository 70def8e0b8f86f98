//! A safetensors file as a source.
//!
//! F32, F16, BF16 and the signed integers are types of GGUF files and stay as they are. These become F32, a piece at a
//! time: F64, which is rounded; the 8-bit floats, times their scales; and the packed weights of GPTQ and AWQ
//! ([`packed`](super::packed)). Scales and zeros are part of the tensor that they belong to, and none of their own.
//!
//! The scales of 8-bit floats `NAME` are in the file as `NAME_scale_inv` or `NAME_scale`: one for the whole tensor, one
//! for each row, or one for each 128 x 128 block. Whichever the name, weights are multiplied by them (DeepSeek-V3's
//! `weight_dequant`): what is inverse is the scale that was used to quantize.
//!
//! The strings of `__metadata__` become strings called `safetensors.KEY`.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::Path;

use super::about;
use super::packed::{Cache, Kind, Packed};
use super::source::Source;
use crate::format::Format;
use crate::io::gguf::{Tensor, TensorType, Value};
use crate::io::quoted;
use crate::io::safetensors::{self, Safetensors};
use crate::{Error, Result};

/// The sides of the blocks that have scales of their own.
const BLOCK: u64 = 128;

/// What is wrong, without the file.
pub(super) type Checked<T> = std::result::Result<T, String>;

type Ways = HashMap<String, (usize, Way)>;

/// The tensors of a file by their names.
pub(super) type Names<'f> = HashMap<&'f str, &'f safetensors::Tensor>;

/// An open safetensors file, as tensors of types that GGUF files have.
#[derive(Debug)]
pub(super) struct Checkpoint {
    file: Safetensors,
    metadata: Vec<(String, Value)>,
    tensors: Vec<Tensor>,
    /// The index and the way to read it of each tensor, by its name.
    ways: Ways,
    cache: Cache,
    notices: Vec<String>,
}

/// How a tensor is read.
#[derive(Debug)]
enum Way {
    /// As it is.
    Same,
    /// Rounded from F64.
    Double,
    /// From 8-bit floats, by what a code is worth.
    Float8(fn(u8) -> f32, Option<Scales>),
    /// From the tensors of GPTQ or AWQ.
    Packed(Box<Packed>),
}

impl Checkpoint {
    /// Opens a file; of its data nothing is read yet.
    ///
    /// # Errors
    /// Those of [`Safetensors::open`]; [`Error::File`] for a tensor that no GGUF file can have, or whose companions are
    /// missing or do not fit.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = Safetensors::open(path)?;
        let (tensors, ways) = describe(&file).map_err(|problem| Error::file(path, problem))?;
        let text =
            |(key, value): &(String, String)| (format!("safetensors.{key}"), Value::from(value.as_str()));
        let metadata = file.metadata().iter().map(text).collect();
        let notices = notices(&tensors, &ways);
        Ok(Self { file, metadata, tensors, ways, cache: Cache::default(), notices })
    }
}

impl Source for Checkpoint {
    fn metadata(&self) -> &[(String, Value)] {
        &self.metadata
    }

    fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    fn read(&self, tensor: &Tensor, range: Range<u64>, out: &mut [u8]) -> Result<()> {
        let name = &tensor.name;
        // This file's own: another's of the same name may be larger.
        let own = self.ways.get(name).and_then(|(index, way)| Some((self.tensors.get(*index)?, way)));
        let (tensor, way) =
            own.ok_or_else(|| Error::Input(format!("no tensor is called {}", quoted(name))))?;
        if let Way::Same = way {
            return self.file.read(self.file.tensor(name)?, range, out);
        }
        let Range { start, end } = range;
        let whole = start.is_multiple_of(4) && end.is_multiple_of(4);
        if !whole || start > end || end > tensor.bytes || end - start != out.len() as u64 {
            return Err(Error::Input(format!(
                "tensor {}: the bytes {start}..{end} are not {} bytes of whole values within its {}",
                quoted(name),
                out.len(),
                tensor.bytes
            )));
        }
        let (first, end) = (start / 4, end / 4);
        let mut weights = vec![0.0; out.len() / 4];
        match way {
            Way::Same => {}
            Way::Double => self.read_double(tensor, first..end, &mut weights)?,
            Way::Float8(value, scales) => {
                let mut codes = vec![0; weights.len()];
                self.file.read(self.file.tensor(name)?, first..end, &mut codes)?;
                weights.iter_mut().zip(codes).for_each(|(weight, code)| *weight = value(code));
                if let Some(scales) = scales {
                    scales.apply(&self.file, tensor.cols(), first, &mut weights)?;
                }
            }
            Way::Packed(packed) => packed.read(&self.file, &self.cache, first, &mut weights)?,
        }
        for (bytes, weight) in out.chunks_exact_mut(4).zip(weights) {
            bytes.copy_from_slice(&weight.to_le_bytes());
        }
        Ok(())
    }

    fn notices(&self) -> &[String] {
        &self.notices
    }
}

impl Checkpoint {
    fn read_double(&self, tensor: &Tensor, values: Range<u64>, weights: &mut [f32]) -> Result<()> {
        let mut bytes = vec![0; weights.len() * 8];
        let range = values.start * 8..values.end * 8;
        self.file.read(self.file.tensor(&tensor.name)?, range, &mut bytes)?;
        let (chunks, _) = bytes.as_chunks();
        for ((weight, &bytes), index) in weights.iter_mut().zip(chunks).zip(values.start..) {
            let double = f64::from_le_bytes(bytes);
            *weight = double as f32;
            if double.is_finite() && weight.is_infinite() {
                let (row, col) = (index / tensor.cols(), index % tensor.cols());
                return Err(Error::Input(format!(
                    "tensor {}: row {row}, column {col} (counted from 0) is {double}: too large for F32",
                    quoted(&tensor.name)
                )));
            }
        }
        Ok(())
    }
}

/// The tensors that the file's are to be, in its order, and how they are read.
fn describe(file: &Safetensors) -> Checked<(Vec<Tensor>, Ways)> {
    let names: Names<'_> = file.tensors().iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
    let mut companions = HashSet::new();
    let mut found = Vec::with_capacity(file.tensors().len());
    for from in file.tensors() {
        let (name, shape) = (from.name.clone(), from.shape.clone());
        found.push(if let Some(stem) = name.strip_suffix(".qweight") {
            let packed = Packed::new(stem, from, &names)?;
            companions.extend(packed.companions());
            (from, format!("{stem}.weight"), packed.shape(), "F32", Way::Packed(Box::new(packed)))
        } else if let Some(value) = float8(from) {
            let scales = Scales::of(from, &names)?;
            companions.extend(scales.iter().map(|scales| scales.tensor.name.clone()));
            (from, name, shape, "F32", Way::Float8(value, scales))
        } else if from.dtype.name == "F64" {
            (from, name, shape, "F32", Way::Double)
        } else {
            (from, name, shape, from.dtype.name, Way::Same)
        });
    }
    found.retain(|(from, ..)| !companions.contains(&from.name));
    let (mut tensors, mut ways) = (Vec::with_capacity(found.len()), Ways::new());
    for (from, name, shape, ty, way) in found {
        check_alone(from, &names)?;
        let tensor = tensor(&name, &shape, ty, from.offset);
        ways.insert(name.clone(), (tensors.len(), way));
        tensors.push(tensor.map_err(|problem| format!("tensor {}: {problem}", quoted(&name)))?);
    }
    Ok((tensors, ways))
}

/// What is wrong with a tensor that belongs to none, if its name says that it should.
fn check_alone(tensor: &safetensors::Tensor, names: &Names<'_>) -> Checked<()> {
    let of = |suffix: &str, other: &str| Some(format!("{}{other}", tensor.name.strip_suffix(suffix)?));
    let missing = of(".qzeros", ".qweight").or_else(|| of("_scale_inv", ""));
    match missing.filter(|missing| !names.contains_key(missing.as_str())) {
        Some(missing) => Err(absent(&missing, &tensor.name)),
        None => Ok(()),
    }
}

/// What is said when `missing` is not there.
pub(super) fn absent(missing: &str, of: &str) -> String {
    let (missing, of) = (quoted(missing), quoted(of));
    format!("tensor {of}: {missing}, to which it belongs, is missing: is it in another file of the model?")
}

/// A tensor of a GGUF file, or what is wrong with it.
fn tensor(name: &str, shape: &[u64], ty: &str, offset: u64) -> Checked<Tensor> {
    let ty = TensorType::by_name(ty).ok_or_else(|| format!("its type {ty} is none that GGUF files have"))?;
    // A tensor without dimensions has one value.
    let dims: Vec<u64> = if shape.is_empty() { vec![1] } else { shape.iter().rev().copied().collect() };
    if dims.contains(&0) {
        return Err(format!("its shape {shape:?} has a 0, which GGUF files cannot have"));
    }
    let bytes = dims.iter().try_fold(u64::from(ty.bytes), |bytes, &n| bytes.checked_mul(n));
    let bytes = bytes.ok_or_else(|| format!("no file is as large as its shape {shape:?}"))?;
    Ok(Tensor { name: name.to_owned(), dims, ty, file: 0, offset, bytes })
}

fn notices(tensors: &[Tensor], ways: &Ways) -> Vec<String> {
    let names = |of: fn(&Way) -> bool| {
        let names = tensors.iter().map(|tensor| tensor.name.as_str());
        names.filter(move |&name| ways.get(name).is_some_and(|(_, way)| of(way)))
    };
    let own = "tensor names and metadata are kept as they are; llama.cpp needs its own names: use its converter \
               first, then quantize the GGUF";
    let found = [
        about(
            names(|way| matches!(way, Way::Packed(_))),
            "quantized already: the errors add up; better start from F16, BF16 or F32",
        ),
        about(
            names(|way| matches!(way, Way::Packed(packed) if packed.kind == Kind::Gptq)),
            "GPTQ's first format, whose zeros are stored less 1; if the model's config.json says gptq_v2, this \
             is wrong",
        ),
        about(names(|way| matches!(way, Way::Float8(_, None))), "8-bit floats without scales: as they are"),
    ];
    std::iter::once(own.to_owned()).chain(found.into_iter().flatten()).collect()
}

/// The scales of 8-bit floats.
#[derive(Debug)]
struct Scales {
    tensor: safetensors::Tensor,
    /// The rows and columns that share a scale.
    block: (u64, u64),
}

impl Scales {
    /// Those that belong to `tensor`, if there are any.
    fn of(tensor: &safetensors::Tensor, names: &Names<'_>) -> Checked<Option<Self>> {
        let named = |suffix: &str| names.get(format!("{}{suffix}", tensor.name).as_str()).copied();
        let scales = match (named("_scale_inv"), named("_scale")) {
            (None, None) => return Ok(None),
            (Some(one), None) | (None, Some(one)) => one,
            (Some(one), Some(other)) => {
                let [name, one, other] = [tensor, one, other].map(|tensor| quoted(&tensor.name));
                return Err(format!("tensor {name}: it has scales twice, in {one} and {other}"));
            }
        };
        float_format(scales)?;
        let cols = tensor.shape.last().copied().unwrap_or(1);
        let rows = tensor.values().checked_div(cols).unwrap_or(0);
        let blocks = [rows.div_ceil(BLOCK), cols.div_ceil(BLOCK)];
        let matrix = tensor.shape.len() == 2;
        let block = match *scales.shape.as_slice() {
            _ if scales.values() == 1 => (rows.max(1), cols.max(1)),
            [n] | [n, 1] if matrix && n == rows => (1, cols.max(1)),
            [_, _] if matrix && scales.shape == blocks => (BLOCK, BLOCK),
            _ => {
                let (name, of) = (quoted(&scales.name), quoted(&tensor.name));
                let wanted = if matrix { format!(", {rows} or {blocks:?}") } else { String::new() };
                let (found, shape) = (&scales.shape, &tensor.shape);
                return Err(format!(
                    "tensor {name}: its shape is {found:?}; for {of} of {shape:?} it has to be 1{wanted}"
                ));
            }
        };
        Ok(Some(Self { tensor: scales.clone(), block }))
    }

    /// Multiplies weights of a tensor with `cols` columns, from the value `first` on, by their scales.
    fn apply(&self, file: &Safetensors, cols: u64, first: u64, weights: &mut [f32]) -> Result<()> {
        if weights.is_empty() {
            return Ok(());
        }
        let (block_rows, block_cols) = self.block;
        let row_of = |value: u64| value / cols / block_rows;
        let (top, bottom) = (row_of(first), row_of(first + weights.len() as u64 - 1));
        let per_row = cols.div_ceil(block_cols);
        let scales = floats(file, &self.tensor, top * per_row..(bottom + 1) * per_row)?;
        let (mut at, mut left) = (first, weights);
        while !left.is_empty() {
            let col = at % cols;
            // To the end of the block or of the row.
            let run = (block_cols - col % block_cols).min(cols - col).min(left.len() as u64);
            let (these, others) = left.split_at_mut(run as usize);
            let scale = scales[((row_of(at) - top) * per_row + col / block_cols) as usize];
            these.iter_mut().for_each(|weight| *weight *= scale);
            (at, left) = (at + run, others);
        }
        Ok(())
    }
}

/// The format of a tensor of floats, or what is wrong with its type.
pub(super) fn float_format(tensor: &safetensors::Tensor) -> Checked<&'static Format> {
    let name = tensor.dtype.name;
    let format = Format::by_name(name).filter(|_| ["F32", "F16", "BF16"].contains(&name));
    format.ok_or_else(|| format!("tensor {}: its type is {name}, not F32, F16 or BF16", quoted(&tensor.name)))
}

/// Reads values of a tensor of floats.
pub(super) fn floats(
    file: &Safetensors,
    tensor: &safetensors::Tensor,
    values: Range<u64>,
) -> Result<Vec<f32>> {
    let format = float_format(tensor).map_err(|problem| Error::file(file.path(), problem))?;
    let width = format.bytes as u64;
    let count = (values.end - values.start) as usize;
    let mut bytes = room(file, tensor, count * format.bytes)?;
    file.read(tensor, values.start * width..values.end * width, &mut bytes)?;
    let mut floats = room(file, tensor, count)?;
    format.dequantize(&bytes, &mut floats)?;
    Ok(floats)
}

/// Zeros, if there is memory for them: a tensor may be as large as its file.
pub(super) fn room<T: Clone + Default>(
    file: &Safetensors,
    tensor: &safetensors::Tensor,
    count: usize,
) -> Result<Vec<T>> {
    let mut values = Vec::new();
    values.try_reserve_exact(count).map_err(|_| {
        let name = quoted(&tensor.name);
        Error::file(file.path(), format!("tensor {name}: there is not enough memory for {count} values"))
    })?;
    values.resize(count, T::default());
    Ok(values)
}

/// What a code of an 8-bit float is worth, or none if the tensor has no such.
fn float8(tensor: &safetensors::Tensor) -> Option<fn(u8) -> f32> {
    match tensor.dtype.name {
        "F8_E4M3" => Some(e4m3),
        "F8_E5M2" => Some(e5m2),
        _ => None,
    }
}

/// A sign, 4 bits of exponent with a bias of 7 and 3 of mantissa; no infinity, and NaN where all 7 bits are set (E4M3FN
/// of the Open Compute Project's OFP8).
fn e4m3(code: u8) -> f32 {
    let (sign, size) = (u32::from(code >> 7) << 31, u32::from(code & 0x7f));
    if size == 0x7f {
        return f32::NAN;
    }
    // As the upper bits of an f32 it is too small by the difference of the biases, 2^120, subnormal or not.
    f32::from_bits(sign | size << 20) * f32::from_bits((127 + 120) << 23)
}

/// The upper half of an f16.
fn e5m2(code: u8) -> f32 {
    half::f16::from_bits(u16::from(code) << 8).to_f32()
}
