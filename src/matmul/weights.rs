//! Quantized weights on a device.

use std::borrow::Cow;
use std::sync::OnceLock;

use super::row_scale;
use crate::format::Format;
use crate::format::planes::PAIR;
use crate::gpu::{Buffer, Context};
use crate::io::gguf::{Gguf, Tensor};
use crate::io::quoted;
use crate::{Error, Result};

/// A matrix of weights `[rows, cols]` on a device, in the planes of its format.
#[derive(Debug)]
pub struct Weights {
    /// Its number format.
    pub format: &'static Format,
    /// The number of rows.
    pub rows: u64,
    /// The length of a row.
    pub cols: u64,
    planes: Vec<Buffer>,
    scales: OnceLock<Buffer>,
}

/// How a matrix of plain values lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The values of a row follow each other.
    RowMajor,
    /// The values of a column do.
    ColumnMajor,
}

/// Bytes of blocks that are repacked at a time: host memory for an upload is a small multiple of it.
const PIECE: u64 = 8 << 20;

impl Weights {
    /// Room for `rows` rows of `cols` weights; [`Self::write_rows`] fills it.
    ///
    /// # Errors
    /// [`Error::Shape`] for a shape that the format cannot have; [`Error::OutOfMemory`].
    pub fn new(gpu: &Context, format: &'static Format, rows: u64, cols: u64) -> Result<Self> {
        if rows == 0 || cols == 0 || !cols.is_multiple_of(format.elements as u64) {
            return Err(Error::Shape(format!(
                "{} weights cannot be [{rows}, {cols}]: rows are blocks of {} weights",
                format.name, format.elements
            )));
        }
        let pairs = cols.div_ceil(PAIR as u64) as usize;
        let plane = |plane: &crate::format::planes::Plane| {
            Buffer::new(gpu, plane.name, rows, 4 * plane.row_words(pairs) as u64)
        };
        let planes = format.planes.iter().map(plane).collect::<Result<_>>()?;
        Ok(Self { format, rows, cols, planes, scales: OnceLock::new() })
    }

    /// Uploads all rows from their blocks.
    pub fn from_blocks(gpu: &Context, format: &'static Format, cols: u64, blocks: &[u8]) -> Result<Self> {
        let row_bytes = (cols / format.elements as u64 * format.bytes as u64).max(1);
        let weights = Self::new(gpu, format, blocks.len() as u64 / row_bytes, cols)?;
        let piece = (weights.rows_in_a_piece() * row_bytes) as usize;
        for (i, blocks) in blocks.chunks(piece).enumerate() {
            weights.write_rows(gpu, i as u64 * weights.rows_in_a_piece(), blocks)?;
        }
        Ok(weights)
    }

    /// Uploads a tensor of a GGUF file, a piece at a time: `[rows, cols]`, all dimensions but the contiguous one as rows.
    ///
    /// # Errors
    /// [`Error::File`] for a type without a format, and for a weight that is not finite, by its place, unless
    /// `allow_nonfinite`; the file's and the device's.
    pub fn from_gguf(gpu: &Context, file: &Gguf, tensor: &Tensor, allow_nonfinite: bool) -> Result<Self> {
        let fault =
            |problem: String| Error::file(file.path(), format!("tensor {}: {problem}", quoted(&tensor.name)));
        let Some(format) = Format::by_type(tensor.ty.id) else {
            return Err(fault(format!("its type {} is none that products can be made with", tensor.ty.name)));
        };
        let weights = Self::new(gpu, format, tensor.rows(), tensor.cols())?;
        let (row_bytes, cols) = (tensor.row_bytes(), tensor.cols());
        let mut blocks = Vec::new();
        let mut values = Vec::new();
        for first in (0..weights.rows).step_by(weights.rows_in_a_piece() as usize) {
            let rows = weights.rows_in_a_piece().min(weights.rows - first);
            blocks.resize((rows * row_bytes) as usize, 0);
            file.read(tensor, first * row_bytes..(first + rows) * row_bytes, &mut blocks)?;
            if !allow_nonfinite {
                values.resize((rows * cols) as usize, 0.0);
                format.dequantize(&blocks, &mut values)?;
                if let Some(at) = values.iter().position(|value| !value.is_finite()) {
                    let (row, col) = (first + at as u64 / cols, at as u64 % cols);
                    return Err(fault(format!("its weight [{row}, {col}] is {}", values[at])));
                }
            }
            weights.write_rows(gpu, first, &blocks)?;
        }
        Ok(weights)
    }

