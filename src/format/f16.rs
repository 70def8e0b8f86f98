//! F16: IEEE half precision, little-endian.

use super::{
    Format, half,
    planes::{Plane, Row, bits},
    put_half,
};

pub const FORMAT: Format = Format {
    name: "F16",
    ggml_type: Some(1),
    elements: 1,
    bytes: 2,
    block,
    pack,
    decoder: "format/f16",
    planes: &[Plane::codes("codes", 16)],
    integer: false,
    spread,
};

fn block(block: &[u8], weights: &mut [f32]) {
    weights[0] = half(block, 0);
}

fn spread(block: &[u8], index: usize, row: &mut Row<'_>) {
    row.codes(0, 16, index, [bits(block)]);
}

fn pack(weights: &[f32], block: &mut [u8]) {
    put_half(block, 0, weights[0]);
}
