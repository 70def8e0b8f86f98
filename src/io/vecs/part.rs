//! Rows of one file: what it is, and how they are read.

use std::ffi::OsStr;
use std::mem::take;
use std::ops::Range;
use std::path::Path;

use super::How;
use crate::io::kind::Kind;
use crate::io::npy::Array;
use crate::io::number::Number;
use crate::io::safetensors::{Safetensors, Tensor, scale_names};
use crate::io::{Positioned, quoted, split_part, swap_bytes};
use crate::{Error, Result};

/// Bytes read at a time where values are not read to where they stay: few enough for a processor's cache.
const BLOCK: usize = 1 << 18;

/// The bytes of a row's length in `.fvecs`, `.bvecs` and `.ivecs`.
const LENGTH: usize = 4;

/// Endings of names of files that are read, and how such files begin is known.
pub(super) const READ: [&str; 9] =
    ["npy", "npz", "csv", "tsv", "txt", "parquet", "h5", "hdf5", "safetensors"];

/// Endings of names of files of rows that begin with their length, and the type of their values.
pub(super) const WITH_LENGTHS: [(&str, Number); 3] =
    [("fvecs", Number::F32), ("bvecs", Number::U8), ("ivecs", Number::I32)];

/// What else to give.
const POINTS: &str =
    "points are read from .npy, .npz, .csv, .parquet, .h5, .safetensors, .fvecs, .bvecs and .ivecs";

/// The most names that an error lists.
const MAX_LISTED: usize = 6;

/// Rows of one file.
#[derive(Debug)]
pub struct Part {
    array: Array,
    /// The type of the values in the file.
    pub number: Number,
    /// The bytes before the values of each row: 0 or [`LENGTH`].
    prefix: usize,
    /// Problems that the rows belong to, as many to each.
    pub problems: u64,
    pub rows: u64,
    pub cols: usize,
}

/// The problems, rows and columns that a shape says: of problems there is one, unless it is a batch.
fn sizes(shape: &[u64], batch: bool) -> Option<[u64; 3]> {
    match *shape {
        [rows, cols] if !batch => Some([1, rows, cols]),
        [problems, rows, cols] if batch => Some([problems, problems.checked_mul(rows)?, cols]),
        _ => None,
    }
}

/// What [`sizes`] accepts, in words.
fn wanted(batch: bool) -> &'static str {
    if batch {
        "3-D, [problems, rows, columns], as `batch` says"
    } else {
        "2-D, [rows, columns], or 3-D with `batch`"
    }
}

