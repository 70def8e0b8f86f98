//! Points in files: rows of numbers, read a piece at a time and by position, so a file may be larger than the memory.
//!
//! - `.npy`: a 2-D array of float32, float16, uint8 or int8 (see [`super::npy`]);
//! - safetensors: a 2-D tensor of F32, F16, U8 or I8 (see [`super::safetensors`]);
//! - `.fvecs`, `.bvecs` and `.ivecs`, of float32, uint8 and int32: each row begins with its length as an int32, described
//!   at <http://corpus-texmex.irisa.fr>;
//! - float32 and nothing else, where the length of a row is given.

use std::ffi::OsStr;
use std::mem::take;
use std::ops::Range;
use std::path::Path;

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::npy::{self, Values};
use super::safetensors::{Safetensors, Tensor, is_safetensors, scale_names};
use super::{Positioned, quoted, swap_bytes};
use crate::{Error, Result};

/// Bytes read at a time where values are not read to where they stay: few enough for a processor's cache.
const BLOCK: usize = 1 << 18;

/// The bytes of a row's length in `.fvecs`, `.bvecs` and `.ivecs`.
const LENGTH: usize = 4;

/// The largest whole number up to which f32 has them all.
const MAX_WHOLE: u32 = 1 << 24;

/// The most names that an error lists.
const MAX_LISTED: usize = 6;

/// The type of the values in a file.
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
    /// 32-bit whole numbers with a sign; only in `.ivecs`.
    I32,
}

impl Element {
    /// The bytes of a value.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 | Self::I32 => 4,
            Self::F16 => 2,
            Self::U8 | Self::I8 => 1,
        }
    }
}

/// What a file may not say of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct How {
    /// The length of a row. Values without any header need it; other files must have this one.
    pub dim: Option<u64>,
    /// The tensor of a safetensors file; without it, its only 2-D tensor.
    pub tensor: Option<String>,
    /// The array or tensor has to be 3-D, `[problems, rows, columns]`.
    pub batch: bool,
}

/// Rows of numbers that stay in their file: they are read a piece at a time, from any thread.
#[derive(Debug)]
pub struct Vectors {
    file: Positioned,
    /// Where the first row begins, with its length if it has one.
    offset: u64,
    /// The bytes before the values of each row: 0 or [`LENGTH`].
    prefix: usize,
    /// Problems that the rows belong to, as many to each.
    problems: u64,
    rows: u64,
    cols: usize,
    element: Element,
    big_endian: bool,
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
        "3-D, [problems, rows, columns], as --batch says"
    } else {
        "2-D, [rows, columns], or 3-D with --batch"
    }
}

impl Vectors {
    /// Opens a file of one of the kinds above, with at least one row of at least one value. It is what its first bytes
    /// say, or else its name.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read; [`Error::File`] if it is none of these, damaged, empty, not of the types
    /// above, not what `how` says, or if `how` does not say enough.
    pub fn open(path: &Path, how: &How) -> Result<Self> {
        let extension = path.extension().and_then(OsStr::to_str).unwrap_or("").to_ascii_lowercase();
        let with_lengths = match extension.as_str() {
            "fvecs" => Some(Element::F32),
            "bvecs" => Some(Element::U8),
            "ivecs" => Some(Element::I32),
            _ => None,
        };
        let npy = npy::is_npy(path)? || matches!(extension.as_str(), "npy" | "npz");
        // Points may by chance begin like a safetensors file: bytes whose first four are 0 and whose fifth is 123. No row
        // is as long as the magic of .npy would say.
        let safetensors =
            !npy && with_lengths.is_none() && (extension == "safetensors" || is_safetensors(path)?);

        if how.tensor.is_some() && !safetensors {
            let problem = "this is not a safetensors file, so it has no names of tensors: leave out --tensor";
            return Err(Error::file(path, problem));
        }
        if how.batch && !npy && !safetensors {
            let problem = "this is neither .npy nor a safetensors file, so it cannot be 3-D, [problems, rows, columns]: \
                           leave out --batch";
            return Err(Error::file(path, problem));
        }
        let vectors = match (with_lengths, how.dim) {
            _ if npy => Self::of_array(path, how.batch)?,
            _ if safetensors => Self::of_tensor(path, how)?,
            (Some(element), _) => Self::of_lengths(path, element)?,
            (None, Some(dim)) => return Self::of_raw(path, dim),
            (None, None) => {
                let problem = "what is in this file is unknown: it begins neither like .npy nor like safetensors, and \
                               does not end in .fvecs, .bvecs or .ivecs; if it is raw float32, say with --dim how many \
                               values a row has";
                return Err(Error::file(path, problem));
            }
        };
        match how.dim {
            Some(dim) if dim != vectors.cols as u64 => Err(vectors.error(format!(
                "its rows have {} values, not {dim} as --dim says: only raw float32 needs --dim",
                vectors.cols
            ))),
            _ => Ok(vectors),
        }
    }

