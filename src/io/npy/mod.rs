//! Numpy's `.npy` files: matrices of floats, and labels.
//!
//! The format is described at <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>: a
//! magic string, a version, the length of the header, a Python dictionary as text, the data. The dictionary
//! is parsed here, and not by a crate, because a file is input to be doubted: the parser reads a
//! bounded header, does not recurse, and says in one line what is wrong.

mod array;
mod header;
mod labels;
mod matrix;
mod values;
mod write;

use std::io::Read;
use std::path::Path;

use array::Array;
use header::{MAGIC, dtype_name};
pub use labels::{parse_binary_labels, parse_labels, read_binary_labels, read_labels};
pub use matrix::{Matrix, parse_examples, read_columns, read_examples, read_matrix};
pub use values::Floats;
pub(super) use values::Values;
pub use write::{
    write_codes, write_labels, write_matrix, write_matrix_by_rows, write_shaped_labels, write_tensor,
    write_vector,
};

use crate::{Error, Result};

/// Values read at a time.
const BLOCK: usize = 1 << 18;

/// What the header of a `.npy` file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// The type of a value: numpy's code, such as `<f4`.
    pub dtype: String,
    /// The same as a word, such as `float32`, for types that numpy names by their width.
    pub type_name: Option<String>,
    /// The shape; the last dimension is contiguous.
    pub shape: Vec<u64>,
    /// The size of the data in bytes.
    pub bytes: u64,
}

/// Reads the header of an array in C order, of any type and shape, and no data.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read; [`Error::File`] if it is no `.npy` file, its array is structured or in
/// Fortran order, or the data is not as large as the header says.
pub fn read_info(path: &Path) -> Result<Info> {
    let array = Array::open(path)?;
    // The last digits are the width in bytes, except for text (in characters of 4 bytes) and times.
    let width = array.dtype.get(2..).and_then(|digits| digits.parse().ok());
    if let Some(width) = width.filter(|_| "bfiucSV".contains(array.dtype.get(1..2).unwrap_or("-"))) {
        array.check_size(width)?;
    }
    let (type_name, bytes) = (dtype_name(&array.dtype), array.data);
    Ok(Info { dtype: array.dtype, type_name, shape: array.shape, bytes })
}

/// Whether a file begins like a `.npy` file.
///
/// # Errors
/// [`Error::Io`] if it cannot be read, [`Error::File`] if it is empty or no regular file.
pub fn is_npy(path: &Path) -> Result<bool> {
    let (file, _) = super::open(path)?;
    let mut magic = Vec::new();
    file.take(MAGIC.len() as u64).read_to_end(&mut magic).map_err(|e| Error::io(path, e))?;
    Ok(magic == MAGIC)
}
