//! GGUF, the file format of ggml and llama.cpp: metadata, and tensors in ggml's number formats.
//!
//! The format is described at <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>: a magic string, a version,
//! the number of tensors and of key-value pairs, the pairs, a description of each tensor, padding, the data. A file is
//! input to be doubted: every length is held against what is left of the file before it is used, and nothing is
//! allocated beyond a small multiple of the header, which is bounded itself. Data is read by position, a piece at a
//! time, and written as a stream: files larger than the memory pass through.

use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::output::write_whole;
use crate::{Error, Result};

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

/// A number format of ggml: a row is stored in blocks of `block` values, each of `bytes` bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TensorType {
    /// The number by which files call it.
    pub id: u32,
    /// ggml's name, such as `Q4_K`.
    pub name: &'static str,
    /// The values of one block.
    pub block: u32,
    /// The bytes of one block.
    pub bytes: u32,
}

impl TensorType {
    /// The type with this number.
    pub fn by_id(id: u32) -> Option<&'static Self> {
        TYPES.iter().find(|ty| ty.id == id)
    }

    /// The type with this name, in upper or lower case.
    pub fn by_name(name: &str) -> Option<&'static Self> {
        TYPES.iter().find(|ty| ty.name.eq_ignore_ascii_case(name))
    }

    /// Bits per value, scales and minima included.
    pub fn bits(&self) -> f64 {
        f64::from(self.bytes) * 8.0 / f64::from(self.block)
    }
}

const fn ty(id: u32, name: &'static str, block: u32, bytes: u32) -> TensorType {
    TensorType { id, name, block, bytes }
}

/// Every type that ggml has. The numbers in between belonged to types that it has no more.
// Q8_1 and Q8_K are in no file, because ggml computes with them only; the size of Q8_1 is that of ggml's struct, while
// gguf-py says 40. Q2_0 is ggml's own; a fork uses its number for blocks of 128.
pub const TYPES: &[TensorType] = &[
    ty(0, "F32", 1, 4),
    ty(1, "F16", 1, 2),
    ty(2, "Q4_0", 32, 18),
    ty(3, "Q4_1", 32, 20),
    ty(6, "Q5_0", 32, 22),
    ty(7, "Q5_1", 32, 24),
    ty(8, "Q8_0", 32, 34),
    ty(9, "Q8_1", 32, 36),
    ty(10, "Q2_K", 256, 84),
    ty(11, "Q3_K", 256, 110),
    ty(12, "Q4_K", 256, 144),
    ty(13, "Q5_K", 256, 176),
    ty(14, "Q6_K", 256, 210),
    ty(15, "Q8_K", 256, 292),
    ty(16, "IQ2_XXS", 256, 66),
    ty(17, "IQ2_XS", 256, 74),
    ty(18, "IQ3_XXS", 256, 98),
    ty(19, "IQ1_S", 256, 50),
    ty(20, "IQ4_NL", 32, 18),
    ty(21, "IQ3_S", 256, 110),
    ty(22, "IQ2_S", 256, 82),
    ty(23, "IQ4_XS", 256, 136),
    ty(24, "I8", 1, 1),
    ty(25, "I16", 1, 2),
    ty(26, "I32", 1, 4),
    ty(27, "I64", 1, 8),
    ty(28, "F64", 1, 8),
    ty(29, "IQ1_M", 256, 56),
    ty(30, "BF16", 1, 2),
    ty(34, "TQ1_0", 256, 54),
    ty(35, "TQ2_0", 256, 66),
    ty(39, "MXFP4", 32, 17),
    ty(40, "NVFP4", 64, 36),
    ty(41, "Q1_0", 128, 18),
    ty(42, "Q2_0", 64, 18),
];

/// A string of the metadata. It should be UTF-8, but tokens of some vocabularies are not, and have to be kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Text(pub Vec<u8>);

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl fmt::Display for Text {
    /// What is not UTF-8 becomes U+FFFD.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

/// A value of the metadata.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Value {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    U64(u64),
    I64(i64),
    F32(f32),
    F64(f64),
    Bool(bool),
    String(Text),
    Array(Array),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.into())
    }
}

impl Value {
    /// The value, if it is an integer of any width and not negative.
    pub fn as_u64(&self) -> Option<u64> {
        match *self {
            Self::U8(v) => Some(v.into()),
            Self::U16(v) => Some(v.into()),
            Self::U32(v) => Some(v.into()),
            Self::U64(v) => Some(v),
            Self::I8(v) => v.try_into().ok(),
            Self::I16(v) => v.try_into().ok(),
            Self::I32(v) => v.try_into().ok(),
            Self::I64(v) => v.try_into().ok(),
            _ => None,
        }
    }

