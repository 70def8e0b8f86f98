//! BF16: the upper half of an f32, little-endian.

use super::{
    Format,
    planes::{Plane, Row, bits},
};

pub const FORMAT: Format = Format {
    name: "BF16",
    ggml_type: Some(30),
    elements: 1,
    bytes: 2,
    block,
    pack,
    decoder: "format/bf16",
    planes: &[Plane::codes("codes", 16)],
    integer: false,
    spread,
};

fn block(block: &[u8], weights: &mut [f32]) {
    weights[0] = f32::from_le_bytes([0, 0, block[0], block[1]]);
}

fn spread(block: &[u8], index: usize, row: &mut Row<'_>) {
    row.codes(0, 16, index, [bits(block)]);
}

/// Rounds half to even.
fn pack(weights: &[f32], block: &mut [u8]) {
    let bits = weights[0].to_bits();
    let rounded = bits + 0x7fff + ((bits >> 16) & 1);
    block.copy_from_slice(&((rounded >> 16) as u16).to_le_bytes());
}
