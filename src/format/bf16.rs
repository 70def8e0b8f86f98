//! BF16: the upper half of an f32, little-endian.

use super::Format;

pub const FORMAT: Format = Format { name: "BF16", ggml_type: 30, elements: 1, bytes: 2, block };

fn block(block: &[u8], weights: &mut [f32]) {
    weights[0] = f32::from_le_bytes([0, 0, block[0], block[1]]);
}
