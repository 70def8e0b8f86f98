//! Arrays of weights, whose values stay in the file.

use std::ops::Range;
use std::path::Path;

use super::array::Array;
use crate::io::number::Number;
use crate::{Error, Result};

/// An open array whose values stay in the file: they are read a piece at a time, from any thread. Those of float16 stay as they
/// are, others become float32.
#[derive(Debug)]
pub struct Floats {
    array: Array,
    number: Number,
    values: u64,
}

impl Floats {
    /// Opens an array of the shape `[rows, cols]` or `[cols]`, none of them 0.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read, [`Error::File`] if it is anything else than described above.
    pub fn open(path: &Path) -> Result<Self> {
        let array = Array::open(path)?;
        let number = array.needs_number()?;
        if !matches!(array.shape.len(), 1 | 2) {
            return Err(array.wrong_shape("2-D, [rows, columns], or 1-D"));
        }
        array.check_values()?;
        let values = array.check_size(number.bytes() as u64)? as u64;
        Ok(Self { array, number, values })
    }

    /// The shape; the last dimension is contiguous.
    pub fn shape(&self) -> &[u64] {
        &self.array.shape
    }

    /// Whether the values are float16, and not float32.
    pub fn is_half(&self) -> bool {
        self.number == Number::F16
    }

    /// What is said to a user of an array that is converted.
    pub fn conversion(&self) -> Option<String> {
        self.array.conversion()
    }

    fn width(&self) -> u64 {
        if self.is_half() { 2 } else { 4 }
    }

    /// The size of the data in bytes, as float16 or float32.
    pub fn bytes(&self) -> u64 {
        self.values * self.width()
    }

    /// Reads a part of the values as little-endian bytes: `range` is in bytes from the first one, of whole values, and as
    /// long as `out`.
    ///
    /// # Errors
    /// [`Error::Input`] if the range is not within the data, not of whole values or not as long as `out`;
    /// [`Error::Io`] if the file cannot be read; [`Error::File`] if it has become shorter, or for a value that float32 does not
    /// hold.
    pub fn read(&self, range: Range<u64>, out: &mut [u8]) -> Result<()> {
        let Range { start, end } = range;
        let (width, bytes) = (self.width(), self.bytes());
        let whole = start.is_multiple_of(width) && end.is_multiple_of(width);
        if start > end || end > bytes || end - start != out.len() as u64 || !whole {
            let room = out.len();
            return Err(Error::Shape(format!(
                "the bytes {start}..{end} of an array of {bytes} are not whole values within it that fit into {room}"
            )));
        }
        self.array.read_little_endian(self.number, self.is_half(), start / width, out)
    }
}
