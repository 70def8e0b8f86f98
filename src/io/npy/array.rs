//! An array whose header has been read: checks of what it says, and its values in their order.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use bytemuck::{AnyBitPattern, NoUninit};

use super::header::{Header, MAGIC, NATIVE, dtype_name, parse_header};
use crate::{Error, Result};

/// The longest header that version 1 can have. Those of plain arrays have about 120 bytes.
const MAX_HEADER: u32 = 0xffff;

/// An open file whose header has been read.
pub struct Array<'a, R = File> {
    path: &'a Path,
    pub file: R,
    /// Where the data begins.
    pub offset: u64,
    /// What follows the header, in bytes.
    pub data: u64,
    /// The byte order (`<`, `>` or `|`) and the type, such as `<f4`.
    pub dtype: String,
    pub shape: Vec<u64>,
}

impl<'a> Array<'a> {
    pub fn open(path: &'a Path) -> Result<Self> {
        let (file, size) = crate::io::open(path)?;
        Self::begin(path, file, size)
    }
}

impl<'a, R: Read> Array<'a, R> {
    /// Reads the header of an array that is `size` bytes long, header included.
    pub fn begin(path: &'a Path, mut file: R, size: u64) -> Result<Self> {
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

    pub fn error(&self, problem: String) -> Error {
        Error::file(self.path, problem)
    }

    /// The type without its byte order, such as `f4`; empty if there is no byte order.
    pub fn kind(&self) -> &str {
        self.dtype.strip_prefix(['<', '>']).unwrap_or("")
    }

    pub fn wrong_dtype(&self, wanted: &str, convert_to: &str) -> Error {
        // The text comes from the file, so it may be anything.
        let dtype: String = self.dtype.escape_debug().take(24).collect();
        let name = dtype_name(&self.dtype).map_or_else(String::new, |name| format!("{name} "));
        self.error(format!(
            "the dtype is {name}('{dtype}'), not {wanted}: convert with .astype({convert_to})"
        ))
    }

    pub fn wrong_shape(&self, wanted: &str) -> Error {
        let (dimensions, shape) = (self.shape.len(), self.shape_text());
        self.error(format!("the array is {dimensions}-D, its shape is {shape}; it has to be {wanted}"))
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
            let (dtype, found) = (&self.dtype, self.data);
            return Err(self.error(format!(
                "{problem}: shape {shape} of '{dtype}' takes {bytes} bytes of data, found {found}"
            )));
        }
        usize::try_from(count).map_err(|_| self.no_room(count))
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

    /// Reads the next values of the file; `swap` turns the bytes of one around.
    pub fn read<T: AnyBitPattern + NoUninit>(
        &mut self,
        values: &mut [T],
        swap: impl Fn(T) -> T,
    ) -> Result<()> {
        self.file.read_exact(bytemuck::cast_slice_mut(values)).map_err(|e| Error::io(self.path, e))?;
        if !self.dtype.starts_with(NATIVE) {
            values.iter_mut().for_each(|value| *value = swap(*value));
        }
        Ok(())
    }
}