    /// The value, if it is a string of valid UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => str::from_utf8(&text.0).ok(),
            _ => None,
        }
    }

    /// The number by which files call its type.
    fn kind(&self) -> u32 {
        match self {
            Self::U8(_) => 0,
            Self::I8(_) => 1,
            Self::U16(_) => 2,
            Self::I16(_) => 3,
            Self::U32(_) => 4,
            Self::I32(_) => 5,
            Self::F32(_) => 6,
            Self::Bool(_) => 7,
            Self::String(_) => 8,
            Self::Array(_) => 9,
            Self::U64(_) => 10,
            Self::I64(_) => 11,
            Self::F64(_) => 12,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::U8(v) => out.push(*v),
            Self::I8(v) => out.extend(v.to_le_bytes()),
            Self::U16(v) => out.extend(v.to_le_bytes()),
            Self::I16(v) => out.extend(v.to_le_bytes()),
            Self::U32(v) => out.extend(v.to_le_bytes()),
            Self::I32(v) => out.extend(v.to_le_bytes()),
            Self::U64(v) => out.extend(v.to_le_bytes()),
            Self::I64(v) => out.extend(v.to_le_bytes()),
            Self::F32(v) => out.extend(v.to_le_bytes()),
            Self::F64(v) => out.extend(v.to_le_bytes()),
            Self::Bool(v) => out.push((*v).into()),
            Self::String(text) => write_string(out, &text.0),
            Self::Array(array) => array.write(out),
        }
    }
}

/// An array of the metadata: values of one type. Arrays within an array may differ in type.
// Typed vectors, because a `Value` per element would take 32 times the size of an array of bytes.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Array {
    U8(Vec<u8>),
    I8(Vec<i8>),
    U16(Vec<u16>),
    I16(Vec<i16>),
    U32(Vec<u32>),
    I32(Vec<i32>),
    U64(Vec<u64>),
    I64(Vec<i64>),
    F32(Vec<f32>),
    F64(Vec<f64>),
    Bool(Vec<bool>),
    String(Vec<Text>),
    Array(Vec<Array>),
}

/// The same expression for every type of array; `$of` is the kind of [`Value`] that its elements make.
macro_rules! each {
    ($array:expr, $values:ident, $of:ident => $result:expr) => {
        each!(@ $array, $values, $of => $result,
            U8 I8 U16 I16 U32 I32 U64 I64 F32 F64 Bool String Array)
    };
    (@ $array:expr, $values:ident, $of:ident => $result:expr, $($kind:ident)*) => {
        match $array {
            $(Array::$kind($values) => {
                #[allow(unused_imports)]
                use Value::$kind as $of;
                $result
            })*
        }
    };
}

impl Array {
    /// The number of elements.
    pub fn len(&self) -> usize {
        each!(self, values, Of => values.len())
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first `count` elements, or all if there are fewer.
    pub fn first(&self, count: usize) -> Vec<Value> {
        each!(self, values, Of => values.iter().take(count).cloned().map(Of).collect())
    }

    /// The name of the elements' type, such as `u32`.
    pub fn type_name(&self) -> &'static str {
        KINDS.get(self.kind() as usize).map_or("", |&(name, _)| name)
    }

    /// The number by which files call the elements' type.
    fn kind(&self) -> u32 {
        match self {
            Self::U8(_) => 0,
            Self::I8(_) => 1,
            Self::U16(_) => 2,
            Self::I16(_) => 3,
            Self::U32(_) => 4,
            Self::I32(_) => 5,
            Self::F32(_) => 6,
            Self::Bool(_) => 7,
            Self::String(_) => 8,
            Self::Array(_) => 9,
            Self::U64(_) => 10,
            Self::I64(_) => 11,
            Self::F64(_) => 12,
        }
    }

