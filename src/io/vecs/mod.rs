//! Points in files: rows of numbers, read a piece at a time and by position, so a file may be larger than the memory.
//!
//! - arrays, 2-D, of any numbers: `.npy`, `.npz`, `.parquet`, `.h5`, or tables of text (see [`super::npy`]);
//! - safetensors: a 2-D tensor of any numbers (see [`super::safetensors`]);
//! - `.fvecs`, `.bvecs` and `.ivecs`, of float32, uint8 and int32: each row begins with its length as an int32, described
//!   at <http://corpus-texmex.irisa.fr>;
//! - values and nothing else, where their type and the length of a row are given.
//!
//! Values of float32, float16, uint8 and int8 stay in their type, others become float32. A table, and an array that is deflated in
//! its archive, is unpacked into a temporary file.
//!
//! A folder stands for its files of these kinds, and a pattern such as `shards/*.npy` for those that it matches: one behind the other,
//! in the order of their names.

mod files;
mod part;

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;

pub use files::files_of;
use part::Part;

use super::csv::listed;
use super::number::Number;
use crate::{Error, Result};

/// The type of points as they are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Element {
    /// 32-bit floats.
    F32,
    /// 16-bit floats of IEEE 754.
    F16,
    /// Bytes without a sign.
    U8,
    /// Bytes with a sign.
    I8,
}

impl Element {
    /// What values of this type are read as.
    fn of(number: Number) -> Self {
        match number {
            Number::F16 => Self::F16,
            Number::U8 => Self::U8,
            Number::I8 => Self::I8,
            _ => Self::F32,
        }
    }

    fn number(self) -> Number {
        match self {
            Self::F32 => Number::F32,
            Self::F16 => Number::F16,
            Self::U8 => Number::U8,
            Self::I8 => Number::I8,
        }
    }

    /// The bytes of a value.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
            Self::U8 | Self::I8 => 1,
        }
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::U8 => "u8",
            Self::I8 => "i8",
        })
    }
}

impl FromStr for Element {
    type Err = &'static str;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        let all = [Self::F32, Self::F16, Self::U8, Self::I8];
        all.into_iter().find(|element| element.to_string() == text).ok_or("there are f32, f16, u8 and i8")
    }
}

/// What a file may not say of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct How {
    /// The file is values of this type, little-endian, and nothing else.
    pub raw: Option<Element>,
    /// The length of a row. Values without any header need it; other files must have this one.
    pub dim: Option<u64>,
    /// The tensor of a safetensors file; without it, its only 2-D tensor.
    pub tensor: Option<String>,
    /// The array or tensor has to be 3-D, `[problems, rows, columns]`.
    pub batch: bool,
    /// Columns of a table that are no values of points, such as a label.
    pub without: Vec<String>,
}

/// Rows of numbers that stay in their files: they are read a piece at a time, from any thread.
#[derive(Debug)]
pub struct Vectors {
    path: PathBuf,
    parts: Vec<Part>,
    element: Element,
    rows: u64,
}

impl Vectors {
    /// Opens a file of one of the kinds above, with at least one row of at least one value, or all files of a folder or a pattern. A
    /// file is what its first bytes say, or else its name; values and nothing else only if `how` says so, and neither of these says
    /// otherwise.
    ///
    /// # Errors
    /// [`Error::Io`] if a file cannot be read; [`Error::File`] if it is none of these, damaged, empty, not of numbers,
    /// not what `how` says, or if `how` does not say enough; or if files of a folder have rows of different lengths.
    pub fn open(path: &Path, how: &How) -> Result<Self> {
        Self::open_all(&[path.to_owned()], how)
    }

    /// As [`Vectors::open`], of several paths, one behind the other as they are given. Their [`Vectors::path`] is that of the first, and
    /// how many there are besides.
    ///
    /// # Errors
    /// Those of [`Vectors::open`]; [`Error::Input`] for no path.
    pub fn open_all(paths: &[PathBuf], how: &How) -> Result<Self> {
        let path = match paths {
            [] => return Err(Error::Input("there is no file to read points from".into())),
            [path] => path.clone(),
            [first, others @ ..] => format!("{} and {} more", first.display(), others.len()).into(),
        };
        let files = paths.iter().map(|path| files_of(path, how.raw.is_some())).collect::<Result<Vec<_>>>()?;
        let files = files.concat();
        if let ([first, _, ..], true) = (&files[..], how.batch) {
            return Err(Error::file(
                first,
                "problems are read from one file, not from several: leave out `batch`",
            ));
        }
        let parts = files.iter().map(|file| Part::open(file, how)).collect::<Result<Vec<_>>>()?;
        let (Some(first), rows) = (parts.first(), parts.iter().map(|part| part.rows).sum()) else {
            return Err(Error::Input("there is no file to read points from".into()));
        };
        if let Some(other) = parts.iter().find(|part| part.cols != first.cols) {
            let (name, cols) = (first.path().display(), first.cols);
            return Err(Error::file(
                other.path(),
                format!(
                    "its rows have {} values, and those of {name} {cols}: all have to be of one length",
                    other.cols
                ),
            ));
        }
        let names = first.columns();
        if let Some(other) =
            parts.iter().find(|part| part.columns().is_some() && part.columns() != names && names.is_some())
        {
            let (name, found) = (first.path().display(), listed(other.columns().unwrap_or_default()));
            return Err(Error::file(
                other.path(),
                format!(
                    "its columns are {found}, and those of {name} {}: all have to be the same",
                    listed(names.unwrap_or_default())
                ),
            ));
        }
        let alike = parts.iter().all(|part| part.number == first.number);
        let element = if alike { Element::of(first.number) } else { Element::F32 };
        Ok(Self { path, element, rows, parts })
    }

