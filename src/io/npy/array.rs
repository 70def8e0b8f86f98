//! An array whose values stay where they are: in a `.npy` file, a member of a `.npz` archive, a dataset of HDF5, or a table.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use super::header::{Header, MAGIC, NATIVE, dtype_name, read_header};
use super::npz::{self, Span};
use crate::io::csv::Csv;
#[cfg(feature = "hdf5")]
use crate::io::hdf5;
use crate::io::kind::Kind;
use crate::io::number::Number;
#[cfg(feature = "parquet")]
use crate::io::parquet::{self, Unpacked};
use crate::io::{Positioned, split_part};
use crate::{Error, Result};

/// Bytes that are read at a time on their way to f32: few enough for a processor's cache.
const BLOCK: usize = 1 << 18;
/// The same where the values of a row lie far from each other, so that there are fewer reads.
pub const FORTRAN_BLOCK: usize = 1 << 24;

/// Bytes that are read by their place.
pub trait Stored {
    /// Fills `out` with what begins `at`.
    fn read_at(&self, at: u64, out: &mut [u8]) -> std::io::Result<()>;
}

impl Stored for Positioned {
    fn read_at(&self, at: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.read_exact(at, out)
    }
}

impl Stored for &[u8] {
    fn read_at(&self, at: u64, out: &mut [u8]) -> std::io::Result<()> {
        let start = usize::try_from(at).unwrap_or(usize::MAX);
        let from = self.get(start..).and_then(|rest| rest.get(..out.len()));
        out.copy_from_slice(from.ok_or(std::io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// Numpy's code of a type.
fn code(number: Number, big_endian: bool) -> String {
    let code = match number {
        Number::Bool => "|b1",
        Number::U8 => "|u1",
        Number::I8 => "|i1",
        Number::U16 => "<u2",
        Number::I16 => "<i2",
        Number::U32 => "<u4",
        Number::I32 => "<i4",
        Number::U64 => "<u8",
        Number::I64 => "<i8",
        Number::F16 => "<f2",
        Number::Bf16 => "<bf2",
        Number::F32 => "<f4",
        Number::F64 => "<f8",
    };
    if big_endian { code.replacen('<', ">", 1) } else { code.to_owned() }
}

#[cfg(not(feature = "parquet"))]
fn no_parquet(path: &Path) -> Error {
    Error::file(path, "this build of lowbit reads no Parquet files: it lacks the feature `parquet`")
}

#[cfg(not(feature = "hdf5"))]
fn no_hdf5(path: &Path) -> Error {
    Error::file(path, "this build of lowbit reads no HDF5 files: it lacks the feature `hdf5`")
}

/// Which columns of a Parquet file are wanted.
#[derive(Clone, Copy)]
#[cfg_attr(not(feature = "parquet"), expect(dead_code, reason = "only the reader of such files looks at it"))]
pub enum Wanted<'a> {
    /// The one with this name.
    Named(&'a str),
    /// The only one of lists, or all but those called so, which are of numbers.
    Without(&'a [String]),
}

/// An open array whose header has been read.
#[derive(Debug)]
pub struct Array<F = Positioned> {
    /// As it was given, with the name of a member or a column.
    pub path: PathBuf,
    pub file: F,
    /// Where the data begins.
    offset: u64,
    /// What follows the header, in bytes.
    pub data: u64,
    /// The byte order (`<`, `>` or `|`) and the type, such as `<f4`.
    pub dtype: String,
    /// Whether the first axis is contiguous, and not the last one.
    pub fortran: bool,
    pub shape: Vec<u64>,
    /// What is said of which part of a file it is.
    notice: Option<String>,
    /// The names of the columns, of a table that has them.
    pub columns: Option<Vec<String>>,
}

impl Array {
    /// Opens the array in a file: `.npy`, `.npz` (its only one, or that of `file.npz:name`), or a table of text of which every
    /// cell is a number (or one column of it, `file.csv:name`, which is 1-D).
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_without(path, None)
    }

    /// As [`Array::open`]; of a table, without the columns called so, where some can be left out.
    pub fn open_without(path: &Path, without: Option<&[String]>) -> Result<Self> {
        let (archive, name) = split_part(path);
        let kind = Kind::of(&archive)?;
        if kind == Kind::Text {
            return Self::of_table(path, &archive, name.as_deref(), without);
        }
        if kind == Kind::Parquet {
            let without = without.unwrap_or_default();
            let wanted = match name.as_deref() {
                Some(_) if !without.is_empty() => {
                    return Err(Error::file(
                        path,
                        "one column is asked for by its name: leave out `without`",
                    ));
                }
                Some(name) => Wanted::Named(name),
                None => Wanted::Without(without),
            };
            return Self::of_parquet(path, &archive, wanted);
        }
        if kind == Kind::Hdf5 {
            return Self::of_hdf5(path, &archive, name.as_deref());
        }
        let (file, size) = crate::io::open(&archive)?;
        match (kind, name) {
            (Kind::Zip, name) => {
                let file = Positioned::new(&archive, file);
                let member = npz::choose(&file, npz::members(&file, size)?, name.as_deref())?;
                let (header, length) = read_header(path, member.reader(&file, size)?, member.bytes)?;
                let (file, begin) = member.unpack(file, size)?;
                let file = Positioned { path: path.to_owned(), ..file };
                Ok(Self::new(path, file, header, begin + length, member.bytes - length))
            }
            (_, Some(_)) => {
                Err(Error::file(path, "this is no .npz archive: its array has no name to be chosen by"))
            }
            (Kind::Npy | Kind::Unknown, None) => {
                let file = Positioned::new(path, file);
                let mut first = [0];
                file.read_values(0, 1, false, &mut first)?;
                // What only begins like one, the header's reader says.
                if first != MAGIC[..1] {
                    let problem = "this is no array: neither a .npy, .npz, .parquet or .h5 file nor a table of text (.csv)";
                    return Err(Error::file(path, problem));
                }
                let (header, length) = read_header(path, Span { file: &file, at: 0, end: size }, size)?;
                Ok(Self::new(path, file, header, length, size - length))
            }
            (kind, None) => {
                let name = kind.name().unwrap_or_default();
                Err(Error::file(
                    path,
                    format!("this is {name}, not an array (.npy, .npz, .parquet, .h5 or .csv)"),
                ))
            }
        }
    }

    /// The cells of a table, in a temporary file.
    fn of_table(path: &Path, table: &Path, name: Option<&str>, without: Option<&[String]>) -> Result<Self> {
        let csv = Csv::open(table)?;
        let columns = match name {
            Some(name) => vec![csv.column(name)?],
            None => csv.columns_without(without.unwrap_or_default())?,
        };
        let names: Option<Vec<String>> =
            csv.names().map(|names| columns.iter().map(|&at| names[at].clone()).collect());
        // What pandas writes in front of each row, most often.
        let nameless = |names: &Vec<String>| name.is_none() && names.first().is_some_and(String::is_empty);
        let notice = names.as_ref().filter(|names| nameless(names)).map(|_| {
            "its first column has no name, and is read as values: `without` '' leaves it out".to_owned()
        });
        let io = |reason| Error::io(path, reason);
        let temporary = tempfile::tempfile().map_err(io)?;
        let mut out = BufWriter::new(&temporary);
        let write = |value: f32| out.write_all(&value.to_ne_bytes()).map_err(io);
        let rows = csv.read_into(&columns, without.is_some() && name.is_none(), write)? as u64;
        out.flush().map_err(io)?;
        drop(out);
        let cols = columns.len() as u64;
        let shape = if name.is_some() { vec![rows] } else { vec![rows, cols] };
        let header = Header { dtype: format!("{NATIVE}f4"), fortran_order: false, shape };
        let array = Self::new(path, Positioned::new(path, temporary), header, 0, rows * cols * 4);
        Ok(Self { columns: names, notice, ..array })
    }

    /// Columns of a Parquet file, in a temporary file.
    #[cfg(feature = "parquet")]
    fn of_parquet(path: &Path, table: &Path, wanted: Wanted<'_>) -> Result<Self> {
        let Unpacked { file, shape, taken } = parquet::unpack(table, wanted)?;
        let array = Self::of_parts(Positioned::new(path, file), 0, taken.number, shape);
        Ok(Self { notice: taken.notice, columns: Some(taken.columns), ..array })
    }

    #[cfg(not(feature = "parquet"))]
    fn of_parquet(path: &Path, _: &Path, _: Wanted<'_>) -> Result<Self> {
        Err(no_parquet(path))
    }

    /// A dataset of an HDF5 file.
    #[cfg(feature = "hdf5")]
    fn of_hdf5(path: &Path, archive: &Path, name: Option<&str>) -> Result<Self> {
        let (found, values) = hdf5::open(archive, name)?;
        let file = values.unpacked.map_or_else(|| Ok(crate::io::open(archive)?.0), Ok::<_, Error>)?;
        let array = Self::of_parts(Positioned::new(path, file), values.offset, found.number, found.shape);
        Ok(Self { notice: found.notice, dtype: code(found.number, found.big_endian), ..array })
    }

    #[cfg(not(feature = "hdf5"))]
    fn of_hdf5(path: &Path, _: &Path, _: Option<&str>) -> Result<Self> {
        Err(no_hdf5(path))
    }

    /// Little-endian values of a file that say nothing of themselves, or that something else has read the header of.
    pub fn of_parts(file: Positioned, offset: u64, number: Number, shape: Vec<u64>) -> Self {
        let data = shape.iter().product::<u64>() * number.bytes() as u64;
        let header = Header { dtype: code(number, false), fortran_order: false, shape };
        Self::new(&file.path.clone(), file, header, offset, data)
    }
}

impl Array<()> {
    #[cfg(any(feature = "hdf5", feature = "parquet"))]
    fn without_values(path: &Path, dtype: String, shape: Vec<u64>, notice: Option<String>) -> Self {
        let header = Header { dtype, fortran_order: false, shape };
        Self { notice, ..Self::new(path, (), header, 0, 0) }
    }

    /// What the header of the array in this file says, and no data; nothing of a file without headers.
    pub fn header_of(path: &Path) -> Result<Option<Self>> {
        let (archive, name) = split_part(path);
        let kind = Kind::of(&archive)?;
        match kind {
            #[cfg(feature = "hdf5")]
            Kind::Hdf5 => {
                let found = hdf5::find(&archive, name.as_deref())?;
                let dtype = code(found.number, found.big_endian);
                return Ok(Some(Self::without_values(path, dtype, found.shape, found.notice)));
            }
            // How many rows it has is not said; two axes it has in any case.
            #[cfg(feature = "parquet")]
            Kind::Parquet => {
                let wanted = name.as_deref().map_or(Wanted::Without(&[]), Wanted::Named);
                let taken = parquet::taken(&archive, wanted)?;
                let dtype = code(taken.number, false);
                return Ok(Some(Self::without_values(path, dtype, vec![0, 0], taken.notice)));
            }
            _ => (),
        }
        let (file, size) = crate::io::open(&archive)?;
        let file = Positioned::new(&archive, file);
        let header = match kind {
            Kind::Npy => read_header(path, Span { file: &file, at: 0, end: size }, size)?.0,
            Kind::Zip => {
                let member = npz::choose(&file, npz::members(&file, size)?, name.as_deref())?;
                read_header(path, member.reader(&file, size)?, member.bytes)?.0
            }
            _ => return Ok(None),
        };
        Ok(Some(Self::new(path, (), header, 0, 0)))
    }
}

impl<'b> Array<&'b [u8]> {
    /// An array in memory; errors call it `name`.
    pub fn of_bytes(name: &Path, bytes: &'b [u8]) -> Result<Self> {
        let size = bytes.len() as u64;
        let (header, length) = read_header(name, bytes, size)?;
        Ok(Self::new(name, bytes, header, length, size - length))
    }
}

impl<F> Array<F> {
    pub fn new(path: &Path, file: F, header: Header, offset: u64, data: u64) -> Self {
        let Header { dtype, fortran_order, shape } = header;
        // With one axis there is no order.
        let fortran = fortran_order && shape.iter().filter(|&&n| n != 1).count() > 1;
        Self { path: path.to_owned(), file, offset, data, dtype, fortran, shape, notice: None, columns: None }
    }

    pub fn error(&self, problem: impl Into<String>) -> Error {
        Error::file(&self.path, problem)
    }

    /// The type of the values, if they are numbers that can be read.
    pub fn number(&self) -> Option<Number> {
        if self.dtype == "<bf2" {
            return Some(Number::Bf16);
        }
        let number = Number::of_npy(self.dtype.trim_start_matches(['<', '>', '|']))?;
        // More than a byte has an order.
        (number.bytes() == 1 || self.dtype.starts_with(['<', '>'])).then_some(number)
    }

    /// The same, or what is wrong with the type.
    pub fn needs_number(&self) -> Result<Number> {
        self.number().ok_or_else(|| self.wrong_dtype("numbers"))
    }

    /// Whether the bytes of each value have to be turned around for this machine.
    pub fn swapped(&self) -> bool {
        matches!(self.dtype.chars().next(), Some(order @ ('<' | '>')) if order != NATIVE)
    }

    /// What is said of an array that is read as f32: nothing if that changes no value, and there was nothing to choose.
    pub fn conversion(&self) -> Option<String> {
        Some(format!("{}: {}", self.path.display(), self.remark()?))
    }

    /// The same without the path.
    pub fn remark(&self) -> Option<String> {
        let number = self.number().filter(|number| number.is_converted());
        let converted = number.map(|number| format!("{} is converted to float32", number.name()));
        let said: Vec<String> = self.notice.iter().cloned().chain(converted).collect();
        (!said.is_empty()).then(|| said.join("; "))
    }

    pub fn wrong_dtype(&self, wanted: &str) -> Error {
        let dtype = self.dtype_text();
        let name = dtype_name(&self.dtype).map_or_else(String::new, |name| format!("{name} "));
        let hint = match self.dtype.get(1..2) {
            _ if self.dtype.starts_with('[') => {
                "take one field, or numpy.lib.recfunctions.structured_to_unstructured(array)"
            }
            Some("O") => {
                "Python objects are not read: convert with .astype(numpy.float32), or .astype(str) for labels"
            }
            Some("c") => "take .real, .imag or abs()",
            Some("U" | "S") => "where these are numbers, convert with .astype(numpy.float32)",
            _ => "convert with .astype(numpy.float32)",
        };
        self.error(format!("the dtype is {name}('{dtype}'), not {wanted}: {hint}"))
    }

    /// The type's code, fit for a terminal: it comes from the file, so it may be anything.
    fn dtype_text(&self) -> String {
        const LONGEST: usize = 48;
        let text = self.dtype.chars().flat_map(|c| {
            c.is_control()
                .then(|| c.escape_default())
                .into_iter()
                .flatten()
                .chain((!c.is_control()).then_some(c))
        });
        let mut shown: String = text.take(LONGEST + 1).collect();
        if let Some((end, _)) = shown.char_indices().nth(LONGEST) {
            shown.replace_range(end.., "…");
        }
        shown
    }

    /// That the number of dimensions is none of those that can be, which `wanted` says in words; with the reshape to do where
    /// rows are wanted.
    pub fn wrong_shape(&self, wanted: &str) -> Error {
        let (dimensions, shape) = (self.shape.len(), self.shape_text());
        let rows = wanted.starts_with("2-D");
        let hint = match *self.shape {
            [n] if rows => {
                format!("; array.reshape(-1, 1) makes {n} rows of one value, array.reshape(1, -1) one row")
            }
            [n, _, _, ..] if rows && !wanted.contains("or more") => {
                format!("; array.reshape({n}, -1) makes {n} rows")
            }
            _ => String::new(),
        };
        self.error(format!("the array is {dimensions}-D, its shape is {shape}; it has to be {wanted}{hint}"))
    }

    /// The shape as Python writes it.
    pub fn shape_text(&self) -> String {
        match self.shape.as_slice() {
            [one] => format!("({one},)"),
            shape => format!("({})", shape.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")),
        }
    }

    /// Holds the shape against the size of the file, and gives the number of values.
    pub fn check_size(&self, width: u64) -> Result<usize> {
        let shape = self.shape_text();
        let values = self.shape.iter().try_fold(1u64, |product, &n| product.checked_mul(n));
        let Some((count, bytes)) = values.and_then(|n| Some((n, n.checked_mul(width)?))) else {
            return Err(self.error(format!("the header says shape {shape}: no file is that large")));
        };
        if bytes != self.data {
            let problem =
                if bytes > self.data { "the file is truncated" } else { "there is something after the data" };
            let (dtype, found) = (self.dtype_text(), self.data);
            return Err(self.error(format!(
                "{problem}: shape {shape} of '{dtype}' takes {bytes} bytes of data, found {found}"
            )));
        }
        usize::try_from(count).map_err(|_| self.no_room(count))
    }

    /// Refuses an array without values.
    pub fn check_values(&self) -> Result<()> {
        if !self.shape.contains(&0) {
            return Ok(());
        }
        Err(self.error(format!("the array is empty: its shape is {}", self.shape_text())))
    }

    /// Memory for `count` values.
    pub fn room<T>(&self, count: usize) -> Result<Vec<T>> {
        let mut values = Vec::new();
        values.try_reserve_exact(count).map_err(|_| self.no_room(count as u64))?;
        Ok(values)
    }

    fn no_room(&self, count: u64) -> Error {
        self.error(format!("there is not enough memory for {count} values"))
    }

    /// Where the value is that has this index, counted row after row.
    fn place(&self, index: u64) -> String {
        if let &[_, cols] = self.shape.as_slice()
            && cols > 0
        {
            return format!("in row {}, column {} (from 0)", index / cols, index % cols);
        }
        let mut rest = index;
        let mut places: Vec<String> = Vec::new();
        for &n in self.shape.iter().rev() {
            places.push((rest % n.max(1)).to_string());
            rest /= n.max(1);
        }
        places.reverse();
        format!("at [{}] (from 0)", places.join(", "))
    }
}

impl<F: Stored> Array<F> {
    /// Reads all values as f32, row after row.
    pub fn read_all(&self, number: Number) -> Result<Vec<f32>> {
        let count = self.check_size(number.bytes() as u64)?;
        let mut values = self.room(count)?;
        values.resize(count, 0.0);
        self.read_floats(number, 0, &mut values)?;
        Ok(values)
    }

    /// Reads the values from the one with this index on, counted row after row, as f32. There have to be as many.
    pub fn read_floats(&self, number: Number, first: u64, out: &mut [f32]) -> Result<()> {
        if number == Number::F32 {
            return self.read_values(first, 4, self.swapped(), bytemuck::cast_slice_mut(out));
        }
        let width = number.bytes();
        let most = if self.fortran { FORTRAN_BLOCK } else { BLOCK };
        let bytes = most.min(out.len() * width);
        // Of u64, for the alignment.
        let mut block = vec![0u64; bytes.div_ceil(8)];
        let block: &mut [u8] = bytemuck::cast_slice_mut(&mut block);
        let mut at = first;
        for out in out.chunks_mut(most / width) {
            let block = &mut block[..out.len() * width];
            self.read_values(at, width, self.swapped(), block)?;
            number.widen(block, out).map_err(|lost| {
                let place = self.place(at + lost.at as u64);
                self.error(format!("the value {place} is {}", lost.problem))
            })?;
            at += out.len() as u64;
        }
        Ok(())
    }

    /// Reads the bytes of the values of `width` bytes from the one with this index on, counted row after row; `swap` turns
    /// those of each around.
    pub fn read_values(&self, first: u64, width: usize, swap: bool, out: &mut [u8]) -> Result<()> {
        if out.is_empty() {
            // Of an array without values a shape may say anything.
            return Ok(());
        }
        if !self.fortran {
            self.read_at(first, width, out)?;
        } else if let &[rows, cols] = self.shape.as_slice() {
            self.read_columns(rows, cols, first, width, out)?;
        } else {
            self.read_scattered(first, width, out)?;
        }
        if swap {
            crate::io::swap_bytes(width, out);
        }
        Ok(())
    }

    /// Reads values as they lie.
    pub fn read_at(&self, first: u64, width: usize, out: &mut [u8]) -> Result<()> {
        self.file.read_at(self.offset + first * width as u64, out).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => self.error("the file has become shorter"),
            _ => Error::io(&self.path, error),
        })
    }

    /// Reads values as little-endian bytes: of f32, or as they are if they are to be `kept`.
    pub fn read_little_endian(&self, number: Number, kept: bool, first: u64, out: &mut [u8]) -> Result<()> {
        if kept || number == Number::F32 {
            return self.read_values(first, number.bytes(), self.dtype.starts_with('>'), out);
        }
        let mut values = vec![0.0; out.len() / 4];
        self.read_floats(number, first, &mut values)?;
        out.as_chunks_mut().0.iter_mut().zip(values).for_each(|(out, value)| *out = value.to_le_bytes());
        Ok(())
    }
}
