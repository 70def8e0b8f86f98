//! TQ2_0: 256 ternary codes of 2 bits, d (f16); weight = d * (code - 1). Of each 32 code bytes, the lowest bits are the
//! first 32 weights.

use super::{
    Format, half, inverse, largest,
    planes::{Plane, Row, bits},
    put_half,
    tq1_0::ternary,
};

pub const FORMAT: Format = Format {
    name: "TQ2_0",
    ggml_type: Some(35),
    elements: 256,
    bytes: 66,
    block,
    pack,
    decoder: "format/tq2_0",
    planes: &[Plane::codes("codes", 2), Plane::new("supers", 1, 8)],
    integer: true,
    spread,
};

fn block(block: &[u8], weights: &mut [f32]) {
    let d = half(block, 64);
    for (run, weights) in weights.chunks_exact_mut(32).enumerate() {
        for (weight, code) in weights.iter_mut().zip(&block[run / 4 * 32..]) {
            *weight = d * (f32::from((code >> (run % 4 * 2)) & 3) - 1.0);
        }
    }
}

fn spread(block: &[u8], index: usize, row: &mut Row<'_>) {
    for run in 0..8 {
        let codes = block[run / 4 * 32..].iter().take(32);
        let codes = codes.map(|code| u32::from((code >> (run % 4 * 2)) & 3));
        row.codes(0, 2, 256 * index + 32 * run, codes);
    }
    row.put(1, 16, index, bits(&block[64..]));
}

fn pack(weights: &[f32], block: &mut [u8]) {
    let d = largest(weights).abs();
    put_half(block, 64, d);
    let inverse = inverse(d);
    for (run, weights) in weights.chunks_exact(32).enumerate() {
        for (byte, weight) in block[run / 4 * 32..].iter_mut().zip(weights) {
            *byte |= ternary(weight * inverse) << (run % 4 * 2);
        }
    }
}
