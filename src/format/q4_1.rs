//! Q4_1: d, m (f16), 32 codes of 4 bits, the first half in the low nibbles; weight = d * code + m.

use super::{Format, half, nibbles};

pub const FORMAT: Format = Format { name: "Q4_1", ggml_type: 3, elements: 32, bytes: 20, block };

fn block(block: &[u8], weights: &mut [f32]) {
    let (d, m) = (half(block, 0), half(block, 2));
    nibbles(&block[4..], weights, |code| d * f32::from(code) + m);
}
