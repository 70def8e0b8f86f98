//! GGUF, the file format of ggml and llama.cpp: metadata, and tensors in ggml's number formats.
//!
//! The format is described at <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>: a magic string, a version,
//! the number of tensors and of key-value pairs, the pairs, a description of each tensor, padding, the data. A file is
//! input to be doubted: every length is held against what is left of the file before it is used, and nothing is
//! allocated beyond a small multiple of the header, which is bounded itself. Data is read by position, a piece at a
//! time, and written as a stream: files larger than the memory pass through.

mod read;
mod split;
mod types;
mod value;
mod write;

pub use read::{Gguf, is_gguf};
pub use types::{TYPES, TensorType};
pub use value::{Array, Text, Value};
pub use write::{Sink, Writer};

use super::{MAX_KEY, MAX_NAME, MAX_PAIRS, MAX_TENSORS, Positioned, check_name, quoted};

const MAGIC: &[u8; 4] = b"GGUF";

/// The version that is written.
const VERSION: u32 = 3;

const ALIGNMENT_KEY: &str = "general.alignment";

/// The alignment of a file that does not say.
const DEFAULT_ALIGNMENT: u32 = 32;

/// The largest alignment, that of a huge page: the padding around each tensor stays below it.
const MAX_ALIGNMENT: u32 = 2 << 20;

/// The most that metadata and descriptions of tensors may take, in bytes. The largest vocabularies take about 30 MiB.
const MAX_HEADER: u64 = 256 << 20;

/// The longest string in bytes. The longest in use is a whole tokenizer as JSON, of about 35 MiB.
const MAX_STRING: u64 = 64 << 20;

/// The longest array. Vocabularies have about 260,000 tokens and twice as many merges.
const MAX_ARRAY: u64 = 1 << 24;

/// How deep arrays may lie within arrays. It bounds the recursion; llama.cpp reads no nested arrays at all.
const MAX_NESTING: u32 = 4;

/// The most dimensions; ggml's own limit.
const MAX_DIMS: u32 = 4;

/// The least that a key-value pair takes in bytes: a key of one byte with its length, the type, a value of one byte.
const LEAST_PAIR: u64 = 8 + 1 + 4 + 1;

/// The least that the description of a tensor takes in bytes: a name of one byte with its length, the number of
/// dimensions, of which there may be none, the type, the offset.
const LEAST_TENSOR: u64 = 8 + 1 + 4 + 4 + 8;

/// A tensor of a model. Whatever is in one has been checked: a row is whole blocks, the data lies within its file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// Its 0 to 4 dimensions as the file has them: the first one is contiguous. A matrix `[rows, cols]` has
    /// `[cols, rows]` here, a single value may have none, and one of 0 makes it empty.
    pub dims: Vec<u64>,
    /// Its number format.
    pub ty: &'static TensorType,
    /// Which of the model's files it lies in, counted from 0.
    pub file: usize,
    /// Where its data begins, in bytes from the beginning of that file.
    pub offset: u64,
    /// The size of its data in bytes, without padding.
    pub bytes: u64,
}

impl Tensor {
    /// The length of a row, the contiguous dimension.
    pub fn cols(&self) -> u64 {
        self.dims.first().copied().unwrap_or(1)
    }

    /// The number of rows, over all dimensions but the first.
    pub fn rows(&self) -> u64 {
        self.dims.iter().skip(1).product()
    }

    /// The number of values.
    pub fn values(&self) -> u64 {
        self.dims.iter().product()
    }

    /// The bytes of one row.
    pub fn row_bytes(&self) -> u64 {
        self.cols() / u64::from(self.ty.block) * u64::from(self.ty.bytes)
    }

    /// The dimensions with the contiguous one last, as numpy has them: `[rows, cols]` for a matrix.
    pub fn shape(&self) -> Vec<u64> {
        self.dims.iter().rev().copied().collect()
    }
}

/// The product of dimensions, if it is a u64: in any order, so that a 0 does not hide the others.
fn product(dims: &[u64]) -> Option<u64> {
    let others = dims.iter().filter(|&&n| n > 0).try_fold(1u64, |product, &n| product.checked_mul(n))?;
    Some(if dims.contains(&0) { 0 } else { others })
}

/// The bytes of a tensor, or what is wrong with its dimensions.
fn data_bytes(dims: &[u64], ty: &TensorType) -> std::result::Result<u64, String> {
    let (block, bytes) = (u64::from(ty.block), u64::from(ty.bytes));
    if dims.len() > MAX_DIMS as usize {
        return Err(format!("it has {} dimensions; 0 to {MAX_DIMS} can be", dims.len()));
    }
    let cols = dims.first().copied().unwrap_or(1);
    if !cols.is_multiple_of(block) {
        return Err(format!("its rows have {cols} values, which is not a multiple of {}'s {block}", ty.name));
    }
    // The number of values has to fit too, for `values` and `rows`.
    let values = product(dims);
    values
        .and_then(|values| (values / block).checked_mul(bytes))
        .ok_or_else(|| format!("no file is as large as its dimensions {dims:?}"))
}

/// What is wrong with the alignment that the metadata gives; without one it is 32 bytes.
fn alignment(value: Option<&Value>) -> std::result::Result<u32, String> {
    match value {
        None => Ok(DEFAULT_ALIGNMENT),
        Some(&Value::U32(bytes)) if bytes.is_power_of_two() && bytes <= MAX_ALIGNMENT => Ok(bytes),
        Some(Value::U32(bytes)) => {
            Err(format!("{ALIGNMENT_KEY} is {bytes}, not a power of two up to {MAX_ALIGNMENT}"))
        }
        Some(_) => Err(format!("{ALIGNMENT_KEY} is not a u32")),
    }
}