    /// Arrays within arrays, counting this one, up to one more than may be.
    fn nesting(&self, limit: u32) -> u32 {
        match self {
            Self::Array(arrays) if limit > 0 => {
                1 + arrays.iter().map(|array| array.nesting(limit - 1)).max().unwrap_or(0)
            }
            _ => 1,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        fn put<T: Copy, const N: usize>(out: &mut Vec<u8>, values: &[T], to: fn(T) -> [u8; N]) {
            values.iter().for_each(|&value| out.extend(to(value)));
        }
        out.extend(self.kind().to_le_bytes());
        out.extend((self.len() as u64).to_le_bytes());
        match self {
            Self::U8(v) => out.extend(v),
            Self::I8(v) => put(out, v, i8::to_le_bytes),
            Self::U16(v) => put(out, v, u16::to_le_bytes),
            Self::I16(v) => put(out, v, i16::to_le_bytes),
            Self::U32(v) => put(out, v, u32::to_le_bytes),
            Self::I32(v) => put(out, v, i32::to_le_bytes),
            Self::U64(v) => put(out, v, u64::to_le_bytes),
            Self::I64(v) => put(out, v, i64::to_le_bytes),
            Self::F32(v) => put(out, v, f32::to_le_bytes),
            Self::F64(v) => put(out, v, f64::to_le_bytes),
            Self::Bool(v) => put(out, v, |v| [u8::from(v)]),
            Self::String(v) => v.iter().for_each(|text| write_string(out, &text.0)),
            Self::Array(v) => v.iter().for_each(|array| array.write(out)),
        }
    }
}

/// The types of values by their number: the name, and the least bytes that one takes in a file.
const KINDS: [(&str, u64); 13] = [
    ("u8", 1),
    ("i8", 1),
    ("u16", 2),
    ("i16", 2),
    ("u32", 4),
    ("i32", 4),
    ("f32", 4),
    ("bool", 1),
    ("string", 8),
    ("array", 4 + 8),
    ("u64", 8),
    ("i64", 8),
    ("f64", 8),
];

fn write_string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u64).to_le_bytes());
    out.extend(bytes);
}

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
fn quoted(name: &str) -> String {
    const LONGEST: usize = 64;
    let text: String = name.chars().flat_map(char::escape_debug).take(LONGEST + 1).collect();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("'{}…'", text.get(..end).unwrap_or("")),
        None => format!("'{text}'"),
    }
}

/// A file that is read by position, from any thread.
// Not mapped into memory: that would need unsafe code, and a file that shrinks while it is read would end the process
// with SIGBUS, where here it is an error.
#[derive(Debug)]
struct Positioned {
    file: File,
    /// Elsewhere than on Unix, reading at a position is two steps.
    #[cfg(not(unix))]
    turn: std::sync::Mutex<()>,
}

impl Positioned {
    fn new(file: File) -> Self {
        Self {
            file,
            #[cfg(not(unix))]
            turn: std::sync::Mutex::default(),
        }
    }

    #[cfg(unix)]
    fn read(&self, at: u64, out: &mut [u8]) -> std::io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.file, out, at)
    }

    #[cfg(not(unix))]
    fn read(&self, at: u64, out: &mut [u8]) -> std::io::Result<()> {
        use std::io::{Seek, SeekFrom};
        // The lock guards a position that every reader sets anew, so a panic of another one spoils nothing.
        let _turn = self.turn.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        (&self.file).seek(SeekFrom::Start(at))?;
        (&self.file).read_exact(out)
    }
}

/// An open GGUF file: its metadata and the description of its tensors are in memory, its data is not.
#[derive(Debug)]
pub struct Gguf {
    path: PathBuf,
    file: Positioned,
    version: u32,
    alignment: u32,
    metadata: Vec<(String, Value)>,
    tensors: Vec<Tensor>,
    /// Indices into `tensors`, in the order of their names.
    by_name: Vec<usize>,
}

impl Gguf {
    /// Opens a file of version 2 or 3 with little-endian numbers.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read; [`Error::File`], which names the key or the tensor, if it is
    /// truncated or damaged or anything in it is beyond what models have.
    pub fn open(path: &Path) -> Result<Self> {
        let (file, size) = super::open(path)?;
        let mut header = Header {
            path,
            input: BufReader::new(&file),
            subject: String::new(),
            left: size.min(MAX_HEADER),
            cut: size > MAX_HEADER,
        };
        if header.left < MAGIC.len() as u64 || header.bytes()? != *MAGIC {
            return Err(header.error("this is not a GGUF file: it does not begin with GGUF"));
        }
        let version = header.number(u32::from_le_bytes)?;
        match version {
            2 | 3 => {}
            // The low half of a small number that is read the wrong way round is 0.
            _ if version & 0xffff == 0 && version != 0 => {
                return Err(header.error("this GGUF file is big-endian; only little-endian ones are read"));
            }
            _ => return Err(header.error(format!("GGUF version {version} is unknown; 2 and 3 are read"))),
        }
        let tensor_count = header.number(u64::from_le_bytes)?;
        let pair_count = header.number(u64::from_le_bytes)?;
        header.check_count(tensor_count, "tensors", MAX_TENSORS, LEAST_TENSOR)?;
        header.check_count(pair_count, "key-value pairs", MAX_PAIRS, LEAST_PAIR)?;

        let mut metadata = Vec::with_capacity(pair_count as usize);
        for index in 0..pair_count {
            metadata.push(header.pair(index)?);
        }
        header.subject.clear();
        if let Some((key, _)) = sorted_by_name(&metadata, |(key, _)| key).1 {
            return Err(header.error(format!("the key {} is there twice", quoted(key))));
        }
        let of_alignment = metadata.iter().find(|(key, _)| key == ALIGNMENT_KEY);
        let alignment =
            alignment(of_alignment.map(|(_, value)| value)).map_err(|problem| header.error(problem))?;

        let mut tensors = Vec::with_capacity(tensor_count as usize);
        for index in 0..tensor_count {
            tensors.push(header.tensor(index, alignment)?);
        }
        // Nothing of this overflows: the header is small, and the alignment too.
        let start = (size.min(MAX_HEADER) - header.left).next_multiple_of(alignment.into());
        for tensor in &mut tensors {
            let end = tensor.offset.checked_add(tensor.bytes).and_then(|end| end.checked_add(start));
            let Some(end) = end.filter(|&end| end <= size) else {
                let (name, offset, bytes) = (quoted(&tensor.name), tensor.offset, tensor.bytes);
                return Err(Error::file(
                    path,
                    format!(
                        "tensor {name}: its {bytes} bytes at {offset} after the header end behind the file's \
                         {size}: it is truncated or damaged"
                    ),
                ));
            };
            tensor.offset = end - tensor.bytes;
        }
        let (by_name, twice) = sorted_by_name(&tensors, |tensor| &tensor.name);
        if let Some(tensor) = twice {
            return Err(Error::file(path, format!("tensor {} is there twice", quoted(&tensor.name))));
        }
        let mut by_offset: Vec<&Tensor> = tensors.iter().collect();
        by_offset.sort_by_key(|tensor| tensor.offset);
        for pair in by_offset.windows(2) {
            if let [first, second] = pair
                && first.offset + first.bytes > second.offset
            {
                let (first, second) = (quoted(&first.name), quoted(&second.name));
                return Err(Error::file(path, format!("the data of tensors {first} and {second} overlaps")));
            }
        }
        drop(header);
        let file = Positioned::new(file);
        Ok(Self { path: path.to_owned(), file, version, alignment, metadata, tensors, by_name })
    }

