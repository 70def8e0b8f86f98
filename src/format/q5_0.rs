//! Q5_0: d (f16), the fifth bits of 32 codes, their low 4 bits as in Q4_0; weight = d * (code - 16).

use super::{
    Format, codes as pack_codes, half, inverse, largest, nibble_codes, nibbles,
    planes::{Plane, Row, bits},
    put_half, put_nibbles,
};

pub const FORMAT: Format = Format {
    name: "Q5_0",
    ggml_type: Some(6),
    elements: 32,
    bytes: 22,
    block,
    pack,
    decoder: "format/q5_0",
    planes: &[Plane::codes("codes", 4), Plane::codes("high", 1), Plane::new("scales", 1, 1)],
    integer: true,
    spread,
};

fn block(block: &[u8], weights: &mut [f32]) {
    let d = half(block, 0);
    codes(&block[2..6], &block[6..], weights);
    weights.iter_mut().for_each(|code| *code = d * (*code - 16.0));
}

/// The 32 codes of 5 bits: bit `i` of `fifth` is the fifth of code `i`.
pub(super) fn codes(fifth: &[u8], low: &[u8], codes: &mut [f32]) {
    nibbles(low, codes, f32::from);
    for (i, code) in codes.iter_mut().enumerate() {
        *code += 16.0 * f32::from((fifth[i / 8] >> (i % 8)) & 1);
    }
}

fn spread(block: &[u8], index: usize, row: &mut Row<'_>) {
    spread_codes(&block[2..6], &block[6..], index, row);
    row.put(2, 16, index, bits(&block[..2]));
}

/// The low 4 bits into plane 0, the fifth into plane 1.
pub(super) fn spread_codes(fifth: &[u8], low: &[u8], index: usize, row: &mut Row<'_>) {
    row.codes(0, 4, 32 * index, nibble_codes(low).map(u32::from));
    row.codes(1, 1, 32 * index, (0..32).map(|i| u32::from((fifth[i / 8] >> (i % 8)) & 1)));
}

/// d = largest / -16, as in Q4_0.
fn pack(weights: &[f32], block: &mut [u8]) {
    let d = largest(weights) / -16.0;
    put_half(block, 0, d);
    let inverse = inverse(d);
    put_codes(&mut block[2..], &pack_codes(weights, 16.5, 31, |weight| weight * inverse));
}

/// Packs codes of 5 bits as [`codes`] reads them.
pub(super) fn put_codes(block: &mut [u8], codes: &[u8; 32]) {
    for (i, code) in codes.iter().enumerate() {
        block[i / 8] |= (code >> 4) << (i % 8);
    }
    put_nibbles(&mut block[4..], codes);
}
