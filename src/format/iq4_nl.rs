//! IQ4_NL: d (f16), 32 codes of 4 bits, the first half in the low nibbles; weight = d * value(code), the values being
//! closer together near zero.

use super::{
    Format, half, inverse, nibble_codes, nibbles,
    planes::{Plane, Row, bits},
    put_half, put_nibbles, search,
};

pub const FORMAT: Format = Format {
    name: "IQ4_NL",
    ggml_type: Some(20),
    elements: 32,
    bytes: 18,
    block,
    pack,
    decoder: "format/iq4_nl",
    planes: &[Plane::codes("codes", 4), Plane::new("scales", 1, 1)],
    integer: true,
    spread,
};

const VALUES: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

fn block(block: &[u8], weights: &mut [f32]) {
    let d = half(block, 0);
    nibbles(&block[2..], weights, |code| d * f32::from(VALUES[usize::from(code)]));
}

fn spread(block: &[u8], index: usize, row: &mut Row<'_>) {
    row.codes(0, 4, 32 * index, nibble_codes(&block[2..]).map(u32::from));
    row.put(1, 16, index, bits(&block[..2]));
}

/// The largest weight near the value that reaches farthest, then for each weight the nearest value.
fn pack(weights: &[f32], block: &mut [u8]) {
    let reach = f32::from(VALUES[0]);
    put_half(block, 0, search::symmetric(weights, reach, 1.0, |x| f32::from(VALUES[nearest(x)])));
    let unit = inverse(half(block, 0));
    let mut codes = [0; 32];
    for (code, weight) in codes.iter_mut().zip(weights) {
        *code = nearest(weight * unit) as u8;
    }
    put_nibbles(&mut block[2..], &codes);
}

/// The code whose value is nearest to `x`.
fn nearest(x: f32) -> usize {
    // A value is the nearest up to half-way to the next.
    VALUES.windows(2).position(|pair| x < (f32::from(pair[0]) + f32::from(pair[1])) / 2.0).unwrap_or(15)
}
