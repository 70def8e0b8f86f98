//! Arrays whose values stay in the file.

use std::ops::Range;
use std::path::Path;

use super::array::Array;
use crate::io::Positioned;
use crate::io::vecs::Element;
use crate::{Error, Result};

/// An open array whose values stay in the file.
#[derive(Debug)]
pub struct Values {
    pub file: Positioned,
    /// Where the data begins.
    pub offset: u64,
    /// The size of the data.
    pub bytes: u64,
    /// None of the sizes is 0.
    pub shape: Vec<u64>,
    pub element: Element,
    pub big_endian: bool,
}

impl Values {
    /// Opens an array in C order of one of the types of `elements`, in either byte order, with a number of dimensions that is
    /// one of `dimensions`, which `wanted` says in words.
    pub fn open(path: &Path, elements: &[Element], dimensions: &[usize], wanted: &str) -> Result<Self> {
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
        if !dimensions.contains(&array.shape.len()) {
            return Err(array.wrong_shape(wanted));
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
        let elements = [Element::F32, Element::F16];
        Values::open(path, &elements, &[1, 2], "2-D, [rows, columns], or 1-D").map(Self)
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
