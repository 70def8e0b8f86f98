//! Q4_0: d (f16), 32 codes of 4 bits, the first half in the low nibbles; weight = d * (code - 8).

use super::{Format, half, nibbles};

pub const FORMAT: Format = Format { name: "Q4_0", ggml_type: 2, elements: 32, bytes: 18, block };

fn block(block: &[u8], weights: &mut [f32]) {
    let d = half(block, 0);
    nibbles(&block[2..], weights, |code| d * (f32::from(code) - 8.0));
}
