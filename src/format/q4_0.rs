//! Q4_0: d (f16), 32 codes of 4 bits, the first half in the low nibbles; weight = d * (code - 8).

use super::{
    Format, codes, half, inverse, largest, nibble_codes, nibbles,
    planes::{Plane, Row, bits},
    put_half, put_nibbles,
};

pub const FORMAT: Format = Format {
    name: "Q4_0",
    ggml_type: Some(2),
    elements: 32,
    bytes: 18,
    block,
    pack,
    decoder: "format/q4_0",
    planes: &[Plane::codes("codes", 4), Plane::new("scales", 1, 1)],
    integer: true,
    spread,
};

fn block(block: &[u8], weights: &mut [f32]) {
    let d = half(block, 0);
    nibbles(&block[2..], weights, |code| d * (f32::from(code) - 8.0));
}

fn spread(block: &[u8], index: usize, row: &mut Row<'_>) {
    row.codes(0, 4, 32 * index, nibble_codes(&block[2..]).map(u32::from));
    row.put(1, 16, index, bits(&block[..2]));
}

/// d = largest / -8, so that the largest weight has the code that reaches farthest.
pub fn pack(weights: &[f32], block: &mut [u8]) {
    let d = largest(weights) / -8.0;
    put_half(block, 0, d);
    let inverse = inverse(d);
    put_nibbles(&mut block[2..], &codes(weights, 8.5, 15, |weight| weight * inverse));
}
