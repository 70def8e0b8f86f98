//! Labels, read whole.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use super::array::{Array, Stored};
use crate::Result;
use crate::io::number::Number;

/// Bytes read at a time.
const BLOCK: usize = 1 << 20;

/// What a row is labelled with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// True or false.
    Bool(bool),
    /// A whole number, also if it is one of a float type.
    Whole(i128),
    /// Another number, by its bits. Never NaN.
    Real(u64),
    /// Text.
    Text(String),
}

impl Value {
    /// A number, if it is one.
    pub fn of_number(number: f64) -> Option<Self> {
        // Below 2^64 in size the conversion is exact.
        let whole = number.fract() == 0.0 && number.abs() < 1.8e19;
        (!number.is_nan())
            .then(|| if whole { Self::Whole(number as i128) } else { Self::Real(number.to_bits()) })
    }

    /// In the order of numpy.unique: numbers by size, text by its characters.
    pub fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Whole(a), Self::Whole(b)) => a.cmp(b),
            _ => self.size().total_cmp(&other.size()),
        }
    }

    fn size(&self) -> f64 {
        match self {
            Self::Bool(value) => f64::from(u8::from(*value)),
            Self::Whole(value) => *value as f64,
            Self::Real(bits) => f64::from_bits(*bits),
            Self::Text(_) => f64::INFINITY,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Bool(true) => f.write_str("True"),
            Self::Bool(false) => f.write_str("False"),
            Self::Whole(value) => value.fmt(f),
            Self::Real(bits) => f64::from_bits(*bits).fmt(f),
            Self::Text(text) => crate::io::quoted(text).fmt(f),
        }
    }
}

/// One label for each row, by the number of its value.
#[derive(Clone, Debug, Default)]
pub struct Categories {
    /// For each row, the place of its value in `values`.
    pub codes: Vec<u32>,
    /// The different values, sorted as numpy.unique sorts them.
    pub values: Vec<Value>,
}

impl Categories {
    /// Of values as they come, where `values` has each once and codes are places in it.
    pub fn sorted(mut codes: Vec<u32>, values: Vec<Value>) -> Self {
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by(|&a, &b| values[a].order(&values[b]));
        let mut rank = vec![0; values.len()];
        order.iter().zip(0u32..).for_each(|(&at, place)| rank[at] = place);
        codes.iter_mut().for_each(|code| *code = rank[*code as usize]);
        let values = order.into_iter().map(|at| values[at].clone()).collect();
        Self { codes, values }
    }
}

impl<F: Stored> Array<F> {
    /// Reads labels: an array of the shape `[rows]` or `[rows, 1]` of numbers, bools or text; or one of the shape
    /// `[rows, classes]` of numbers or bools of which each row has one 1 and otherwise 0 (one-hot), which then is the class.
    pub fn read_categories(&self) -> Result<Categories> {
        match *self.shape.as_slice() {
            [_] | [_, 1] => {}
            [_, classes] if classes > 1 => return self.read_one_hot(),
            _ => return Err(self.wrong_shape("1-D, one label for each row, or one-hot, [rows, classes]")),
        }
        let mut numbers: HashMap<Value, u32> = HashMap::new();
        let mut codes = Vec::new();
        let mut values = Vec::new();
        self.each_value(|row, value| {
            let value =
                value.ok_or_else(|| self.error(format!("row {row} (from 0) has no label: it is NaN")))?;
            let next = u32::try_from(values.len()).map_err(|_| self.error("there are too many labels"))?;
            codes.push(*numbers.entry(value).or_insert_with_key(|value| {
                values.push(value.clone());
                next
            }));
            Ok(())
        })?;
        Ok(Categories::sorted(codes, values))
    }

    fn read_one_hot(&self) -> Result<Categories> {
        let number = self.needs_number()?;
        self.check_values()?;
        let classes = self.shape.get(1).copied().unwrap_or(1) as usize;
        let wrong = |row: usize| {
            let problem = format!(
                "its shape is {}, but row {row} (from 0) is not one 1 and otherwise 0: labels are one for each row, or \
                 one-hot",
                self.shape_text()
            );
            self.error(problem)
        };
        let values = self.read_all(number)?;
        let rows = values.chunks_exact(classes).enumerate().map(|(row, values)| {
            let ones = values.iter().filter(|&&value| value == 1.0).count();
            let zeros = values.iter().filter(|&&value| value == 0.0).count();
            let place = values.iter().position(|&value| value == 1.0);
            place.filter(|_| ones == 1 && zeros == classes - 1).map(|at| at as u32).ok_or_else(|| wrong(row))
        });
        let codes = rows.collect::<Result<_>>()?;
        // Classes that no row has are classes all the same, which only those of several need.
        Ok(Categories { codes, values: (0..classes as i128).map(Value::Whole).collect() })
    }

