//! Q5_1: d, m (f16), codes of 5 bits as in Q5_0; weight = d * code + m.

use super::{
    Format, codes, extremes, half, inverse,
    planes::{Plane, Row, bits},
    put_half, q5_0,
};

pub const FORMAT: Format = Format {
    name: "Q5_1",
    ggml_type: Some(7),
    elements: 32,
    bytes: 24,
    block,
    pack,
    decoder: "format/q5_1",
    planes: &[Plane::codes("codes", 4), Plane::codes("high", 1), Plane::new("scales", 2, 1)],
    integer: true,
    spread,
};

fn block(block: &[u8], weights: &mut [f32]) {
    let (d, m) = (half(block, 0), half(block, 2));
    q5_0::codes(&block[4..8], &block[8..], weights);
    weights.iter_mut().for_each(|code| *code = d * *code + m);
}

fn spread(block: &[u8], index: usize, row: &mut Row<'_>) {
    q5_0::spread_codes(&block[4..8], &block[8..], index, row);
    row.put(2, 32, index, bits(&block[..4]));
}

fn pack(weights: &[f32], block: &mut [u8]) {
    let (low, high) = extremes(weights);
    let d = (high - low) / 31.0;
    put_half(block, 0, d);
    put_half(block, 2, low);
    let inverse = inverse(d);
    q5_0::put_codes(&mut block[4..], &codes(weights, 0.5, 31, |weight| (weight - low) * inverse));
}
