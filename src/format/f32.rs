//! F32: plain floats, little-endian.

use super::{
    Format,
    planes::{Plane, Row, bits},
};

pub const FORMAT: Format = Format {
    name: "F32",
    ggml_type: Some(0),
    elements: 1,
    bytes: 4,
    block,
    pack,
    decoder: "format/f32",
    planes: &[Plane::codes("codes", 32)],
    integer: false,
    spread,
};

fn block(block: &[u8], weights: &mut [f32]) {
    weights[0] = f32::from_le_bytes([block[0], block[1], block[2], block[3]]);
}

fn spread(block: &[u8], index: usize, row: &mut Row<'_>) {
    row.codes(0, 32, index, [bits(block)]);
}

fn pack(weights: &[f32], block: &mut [u8]) {
    block.copy_from_slice(&weights[0].to_le_bytes());
}
