//! How weights lie on a device: aligned planes of 32-bit words, which a decoder under shaders/format reads whole.
//!
//! A row is cut into pairs of 32 weights, padded with zeros to a whole one. A pair has four granules of 16 weights.
//! Codes of 2, 4, 8, 16 and 32 bits lie in wide words of 16 bytes, of which a pair has `bits / 2`; of eight neighbouring
//! pairs the first wide words lie side by side, then the second ones (lib/planes.wgsl). Within a wide word,
//! - 2 bits: byte `i` has weight `i` of each granule, the first granule lowest;
//! - 4 bits: wide word `w` has granules `2w` (low) and `2w + 1` (high), byte `i` their weights `i`;
//! - 8, 16 and 32 bits: in order.
//!
//! Codes of 1 bit lie in two words: granule `g` in word `g / 2`, weight `i` at bit `i % 4 * 8 + g % 2 * 4 + i / 4`.

/// Pairs whose wide words alternate.
const TILE: usize = 8;
/// Weights in a pair.
pub const PAIR: usize = 64;

/// One plane of a format: `words` words for every `pairs` pairs of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plane {
    /// The binding's name in the decoder.
    pub name: &'static str,
    /// 32-bit words for each `pairs` pairs.
    pub words: usize,
    /// How many pairs share them.
    pub pairs: usize,
}

impl Plane {
    pub(super) const fn new(name: &'static str, words: usize, pairs: usize) -> Self {
        Self { name, words, pairs }
    }

    /// Codes of `bits` bits.
    pub(super) const fn codes(name: &'static str, bits: usize) -> Self {
        Self::new(name, 2 * bits, 1)
    }

    /// Words in a row of `pairs` pairs.
    pub fn row_words(&self, pairs: usize) -> usize {
        pairs.div_ceil(self.pairs) * self.words
    }
}

/// A row of every plane, all zeros at first.
#[derive(Debug)]
pub(super) struct Row<'a> {
    pub(super) pairs: usize,
    pub(super) planes: Vec<&'a mut [u32]>,
}

impl Row<'_> {
    /// Puts codes of `bits` bits into plane `plane`, the first one for weight `first` of the row.
    pub(super) fn codes(
        &mut self,
        plane: usize,
        bits: usize,
        first: usize,
        codes: impl IntoIterator<Item = u32>,
    ) {
        for (weight, code) in (first..).zip(codes) {
            let (pair, at) = (weight / PAIR, weight % PAIR);
            let (g, i) = (at / 16, at % 16);
            let (word, shift) = match bits {
                1 => (pair * 2 + g / 2, i % 4 * 8 + g % 2 * 4 + i / 4),
                2 => (self.wide(pair, 1, 0) + i / 4, i % 4 * 8 + g * 2),
                4 => (self.wide(pair, 2, g / 2) + i / 4, i % 4 * 8 + g % 2 * 4),
                bits => {
                    let bit = at * bits;
                    (self.wide(pair, bits / 2, bit / 128) + bit % 128 / 32, bit % 32)
                }
            };
            self.planes[plane][word] |= code << shift;
        }
    }

    /// The first word of wide word `at` of the `per_pair` that `pair` has.
    fn wide(&self, pair: usize, per_pair: usize, at: usize) -> usize {
        let first = pair / TILE * TILE;
        let tile = TILE.min(self.pairs - first);
        4 * (first * per_pair + at * tile + (pair - first))
    }

    /// Puts `bits` bits at place `at`, counted in such pieces from the beginning of the row.
    pub(super) fn put(&mut self, plane: usize, bits: usize, at: usize, value: u32) {
        let bit = at * bits;
        self.planes[plane][bit / 32] |= value << (bit % 32);
    }
}

/// Bytes as they stand in a block, as the low bits of a word.
pub(super) fn bits(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |word, &byte| word << 8 | u32::from(byte))
}
