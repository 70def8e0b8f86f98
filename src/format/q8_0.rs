//! Q8_0: d (f16), 32 codes (i8); weight = d * code.

use super::{
    Format, half, inverse, largest,
    planes::{Plane, Row, bits},
    put_half,
};

pub const FORMAT: Format = Format {
    name: "Q8_0",
    ggml_type: Some(8),
    elements: 32,
    bytes: 34,
    block,
    pack,
    decoder: "format/q8_0",
    planes: &[Plane::codes("codes", 8), Plane::new("scales", 1, 1)],
    integer: true,
    spread,
};

fn block(block: &[u8], weights: &mut [f32]) {
    let d = half(block, 0);
    for (weight, &code) in weights.iter_mut().zip(&block[2..]) {
        *weight = d * f32::from(code as i8);
    }
}

fn spread(block: &[u8], index: usize, row: &mut Row<'_>) {
    row.codes(0, 8, 32 * index, block[2..].iter().map(|&code| u32::from(code)));
    row.put(1, 16, index, bits(&block[..2]));
}

/// d = largest / 127; codes round half away from zero.
pub fn pack(weights: &[f32], block: &mut [u8]) {
    let d = largest(weights).abs() / 127.0;
    put_half(block, 0, d);
    let inverse = inverse(d);
    for (code, weight) in block[2..].iter_mut().zip(weights) {
        *code = (weight * inverse).round() as i8 as u8;
    }
}
