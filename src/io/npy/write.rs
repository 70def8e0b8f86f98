//! Arrays as `.npy` files, whatever the file is called. What a user names goes by [`crate::io::arrays`].

use std::path::Path;

use super::header::write_header;
use crate::io::arrays::Value;
use crate::io::output::write_whole;
use crate::{Error, Result};

/// Writes a matrix of the shape `[rows, cols]`, row after row, as float32.
///
/// # Errors
/// [`Error::Input`] if there are not `rows * cols` values, and those of [`write_whole`].
pub fn write_matrix(path: &Path, rows: usize, cols: usize, values: &[f32]) -> Result<()> {
    write_tensor(path, &[rows, cols], values)
}

/// Writes values as a 1-D array of float32.
///
/// # Errors
/// Those of [`write_whole`].
pub fn write_vector(path: &Path, values: &[f32]) -> Result<()> {
    write_tensor(path, &[values.len()], values)
}

/// Writes labels as a 1-D array of int32.
///
/// # Errors
/// Those of [`write_whole`].
pub fn write_labels(path: &Path, labels: &[i32]) -> Result<()> {
    write_tensor(path, &[labels.len()], labels)
}

/// Writes an array of any shape, in the byte order of this machine, as numpy does.
///
/// # Errors
/// [`Error::Input`] if there are not as many values as the shape says, and those of [`write_whole`].
pub fn write_tensor<T: Value>(path: &Path, shape: &[usize], values: &[T]) -> Result<()> {
    let (count, found) = (shape.iter().try_fold(1usize, |all, &n| all.checked_mul(n)), values.len());
    if count != Some(found) {
        return Err(Error::Shape(format!("an array of shape {shape:?} cannot have {found} values")));
    }
    write_whole(path, |out| {
        write_header(out, T::CODE, size_of::<T>(), shape)?;
        out.write_all(bytemuck::cast_slice(values))
    })
}
