//! Numpy's arrays: matrices of floats, and labels, in `.npy` files, in `.npz` archives, and in tables of text.
//!
//! Wherever an array is read, a path may be that of a `.npy` file; of a `.npz` archive with one array in it, or with the name of
//! one, as `data.npz:points`; of a table of text (`.csv`), of which every cell is a number, or one column by its name, as
//! `data.csv:weight`; of a `.parquet` file, of which one column has lists of numbers, or all have numbers, or one column by its
//! name; or of an HDF5 file (`.h5`), of which the dataset of points can be found, or one by its name, as `data.h5:group/train`. Arrays of bool, of integers of 8 to 64 bits and of floats of 16 to 64 bits are read in either byte order,
//! and in C or Fortran order. They become f32: floats are rounded to nearest, and what is beyond f32's range, or a whole number
//! that f32 has not, is an error that says where it is. [`conversion`] says what happens to a file's type.
//!
//! The format is described at <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>: a
//! magic string, a version, the length of the header, a Python dictionary as text, the data. The dictionary
//! is parsed here, and not by a crate, because a file is input to be doubted: the parser reads a
//! bounded header, does not recurse, and says in one line what is wrong.

mod array;
mod fortran;
mod header;
mod labels;
mod matrix;
mod npz;
mod values;
mod write;

use std::path::Path;

pub(super) use array::Array;
#[cfg(feature = "parquet")]
pub(super) use array::Wanted;
pub(super) use header::{MAGIC, write_header};
use header::{dtype_name, read_header};
pub(super) use labels::{Categories, Value};
pub use labels::{parse_binary_labels, parse_labels, read_binary_labels, read_labels};
pub use matrix::{Matrix, parse_examples, read_columns, read_examples, read_matrix, read_tensor};
use npz::Span;
pub use values::Floats;
pub use write::{write_labels, write_matrix, write_tensor, write_vector};

use super::Positioned;
use super::kind::Kind;
use crate::{Error, Result};

/// What the header of a `.npy` file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// The type of a value: numpy's code, such as `<f4`.
    pub dtype: String,
    /// The same as a word, such as `float32`.
    pub type_name: Option<String>,
    /// Whether the first dimension is contiguous, and not the last one.
    pub fortran_order: bool,
    /// The shape.
    pub shape: Vec<u64>,
    /// The size of the data in bytes.
    pub bytes: u64,
}

/// What is said to a user of the array in this file before it is read as f32, where that converts it. Nothing of what cannot be
/// read: its reader says why.
pub fn conversion(path: &Path) -> Option<String> {
    Array::header_of(path).ok()??.conversion()
}

/// How many dimensions the array in this file has; a table of text has 2.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read; [`Error::File`] if its header cannot be, or it has several arrays.
pub fn dimensions(path: &Path) -> Result<usize> {
    Ok(Array::header_of(path)?.map_or(2, |array| array.shape.len()))
}

/// Reads the header of an array of any type and shape, and no data.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read; [`Error::File`] if it is no `.npy` file, or the data is not as large as the
/// header says.
pub fn read_info(path: &Path) -> Result<Info> {
    let (file, size) = super::open(path)?;
    let file = Positioned::new(path, file);
    let (header, length) = read_header(path, Span { file: &file, at: 0, end: size }, size)?;
    info(Array::new(path, file, header, length, size - length))
}

/// Reads the headers of all arrays of a `.npz` archive, with their names, and no data.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read; [`Error::File`] if it is no such archive, or as [`read_info`] for an array.
pub fn read_infos(path: &Path) -> Result<Vec<(String, Info)>> {
    let (file, size) = super::open(path)?;
    let file = Positioned::new(path, file);
    let members = npz::members(&file, size)?;
    if members.is_empty() {
        return Err(Error::file(path, "this is a zip archive without any .npy in it"));
    }
    let infos = members.into_iter().map(|member| {
        let (header, length) = read_header(path, member.reader(&file, size)?, member.bytes)?;
        Ok((member.name, info(Array::new(path, (), header, length, member.bytes - length))?))
    });
    infos.collect()
}

fn info<F>(array: Array<F>) -> Result<Info> {
    // The last digits are the width in bytes, except for text (in characters of 4 bytes) and times.
    let width = array.dtype.get(2..).and_then(|digits| digits.parse().ok());
    if let Some(width) = width.filter(|_| "bfiucSV".contains(array.dtype.get(1..2).unwrap_or("-"))) {
        array.check_size(width)?;
    }
    let (type_name, bytes) = (dtype_name(&array.dtype), array.data);
    Ok(Info { dtype: array.dtype, type_name, fortran_order: array.fortran, shape: array.shape, bytes })
}

/// Whether a file begins like a `.npy` file.
///
/// # Errors
/// [`Error::Io`] if it cannot be read, [`Error::File`] if it is empty or no regular file.
pub fn is_npy(path: &Path) -> Result<bool> {
    Ok(Kind::of(path)? == Kind::Npy)
}
