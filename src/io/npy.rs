//! Numpy's `.npy` files: matrices of floats, and labels.
//!
//! The format is described at <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>: a
//! magic string, a version, the length of the header, a Python dictionary as text, the data. The dictionary
//! is parsed here, and not by a crate, because a file is input to be doubted: this parser reads a
//! bounded header, does not recurse, and says in one line what is wrong.

use std::fs::File;
use std::io::{Read, Write};
use std::ops::Range;
use std::path::Path;

use bytemuck::{AnyBitPattern, NoUninit};
use half::f16;
use half::slice::HalfFloatSliceExt;

use super::Positioned;
use super::output::write_whole;
use super::vecs::Element;
use crate::{Error, Result};

const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// The longest header that version 1 can have. Those of plain arrays have about 120 bytes.
const MAX_HEADER: u32 = 0xffff;

/// The byte order of this machine, as numpy writes it.
const NATIVE: char = if cfg!(target_endian = "little") { '<' } else { '>' };

/// Values read at a time.
const BLOCK: usize = 1 << 18;

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

/// Reads a matrix of float32, or of float16, which is widened.
///
/// The file is an array in C order of the shape `[rows, cols]`, neither of them 0, in either byte order.
/// NaN and infinity are read as they are; see [`Matrix::first_non_finite`].
///
/// # Errors
/// [`Error::Io`] if the file cannot be read, [`Error::File`] if it is anything else than described above.
pub fn read_matrix(path: &Path) -> Result<Matrix> {
    let array = Array::open(path)?;
    let &[rows, cols] = array.shape.as_slice() else {
        return Err(array.wrong_shape("2-D, [rows, columns]"));
    };
    read_values(array, rows, cols)
}

/// As [`read_matrix`], for examples of any shape: an array of the shape `[rows, …]` with at least one axis more, which
/// become the columns. Gives the shape of one example too.
///
/// # Errors
/// Those of [`read_matrix`].
pub fn read_examples(path: &Path) -> Result<(Matrix, Vec<usize>)> {
    examples(Array::open(path)?)
}

/// As [`read_examples`], from memory; errors call it `name`.
///
/// # Errors
/// Those of [`read_matrix`].
pub fn parse_examples(name: &Path, bytes: &[u8]) -> Result<(Matrix, Vec<usize>)> {
    examples(Array::begin(name, bytes, bytes.len() as u64)?)
}