    fn of_array(path: &Path, batch: bool) -> Result<Self> {
        let elements = [Element::F32, Element::F16, Element::U8, Element::I8];
        let dimensions = if batch { 3 } else { 2 };
        let Values { file, offset, shape, element, big_endian, .. } =
            Values::open(path, &elements, &[dimensions], wanted(batch))?;
        let problem = || Error::file(path, format!("its shape {shape:?} has to be {}", wanted(batch)));
        let [problems, rows, cols] = sizes(&shape, batch).ok_or_else(problem)?;
        let cols = addressable(path, cols, element)?;
        Ok(Self { file, offset, prefix: 0, problems, rows, cols, element, big_endian })
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
        let element = match dtype.name {
            "F32" => Element::F32,
            "F16" => Element::F16,
            "U8" => Element::U8,
            "I8" => Element::I8,
            other => {
                return Err(error(format!(
                    "tensor {name} is {other}, not F32, F16, U8 or I8: convert it, for example to F32"
                )));
            }
        };
        let scale = scale_names(&tensor.name).into_iter().find(|scale| file.tensor(scale).is_ok());
        if let Some(scale) = scale.filter(|_| matches!(element, Element::U8 | Element::I8)) {
            let scale = quoted(&scale);
            return Err(error(format!(
                "tensor {name} has codes, whose scale is {scale}, and no values: give the model's F16, BF16 or F32"
            )));
        }
        if rows == 0 || cols == 0 {
            return Err(error(format!("tensor {name} is empty: its shape is {shape:?}")));
        }
        let cols = addressable(path, cols, element)?;
        Ok(Self {
            file: file.into_file(&tensor)?,
            offset,
            prefix: 0,
            problems,
            rows,
            cols,
            element,
            big_endian: false,
        })
    }

    /// Rows that begin with their length, which is that of the first one.
    fn of_lengths(path: &Path, element: Element) -> Result<Self> {
        let (file, size) = super::open(path)?;
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
        Self::of_size(file, size, LENGTH, cols, element, "its first row")
    }

    /// Float32 and nothing else.
    fn of_raw(path: &Path, dim: u64) -> Result<Self> {
        let (file, size) = super::open(path)?;
        if dim == 0 {
            return Err(Error::file(path, "a row cannot have 0 values: say with --dim how many it has"));
        }
        Self::of_size(Positioned::new(path, file), size, 0, dim, Element::F32, "--dim")
    }

    /// A file of rows from its beginning to its end; `source` is what says how long they are.
    fn of_size(
        file: Positioned,
        size: u64,
        prefix: usize,
        cols: u64,
        element: Element,
        source: &str,
    ) -> Result<Self> {
        let path = &file.path;
        let row = cols.checked_mul(element.bytes() as u64).and_then(|bytes| bytes.checked_add(prefix as u64));
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
        let cols = addressable(path, cols, element)?;
        Ok(Self { file, offset: 0, prefix, problems: 1, rows: size / row, cols, element, big_endian: false })
    }

    /// How many problems the rows belong to, as many to each: 1 unless they were opened as a batch.
    pub fn problems(&self) -> u64 {
        self.problems
    }

    /// The path that was opened.
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    /// The number of rows, at least 1.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The values of a row, at least 1.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The type of the values.
    pub fn element(&self) -> Element {
        self.element
    }

    /// The bytes of a row as [`read_packed`](Self::read_packed) gives it.
    pub fn row_bytes(&self) -> usize {
        self.cols * self.element.bytes()
    }

    /// Reads rows as bytes of little-endian values, without what stands between them in the file. After an error, `out`
    /// may have anything.
    ///
    /// # Errors
    /// [`Error::Input`] if there are no such rows or `out` is not as long as they are; [`Error::Io`] if the file cannot
    /// be read; [`Error::File`] if it has become shorter, or if a row is not as long as the first one.
    pub fn read_packed(&self, rows: Range<u64>, out: &mut [u8]) -> Result<()> {
        self.check(&rows, self.row_bytes(), out.len())?;
        self.fill(rows, self.big_endian, out)
    }

    /// Reads rows as f32, `[rows, cols]`. After an error, `out` may have anything. NaN and infinity are read as they are.
    ///
    /// # Errors
    /// Those of [`read_packed`](Self::read_packed), and [`Error::File`] for a whole number beyond 2^24, of which f32 would
    /// lose digits.
    pub fn read(&self, rows: Range<u64>, out: &mut [f32]) -> Result<()> {
        self.check(&rows, self.cols, out.len())?;
        // To the byte order of this machine.
        let swap = self.big_endian != cfg!(target_endian = "big");
        if self.element == Element::F32 {
            return self.fill(rows, swap, bytemuck::cast_slice_mut(out));
        }
        let (start, width) = (rows.start, self.element.bytes());
        let (mut rest, mut done) = (out, 0);
        self.pieces(rows, swap, |bytes| {
            let (out, later) = take(&mut rest).split_at_mut(bytes.len() / width);
            rest = later;
            match self.element {
                Element::F32 => bytemuck::cast_slice_mut(out).copy_from_slice(bytes),
                // Not cast, because only rows with lengths have them.
                Element::I32 => {
                    let values = bytes.as_chunks().0.iter().map(|&value| i32::from_ne_bytes(value));
                    let beyond = |value: i32| value.unsigned_abs() > MAX_WHOLE;
                    if values.clone().fold(false, |any, value| any | beyond(value)) {
                        let place = values.clone().position(beyond).unwrap_or(0);
                        let value = values.clone().nth(place).unwrap_or(0);
                        let index = (done + place) as u64;
                        let (row, col) = (start + index / self.cols as u64, index % self.cols as u64);
                        return Err(self.error(format!(
                            "the value in row {row}, column {col} (from 0) is {value}: beyond {MAX_WHOLE} (2^24), f32 \
                             does not have every whole number"
                        )));
                    }
                    out.iter_mut().zip(values).for_each(|(out, value)| *out = value as f32);
                }
                Element::F16 => bytemuck::cast_slice::<u8, f16>(bytes).convert_to_f32_slice(out),
                Element::U8 => out.iter_mut().zip(bytes).for_each(|(out, &value)| *out = value.into()),
                Element::I8 => {
                    let values: &[i8] = bytemuck::cast_slice(bytes);
                    out.iter_mut().zip(values).for_each(|(out, &value)| *out = value.into());
                }
            }
            done += out.len();
            Ok(())
        })
    }

