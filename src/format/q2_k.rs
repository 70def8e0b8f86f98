//! Q2_K: 16 bytes of scales (low nibble) and minima (high nibble), 256 codes of 2 bits, d, dmin (f16). Each 16 weights
//! have a scale; weight = (d * scale) * code - dmin * minimum. Of each 32 code bytes, the lowest bits are the first 32
//! weights.

use super::{Format, half};

pub const FORMAT: Format =
    Format { name: "Q2_K", ggml_type: 10, elements: 256, bytes: 84, block, pack: None };

fn block(block: &[u8], weights: &mut [f32]) {
    let (scales, codes) = (&block[..16], &block[16..80]);
    let (d, dmin) = (half(block, 80), half(block, 82));
    for (group, (weights, scale)) in weights.chunks_exact_mut(16).zip(scales).enumerate() {
        let (scale, minimum) = (d * f32::from(scale & 15), dmin * f32::from(scale >> 4));
        // Groups of a half: 8; of a shift: 2.
        let (start, shift) = (group / 8 * 32 + group % 2 * 16, group % 8 / 2 * 2);
        for (weight, code) in weights.iter_mut().zip(&codes[start..]) {
            *weight = scale * f32::from((code >> shift) & 3) - minimum;
        }
    }
}