fn examples<R: Read>(array: Array<'_, R>) -> Result<(Matrix, Vec<usize>)> {
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

/// As [`read_matrix`], for columns that need not be several: an array of the shape `[rows, cols]`, or `[rows]`, which is
/// one column. Says whether it was that.
///
/// # Errors
/// Those of [`read_matrix`].
pub fn read_columns(path: &Path) -> Result<(Matrix, bool)> {
    let array = Array::open(path)?;
    match *array.shape.as_slice() {
        [rows] => Ok((read_values(array, rows, 1)?, true)),
        [rows, cols] => Ok((read_values(array, rows, cols)?, false)),
        _ => Err(array.wrong_shape("1-D or 2-D, [values] or [values, columns]")),
    }
}

fn read_values<R: Read>(mut array: Array<'_, R>, rows: u64, cols: u64) -> Result<Matrix> {
    let width = match array.kind() {
        "f4" => 4,
        "f2" => 2,
        _ => return Err(array.wrong_dtype("float32 or float16", "numpy.float32")),
    };
    if rows == 0 || cols == 0 {
        return Err(array.error(format!("the array is empty: its shape is {}", array.shape_text())));
    }
    let count = array.check_size(width)?;
    let mut values = array.room(count)?;
    // By blocks, so that they are still in the processor's cache when they are converted.
    let mut halves = vec![f16::ZERO; if width == 2 { count.min(BLOCK) } else { 0 }];
    while values.len() < count {
        let done = values.len();
        values.resize(count.min(done + BLOCK), 0.0);
        let new = &mut values[done..];
        if width == 4 {
            array.read(new, |v: f32| f32::from_bits(v.to_bits().swap_bytes()))?;
        } else {
            let halves = &mut halves[..new.len()];
            array.read(halves, |v: f16| f16::from_bits(v.to_bits().swap_bytes()))?;
            halves.convert_to_f32_slice(new);
        }
    }
    // Neither is 0, so neither is more than `count`, which is a usize.
    Ok(Matrix { rows: rows as usize, cols: cols as usize, values })
}

/// An open array whose values stay in the file.
#[derive(Debug)]
pub(super) struct Values {
    pub(super) file: Positioned,
    /// Where the data begins.
    pub(super) offset: u64,
    /// The size of the data.
    pub(super) bytes: u64,
    /// `[rows, cols]` or `[cols]`, none of them 0.
    pub(super) shape: Vec<u64>,
    pub(super) element: Element,
    pub(super) big_endian: bool,
}

impl Values {
    /// Opens an array in C order of one of the types of `elements`, in either byte order, with two dimensions or, where
    /// `flat` may be, one.
    pub(super) fn open(path: &Path, elements: &[Element], flat: bool) -> Result<Self> {
        let array = Array::open(path)?;
        let element = match (array.kind(), array.dtype.trim_start_matches(['<', '>', '|'])) {
            ("f4", _) => Some(Element::F32),
            ("f2", _) => Some(Element::F16),
            // A byte has no order.
            (_, "u1") => Some(Element::U8),
            (_, "i1") => Some(Element::I8),
            _ => None,
        };
        let Some(element) = element.filter(|element| elements.contains(element)) else {
            let names = elements.iter().map(|element| match element {
                Element::F32 => "float32",
                Element::F16 => "float16",
                Element::U8 => "uint8",
                Element::I8 => "int8",
                Element::I32 => "int32",
            });
            return Err(array.wrong_dtype(&names.collect::<Vec<_>>().join(" or "), "numpy.float32"));
        };
        match array.shape.len() {
            2 => {}
            1 if flat => {}
            _ if flat => return Err(array.wrong_shape("2-D, [rows, columns], or 1-D")),
            _ => return Err(array.wrong_shape("2-D, [rows, columns]")),
        }
        if array.shape.contains(&0) {
            return Err(array.error(format!("the array is empty: its shape is {}", array.shape_text())));
        }
        array.check_size(element.bytes() as u64)?;
        let big_endian = array.dtype.starts_with('>');
        let Array { file, offset, data: bytes, shape, .. } = array;
        Ok(Self { file: Positioned::new(path, file), offset, bytes, shape, element, big_endian })
    }
}

/// An open array of float32 or float16 whose values stay in the file: they are read a piece at a time, from any thread.
#[derive(Debug)]
pub struct Floats(Values);

impl Floats {
    /// Opens an array in C order, of the shape `[rows, cols]` or `[cols]`, none of them 0, in either byte order.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read, [`Error::File`] if it is anything else than described above.
    pub fn open(path: &Path) -> Result<Self> {
        Values::open(path, &[Element::F32, Element::F16], true).map(Self)
    }

    /// The shape; the last dimension is contiguous.
    pub fn shape(&self) -> &[u64] {
        &self.0.shape
    }

    /// Whether the values are float16, and not float32.
    pub fn is_half(&self) -> bool {
        self.0.element == Element::F16
    }

    /// The size of the data in bytes.
    pub fn bytes(&self) -> u64 {
        self.0.bytes
    }

    /// Reads a part of the values as little-endian bytes: `range` is in bytes from the first one, of whole values, and as
    /// long as `out`.
    ///
    /// # Errors
    /// [`Error::Input`] if the range is not within the data, not of whole values or not as long as `out`;
    /// [`Error::Io`] if the file cannot be read; [`Error::File`] if it has become shorter.
    pub fn read(&self, range: Range<u64>, out: &mut [u8]) -> Result<()> {
        let Values { ref file, offset, bytes, element, big_endian, .. } = self.0;
        let Range { start, end } = range;
        let width = element.bytes() as u64;
        let whole = start.is_multiple_of(width) && end.is_multiple_of(width);
        if start > end || end > bytes || end - start != out.len() as u64 || !whole {
            let room = out.len();
            return Err(Error::Input(format!(
                "the bytes {start}..{end} of an array of {bytes} are not whole values within it that fit into {room}"
            )));
        }
        file.read_values(offset + start, element.bytes(), big_endian, out)
    }
}

/// Reads labels: a 1-D array of int32, or of int64 whose values fit into an i32, in either byte order.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read, [`Error::File`] if it is anything else than described above.
pub fn read_labels(path: &Path) -> Result<Vec<i32>> {
    let mut array = Array::open(path)?;
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
/// [`Error::Io`] if the file cannot be read, [`Error::File`] if it is anything else than described above, with the first
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
    write_array(path, "i4", &format!("({},)", labels.len()), labels)
}

/// Writes an array in the byte order of this machine, as numpy does.
fn write_array<T: NoUninit>(path: &Path, kind: &str, shape: &str, values: &[T]) -> Result<()> {
    write_whole(path, |out| {
        write_header(out, kind, size_of::<T>(), shape)?;
        out.write_all(bytemuck::cast_slice(values))
    })
}

/// Writes what precedes values of `width` bytes.
fn write_header(out: &mut dyn Write, kind: &str, width: usize, shape: &str) -> std::io::Result<()> {
    // Bytes have no order.
    let order = if width == 1 { '|' } else { NATIVE };
    let mut header = format!("{{'descr': '{order}{kind}', 'fortran_order': False, 'shape': {shape}, }}");
    // The data begins at a multiple of 64 bytes; a newline ends the header.
    let preamble = MAGIC.len() + 4;
    let end = (preamble + header.len() + 1).next_multiple_of(64);
    header.extend(std::iter::repeat_n(' ', end - 1 - preamble - header.len()));
    header.push('\n');
    // It fits: a few sizes of 20 digits at most, and about 60 fixed characters.
    let length = header.len() as u16;
    out.write_all(MAGIC)?;
    out.write_all(&[1, 0])?;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(header.as_bytes())
}

/// An open file whose header has been read.
struct Array<'a, R = File> {
    path: &'a Path,
    file: R,
    /// Where the data begins.
    offset: u64,
    /// What follows the header, in bytes.
    data: u64,
    /// The byte order (`<`, `>` or `|`) and the type, such as `<f4`.
    dtype: String,
    shape: Vec<u64>,
}

