//! GGUF, the file format of ggml and llama.cpp: metadata, and tensors in ggml's number formats.
//!
//! The format is described at <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>: a magic string, a version,
//! the number of tensors and of key-value pairs, the pairs, a description of each tensor, padding, the data. A file is
//! input to be doubted: every length is held against what is left of the file before it is used, and nothing is
//! allocated beyond a small multiple of the header, which is bounded itself. Data is read by position, a piece at a
//! time, and written as a stream: files larger than the memory pass through.

mod read;
mod types;
mod value;
mod write;

pub(in crate::io) use read::Positioned;
pub use read::{Gguf, is_gguf};
pub use types::{TYPES, TensorType};
pub use value::{Array, Text, Value};
pub use write::{Sink, Writer};

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

/// The most key-value pairs. Models have about 50.
const MAX_PAIRS: u64 = 1 << 16;

/// The most tensors. The largest models have about 100,000 when every expert is one of its own.
const MAX_TENSORS: u64 = 1 << 20;

/// The longest key in bytes; the format's own limit.
const MAX_KEY: u64 = 0xffff;

/// The longest name of a tensor in bytes. llama.cpp takes 63, its relatives some more.
const MAX_NAME: u64 = 1024;

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
/// dimensions, one dimension, the type, the offset.
const LEAST_TENSOR: u64 = 8 + 1 + 4 + 8 + 4 + 8;

/// A tensor of a file. Whatever is in one has been checked: no dimension is 0, a row is whole blocks, the data lies
/// within the file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// Its 1 to 4 dimensions as the file has them: the first one is contiguous. A matrix `[rows, cols]` has
    /// `[cols, rows]` here.
    pub dims: Vec<u64>,
    /// Its number format.
    pub ty: &'static TensorType,
    /// Where its data begins, in bytes from the beginning of the file.
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

/// The bytes of a tensor, or what is wrong with its dimensions.
fn data_bytes(dims: &[u64], ty: &TensorType) -> std::result::Result<u64, String> {
    let (block, bytes) = (u64::from(ty.block), u64::from(ty.bytes));
    let Some(&cols) = dims.first().filter(|_| dims.len() <= MAX_DIMS as usize) else {
        return Err(format!("it has {} dimensions; 1 to {MAX_DIMS} can be", dims.len()));
    };
    if let Some(zero) = dims.iter().position(|&n| n == 0) {
        return Err(format!("its dimension {zero} is 0"));
    }
    if !cols.is_multiple_of(block) {
        return Err(format!("its rows have {cols} values, which is not a multiple of {}'s {block}", ty.name));
    }
    // The number of values has to fit too, for `values` and `rows`.
    let values = dims.iter().try_fold(1u64, |product, &n| product.checked_mul(n));
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

/// What is wrong with a key or a tensor's name.
fn check_name(name: &str, what: &str, limit: u64) -> std::result::Result<(), String> {
    match name.len() as u64 {
        0 => Err(format!("{what} is empty")),
        length if length > limit => Err(format!("{what} has {length} bytes; {limit} can be")),
        _ => Ok(()),
    }
}

/// A name from a file, fit for a terminal: quoted, no control characters, not too long.
pub(crate) fn quoted(name: &str) -> String {
    const LONGEST: usize = 64;
    let text: String = name.chars().flat_map(char::escape_debug).take(LONGEST + 1).collect();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("'{}…'", text.get(..end).unwrap_or("")),
        None => format!("'{text}'"),
    }
}