    /// Visits the values row by row; `None` is NaN.
    fn each_value(&self, mut visit: impl FnMut(usize, Option<Value>) -> Result<()>) -> Result<()> {
        let (number, big) = (self.number(), self.dtype.starts_with('>'));
        let text = |kind: &str| self.dtype.get(1..2) == Some(kind);
        let characters =
            self.dtype.get(2..).and_then(|digits| digits.parse::<usize>().ok()).filter(|&n| n > 0);
        let width = match (number, characters) {
            (Some(number), _) => number.bytes(),
            (None, Some(count)) if text("S") => count,
            (None, Some(count)) if text("U") && count <= BLOCK => 4 * count,
            _ => return Err(self.wrong_dtype("numbers, bools or text")),
        };
        let count = self.check_size(width as u64)?;
        let many = (BLOCK / width).max(1);
        let mut block = self.room(many.min(count) * width)?;
        block.resize(many.min(count) * width, 0);
        for begin in (0..count).step_by(many) {
            let bytes = &mut block[..many.min(count - begin) * width];
            self.read_values(begin as u64, width, number.is_some() && self.swapped(), bytes)?;
            for (row, bytes) in (begin..).zip(bytes.chunks_exact(width)) {
                let value = match number {
                    Some(number) => value_of(number, bytes),
                    None if text("S") => {
                        Some(Value::Text(String::from_utf8_lossy(trimmed(bytes)).into_owned()))
                    }
                    None => Some(Value::Text(characters_of(bytes, big))),
                };
                visit(row, value)?;
            }
        }
        Ok(())
    }
}

/// A number of this machine's byte order; `None` for NaN.
fn value_of(number: Number, bytes: &[u8]) -> Option<Value> {
    fn array<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
        bytes.first_chunk().copied()
    }
    match number {
        Number::Bool => Some(Value::Bool(bytes != [0])),
        Number::I64 => Some(Value::Whole(i64::from_ne_bytes(array(bytes)?).into())),
        Number::U64 => Some(Value::Whole(u64::from_ne_bytes(array(bytes)?).into())),
        Number::I32 => Some(Value::Whole(i32::from_ne_bytes(array(bytes)?).into())),
        Number::U32 => Some(Value::Whole(u32::from_ne_bytes(array(bytes)?).into())),
        Number::F64 => Value::of_number(f64::from_ne_bytes(array(bytes)?)),
        // Of the others f32 has every value.
        other => {
            let mut value = [0.0];
            other.widen(bytes, &mut value).ok()?;
            Value::of_number(value[0].into())
        }
    }
}

/// Text without the zeros behind it.
fn trimmed(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    &bytes[..end]
}

/// Text of characters of 4 bytes.
fn characters_of(bytes: &[u8], big: bool) -> String {
    let codes = bytes
        .as_chunks()
        .0
        .iter()
        .map(|&code| if big { u32::from_be_bytes(code) } else { u32::from_le_bytes(code) });
    let text: String =
        codes.map(|code| char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
    text.trim_end_matches('\0').to_owned()
}

/// Reads labels: a 1-D array of whole numbers that fit into an i32.
///
/// # Errors
/// [`crate::Error::Io`] if the file cannot be read, [`crate::Error::File`] if it is anything else than described above.
pub fn read_labels(path: &Path) -> Result<Vec<i32>> {
    labels(&Array::open(path)?)
}

/// As [`read_labels`], from the bytes of a `.npy` file in memory; errors call it `name`.
///
/// # Errors
/// Those of [`read_labels`].
pub fn parse_labels(name: &Path, bytes: &[u8]) -> Result<Vec<i32>> {
    labels(&Array::of_bytes(name, bytes)?)
}

fn labels<F: Stored>(array: &Array<F>) -> Result<Vec<i32>> {
    if !matches!(array.shape.as_slice(), [_] | [_, 1]) {
        return Err(array.wrong_shape("1-D, one label for each row"));
    }
    let mut labels = array.room(array.check_size(array.needs_number()?.bytes() as u64)?)?;
    array.each_value(|row, value| {
        let whole = match value {
            Some(Value::Whole(whole)) => i32::try_from(whole).ok(),
            Some(Value::Bool(value)) => Some(value.into()),
            _ => None,
        };
        let wrong = || {
            let value = value.as_ref().map_or_else(|| "NaN".to_owned(), Value::to_string);
            array.error(format!("the label at index {row} is {value}: not an int32"))
        };
        labels.push(whole.ok_or_else(wrong)?);
        Ok(())
    })?;
    Ok(labels)
}

/// Reads labels of two classes: an array of the shape `[rows]` or `[rows, 1]` of numbers or bools, whose values are 0 or 1, or
/// True or False.
///
/// # Errors
/// [`crate::Error::Io`] if the file cannot be read, [`crate::Error::File`] if it is anything else than described above, with the first
/// row and value that are wrong.
pub fn read_binary_labels(path: &Path) -> Result<Vec<bool>> {
    binary_labels(&Array::open(path)?)
}

/// As [`read_binary_labels`], from the bytes of a `.npy` file in memory; errors call it `name`.
///
/// # Errors
/// Those of [`read_binary_labels`].
pub fn parse_binary_labels(name: &Path, bytes: &[u8]) -> Result<Vec<bool>> {
    binary_labels(&Array::of_bytes(name, bytes)?)
}

fn binary_labels<F: Stored>(array: &Array<F>) -> Result<Vec<bool>> {
    let number = array.needs_number()?;
    if !matches!(array.shape.as_slice(), [_] | [_, 1]) {
        return Err(array.wrong_shape("1-D, one label for each row"));
    }
    let mut labels = array.room(array.check_size(number.bytes() as u64)?)?;
    array.each_value(|row, value| {
        labels.push(match &value {
            Some(Value::Bool(value)) => *value,
            Some(Value::Whole(0)) => false,
            Some(Value::Whole(1)) => true,
            _ => {
                let value = value.as_ref().map_or_else(|| "NaN".to_owned(), Value::to_string);
                return Err(array.error(format!(
                    "the label of row {row} (from 0) is {value}: it has to be 0 or 1, or True or False"
                )));
            }
        });
        Ok(())
    })?;
    Ok(labels)
}