impl Part {
    /// Opens a file of one of the kinds above, with at least one row of at least one value. It is what its first bytes
    /// say, or else its name; values and nothing else only if `how` says so, and neither of these says otherwise.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read; [`Error::File`] if it is none of these, damaged, empty, not of numbers,
    /// not what `how` says, or if `how` does not say enough.
    pub fn open(path: &Path, how: &How) -> Result<Self> {
        let error = |problem: String| Err(Error::file(path, problem));
        let extension = path.extension().and_then(OsStr::to_str).unwrap_or("").to_ascii_lowercase();
        let with_lengths = WITH_LENGTHS.iter().find(|(ending, _)| *ending == extension);
        let with_lengths = with_lengths.map(|&(_, number)| number);
        let (file, part) = split_part(path);
        // Rows with lengths may by chance begin like a safetensors file: bytes whose first four are 0 and whose fifth is 123.
        let kind = Kind::of(&file)?;
        let kind = if with_lengths.is_some() && kind == Kind::Safetensors { Kind::Unknown } else { kind };
        let table = matches!(kind, Kind::Text | Kind::Parquet);
        let array = table || matches!(kind, Kind::Npy | Kind::Zip | Kind::Hdf5) || part.is_some();
        let safetensors = kind == Kind::Safetensors;

        if let Some(raw) = how.raw {
            let known = kind
                .name()
                .or_else(|| Kind::promised(path))
                .or(with_lengths.map(|_| "rows with their lengths"));
            if let Some(name) = known {
                return error(format!(
                    "this is {name}, by its {}: leave out `raw` {raw}",
                    match kind.name() {
                        Some(_) => "content",
                        None => "name",
                    }
                ));
            }
        }
        if how.tensor.is_some() && !safetensors {
            return error(
                "this is not a safetensors file, so it has no names of tensors: leave out `tensor`".into(),
            );
        }
        if how.batch && (!array || table) && !safetensors {
            return error(
                "this is neither an array (.npy, .npz, .h5) nor a safetensors file, so it cannot be 3-D, [problems, rows, columns]: leave out \
                 `batch`"
                    .into(),
            );
        }
        if let Some(name) = how.without.first().filter(|_| !table) {
            let name = quoted(name);
            return error(format!("`without` {name}: only the columns of a table have names"));
        }
        let vectors = match (how.raw, with_lengths) {
            (Some(raw), _) => return Self::of_raw(path, raw.number(), how.dim),
            _ if array => Self::of_array(path, how)?,
            _ if safetensors => Self::of_tensor(path, how)?,
            (None, Some(number)) if kind == Kind::Unknown => Self::of_lengths(path, number)?,
            _ => {
                return error(match (kind.name(), Kind::promised(path)) {
                    (Some(name), _) => format!("this is {name}; {POINTS}"),
                    (None, Some(name)) if READ.contains(&extension.as_str()) => {
                        format!("its name is that of {name}, but it does not begin like one: it is damaged, or misnamed")
                    }
                    (None, Some(name)) => format!("this is {name} by its name; {POINTS}"),
                    (None, None) => "what is in this file is unknown: it is no .npy, .npz, .csv, .parquet, .h5 or .safetensors, and does not \
                                     end in .fvecs, .bvecs or .ivecs; if it is values and nothing else, say of which type \
                                     and how many a row has, such as `raw` f32 `dim` 128"
                        .into(),
                });
            }
        };
        match how.dim {
            Some(dim) if dim != vectors.cols as u64 => Err(vectors.array.error(format!(
                "its rows have {} values, not {dim} as `dim` says: only raw values need `dim`",
                vectors.cols
            ))),
            _ => Ok(vectors),
        }
    }

    fn of_array(path: &Path, how: &How) -> Result<Self> {
        let array = Array::open_without(path, Some(&how.without))?;
        let number = array.needs_number()?;
        let Some([problems, rows, cols]) = sizes(&array.shape, how.batch) else {
            return Err(array.wrong_shape(wanted(how.batch)));
        };
        array.check_values()?;
        array.check_size(number.bytes() as u64)?;
        let cols = addressable(path, cols)?;
        Ok(Self { array, number, prefix: 0, problems, rows, cols })
    }

    fn of_tensor(path: &Path, how: &How) -> Result<Self> {
        let (name, dimensions) = (how.tensor.as_deref(), if how.batch { 3 } else { 2 });
        let file = Safetensors::open(path)?;
        let error = |problem: String| Error::file(path, problem);
        let tensor = match name {
            Some(name) => file.tensor(name)?,
            None => {
                let mut candidates = file.tensors().iter().filter(|tensor| tensor.shape.len() == dimensions);
                match (candidates.next(), candidates.count()) {
                    (Some(tensor), 0) => tensor,
                    (None, _) => {
                        let wanted = wanted(how.batch);
                        return Err(error(format!(
                            "no tensor in it is {wanted}; `lowbit inspect` lists them all"
                        )));
                    }
                    _ => return Err(error(several(&file, dimensions))),
                }
            }
        };
        let tensor = tensor.clone();
        let Tensor { dtype, ref shape, offset, .. } = tensor;
        let name = quoted(&tensor.name);
        let Some([problems, rows, cols]) = sizes(shape, how.batch) else {
            let wanted = wanted(how.batch);
            return Err(error(format!("tensor {name} has the shape {shape:?}; it has to be {wanted}")));
        };
        let Some(number) = Number::of_safetensors(dtype.name) else {
            let other = dtype.name;
            return Err(error(format!(
                "tensor {name} is {other}: convert it to a type of numbers such as F32"
            )));
        };
        let scale = scale_names(&tensor.name).into_iter().find(|scale| file.tensor(scale).is_ok());
        if let Some(scale) = scale.filter(|_| !number.is_float()) {
            let scale = quoted(&scale);
            return Err(error(format!(
                "tensor {name} has codes, whose scale is {scale}, and no values: give the model's F16, BF16 or F32"
            )));
        }
        if rows == 0 || cols == 0 {
            return Err(error(format!("tensor {name} is empty: its shape is {shape:?}")));
        }
        let (cols, shape) = (addressable(path, cols)?, shape.clone());
        let array = Array::of_parts(file.into_file(&tensor)?, offset, number, shape);
        Ok(Self { array, number, prefix: 0, problems, rows, cols })
    }

