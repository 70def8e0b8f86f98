//! Number formats: one file each, the only owner of its bit layout.
//!
//! A format packs blocks of weights into bytes: a few scales and the codes. Rows are whole blocks. What a weight is worth
//! follows from its block alone, in f32. ggml's formats lie as in GGUF files (ggml-common.h), and are rounded in the
//! order that ggml rounds in: every value equals ggml's to the bit.

mod bf16;
mod f16;
mod f32;
pub(crate) mod fp8;
mod group;
mod iq4_nl;
mod mxfp4;
pub(crate) mod planes;
mod q2_k;
mod q3_k;
pub(crate) mod q4_0;
mod q4_1;
mod q4_k;
mod q5_0;
mod q5_1;
mod q5_k;
mod q6_k;
pub(crate) mod q8_0;
mod search;
mod tq1_0;
mod tq2_0;

use crate::{Error, Result};
use planes::{PAIR, Plane, Row};

/// A number format.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Format {
    /// ggml's name for it, such as `Q4_K`.
    pub name: &'static str,
    /// Its number in GGUF files, where ggml has it.
    pub ggml_type: Option<u32>,
    /// Weights in a block.
    pub elements: usize,
    /// Bytes of a block.
    pub bytes: usize,
    /// Turns one block into its weights.
    block: fn(&[u8], &mut [f32]),
    /// Turns weights, all finite, into one block, which starts as zeros.
    pack: fn(&[f32], &mut [u8]),
    /// The decoder: a file below `shaders/`.
    #[doc(hidden)]
    pub decoder: &'static str,
    /// What the decoder reads.
    #[doc(hidden)]
    pub planes: &'static [Plane],
    /// Whether its codes fit int8, so that products can be of integers.
    pub integer: bool,
    /// Puts a block, the one of this number in its row, into the planes.
    spread: fn(&[u8], usize, &mut Row<'_>),
}

/// Every format: ggml's in the order of their numbers, then the others.
pub const ALL: &[Format] = &[
    f32::FORMAT,
    f16::FORMAT,
    q4_0::FORMAT,
    q4_1::FORMAT,
    q5_0::FORMAT,
    q5_1::FORMAT,
    q8_0::FORMAT,
    q2_k::FORMAT,
    q3_k::FORMAT,
    q4_k::FORMAT,
    q5_k::FORMAT,
    q6_k::FORMAT,
    iq4_nl::FORMAT,
    bf16::FORMAT,
    tq1_0::FORMAT,
    tq2_0::FORMAT,
    mxfp4::FORMAT,
    group::INT4_32,
    group::INT4_64,
    group::INT4_128,
    group::INT8_32,
    group::INT8_64,
    group::INT8_128,
    fp8::FORMAT,
];

/// The decoders of [`ALL`], files below `shaders/`.
#[doc(hidden)]
pub const DECODERS: &[&str] = &{
    let mut decoders = [""; ALL.len()];
    let mut at = 0;
    while at < ALL.len() {
        decoders[at] = ALL[at].decoder;
        at += 1;
    }
    decoders
};

/// The decoders of those formats whose codes fit int8.
#[doc(hidden)]
pub const INTEGER_DECODERS: &[&str] = &{
    let mut decoders = [""; integers()];
    let (mut at, mut found) = (0, 0);
    while at < ALL.len() {
        if ALL[at].integer {
            decoders[found] = ALL[at].decoder;
            found += 1;
        }
        at += 1;
    }
    decoders
};

const fn integers() -> usize {
    let (mut at, mut count) = (0, 0);
    while at < ALL.len() {
        count += ALL[at].integer as usize;
        at += 1;
    }
    count
}