    /// The path that was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The version of the format: 2 or 3.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// What the offset of each tensor is a multiple of, in bytes, counted from the beginning of the data.
    pub fn alignment(&self) -> u32 {
        self.alignment
    }

    /// The key-value pairs, in the order of the file. No key is there twice.
    pub fn metadata(&self) -> &[(String, Value)] {
        &self.metadata
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.metadata.iter().find(|(found, _)| found == key).map(|(_, value)| value)
    }

    /// The tensors, in the order of the file. No name is there twice.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// The tensor with this name.
    ///
    /// # Errors
    /// [`Error::File`] if there is none, with up to three names that are near.
    pub fn tensor(&self, name: &str) -> Result<&Tensor> {
        let of = |&index: &usize| self.tensors.get(index);
        let found =
            self.by_name.binary_search_by(|index| of(index).map(|t| t.name.as_str()).cmp(&Some(name)));
        if let Some(tensor) = found.ok().and_then(|at| self.by_name.get(at)).and_then(of) {
            return Ok(tensor);
        }
        let near: Vec<_> = near(name, self.tensors.iter().map(|tensor| tensor.name.as_str()))
            .into_iter()
            .map(quoted)
            .collect();
        let hint = match near.as_slice() {
            [] => format!("`lowbit inspect` lists all {}", self.tensors.len()),
            near => format!("near it are {}", near.join(", ")),
        };
        Err(Error::file(&self.path, format!("no tensor is called {}; {hint}", quoted(name))))
    }

    /// Reads a part of a tensor's data: `range` is in bytes from its beginning, and as long as `out`.
    ///
    /// # Errors
    /// [`Error::Input`] if the range is not within the tensor or not as long as `out`; [`Error::Io`] if the file cannot
    /// be read; [`Error::File`] if it has become shorter.
    pub fn read(&self, tensor: &Tensor, range: Range<u64>, out: &mut [u8]) -> Result<()> {
        let Range { start, end } = range;
        let name = || quoted(&tensor.name);
        if start > end || end > tensor.bytes {
            let bytes = tensor.bytes;
            return Err(Error::Input(format!(
                "tensor {}: the bytes {start}..{end} are not within its {bytes}",
                name()
            )));
        }
        if end - start != out.len() as u64 {
            return Err(Error::Input(format!(
                "tensor {}: the bytes {start}..{end} do not fit into {}",
                name(),
                out.len()
            )));
        }
        // A tensor of another file may lie anywhere.
        let at = tensor.offset.saturating_add(start);
        self.file.read(at, out).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => {
                Error::file(&self.path, format!("tensor {}: the file has become shorter", name()))
            }
            _ => Error::io(&self.path, error),
        })
    }
}

/// Whether a file begins like a GGUF file.
///
/// # Errors
/// [`Error::Io`] if it cannot be read, [`Error::File`] if it is empty or no regular file.
pub fn is_gguf(path: &Path) -> Result<bool> {
    let (file, _) = super::open(path)?;
    let mut magic = Vec::new();
    file.take(MAGIC.len() as u64).read_to_end(&mut magic).map_err(|e| Error::io(path, e))?;
    Ok(magic == MAGIC)
}