impl<'a> Array<'a> {
    fn open(path: &'a Path) -> Result<Self> {
        let (file, size) = super::open(path)?;
        Self::begin(path, file, size)
    }
}

impl<'a, R: Read> Array<'a, R> {
    /// Reads the header of an array that is `size` bytes long, header included.
    fn begin(path: &'a Path, mut file: R, size: u64) -> Result<Self> {
        let error = |problem: &str| Error::file(path, problem);
        let mut left = size;
        let mut take = |bytes: &mut [u8]| {
            let Some(rest) = left.checked_sub(bytes.len() as u64) else {
                return Err(error("the file ends inside its .npy header: it is truncated"));
            };
            left = rest;
            file.read_exact(bytes).map_err(|e| Error::io(path, e))
        };

        let mut magic = [0; 6];
        let begin = magic.len().min(usize::try_from(size).unwrap_or(usize::MAX));
        take(&mut magic[..begin])?;
        if magic.starts_with(b"PK\x03\x04") {
            return Err(error(
                "this is a zip archive (.npz?), not a .npy file: save one array with numpy.save",
            ));
        }
        if magic[..begin] != MAGIC[..begin] {
            return Err(error("this is not a .npy file: it does not begin with \\x93NUMPY"));
        }
        take(&mut magic[begin..])?;
        let mut version = [0; 2];
        take(&mut version)?;
        let length = match version {
            [1, 0] => {
                let mut length = [0; 2];
                take(&mut length)?;
                u16::from_le_bytes(length).into()
            }
            [2 | 3, 0] => {
                let mut length = [0; 4];
                take(&mut length)?;
                u32::from_le_bytes(length)
            }
            [major, minor] => {
                return Err(error(&format!(
                    ".npy version {major}.{minor} is unknown; 1.0, 2.0 and 3.0 are read"
                )));
            }
        };
        if length > MAX_HEADER {
            return Err(error(&format!("the .npy header is {length} bytes long: not that of a plain array")));
        }
        let mut text = vec![0; length as usize];
        take(&mut text)?;

        // The dictionary of an array that can be read is ASCII in every version.
        let header = str::from_utf8(&text).map_err(|_| "it is not text");
        let Header { dtype, fortran_order, shape } = header
            .and_then(parse_header)
            .map_err(|problem| error(&format!("the .npy header is damaged: {problem}")))?;
        if fortran_order {
            return Err(error("the array is in Fortran order: save numpy.ascontiguousarray(array)"));
        }
        Ok(Self { path, file, offset: size - left, data: left, dtype, shape })
    }

    fn error(&self, problem: String) -> Error {
        Error::file(self.path, problem)
    }

    /// The type without its byte order, such as `f4`; empty if there is no byte order.
    fn kind(&self) -> &str {
        self.dtype.strip_prefix(['<', '>']).unwrap_or("")
    }

    fn wrong_dtype(&self, wanted: &str, convert_to: &str) -> Error {
        // The text comes from the file, so it may be anything.
        let dtype: String = self.dtype.escape_debug().take(24).collect();
        let name = dtype_name(&self.dtype).map_or_else(String::new, |name| format!("{name} "));
        self.error(format!(
            "the dtype is {name}('{dtype}'), not {wanted}: convert with .astype({convert_to})"
        ))
    }

    fn wrong_shape(&self, wanted: &str) -> Error {
        let (dimensions, shape) = (self.shape.len(), self.shape_text());
        self.error(format!("the array is {dimensions}-D, its shape is {shape}; it has to be {wanted}"))
    }

