//! Metadata: values, arrays, and text that need not be UTF-8.

use std::fmt;

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
    pub(super) fn kind(&self) -> u32 {
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

    pub(super) fn write(&self, out: &mut Vec<u8>) {
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
    pub(super) fn kind(&self) -> u32 {
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
    pub(super) fn nesting(&self, limit: u32) -> u32 {
        match self {
            Self::Array(arrays) if limit > 0 => {
                1 + arrays.iter().map(|array| array.nesting(limit - 1)).max().unwrap_or(0)
            }
            _ => 1,
        }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
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
pub(super) const KINDS: [(&str, u64); 13] = [
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

pub(super) fn write_string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u64).to_le_bytes());
    out.extend(bytes);
}
