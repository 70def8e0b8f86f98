//! Arrays out, in the format that the name of their file says: `.npy` or `.csv`.
//!
//! A table has a line for each row, and of numbers of one axis a line for each. Its numbers have the digits that give the same
//! f32 again. What is no ordinary file, such as `/dev/stdout`, gets `.npy`.

use std::ffi::OsStr;
use std::fmt::Debug;
use std::io::Write;
use std::path::Path;

use bytemuck::NoUninit;

use super::npy;
use super::output::write_whole;
use crate::{Error, Result};

/// A type that arrays are written in.
pub trait Value: NoUninit + Debug {
    /// Numpy's code, without the byte order.
    const CODE: &'static str;
}

impl Value for f32 {
    const CODE: &'static str = "f4";
}

impl Value for i32 {
    const CODE: &'static str = "i4";
}

impl Value for u8 {
    const CODE: &'static str = "u1";
}

/// How an array is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Npy,
    Csv,
}

impl Format {
    fn of(path: &Path, dimensions: usize) -> Result<Self> {
        let extension = path.extension().and_then(OsStr::to_str).map(str::to_ascii_lowercase);
        match extension.as_deref() {
            Some("npy") => Ok(Self::Npy),
            Some("csv") if dimensions <= 2 => Ok(Self::Csv),
            Some("csv") => {
                let problem =
                    format!("an array of {dimensions} dimensions is no table: give a name that ends in .npy");
                Err(Error::file(path, problem))
            }
            None if path.exists() && !path.is_file() => Ok(Self::Npy),
            _ => Err(Error::file(
                path,
                "arrays are written as .npy or .csv: give a name that ends in one of these",
            )),
        }
    }
}

/// Refuses a path whose name is of no format that an array of so many dimensions can be written in: for before long work.
///
/// # Errors
/// [`Error::File`].
pub fn check(path: &Path, dimensions: usize) -> Result<()> {
    Format::of(path, dimensions).map(drop)
}

/// Writes an array of any shape.
///
/// # Errors
/// [`Error::Input`] if there are not as many values as the shape says; those of [`check`] and [`write_whole`].
pub fn write<T: Value>(path: &Path, shape: &[usize], values: &[T]) -> Result<()> {
    write_pieces(path, shape, |take| take(values))
}

/// Writes an array, some values at a time: `fill` is given what takes the next ones.
///
/// # Errors
/// [`Error::Input`] if they are not as many as the shape says; those of [`check`], [`write_whole`] and `fill`.
pub fn write_pieces<T: Value>(
    path: &Path,
    shape: &[usize],
    fill: impl FnOnce(&mut dyn FnMut(&[T]) -> Result<()>) -> Result<()>,
) -> Result<()> {
    let format = Format::of(path, shape.len())?;
    let expected = shape.iter().try_fold(1usize, |all, &n| all.checked_mul(n));
    let cols = if shape.len() == 2 { shape[1].max(1) } else { 1 };
    // What fails inside may be no error of the file's.
    let mut failed = None;
    let written = write_whole(path, |out| {
        if format == Format::Npy {
            npy::write_header(out, T::CODE, size_of::<T>(), shape)?;
        }
        let mut count = 0;
        let filled = fill(&mut |values| {
            let written = match format {
                Format::Npy => out.write_all(bytemuck::cast_slice(values)),
                Format::Csv => write_cells(out, count, cols, values),
            };
            count += values.len();
            written.map_err(|e| Error::io(path, e))
        });
        let wrong = || Error::Shape(format!("an array of shape {shape:?} cannot have {count} values"));
        let filled = filled.and_then(|()| if expected == Some(count) { Ok(()) } else { Err(wrong()) });
        filled.map_err(|error| {
            failed = Some(error);
            std::io::Error::other("the values could not be made")
        })
    });
    failed.map_or(written, Err)
}

/// Writes cells of rows of `cols`, of which `before` are written already.
fn write_cells<T: Value>(
    out: &mut dyn Write,
    before: usize,
    cols: usize,
    values: &[T],
) -> std::io::Result<()> {
    for (at, value) in (before + 1..).zip(values) {
        write!(out, "{value:?}{}", if at % cols == 0 { "\n" } else { "," })?;
    }
    Ok(())
}