    /// The shape as Python writes it.
    fn shape_text(&self) -> String {
        match self.shape.as_slice() {
            [one] => format!("({one},)"),
            shape => format!("({})", shape.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")),
        }
    }

    /// Holds the shape against the size of the file, and gives the number of values.
    fn check_size(&self, width: u64) -> Result<usize> {
        let shape = self.shape_text();
        let values = self.shape.iter().try_fold(1u64, |product, &n| product.checked_mul(n));
        let Some((count, bytes)) = values.and_then(|n| Some((n, n.checked_mul(width)?))) else {
            return Err(self.error(format!("the header says shape {shape}: no file is that large")));
        };
        if bytes != self.data {
            let problem =
                if bytes > self.data { "the file is truncated" } else { "there is something after the data" };
            let (dtype, found) = (&self.dtype, self.data);
            return Err(self.error(format!(
                "{problem}: shape {shape} of '{dtype}' takes {bytes} bytes of data, found {found}"
            )));
        }
        usize::try_from(count).map_err(|_| self.no_room(count))
    }

    /// Memory for `count` values.
    fn room<T>(&self, count: usize) -> Result<Vec<T>> {
        let mut values = Vec::new();
        values.try_reserve_exact(count).map_err(|_| self.no_room(count as u64))?;
        Ok(values)
    }

    fn no_room(&self, count: u64) -> Error {
        self.error(format!("there is not enough memory for {count} values"))
    }

    /// Reads the next values of the file; `swap` turns the bytes of one around.
    fn read<T: AnyBitPattern + NoUninit>(&mut self, values: &mut [T], swap: impl Fn(T) -> T) -> Result<()> {
        self.file.read_exact(bytemuck::cast_slice_mut(values)).map_err(|e| Error::io(self.path, e))?;
        if !self.dtype.starts_with(NATIVE) {
            values.iter_mut().for_each(|value| *value = swap(*value));
        }
        Ok(())
    }
}

/// Numpy's name of a number type, such as `float64` for `<f8`.
fn dtype_name(dtype: &str) -> Option<String> {
    let bytes: u32 = dtype.get(2..)?.parse().ok().filter(|&n| n <= 32)?;
    let kind = match dtype.get(1..2)? {
        "b" => return Some("bool".into()),
        "f" => "float",
        "i" => "int",
        "u" => "uint",
        "c" => "complex",
        _ => return None,
    };
    Some(format!("{kind}{}", bytes * 8))
}

/// The dictionary of a `.npy` header.
#[derive(Debug)]
struct Header {
    dtype: String,
    fortran_order: bool,
    shape: Vec<u64>,
}

/// Parses `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`, with the keys in any order.
fn parse_header(text: &str) -> std::result::Result<Header, &'static str> {
    let (mut dtype, mut fortran_order, mut shape) = (None, None, None);
    let rest = &mut { text };
    if !eat(rest, "{") {
        return Err("it is not a dictionary");
    }
    while !eat(rest, "}") {
        let key = string(rest).ok_or("a key is missing")?;
        if !eat(rest, ":") {
            return Err("a colon is missing");
        }
        match key {
            "descr" if rest.trim_start().starts_with('[') => {
                return Err("it has a structured dtype, not a plain one");
            }
            "descr" => dtype = Some(string(rest).ok_or("'descr' is not a string")?),
            "fortran_order" if eat(rest, "True") => fortran_order = Some(true),
            "fortran_order" if eat(rest, "False") => fortran_order = Some(false),
            "fortran_order" => return Err("'fortran_order' is neither True nor False"),
            "shape" => shape = Some(tuple(rest).ok_or("'shape' is not a tuple of sizes")?),
            _ => return Err("it has an unknown key"),
        }
        if !eat(rest, ",") && !rest.starts_with('}') {
            return Err("a comma is missing");
        }
    }
    if !rest.trim().is_empty() {
        return Err("something follows the dictionary");
    }
    Ok(Header {
        dtype: dtype.ok_or("'descr' is missing")?.to_owned(),
        fortran_order: fortran_order.ok_or("'fortran_order' is missing")?,
        shape: shape.ok_or("'shape' is missing")?,
    })
}

/// Drops white space and then `token` from the front of `rest`; false if it is not there.
fn eat(rest: &mut &str, token: &str) -> bool {
    *rest = rest.trim_start();
    rest.strip_prefix(token).inspect(|after| *rest = after).is_some()
}

/// A Python string without escapes.
fn string<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let quote = if eat(rest, "'") { '\'' } else { eat(rest, "\"").then_some('"')? };
    let (string, after) = rest.split_once(quote)?;
    *rest = after;
    Some(string)
}

/// A Python tuple of sizes, of at most the 64 dimensions that numpy has.
fn tuple(rest: &mut &str) -> Option<Vec<u64>> {
    let mut sizes = Vec::new();
    let mut open = eat(rest, "(");
    while open && sizes.len() <= 64 {
        if eat(rest, ")") {
            return Some(sizes);
        }
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, after) = rest.split_at_checked(digits)?;
        sizes.push(number.parse().ok()?);
        *rest = after;
        open = eat(rest, ",") || rest.starts_with(')');
    }
    None
}
