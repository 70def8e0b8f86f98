//! Quantized weights with known values, for the cases of `src/matmul`.

use super::{Random, Sample};
use crate::Result;
use crate::format::Format;
use crate::gpu::Context;
use crate::matmul::Weights;

/// A matrix `[rows, cols]` in a number format, and what its weights are worth.
pub(super) struct Quantized {
    pub(super) format: &'static Format,
    pub(super) rows: usize,
    pub(super) cols: usize,
    blocks: Vec<u8>,
}

/// Rows that differ from each other; quantizing takes long, so larger matrices repeat them. A prime, so that tiles of rows never
/// look alike.
const DIFFERENT: usize = 61;

impl Quantized {
    /// Random weights.
    pub(super) fn new(format: &'static Format, rows: usize, cols: usize, random: &mut Random) -> Self {
        Self::sized(format, rows, cols, 1.0, random)
    }

    /// Random weights of at most this size.
    pub(super) fn sized(
        format: &'static Format,
        rows: usize,
        cols: usize,
        size: f32,
        random: &mut Random,
    ) -> Self {
        let different = rows.min(DIFFERENT);
        let mut blocks = vec![0; different * cols / format.elements * format.bytes];
        let values: Vec<f32> = random.floats(different * cols).iter().map(|value| value * size).collect();
        // Finite floats in whole blocks: what `quantize` asks for.
        if format.quantize(&values, &mut blocks).is_err() {
            blocks.fill(0);
        }
        let row_bytes = cols / format.elements * format.bytes;
        let blocks = blocks.into_iter().cycle().take(rows * row_bytes).collect();
        Self { format, rows, cols, blocks }
    }

    /// Its weights, row by row.
    pub(super) fn values(&self) -> Vec<f32> {
        let mut values = vec![f32::NAN; self.rows * self.cols];
        if self.format.dequantize(&self.blocks, &mut values).is_err() {
            values.fill(f32::NAN);
        }
        values
    }

    /// Some of its rows.
    pub(super) fn at(&self, sample: &Sample) -> Self {
        Self { rows: sample.rows().len(), blocks: sample.pick(&self.blocks), ..*self }
    }

    pub(super) fn upload(&self, gpu: &Context) -> Result<Weights> {
        Weights::from_blocks(gpu, self.format, self.cols as u64, &self.blocks)
    }

    pub(super) fn name(&self) -> String {
        format!("{} m={} k={}", self.format.name, self.rows, self.cols)
    }
}

/// The format of this name; the cases name those that exist.
pub(super) fn format(name: &str) -> &'static Format {
    Format::by_name(name).unwrap_or(&crate::format::ALL[0])
}

/// Formats with rows in the report.
pub(super) const SHOWN: [&str; 5] = ["Q8_0", "Q4_0", "Q4_K", "TQ2_0", "INT4_128"];

/// Rows and columns of a matrix in this format that takes about `bytes`.
pub(super) fn filling(format: &Format, bytes: u64) -> (usize, usize) {
    let cols = if bytes < 8 << 20 { 4096 } else { 14_336 };
    let row_bytes = cols / format.elements * format.bytes;
    ((bytes as usize / row_bytes).max(64), cols)
}
