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
// gguf-py says 40.
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

/// What holds for each kind of array alike.
macro_rules! each {
    ($array:expr, $values:ident, $of:ident => $result:expr) => {
        match $array {
            Array::U8($values) => { use Value::U8 as $of; $result }
            Array::I8($values) => { use Value::I8 as $of; $result }
            Array::U16($values) => { use Value::U16 as $of; $result }
            Array::I16($values) => { use Value::I16 as $of; $result }
            Array::U32($values) => { use Value::U32 as $of; $result }
            Array::I32($values) => { use Value::I32 as $of; $result }
            Array::U64($values) => { use Value::U64 as $of; $result }
            Array::I64($values) => { use Value::I64 as $of; $result }
            Array::F32($values) => { use Value::F32 as $of; $result }
            Array::F64($values) => { use Value::F64 as $of; $result }
            Array::Bool($values) => { use Value::Bool as $of; $result }
            Array::String($values) => { use Value::String as $of; $result }
            Array::Array($values) => { use Value::Array as $of; $result }
        }
    };
}
