//! The randomised Hadamard rotation: outliers spread over all channels of a vector, inner products stay.

use crate::random::Random;

/// The seed of the signs.
const SEED: u64 = 0x6c6f_7762_6974;

/// A rotation of vectors of one dimension.
///
/// Each value is multiplied by its sign; then blocks, the largest power of two that divides the dimension (80 is 5 of 16,
/// 96 is 3 of 32), by a Hadamard matrix: butterflies `(a + b, a - b)` at strides 1, 2, 4 and so on; then each value by
/// `1 / sqrt(block)`, rounded to f32. All in f32, so a kernel that keeps the order gets the same bits.
#[derive(Clone, Debug)]
pub struct Rotation {
    signs: Vec<f32>,
    block: usize,
    norm: f32,
}

impl Rotation {
    /// That of a dimension, which is not 0.
    pub fn new(dim: usize) -> Self {
        let block = Self::block_of(dim);
        let words = Self::sign_words(dim);
        let sign = |v: usize| if words[v / 32] >> (v % 32) & 1 == 1 { -1.0 } else { 1.0 };
        Self { signs: (0..dim).map(sign).collect(), block, norm: (1.0 / (block as f64).sqrt()) as f32 }
    }

    /// The signs as bits: that of value v is bit `v % 32` of word `v / 32`, 1 for a minus.
    pub fn sign_words(dim: usize) -> Vec<u32> {
        Random::new(SEED).words(dim.div_ceil(32))
    }

    /// Values that are rotated together in a dimension, which is not 0: the largest power of two that divides it.
    pub fn block_of(dim: usize) -> usize {
        1 << dim.trailing_zeros()
    }

    /// Values that are rotated together.
    pub fn block(&self) -> usize {
        self.block
    }

    /// Rotates one vector.
    pub fn forward(&self, vector: &mut [f32]) {
        self.flip(vector);
        self.transform(vector);
    }

    /// Rotates it back.
    pub fn back(&self, vector: &mut [f32]) {
        self.transform(vector);
        self.flip(vector);
    }

    fn flip(&self, vector: &mut [f32]) {
        for (x, sign) in vector.iter_mut().zip(&self.signs) {
            *x *= sign;
        }
    }

    fn transform(&self, vector: &mut [f32]) {
        for block in vector.chunks_exact_mut(self.block) {
            let mut stride = 1;
            while stride < self.block {
                for pair in block.chunks_exact_mut(2 * stride) {
                    let (left, right) = pair.split_at_mut(stride);
                    for (a, b) in left.iter_mut().zip(right) {
                        (*a, *b) = (*a + *b, *a - *b);
                    }
                }
                stride *= 2;
            }
            for x in block {
                *x *= self.norm;
            }
        }
    }
}
