//! Matrices of floats, read whole.

use std::path::Path;

use super::array::{Array, Stored};
use crate::Result;

/// A matrix of floats, row after row.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    /// The number of rows.
    pub rows: usize,
    /// The number of columns.
    pub cols: usize,
    /// The values, `[rows, cols]`: the one at (row, col) has the index `row * cols + col`.
    pub values: Vec<f32>,
}

impl Matrix {
    /// Every value times a factor.
    #[must_use]
    pub fn scaled(&self, factor: f32) -> Self {
        Self { values: self.values.iter().map(|value| value * factor).collect(), ..*self }
    }

    /// The (row, col) of the first value that is NaN or infinite.
    pub fn first_non_finite(&self) -> Option<(usize, usize)> {
        // Asking about a whole block at a time lets the compiler use vector instructions.
        const EXPONENT: u32 = 0x7f80_0000;
        let bad = |v: &f32| v.to_bits() & EXPONENT == EXPONENT;
        let mut blocks = self.values.chunks(1024);
        let block = blocks.position(|b| b.iter().fold(false, |any, v| any | bad(v)))?;
        let start = block * 1024;
        let index = start + self.values.get(start..)?.iter().position(bad)?;
        Some((index.checked_div(self.cols)?, index % self.cols))
    }
}

/// Reads a matrix of numbers, of the shape `[rows, cols]`, neither of them 0.
///
/// NaN and infinity are read as they are; see [`Matrix::first_non_finite`].
///
/// # Errors
/// [`crate::Error::Io`] if the file cannot be read, [`crate::Error::File`] if it has no such array, or a value that f32 does
/// not hold (see [`super`]).
pub fn read_matrix(path: &Path) -> Result<Matrix> {
    let array = Array::open(path)?;
    // What is wrong with the type comes first: a structured array has fields where others have columns.
    array.needs_number()?;
    let &[rows, cols] = array.shape.as_slice() else {
        return Err(array.wrong_shape("2-D, [rows, columns]"));
    };
    read_values(&array, rows, cols)
}

/// As [`read_matrix`], for examples of any shape: an array of the shape `[rows, …]` with at least one axis more, which
/// become the columns. Gives the shape of one example too.
///
/// # Errors
/// Those of [`read_matrix`].
pub fn read_examples(path: &Path) -> Result<(Matrix, Vec<usize>)> {
    examples(&Array::open(path)?)
}

/// As [`read_examples`], from the bytes of a `.npy` file in memory; errors call it `name`.
///
/// # Errors
/// Those of [`read_matrix`].
pub fn parse_examples(name: &Path, bytes: &[u8]) -> Result<(Matrix, Vec<usize>)> {
    examples(&Array::of_bytes(name, bytes)?)
}

fn examples<F: Stored>(array: &Array<F>) -> Result<(Matrix, Vec<usize>)> {
    array.needs_number()?;
    let [rows, ref example @ ..] = *array.shape.as_slice() else {
        return Err(array.wrong_shape("2-D or more, [rows, …]"));
    };
    if example.is_empty() {
        return Err(array.wrong_shape("2-D or more, [rows, …]"));
    }
    let cols = example.iter().try_fold(1u64, |product, &n| product.checked_mul(n));
    let shape: Option<Vec<usize>> = example.iter().map(|&n| usize::try_from(n).ok()).collect();
    let (Some(cols), Some(shape)) = (cols, shape) else {
        return Err(
            array.error(format!("the header says shape {}: no file is that large", array.shape_text()))
        );
    };
    Ok((read_values(array, rows, cols)?, shape))
}

/// Reads an array of any shape without a 0 in it: the shape, and the values in C order.
///
/// # Errors
/// Those of [`read_matrix`].
pub fn read_tensor(path: &Path) -> Result<(Vec<usize>, Vec<f32>)> {
    let array = Array::open(path)?;
    let number = array.needs_number()?;
    array.check_values()?;
    let values = array.read_all(number)?;
    // None of them is more than the number of values, which is a usize.
    Ok((array.shape.iter().map(|&n| n as usize).collect(), values))
}

/// As [`read_matrix`], for columns that need not be several: an array of the shape `[rows, cols]`, or `[rows]`, which is
/// one column. Says whether it was that.
///
/// # Errors
/// Those of [`read_matrix`].
pub fn read_columns(path: &Path) -> Result<(Matrix, bool)> {
    let array = Array::open(path)?;
    array.needs_number()?;
    match *array.shape.as_slice() {
        [rows] => Ok((read_values(&array, rows, 1)?, true)),
        [rows, cols] => Ok((read_values(&array, rows, cols)?, false)),
        _ => Err(array.wrong_shape("1-D or 2-D, [values] or [values, columns]")),
    }
}

fn read_values<F: Stored>(array: &Array<F>, rows: u64, cols: u64) -> Result<Matrix> {
    let number = array.needs_number()?;
    array.check_values()?;
    let values = array.read_all(number)?;
    // Neither is 0, so neither is more than the number of values, which is a usize.
    Ok(Matrix { rows: rows as usize, cols: cols as usize, values })
}
