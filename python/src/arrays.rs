//! Rows of numpy arrays and of files as lowbit reads them.

use std::fs::File;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use half::f16;
use lowbit::io::vecs::Element;
use lowbit::kmeans::Source;
use lowbit::{Error, Result};
use numpy::{PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::results::{Values as _, check_stop};

/// What functions take as `x`: a C-contiguous matrix of a type that a device has as it is, or rows of a file.
#[derive(FromPyObject)]
pub enum Array<'py> {
    /// Of float32.
    F32(PyReadonlyArray2<'py, f32>),
    /// Of float16.
    F16(PyReadonlyArray2<'py, f16>),
    /// Of uint8.
    U8(PyReadonlyArray2<'py, u8>),
    /// Of int8.
    I8(PyReadonlyArray2<'py, i8>),
    /// A memory map, read as a file.
    File(PyRef<'py, FileRows>),
}

impl Array<'_> {
    /// The rows, where they lie.
    ///
    /// # Errors
    /// ValueError for an array that is not C-contiguous.
    pub fn rows(&self) -> PyResult<Rows<'_>> {
        let shape = |array: &[usize]| (array[0] as u64, array[1]);
        let ((rows, cols), element, values) = match self {
            Self::F32(x) => (shape(x.shape()), Element::F32, bytemuck::cast_slice(x.values()?)),
            Self::F16(x) => (shape(x.shape()), Element::F16, bytemuck::cast_slice(x.values()?)),
            Self::U8(x) => (shape(x.shape()), Element::U8, x.values()?),
            Self::I8(x) => (shape(x.shape()), Element::I8, bytemuck::cast_slice(x.values()?)),
            Self::File(file) => {
                let file = &**file;
                return Ok(Rows {
                    rows: file.rows,
                    cols: file.cols,
                    element: file.element,
                    values: Values::File(file),
                });
            }
        };
        Ok(Rows { rows, cols, element, values: Values::Memory(values) })
    }
}

/// Rows of a matrix, without the array that they belong to.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    rows: u64,
    cols: usize,
    element: Element,
    values: Values<'a>,
}

#[derive(Clone, Copy)]
enum Values<'a> {
    Memory(&'a [u8]),
    File(&'a FileRows),
}

/// Rows that are no longer read once a stop is asked for.
pub struct Heeded<'a> {
    /// The rows.
    pub rows: Rows<'a>,
    /// Set to end.
    pub stop: Arc<AtomicBool>,
}

impl Rows<'_> {
    fn read(&self, rows: Range<u64>, out: &mut [u8]) -> Result<()> {
        let row = self.cols * self.element.bytes();
        match self.values {
            Values::Memory(values) => {
                let from = values.get(rows.start as usize * row..rows.end as usize * row);
                let from = from.filter(|from| from.len() == out.len());
                let problem =
                    || Error::Input(format!("there are no rows {rows:?} in an array of {}", self.rows));
                out.copy_from_slice(from.ok_or_else(problem)?);
                Ok(())
            }
            Values::File(file) => file.read(rows.start * row as u64, out),
        }
    }
}

impl Source for Heeded<'_> {
    fn rows(&self) -> u64 {
        self.rows.rows
    }

    fn cols(&self) -> usize {
        self.rows.cols
    }

    fn element(&self) -> Element {
        self.rows.element
    }

    fn read(&self, rows: Range<u64>, out: &mut [f32]) -> Result<()> {
        if self.rows.element == Element::F32 {
            return self.read_packed(rows, bytemuck::cast_slice_mut(out));
        }
        let mut bytes = vec![0; out.len() * self.rows.element.bytes()];
        self.read_packed(rows, &mut bytes)?;
        match self.rows.element {
            Element::F16 => {
                let pairs = bytes.as_chunks().0.iter();
                out.iter_mut().zip(pairs).for_each(|(to, pair)| *to = f16::from_ne_bytes(*pair).to_f32());
            }
            Element::I8 => {
                out.iter_mut().zip(&bytes).for_each(|(to, &byte)| *to = f32::from(byte.cast_signed()));
            }
            _ => out.iter_mut().zip(&bytes).for_each(|(to, &byte)| *to = f32::from(byte)),
        }
        Ok(())
    }

    fn read_packed(&self, rows: Range<u64>, out: &mut [u8]) -> Result<()> {
        check_stop(&self.stop, "while points were read")?;
        self.rows.read(rows, out)
    }
}

/// Rows of a file: what a memory map shows, read without keeping its pages.
#[pyclass(frozen)]
pub struct FileRows {
    path: PathBuf,
    file: File,
    offset: u64,
    rows: u64,
    cols: usize,
    element: Element,
}

#[pymethods]
impl FileRows {
    #[new]
    fn new(path: PathBuf, offset: u64, rows: u64, cols: usize, dtype: &str) -> PyResult<Self> {
        let element = match dtype {
            "float32" => Element::F32,
            "float16" => Element::F16,
            "uint8" => Element::U8,
            "int8" => Element::I8,
            other => return Err(PyValueError::new_err(format!("rows of {other} are not read from files"))),
        };
        Ok(Self { file: File::open(&path)?, path, offset, rows, cols, element })
    }
}

impl FileRows {
    fn read(&self, at: u64, out: &mut [u8]) -> Result<()> {
        read_at(&self.file, self.offset + at, out).map_err(|reason| Error::io(&self.path, reason))
    }
}

#[cfg(unix)]
fn read_at(file: &File, at: u64, out: &mut [u8]) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, out, at)
}

#[cfg(windows)]
fn read_at(file: &File, mut at: u64, mut out: &mut [u8]) -> std::io::Result<()> {
    while !out.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, out, at)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            count => (at, out) = (at + count as u64, &mut out[count..]),
        }
    }
    Ok(())
}
