//! Q4_K: d, dmin (f16), 8 scales and 8 minima of 6 bits in 12 bytes, 256 codes of 4 bits. Each 32 weights have a scale
//! and a minimum; weight = (d * scale) * code - dmin * minimum. Of each 32 code bytes, the low nibbles are the first 32
//! weights.

use super::{Format, half};

pub const FORMAT: Format =
    Format { name: "Q4_K", ggml_type: 12, elements: 256, bytes: 144, block, pack: None };

fn block(block: &[u8], weights: &mut [f32]) {
    let (d, dmin) = (half(block, 0), half(block, 2));
    let (scales, codes) = (&block[4..16], &block[16..]);
    for (group, weights) in weights.chunks_exact_mut(32).enumerate() {
        let (scale, minimum) = scale_and_minimum(scales, group);
        let (scale, minimum) = (d * f32::from(scale), dmin * f32::from(minimum));
        for (weight, code) in weights.iter_mut().zip(&codes[group / 2 * 32..]) {
            *weight = scale * f32::from((code >> (group % 2 * 4)) & 15) - minimum;
        }
    }
}

/// Group `group`'s scale and minimum: the first four of each are the low 6 bits of a byte; the others have their low 4
/// bits in the last four bytes, and their high 2 bits where the first ones left room.
pub(super) fn scale_and_minimum(scales: &[u8], group: usize) -> (u8, u8) {
    if group < 4 {
        return (scales[group] & 63, scales[group + 4] & 63);
    }
    let low = scales[group + 4];
    (low & 15 | scales[group - 4] >> 6 << 4, low >> 4 | scales[group] >> 6 << 4)
}