    fn error(&self, problem: String) -> Error {
        Error::file(self.path(), problem)
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
            return Err(Error::Input(format!(
                "{}: the rows {start}..{end} of {each} do not fit into {room}",
                name()
            )));
        }
        Ok(())
    }

    /// Reads the values of rows; `swap` turns the bytes of each around.
    fn fill(&self, rows: Range<u64>, swap: bool, out: &mut [u8]) -> Result<()> {
        if self.prefix == 0 {
            return self.file.read_values(self.at(rows.start), self.element.bytes(), swap, out);
        }
        let mut rest = out;
        self.pieces(rows, swap, |bytes| {
            let (out, later) = take(&mut rest).split_at_mut(bytes.len());
            rest = later;
            out.copy_from_slice(bytes);
            Ok(())
        })
    }

    /// Where a row begins in the file.
    fn at(&self, row: u64) -> u64 {
        self.offset + row * (self.prefix + self.row_bytes()) as u64
    }

    /// Gives the values of rows to `each` as bytes, some whole values at a time; `swap` turns the bytes of each around. They
    /// are aligned for values unless rows have lengths.
    fn pieces(&self, rows: Range<u64>, swap: bool, mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let stride = self.prefix + self.row_bytes();
        let all = self.at(rows.end) - self.at(rows.start);
        // Of u32, for the alignment.
        let mut block = vec![0u32; all.min(BLOCK as u64).div_ceil(4) as usize];
        let block: &mut [u8] = bytemuck::cast_slice_mut(&mut block);
        if self.prefix == 0 {
            return self.run(self.at(rows.start)..self.at(rows.end), swap, block, &mut each);
        }
        let many = (BLOCK / stride) as u64;
        let mut row = rows.start;
        while row < rows.end {
            let at = self.at(row);
            if many == 0 {
                let mut length = [0; LENGTH];
                self.file.read_values(at, 1, false, &mut length)?;
                self.check_length(row, length)?;
                row += 1;
                self.run(at + LENGTH as u64..self.at(row), swap, block, &mut each)?;
                continue;
            }
            let bytes = &mut block[..many.min(rows.end - row) as usize * stride];
            self.file.read_values(at, 1, false, bytes)?;
            for bytes in bytes.chunks_exact_mut(stride) {
                let Some((length, values)) = bytes.split_first_chunk_mut() else { continue };
                self.check_length(row, *length)?;
                if swap {
                    swap_bytes(self.element.bytes(), values);
                }
                each(values)?;
                row += 1;
            }
        }
        Ok(())
    }

    /// Gives values that lie one behind the other to `each`, a block at a time.
    fn run(
        &self,
        range: Range<u64>,
        swap: bool,
        block: &mut [u8],
        each: &mut impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut at = range.start;
        while at < range.end {
            let bytes = &mut block[..(range.end - at).min(BLOCK as u64) as usize];
            self.file.read_values(at, self.element.bytes(), swap, bytes)?;
            each(bytes)?;
            at += bytes.len() as u64;
        }
        Ok(())
    }

    fn check_length(&self, row: u64, length: [u8; LENGTH]) -> Result<()> {
        let length = i32::from_le_bytes(length);
        if u64::try_from(length) == Ok(self.cols as u64) {
            return Ok(());
        }
        let cols = self.cols;
        Err(self.error(format!(
            "row {row} (from 0) says that it has {length} values, and the first row {cols}: all have to be of one length"
        )))
    }
}

/// The columns, if a row and its f32 can be in memory at all.
fn addressable(path: &Path, cols: u64, element: Element) -> Result<usize> {
    let room = |cols: &usize| cols.checked_mul(4).is_some_and(|bytes| isize::try_from(bytes).is_ok());
    usize::try_from(cols).ok().filter(room).ok_or_else(|| {
        Error::file(path, format!("a row of {cols} values of {} bytes cannot be in memory", element.bytes()))
    })
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
        "it has {count} {dimensions}-D tensors: say with --tensor which one has the points: {}",
        names.join(", ")
    )
}