    /// How many problems the rows belong to, as many to each: 1 unless they were opened as a batch.
    pub fn problems(&self) -> u64 {
        self.parts[0].problems
    }

    /// The path that was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The number of rows, at least 1.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The values of a row, at least 1.
    pub fn cols(&self) -> usize {
        self.parts[0].cols
    }

    /// The type of the values as they are read: that of the file, or f32.
    pub fn element(&self) -> Element {
        self.element
    }

    /// What is said to a user of points that are converted, or come from several files.
    pub fn conversion(&self) -> Option<String> {
        let (mut said, mut path, first) = (Vec::new(), self.parts[0].path(), self.parts[0].number);
        if self.parts.len() > 1 {
            path = &self.path;
            said.push(format!("{} files, one behind the other", self.parts.len()));
        }
        if self.parts.iter().any(|part| part.number != first) {
            said.push("they are of different types, which become float32".into());
        }
        // What is said of each alike is said once.
        let mut each: Vec<String> = self.parts.iter().filter_map(Part::remark).collect();
        each.dedup();
        said.extend(each);
        (!said.is_empty()).then(|| format!("{}: {}", path.display(), said.join("; ")))
    }

    /// The bytes of a row as [`read_packed`](Self::read_packed) gives it.
    pub fn row_bytes(&self) -> usize {
        self.cols() * self.element().bytes()
    }

    /// Reads rows as bytes of little-endian values of [`element`](Self::element), without what stands between them in the
    /// file. After an error, `out` may have anything.
    ///
    /// # Errors
    /// [`Error::Input`] if there are no such rows or `out` is not as long as they are; those of [`read`](Self::read).
    pub fn read_packed(&self, rows: Range<u64>, out: &mut [u8]) -> Result<()> {
        let kept = self.element != Element::F32;
        self.in_parts(rows, self.row_bytes(), out, |part, rows, out| part.read_packed(rows, kept, out))
    }

    /// Reads rows as f32, `[rows, cols]`. After an error, `out` may have anything. NaN and infinity are read as they are.
    ///
    /// # Errors
    /// [`Error::Input`] if there are no such rows or `out` is not as long as they are; [`Error::Io`] if the file cannot
    /// be read; [`Error::File`] if it has become shorter, if a row is not as long as the first one, or for a value that f32 does
    /// not hold.
    pub fn read(&self, rows: Range<u64>, out: &mut [f32]) -> Result<()> {
        self.in_parts(rows, self.cols(), out, Part::read)
    }

    /// Reads rows from the parts that they lie in, `each` of something from each row.
    fn in_parts<T>(
        &self,
        rows: Range<u64>,
        each: usize,
        mut out: &mut [T],
        read: impl Fn(&Part, Range<u64>, &mut [T]) -> Result<()>,
    ) -> Result<()> {
        self.check(&rows, each, out.len())?;
        let mut first = 0;
        for part in &self.parts {
            let (start, end) = (rows.start.max(first), rows.end.min(first + part.rows));
            if start < end {
                let (here, rest) = out.split_at_mut((end - start) as usize * each);
                read(part, start - first..end - first, here)?;
                out = rest;
            }
            first += part.rows;
        }
        Ok(())
    }

    /// Whether there are such rows, and room for `each` of something for each of them.
    fn check(&self, rows: &Range<u64>, each: usize, room: usize) -> Result<()> {
        let Range { start, end } = *rows;
        let name = || self.path().display();
        if start > end || end > self.rows {
            let all = self.rows;
            return Err(Error::Input(format!(
                "{}: the rows {start}..{end} are not within its {all}",
                name()
            )));
        }
        // No larger than the file, or four times that.
        if (end - start).checked_mul(each as u64) != Some(room as u64) {
            return Err(Error::Shape(format!(
                "{}: the rows {start}..{end} of {each} do not fit into {room}",
                name()
            )));
        }
        Ok(())
    }
}