    /// Quantizes plain floats `[rows, cols]`, which lie in this order, and uploads them: F32 and F16 keep them as they are.
    ///
    /// # Errors
    /// [`Error::Shape`] for values that are no such matrix, [`Error::NotFinite`] for one that is not finite, [`Error::Input`] for one
    /// that is too large for the format; the device's.
    pub fn from_values(
        gpu: &Context,
        format: &'static Format,
        values: &[f32],
        cols: u64,
        order: Order,
    ) -> Result<Self> {
        let rows = values.len() as u64 / cols.max(1);
        if rows * cols != values.len() as u64 {
            return Err(Error::Shape(format!("{} values are no rows of {cols}", values.len())));
        }
        let weights = Self::new(gpu, format, rows, cols)?;
        for first in (0..rows).step_by(weights.rows_in_a_piece() as usize) {
            let count = weights.rows_in_a_piece().min(rows - first);
            let mut blocks = vec![0; (count * weights.row_bytes()) as usize];
            let piece = match order {
                Order::RowMajor => {
                    Cow::Borrowed(&values[(first * cols) as usize..][..(count * cols) as usize])
                }
                Order::ColumnMajor => (first..first + count)
                    .flat_map(|row| values.iter().skip(row as usize).step_by(rows as usize).copied())
                    .collect(),
            };
            format.quantize(&piece, &mut blocks)?;
            let mut back = vec![0.0; piece.len()];
            format.dequantize(&blocks, &mut back)?;
            if let Some(at) = back.iter().position(|weight| !weight.is_finite()) {
                let (row, col) = (first + at as u64 / cols, at as u64 % cols);
                let (name, weight) = (format.name, piece[at]);
                return Err(Error::Input(format!(
                    "row {row}, column {col} is {weight}: it, or its block, is too large for {name}"
                )));
            }
            weights.write_rows(gpu, first, &blocks)?;
        }
        Ok(weights)
    }

    /// Overwrites whole rows from `first_row` on with these blocks.
    pub fn write_rows(&self, gpu: &Context, first_row: u64, blocks: &[u8]) -> Result<()> {
        let planes = self.format.repack(blocks, self.cols as usize)?;
        self.planes
            .iter()
            .zip(&planes)
            .try_for_each(|(buffer, words)| buffer.write_rows(gpu, first_row, words))?;
        // Products that are bound already read the same buffer.
        self.scales.get().map_or(Ok(()), |scales| self.fill_scales(gpu, scales))
    }

    /// `[rows]` powers of two that bring the rows into the range of f16; measured on the first call.
    #[doc(hidden)]
    pub fn scales(&self, gpu: &Context) -> Result<&Buffer> {
        if self.scales.get().is_none() {
            let scales = Buffer::new(gpu, "row scales", self.rows, 4)?;
            self.fill_scales(gpu, &scales)?;
            let _ = self.scales.set(scales);
        }
        self.scales.get().ok_or_else(|| Error::Input("the weights were not measured".into()))
    }

    fn fill_scales(&self, gpu: &Context, scales: &Buffer) -> Result<()> {
        row_scale::fill(gpu, self.format.decoder, &self.buffers(), self.pairs(), scales)
    }

    /// Rows that are best written at a time.
    #[doc(hidden)]
    pub fn rows_in_a_piece(&self) -> u64 {
        (PIECE / self.row_bytes()).max(1)
    }

    /// Bytes of a row's blocks, as a file has them.
    #[doc(hidden)]
    pub fn row_bytes(&self) -> u64 {
        self.cols / self.format.elements as u64 * self.format.bytes as u64
    }

    /// Pairs of 32 weights in a row, padded to a whole one.
    #[doc(hidden)]
    pub fn pairs(&self) -> u64 {
        self.cols.div_ceil(PAIR as u64)
    }

    /// Bytes on the device.
    pub fn bytes(&self) -> u64 {
        self.planes.iter().map(Buffer::bytes).sum()
    }

    /// The planes, by the names that the decoder binds them with.
    #[doc(hidden)]
    pub fn buffers(&self) -> Vec<(&str, &Buffer)> {
        self.format.planes.iter().map(|plane| plane.name).zip(&self.planes).collect()
    }

    /// The planes' guards, for tests.
    #[doc(hidden)]
    pub fn into_buffers(self) -> Vec<Buffer> {
        self.planes
    }
}
