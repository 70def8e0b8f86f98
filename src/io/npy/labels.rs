//! Labels, read whole.

use std::io::Read;
use std::path::Path;

use super::BLOCK;
use super::array::Array;
use crate::Result;

/// Reads labels: a 1-D array of int32, or of int64 whose values fit into an i32, in either byte order.
///
/// # Errors
/// [`crate::Error::Io`] if the file cannot be read, [`crate::Error::File`] if it is anything else than described above.
pub fn read_labels(path: &Path) -> Result<Vec<i32>> {
    labels(Array::open(path)?)
}

/// As [`read_labels`], from memory; errors call it `name`.
///
/// # Errors
/// Those of [`read_labels`].
pub fn parse_labels(name: &Path, bytes: &[u8]) -> Result<Vec<i32>> {
    labels(Array::begin(name, bytes, bytes.len() as u64)?)
}

fn labels<R: Read>(mut array: Array<'_, R>) -> Result<Vec<i32>> {
    let width = match array.kind() {
        "i4" => 4,
        "i8" => 8,
        _ => return Err(array.wrong_dtype("int32 or int64", "numpy.int32")),
    };
    if array.shape.len() != 1 {
        return Err(array.wrong_shape("1-D, one label for each row"));
    }
    let count = array.check_size(width)?;
    let mut labels = array.room(count)?;
    if width == 4 {
        labels.resize(count, 0);
        array.read(&mut labels, i32::swap_bytes)?;
    } else {
        let mut block = vec![0; count.min(BLOCK)];
        while labels.len() < count {
            let done = labels.len();
            let block = &mut block[..BLOCK.min(count - done)];
            array.read(block, i64::swap_bytes)?;
            for &value in &*block {
                let label = i32::try_from(value).map_err(|_| {
                    array.error(format!("the label at index {} is {value}: not an int32", labels.len()))
                })?;
                labels.push(label);
            }
        }
    }
    Ok(labels)
}

/// Reads labels of two classes: an array of the shape `[rows]` or `[rows, 1]` whose values are 0 or 1, or True or False, of
/// the type bool, int8 to int64, uint8 to uint64, float32 or float64, in either byte order.
///
/// # Errors
/// [`crate::Error::Io`] if the file cannot be read, [`crate::Error::File`] if it is anything else than described above, with the first
/// row and value that are wrong.
pub fn read_binary_labels(path: &Path) -> Result<Vec<bool>> {
    binary_labels(Array::open(path)?)
}

/// As [`read_binary_labels`], from memory; errors call it `name`.
///
/// # Errors
/// Those of [`read_binary_labels`].
pub fn parse_binary_labels(name: &Path, bytes: &[u8]) -> Result<Vec<bool>> {
    binary_labels(Array::begin(name, bytes, bytes.len() as u64)?)
}

fn binary_labels<R: Read>(mut array: Array<'_, R>) -> Result<Vec<bool>> {
    let kind = array.dtype.trim_start_matches(['<', '>', '|']).to_owned();
    let (float, width) = match kind.as_str() {
        "b1" | "i1" | "u1" => (false, 1),
        "i2" | "u2" => (false, 2),
        "i4" | "u4" => (false, 4),
        "i8" | "u8" => (false, 8),
        "f4" => (true, 4),
        "f8" => (true, 8),
        _ => return Err(array.wrong_dtype("bool, a whole number or a float", "numpy.uint8")),
    };
    if !matches!(array.shape.as_slice(), [_] | [_, 1]) {
        return Err(array.wrong_shape("1-D, one label for each row"));
    }
    let count = array.check_size(width as u64)?;
    let big_endian = array.dtype.starts_with('>');
    let mut labels = array.room(count)?;
    let mut block = vec![0u8; count.min(BLOCK) * width];
    while labels.len() < count {
        let bytes = width * (count - labels.len()).min(BLOCK);
        let block = &mut block[..bytes];
        array.read(block, |byte: u8| byte)?;
        for value in block.chunks_exact_mut(width) {
            if big_endian {
                value.reverse();
            }
            let mut wide = [0; 8];
            wide[..width].copy_from_slice(value);
            let bits = u64::from_le_bytes(wide);
            let unused = 64 - 8 * width as u32;
            let number = match (float, width) {
                (true, 4) => f64::from(f32::from_bits(bits as u32)),
                (true, _) => f64::from_bits(bits),
                _ if kind.starts_with('i') => (((bits << unused) as i64) >> unused) as f64,
                _ => bits as f64,
            };
            if number != 0.0 && number != 1.0 {
                let row = labels.len();
                return Err(array.error(format!(
                    "the label of row {row} (from 0) is {number}: it has to be 0 or 1, or True or False"
                )));
            }
            labels.push(number == 1.0);
        }
    }
    Ok(labels)
}