impl Format {
    /// The format that ggml calls `name`, in any case.
    pub fn by_name(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|format| format.name.eq_ignore_ascii_case(name))
    }

    /// The format with this number in GGUF files.
    pub fn by_type(ggml_type: u32) -> Option<&'static Self> {
        ALL.iter().find(|format| format.ggml_type == Some(ggml_type))
    }

    /// Bits that a weight takes, scales included.
    pub fn bits_per_weight(&self) -> f64 {
        8.0 * self.bytes as f64 / self.elements as f64
    }

    /// Turns weights into whole blocks: the simple formats as ggml's reference quantizers do, to the bit; the K formats
    /// and IQ4_NL by a search for the scales with the least weighted error.
    ///
    /// # Errors
    /// [`Error::Shape`] for weights that are no whole blocks, [`Error::NotFinite`] for one that is not finite, by its place.
    pub fn quantize(&self, weights: &[f32], blocks: &mut [u8]) -> Result<()> {
        self.check(weights.len(), blocks.len())?;
        if let Some(at) = weights.iter().position(|weight| !weight.is_finite()) {
            return Err(Error::NotFinite(format!(
                "weight {at} is {}, which {} cannot hold",
                weights[at], self.name
            )));
        }
        blocks.fill(0);
        for (weights, block) in weights.chunks_exact(self.elements).zip(blocks.chunks_exact_mut(self.bytes)) {
            (self.pack)(weights, block);
        }
        Ok(())
    }

    /// Turns whole rows of blocks, `cols` weights each, into the planes that a device reads: `[rows, row_words]` each.
    ///
    /// # Errors
    /// [`Error::Input`] unless `blocks` are whole rows, and `cols` whole blocks.
    #[doc(hidden)]
    pub fn repack(&self, blocks: &[u8], cols: usize) -> Result<Vec<Vec<u32>>> {
        let row_bytes = cols / self.elements * self.bytes;
        if cols == 0 || !cols.is_multiple_of(self.elements) || !blocks.len().is_multiple_of(row_bytes) {
            return Err(Error::Shape(format!(
                "{}: {} bytes are no whole rows of {cols} weights in blocks of {}",
                self.name,
                blocks.len(),
                self.elements
            )));
        }
        let (rows, pairs) = (blocks.len() / row_bytes, cols.div_ceil(PAIR));
        let mut planes: Vec<Vec<u32>> =
            self.planes.iter().map(|plane| vec![0; rows * plane.row_words(pairs)]).collect();
        for (r, blocks) in blocks.chunks_exact(row_bytes).enumerate() {
            let of_row = self.planes.iter().zip(&mut planes).map(|(plane, words)| {
                let length = plane.row_words(pairs);
                &mut words[r * length..][..length]
            });
            let mut row = Row { pairs, planes: of_row.collect() };
            for (index, block) in blocks.chunks_exact(self.bytes).enumerate() {
                (self.spread)(block, index, &mut row);
            }
        }
        Ok(planes)
    }

    fn check(&self, weights: usize, bytes: usize) -> Result<()> {
        let count = bytes / self.bytes;
        if bytes.is_multiple_of(self.bytes) && weights == count * self.elements {
            return Ok(());
        }
        Err(Error::Shape(format!(
            "{}: {bytes} bytes are {count} blocks of {} bytes and {} weights each, not {weights} weights",
            self.name, self.bytes, self.elements
        )))
    }

    /// Turns whole blocks into their weights, in f32.
    ///
    /// # Errors
    /// [`Error::Input`] unless `blocks` are whole blocks, and `weights` as many as they hold.
    pub fn dequantize(&self, blocks: &[u8], weights: &mut [f32]) -> Result<()> {
        self.check(weights.len(), blocks.len())?;
        for (block, weights) in blocks.chunks_exact(self.bytes).zip(weights.chunks_exact_mut(self.elements)) {
            (self.block)(block, weights);
        }
        Ok(())
    }
}

/// The first of the weights with the largest size, and 0 for none.
fn largest(weights: &[f32]) -> f32 {
    weights.iter().fold(0.0, |most: f32, &weight| if weight.abs() > most.abs() { weight } else { most })
}

/// `1 / d`, and 0 for a block of zeros.
fn inverse(d: f32) -> f32 {
    if d == 0.0 { 0.0 } else { 1.0 / d }
}

/// Writes `value` as f16 at byte `at`.
fn put_half(block: &mut [u8], at: usize, value: f32) {
    block[at..at + 2].copy_from_slice(&half::f16::from_f32(value).to_le_bytes());
}

/// The 32 codes that [`put_nibbles`] packed.
pub(crate) fn nibble_codes(block: &[u8]) -> [u8; 32] {
    let mut codes = [0; 32];
    nibbles(block, &mut codes, |code| code);
    codes
}

/// Packs the low 4 bits of 32 codes as [`nibbles`] reads them.
fn put_nibbles(block: &mut [u8], codes: &[u8; 32]) {
    let (low, high) = codes.split_at(16);
    for ((byte, low), high) in block.iter_mut().zip(low).zip(high) {
        *byte = low & 15 | high << 4;
    }
}

/// The codes of 32 weights: `weight * inverse + offset`, cut to a whole number from 0 to `most`.
fn codes(weights: &[f32], offset: f32, most: u8, scaled: impl Fn(f32) -> f32) -> [u8; 32] {
    let mut codes = [0; 32];
    for (code, &weight) in codes.iter_mut().zip(weights) {
        // A float cast saturates, so nothing wraps.
        *code = ((scaled(weight) + offset) as u8).min(most);
    }
    codes
}

/// The smallest and the largest weight.
fn extremes(weights: &[f32]) -> (f32, f32) {
    weights.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &w| (low.min(w), high.max(w)))
}

/// The f16 at byte `at`.
fn half(block: &[u8], at: usize) -> f32 {
    half::f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// The low nibbles of `codes` are the first half of a block, the high ones the second.
fn nibbles<T>(codes: &[u8], weights: &mut [T], value: impl Fn(u8) -> T) {
    let (low, high) = weights.split_at_mut(codes.len());
    for ((&code, low), high) in codes.iter().zip(low).zip(high) {
        (*low, *high) = (value(code & 15), value(code >> 4));
    }
}
