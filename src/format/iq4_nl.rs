//! IQ4_NL: d (f16), 32 codes of 4 bits, the first half in the low nibbles; weight = d * value(code), the values being
//! closer together near zero.

use super::{Format, half, nibbles};

pub const FORMAT: Format =
    Format { name: "IQ4_NL", ggml_type: 20, elements: 32, bytes: 18, block, pack: None };

const VALUES: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

fn block(block: &[u8], weights: &mut [f32]) {
    let d = half(block, 0);
    nibbles(&block[2..], weights, |code| d * f32::from(VALUES[usize::from(code)]));
}