/// The indices of `items` in the order of their names, and an item whose name another one has too.
fn sorted_by_name<T>(items: &[T], name: impl Fn(&T) -> &str) -> (Vec<usize>, Option<&T>) {
    let name = |index: &usize| items.get(*index).map(&name);
    let mut order: Vec<usize> = (0..items.len()).collect();
    order.sort_by_key(name);
    let twice = order.windows(2).find_map(|pair| match pair {
        [a, b] if name(a) == name(b) => items.get(*b),
        _ => None,
    });
    (order, twice)
}

/// Up to three of `names` that could have been meant, the nearest first: those that differ by few letters, or that
/// `wanted` is a part of.
fn near<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let lower = |text: &str| text.to_ascii_lowercase().into_bytes();
    let (key, wanted) = (wanted.to_ascii_lowercase(), lower(wanted));
    let most = (wanted.len() / 3).max(2);
    let mut found: Vec<(usize, &str)> = names
        .filter_map(|name| {
            let distance = if !key.is_empty() && name.to_ascii_lowercase().contains(&key) {
                name.len() - key.len()
            } else if name.len().abs_diff(wanted.len()) > most {
                return None;
            } else {
                Some(edit_distance(&wanted, &lower(name))).filter(|&distance| distance <= most)?
            };
            Some((distance, name))
        })
        .collect();
    found.sort();
    found.into_iter().take(3).map(|(_, name)| name).collect()
}

