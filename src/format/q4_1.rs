//! Q4_1: d, m (f16), 32 codes of 4 bits, the first half in the low nibbles; weight = d * code + m.

use super::{
    Format, codes, extremes, half, inverse, nibble_codes, nibbles,
    planes::{Plane, Row, bits},
    put_half, put_nibbles,
};

pub const FORMAT: Format = Format {
    name: "Q4_1",
    ggml_type: Some(3),
    elements: 32,
    bytes: 20,
    block,
    pack,
    decoder: "format/q4_1",
    planes: &[Plane::codes("codes", 4), Plane::new("scales", 2, 1)],
    integer: true,
    spread,
};

fn block(block: &[u8], weights: &mut [f32]) {
    let (d, m) = (half(block, 0), half(block, 2));
    nibbles(&block[4..], weights, |code| d * f32::from(code) + m);
}

fn spread(block: &[u8], index: usize, row: &mut Row<'_>) {
    row.codes(0, 4, 32 * index, nibble_codes(&block[4..]).map(u32::from));
    row.put(1, 32, index, bits(&block[..4]));
}

fn pack(weights: &[f32], block: &mut [u8]) {
    let (low, high) = extremes(weights);
    let d = (high - low) / 15.0;
    put_half(block, 0, d);
    put_half(block, 2, low);
    let inverse = inverse(d);
    put_nibbles(&mut block[4..], &codes(weights, 0.5, 15, |weight| (weight - low) * inverse));
}