    /// Rows that begin with their length, which is that of the first one.
    fn of_lengths(path: &Path, number: Number) -> Result<Self> {
        let (file, size) = crate::io::open(path)?;
        let file = Positioned::new(path, file);
        if size < LENGTH as u64 {
            let problem =
                format!("it has {size} bytes: not even the length of a row, {LENGTH} bytes; it is truncated");
            return Err(Error::file(path, problem));
        }
        let mut length = [0; LENGTH];
        file.read_values(0, 1, false, &mut length)?;
        let length = i32::from_le_bytes(length);
        let Some(cols) = u64::try_from(length).ok().filter(|&cols| cols > 0) else {
            return Err(Error::file(
                path,
                format!(
                    "its first row says that it has {length} values: it is damaged, or not what its name says"
                ),
            ));
        };
        Self::of_size(file, size, LENGTH, cols, number, "its first row")
    }

    /// Values and nothing else.
    fn of_raw(path: &Path, number: Number, dim: Option<u64>) -> Result<Self> {
        let (file, size) = crate::io::open(path)?;
        let Some(dim) = dim else {
            return Err(Error::file(
                path,
                "raw values say nothing of themselves: say with `dim` how many a row has",
            ));
        };
        if dim == 0 {
            return Err(Error::file(path, "a row cannot have 0 values: say with `dim` how many it has"));
        }
        Self::of_size(Positioned::new(path, file), size, 0, dim, number, "`dim`")
    }

    /// A file of rows from its beginning to its end; `source` is what says how long they are.
    fn of_size(
        file: Positioned,
        size: u64,
        prefix: usize,
        cols: u64,
        number: Number,
        source: &str,
    ) -> Result<Self> {
        let path = &file.path;
        let row = cols.checked_mul(number.bytes() as u64).and_then(|bytes| bytes.checked_add(prefix as u64));
        let Some(row) = row.filter(|&row| row <= size) else {
            return Err(Error::file(
                path,
                format!(
                    "it has {size} bytes, which is less than one row of {cols} values, as {source} says: it is \
                     truncated, or not such a file"
                ),
            ));
        };
        if !size.is_multiple_of(row) {
            let (rows, rest) = (size / row, size % row);
            return Err(Error::file(
                path,
                format!(
                    "a row of {cols} values, as {source} says, takes {row} bytes, and its {size} bytes are {rows} rows \
                     and {rest} bytes: it is truncated, or not such a file"
                ),
            ));
        }
        let (rows, length) = (size / row, addressable(path, cols)?);
        // Where rows have lengths, the array only has the file.
        let array = Array::of_parts(file, 0, number, vec![rows, cols]);
        Ok(Self { array, number, prefix, problems: 1, rows, cols: length })
    }

    /// The path that was opened.
    pub fn path(&self) -> &Path {
        &self.array.path
    }

    /// The names of the columns, of a table that has them.
    pub fn columns(&self) -> Option<&[String]> {
        self.array.columns.as_deref()
    }

    /// What is said to a user of how it is read.
    pub fn remark(&self) -> Option<String> {
        self.array.remark()
    }

    /// Reads rows as bytes of little-endian values, of the file's type if they are `kept`, else of f32; without what stands between
    /// them in the file.
    pub fn read_packed(&self, rows: Range<u64>, kept: bool, out: &mut [u8]) -> Result<()> {
        if self.prefix == 0 {
            return self.array.read_little_endian(self.number, kept, rows.start * self.cols as u64, out);
        }
        if kept || self.number == Number::F32 {
            let mut rest = out;
            return self.rows_with_lengths(rows, |_, bytes| {
                let (out, later) = take(&mut rest).split_at_mut(bytes.len());
                rest = later;
                out.copy_from_slice(bytes);
                Ok(())
            });
        }
        let mut values = vec![0.0; out.len() / 4];
        self.read(rows, &mut values)?;
        out.as_chunks_mut().0.iter_mut().zip(values).for_each(|(out, value)| *out = value.to_le_bytes());
        Ok(())
    }