/// The least number of letters to insert, remove or replace (Levenshtein's distance).
fn edit_distance(a: &[u8], b: &[u8]) -> usize {
    // The distances of what has been seen of `a` to each beginning of `b`.
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut left = i + 1;
        let mut diagonal = i;
        for (above, y) in row.iter_mut().skip(1).zip(b) {
            let here = (diagonal + usize::from(x != y)).min(left + 1).min(*above + 1);
            diagonal = std::mem::replace(above, here);
            left = here;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

/// What is before the data, while it is read.
struct Header<'a> {
    path: &'a Path,
    input: BufReader<&'a File>,
    /// What is being read, for errors: a key or a tensor; empty for the file itself.
    subject: String,
    /// The bytes that may still be read.
    left: u64,
    /// Whether that is less than the file has, because headers are bounded.
    cut: bool,
}

impl Header<'_> {
    fn error(&self, problem: impl fmt::Display) -> Error {
        let colon = if self.subject.is_empty() { "" } else { ": " };
        Error::file(self.path, format!("{}{colon}{problem}", self.subject))
    }

    /// Refuses what takes more bytes than there are.
    fn check_room(&self, bytes: Option<u64>, what: impl fmt::Display) -> Result<()> {
        if bytes.is_some_and(|bytes| bytes <= self.left) {
            return Ok(());
        }
        let left = self.left;
        Err(if self.cut {
            self.error(format!("{what} would make the header larger than {} MiB", MAX_HEADER >> 20))
        } else {
            self.error(format!(
                "{what} cannot be in the {left} bytes that are left: it is truncated or damaged"
            ))
        })
    }

    /// Refuses more things than there may be, or than what is left has room for.
    fn check_count(&self, count: u64, what: &str, limit: u64, least: u64) -> Result<()> {
        self.check_room(count.checked_mul(least), format_args!("{count} {what}"))?;
        if count > limit {
            return Err(self.error(format!("there are {count} {what}; {limit} can be")));
        }
        Ok(())
    }

    fn take(&mut self, out: &mut [u8]) -> Result<()> {
        let bytes = out.len() as u64;
        self.check_room(Some(bytes), format_args!("the next {bytes} bytes"))?;
        self.left -= bytes;
        self.input.read_exact(out).map_err(|e| Error::io(self.path, e))
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.take(&mut bytes)?;
        Ok(bytes)
    }

    fn number<T, const N: usize>(&mut self, from: fn([u8; N]) -> T) -> Result<T> {
        Ok(from(self.bytes()?))
    }

    /// As many numbers as have been found to fit.
    fn numbers<T, const N: usize>(&mut self, count: usize, from: fn([u8; N]) -> T) -> Result<Vec<T>> {
        let mut numbers = Vec::with_capacity(count);
        while numbers.len() < count {
            let mut block = [[0; N]; 512];
            let block = &mut block[..512.min(count - numbers.len())];
            self.take(block.as_flattened_mut())?;
            numbers.extend(block.iter().map(|&bytes| from(bytes)));
        }
        Ok(numbers)
    }

    fn string(&mut self, what: &str, limit: u64) -> Result<Vec<u8>> {
        let length = self.number(u64::from_le_bytes)?;
        self.check_room(Some(length), format_args!("{what} of {length} bytes"))?;
        if length > limit {
            return Err(self.error(format!("{what} has {length} bytes; {limit} can be")));
        }
        let mut bytes = vec![0; length as usize];
        self.take(&mut bytes)?;
        Ok(bytes)
    }

    /// A key or a tensor's name.
    fn name(&mut self, what: &str, limit: u64) -> Result<String> {
        let bytes = self.string(what, limit)?;
        let name = String::from_utf8(bytes).map_err(|_| self.error(format!("{what} is not UTF-8")))?;
        check_name(&name, what, limit).map_err(|problem| self.error(problem))?;
        Ok(name)
    }

    fn pair(&mut self, index: u64) -> Result<(String, Value)> {
        self.subject = format!("key-value pair {index}");
        let key = self.name("its key", MAX_KEY)?;
        self.subject = format!("key {}", quoted(&key));
        let kind = self.number(u32::from_le_bytes)?;
        let value = self.value(kind)?;
        Ok((key, value))
    }

    fn value(&mut self, kind: u32) -> Result<Value> {
        Ok(match kind {
            0 => Value::U8(self.number(u8::from_le_bytes)?),
            1 => Value::I8(self.number(i8::from_le_bytes)?),
            2 => Value::U16(self.number(u16::from_le_bytes)?),
            3 => Value::I16(self.number(i16::from_le_bytes)?),
            4 => Value::U32(self.number(u32::from_le_bytes)?),
            5 => Value::I32(self.number(i32::from_le_bytes)?),
            6 => Value::F32(self.number(f32::from_le_bytes)?),
            7 => {
                let byte = self.number(u8::from_le_bytes)?;
                Value::Bool(self.boolean(byte)?)
            }
            8 => Value::String(Text(self.string("its string", MAX_STRING)?)),
            9 => Value::Array(self.array(1)?),
            10 => Value::U64(self.number(u64::from_le_bytes)?),
            11 => Value::I64(self.number(i64::from_le_bytes)?),
            12 => Value::F64(self.number(f64::from_le_bytes)?),
            _ => return Err(self.unknown_kind(kind)),
        })
    }

    /// An array that is in `depth - 1` others.
    fn array(&mut self, depth: u32) -> Result<Array> {
        if depth > MAX_NESTING {
            return Err(self.error(format!("its arrays are nested more than {MAX_NESTING} deep")));
        }
        let kind = self.number(u32::from_le_bytes)?;
        let Some(&(_, least)) = KINDS.get(kind as usize) else {
            return Err(self.unknown_kind(kind));
        };
        let count = self.number(u64::from_le_bytes)?;
        self.check_count(count, "array elements", MAX_ARRAY, least)?;
        let count = count as usize;
        Ok(match kind {
            0 => Array::U8(self.numbers(count, u8::from_le_bytes)?),
            1 => Array::I8(self.numbers(count, i8::from_le_bytes)?),
            2 => Array::U16(self.numbers(count, u16::from_le_bytes)?),
            3 => Array::I16(self.numbers(count, i16::from_le_bytes)?),
            4 => Array::U32(self.numbers(count, u32::from_le_bytes)?),
            5 => Array::I32(self.numbers(count, i32::from_le_bytes)?),
            6 => Array::F32(self.numbers(count, f32::from_le_bytes)?),
            7 => {
                let bytes = self.numbers(count, u8::from_le_bytes)?;
                Array::Bool(bytes.into_iter().map(|byte| self.boolean(byte)).collect::<Result<_>>()?)
            }
            8 => {
                let mut strings = Vec::with_capacity(count);
                for _ in 0..count {
                    strings.push(Text(self.string("a string", MAX_STRING)?));
                }
                Array::String(strings)
            }
            9 => {
                let mut arrays = Vec::with_capacity(count);
                for _ in 0..count {
                    arrays.push(self.array(depth + 1)?);
                }
                Array::Array(arrays)
            }
            10 => Array::U64(self.numbers(count, u64::from_le_bytes)?),
            11 => Array::I64(self.numbers(count, i64::from_le_bytes)?),
            12 => Array::F64(self.numbers(count, f64::from_le_bytes)?),
            _ => return Err(self.unknown_kind(kind)),
        })
    }

    fn boolean(&self, byte: u8) -> Result<bool> {
        match byte {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.error(format!("a boolean is {byte}, neither 0 nor 1"))),
        }
    }

    fn unknown_kind(&self, kind: u32) -> Error {
        self.error(format!("the type of its value is {kind}, which is unknown"))
    }

    /// A tensor whose offset still counts from the beginning of the data.
    fn tensor(&mut self, index: u64, alignment: u32) -> Result<Tensor> {
        self.subject = format!("tensor {index}");
        let name = self.name("its name", MAX_NAME)?;
        self.subject = format!("tensor {}", quoted(&name));
        let count = self.number(u32::from_le_bytes)?;
        if count > MAX_DIMS {
            return Err(self.error(format!("it has {count} dimensions; 1 to {MAX_DIMS} can be")));
        }
        let dims = self.numbers(count as usize, u64::from_le_bytes)?;
        let id = self.number(u32::from_le_bytes)?;
        let ty = TensorType::by_id(id)
            .ok_or_else(|| self.error(format!("its type is {id}, which ggml does not have")))?;
        let bytes = data_bytes(&dims, ty).map_err(|problem| self.error(problem))?;
        let offset = self.number(u64::from_le_bytes)?;
        if !offset.is_multiple_of(alignment.into()) {
            return Err(
                self.error(format!("its offset {offset} is not a multiple of the alignment {alignment}"))
            );
        }
        Ok(Tensor { name, dims, ty, offset, bytes })
    }
}

