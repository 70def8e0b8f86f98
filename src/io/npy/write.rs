//! Arrays, written.

use std::path::Path;

use bytemuck::NoUninit;

use super::header::write_header;
use crate::io::output::write_whole;
use crate::{Error, Result};

/// Writes a matrix of the shape `[rows, cols]`, row after row, as float32.
///
/// # Errors
/// [`Error::Input`] if there are not `rows * cols` values, and those of [`write_whole`].
pub fn write_matrix(path: &Path, rows: usize, cols: usize, values: &[f32]) -> Result<()> {
    if rows.checked_mul(cols) != Some(values.len()) {
        let found = values.len();
        return Err(Error::Input(format!("a {rows} x {cols} matrix cannot have {found} values")));
    }
    write_array(path, "f4", &format!("({rows}, {cols})"), values)
}

/// Writes a matrix of the shape `[rows, cols]` as float32, some values at a time: `fill` is given what takes the next ones.
///
/// # Errors
/// [`Error::Input`] if they are not `rows * cols`, those of [`write_whole`], and those of `fill`.
pub fn write_matrix_by_rows(
    path: &Path,
    rows: usize,
    cols: usize,
    fill: impl FnOnce(&mut dyn FnMut(&[f32]) -> Result<()>) -> Result<()>,
) -> Result<()> {
    // What fails inside may be no error of the file's.
    let mut failed = None;
    let written = write_whole(path, |out| {
        write_header(out, "f4", 4, &format!("({rows}, {cols})"))?;
        let mut count = 0;
        let filled = fill(&mut |values| {
            count += values.len();
            out.write_all(bytemuck::cast_slice(values)).map_err(|e| Error::io(path, e))
        });
        let wrong = || Error::Input(format!("a {rows} x {cols} matrix cannot have {count} values"));
        let filled =
            filled.and_then(|()| if rows.checked_mul(cols) == Some(count) { Ok(()) } else { Err(wrong()) });
        filled.map_err(|error| {
            failed = Some(error);
            std::io::Error::other("the values could not be made")
        })
    });
    failed.map_or(written, Err)
}

/// Writes an array of float32 of any shape.
///
/// # Errors
/// [`Error::Input`] if there are not as many values as the shape says, and those of [`write_whole`].
pub fn write_tensor(path: &Path, shape: &[usize], values: &[f32]) -> Result<()> {
    write_shaped(path, "f4", shape, values)
}

/// Writes a matrix of bytes of the shape `[rows, cols]`, as uint8.
///
/// # Errors
/// [`Error::Input`] if there are not `rows * cols` values, and those of [`write_whole`].
pub fn write_codes(path: &Path, rows: usize, cols: usize, values: &[u8]) -> Result<()> {
    write_shaped(path, "u1", &[rows, cols], values)
}

fn write_shaped<T: NoUninit>(path: &Path, kind: &str, shape: &[usize], values: &[T]) -> Result<()> {
    let (count, found) = (shape.iter().try_fold(1usize, |all, &n| all.checked_mul(n)), values.len());
    if count != Some(found) {
        return Err(Error::Input(format!("an array of shape {shape:?} cannot have {found} values")));
    }
    let sizes: Vec<String> = shape.iter().map(usize::to_string).collect();
    // A tuple of one has a comma.
    let end = if sizes.len() == 1 { "," } else { "" };
    write_array(path, kind, &format!("({}{end})", sizes.join(", ")), values)
}

/// Writes values as a 1-D array of float32.
///
/// # Errors
/// Those of [`write_whole`].
pub fn write_vector(path: &Path, values: &[f32]) -> Result<()> {
    write_array(path, "f4", &format!("({},)", values.len()), values)
}

/// Writes labels as a 1-D array of int32.
///
/// # Errors
/// Those of [`write_whole`].
pub fn write_labels(path: &Path, labels: &[i32]) -> Result<()> {
    write_shaped_labels(path, &[labels.len()], labels)
}

/// Writes labels as an array of int32 of any shape.
///
/// # Errors
/// [`Error::Input`] if there are not as many labels as the shape says, and those of [`write_whole`].
pub fn write_shaped_labels(path: &Path, shape: &[usize], labels: &[i32]) -> Result<()> {
    write_shaped(path, "i4", shape, labels)
}

/// Writes an array in the byte order of this machine, as numpy does.
fn write_array<T: NoUninit>(path: &Path, kind: &str, shape: &str, values: &[T]) -> Result<()> {
    write_whole(path, |out| {
        write_header(out, kind, size_of::<T>(), shape)?;
        out.write_all(bytemuck::cast_slice(values))
    })
}