    /// Reads rows as f32, `[rows, cols]`.
    pub fn read(&self, rows: Range<u64>, out: &mut [f32]) -> Result<()> {
        if self.prefix == 0 {
            return self.array.read_floats(self.number, rows.start * self.cols as u64, out);
        }
        let width = self.number.bytes();
        let mut rest = out;
        self.rows_with_lengths(rows, |first, bytes| {
            if cfg!(target_endian = "big") {
                swap_bytes(width, bytes);
            }
            let (out, later) = take(&mut rest).split_at_mut(bytes.len() / width);
            rest = later;
            self.number.widen(bytes, out).map_err(|lost| {
                let index = first + lost.at as u64;
                let (row, col) = (index / self.cols as u64, index % self.cols as u64);
                let problem = lost.problem;
                self.array.error(format!("the value in row {row}, column {col} (from 0) is {problem}"))
            })
        })
    }

    /// Where a row begins that has its length in front.
    fn at(&self, row: u64) -> u64 {
        row * (self.prefix + self.cols * self.number.bytes()) as u64
    }

    /// Gives the values of rows with lengths to `each` as little-endian bytes, some whole values at a time, with the index of the
    /// first of them.
    fn rows_with_lengths(
        &self,
        rows: Range<u64>,
        mut each: impl FnMut(u64, &mut [u8]) -> Result<()>,
    ) -> Result<()> {
        let (file, stride, cols) = (&self.array.file, self.at(1) as usize, self.cols as u64);
        let all = self.at(rows.end) - self.at(rows.start);
        let mut block = vec![0; all.min(BLOCK as u64) as usize];
        let many = (BLOCK / stride) as u64;
        let mut row = rows.start;
        while row < rows.end {
            let at = self.at(row);
            if many == 0 {
                let mut length = [0; LENGTH];
                file.read_values(at, 1, false, &mut length)?;
                self.check_length(row, length)?;
                let (begin, end) = (at + LENGTH as u64, self.at(row + 1));
                for at in (begin..end).step_by(BLOCK) {
                    let bytes = &mut block[..(end - at).min(BLOCK as u64) as usize];
                    file.read_values(at, 1, false, bytes)?;
                    each(row * cols + (at - begin) / self.number.bytes() as u64, bytes)?;
                }
                row += 1;
                continue;
            }
            let bytes = &mut block[..many.min(rows.end - row) as usize * stride];
            file.read_values(at, 1, false, bytes)?;
            for bytes in bytes.chunks_exact_mut(stride) {
                let Some((length, values)) = bytes.split_first_chunk_mut() else { continue };
                self.check_length(row, *length)?;
                each(row * cols, values)?;
                row += 1;
            }
        }
        Ok(())
    }

    fn check_length(&self, row: u64, length: [u8; LENGTH]) -> Result<()> {
        let length = i32::from_le_bytes(length);
        if u64::try_from(length) == Ok(self.cols as u64) {
            return Ok(());
        }
        let cols = self.cols;
        Err(self.array.error(format!(
            "row {row} (from 0) says that it has {length} values, and the first row {cols}: all have to be of one length"
        )))
    }
}

/// The columns, if a row and its f32 can be in memory at all.
fn addressable(path: &Path, cols: u64) -> Result<usize> {
    let room = |cols: &usize| cols.checked_mul(4).is_some_and(|bytes| isize::try_from(bytes).is_ok());
    let problem = || Error::file(path, format!("a row of {cols} values cannot be in memory"));
    usize::try_from(cols).ok().filter(room).ok_or_else(problem)
}

/// Several tensors could be meant.
fn several(file: &Safetensors, dimensions: usize) -> String {
    let candidates = file.tensors().iter().filter(|tensor| tensor.shape.len() == dimensions);
    let count = candidates.clone().count();
    let mut names: Vec<_> = candidates.take(MAX_LISTED).map(|tensor| quoted(&tensor.name)).collect();
    if count > names.len() {
        names.push(format!("{} more", count - names.len()));
    }
    format!(
        "it has {count} {dimensions}-D tensors: say with `tensor` which one has the points: {}",
        names.join(", ")
    )
}