/// A GGUF file to be written, of version 3. Everything but the data comes first, so that the offsets are known; then
/// the data streams.
///
/// What was read with [`Gguf`] is written with the same bytes, if its version is 3, its tensors lie in their order
/// without gaps, and the padding is zeros that the last tensor has too.
#[derive(Debug, Default)]
pub struct Writer {
    metadata: Vec<(String, Value)>,
    tensors: Vec<Tensor>,
    keys: HashSet<String>,
    names: HashSet<String>,
}

impl Writer {
    /// A file without metadata and tensors.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a key-value pair. The value of `general.alignment` is what the tensors are aligned to.
    ///
    /// # Errors
    /// [`Error::Input`] if the key is there already, or [`Gguf::open`] would refuse the pair.
    pub fn metadata(&mut self, key: &str, value: Value) -> Result<()> {
        let error = |problem: String| Error::Input(format!("key {}: {problem}", quoted(key)));
        check_name(key, "its name", MAX_KEY).map_err(error)?;
        check_value(&value).map_err(error)?;
        if key == ALIGNMENT_KEY {
            alignment(Some(&value)).map_err(Error::Input)?;
        }
        if self.metadata.len() as u64 == MAX_PAIRS {
            return Err(error(format!("there are {MAX_PAIRS} others already")));
        }
        if !self.keys.insert(key.to_owned()) {
            return Err(error("it is there twice".into()));
        }
        self.metadata.push((key.to_owned(), value));
        Ok(())
    }

    /// Adds a tensor, whose first dimension is contiguous (see [`Tensor::dims`]), and gives the bytes of its data.
    ///
    /// llama.cpp opens no file with a name of more than 63 bytes; here 1024 can be.
    ///
    /// # Errors
    /// [`Error::Input`] if the name is there already, or [`Gguf::open`] would refuse the tensor.
    pub fn tensor(&mut self, name: &str, dims: &[u64], ty: &'static TensorType) -> Result<u64> {
        let error = |problem: String| Error::Input(format!("tensor {}: {problem}", quoted(name)));
        check_name(name, "its name", MAX_NAME).map_err(error)?;
        // Checked here, because `Tensor` is read back by its number.
        if TensorType::by_id(ty.id) != Some(ty) {
            return Err(error(format!("its type {} is none of ggml's", ty.name)));
        }
        let bytes = data_bytes(dims, ty).map_err(error)?;
        if self.tensors.len() as u64 == MAX_TENSORS {
            return Err(error(format!("there are {MAX_TENSORS} others already")));
        }
        if !self.names.insert(name.to_owned()) {
            return Err(error("it is there twice".into()));
        }
        self.tensors.push(Tensor { name: name.to_owned(), dims: dims.to_vec(), ty, offset: 0, bytes });
        Ok(bytes)
    }

    /// Writes the file: `data` is called once for each tensor, in the order in which they were added, and writes
    /// exactly the bytes of it. A failure leaves no file, and an older one as it was.
    ///
    /// # Errors
    /// The first one of `data`; [`Error::Input`] if it wrote too much or too little, or the file would be too large;
    /// those of [`write_whole`].
    pub fn write(
        &self,
        path: &Path,
        mut data: impl FnMut(&Tensor, &mut Sink<'_>) -> Result<()>,
    ) -> Result<()> {
        let (header, tensors) = self.layout()?;
        let mut failure = None;
        let written = write_whole(path, |out| {
            out.write_all(&header)?;
            let mut at = header.len() as u64;
            for tensor in &tensors {
                pad(out, tensor.offset - at)?;
                let mut sink = Sink { path, out: &mut *out, tensor, left: tensor.bytes };
                if let Err(error) = data(tensor, &mut sink).and_then(|()| sink.finish()) {
                    failure = Some(error);
                    return Err(std::io::Error::other("the data cannot be had"));
                }
                at = tensor.offset + tensor.bytes;
            }
            pad(out, at.next_multiple_of(self.alignment().into()) - at)
        });
        match failure {
            Some(error) => Err(error),
            None => written,
        }
    }

    fn alignment(&self) -> u32 {
        let value = self.metadata.iter().find(|(key, _)| key == ALIGNMENT_KEY);
        // It was checked when it came.
        alignment(value.map(|(_, value)| value)).unwrap_or(DEFAULT_ALIGNMENT)
    }

    /// Everything before the data, padded; and the tensors with their places in the file.
    fn layout(&self) -> Result<(Vec<u8>, Vec<Tensor>)> {
        let alignment = u64::from(self.alignment());
        let mut header = Vec::new();
        header.extend(MAGIC);
        header.extend(VERSION.to_le_bytes());
        header.extend((self.tensors.len() as u64).to_le_bytes());
        header.extend((self.metadata.len() as u64).to_le_bytes());
        for (key, value) in &self.metadata {
            write_string(&mut header, key.as_bytes());
            header.extend(value.kind().to_le_bytes());
            value.write(&mut header);
        }
        let mut tensors = self.tensors.clone();
        let mut offset = 0u64;
        for tensor in &mut tensors {
            write_string(&mut header, tensor.name.as_bytes());
            header.extend((tensor.dims.len() as u32).to_le_bytes());
            tensor.dims.iter().for_each(|n| header.extend(n.to_le_bytes()));
            header.extend(tensor.ty.id.to_le_bytes());
            header.extend(offset.to_le_bytes());
            tensor.offset = offset;
            let end =
                offset.checked_add(tensor.bytes).and_then(|end| end.checked_next_multiple_of(alignment));
            // What remains of a u64 is room for the header.
            offset = end.filter(|&end| end <= u64::MAX >> 1).ok_or_else(|| {
                Error::Input(format!("tensor {}: no file is as large", quoted(&tensor.name)))
            })?;
        }
        if header.len() as u64 > MAX_HEADER {
            let (found, limit) = (header.len(), MAX_HEADER);
            return Err(Error::Input(format!("the GGUF header has {found} bytes; {limit} can be")));
        }
        header.resize(header.len().next_multiple_of(alignment as usize), 0);
        tensors.iter_mut().for_each(|tensor| tensor.offset += header.len() as u64);
        Ok((header, tensors))
    }
}

/// What is wrong with a value that is to be written.
fn check_value(value: &Value) -> std::result::Result<(), String> {
    match value {
        Value::String(text) => check_text(text),
        Value::Array(array) if array.nesting(MAX_NESTING) > MAX_NESTING => {
            Err(format!("its arrays are nested more than {MAX_NESTING} deep"))
        }
        Value::Array(array) => check_array(array),
        _ => Ok(()),
    }
}

/// The arrays within it are known to be few levels deep.
fn check_array(array: &Array) -> std::result::Result<(), String> {
    if array.len() as u64 > MAX_ARRAY {
        return Err(format!("there are {} array elements; {MAX_ARRAY} can be", array.len()));
    }
    match array {
        Array::String(texts) => texts.iter().try_for_each(check_text),
        Array::Array(arrays) => arrays.iter().try_for_each(check_array),
        _ => Ok(()),
    }
}

fn check_text(text: &Text) -> std::result::Result<(), String> {
    match text.0.len() as u64 {
        length if length > MAX_STRING => Err(format!("a string has {length} bytes; {MAX_STRING} can be")),
        _ => Ok(()),
    }
}

/// Writes as many zeros as padding needs.
fn pad(out: &mut dyn Write, bytes: u64) -> std::io::Result<()> {
    std::io::copy(&mut std::io::repeat(0).take(bytes), out).map(drop)
}

/// Where the data of one tensor goes.
pub struct Sink<'a> {
    path: &'a Path,
    out: &'a mut dyn Write,
    tensor: &'a Tensor,
    left: u64,
}

impl Sink<'_> {
    /// Writes the next bytes of the tensor.
    ///
    /// # Errors
    /// [`Error::Input`] if that is more than it has; [`Error::Io`] if the disk fails.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let Some(left) = self.left.checked_sub(bytes.len() as u64) else {
            let (name, all) = (quoted(&self.tensor.name), self.tensor.bytes);
            return Err(Error::Input(format!("tensor {name}: more data than its {all} bytes was written")));
        };
        self.left = left;
        self.out.write_all(bytes).map_err(|e| Error::io(self.path, e))
    }

    fn finish(self) -> Result<()> {
        if self.left == 0 {
            return Ok(());
        }
        let (name, all, left) = (quoted(&self.tensor.name), self.tensor.bytes, self.left);
        Err(Error::Input(format!("tensor {name}: {left} of its {all} bytes were not written")))
    }
}
