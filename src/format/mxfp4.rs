//! MXFP4 (OCP Microscaling): a shared exponent e (E8M0), 32 codes of 4 bits (E2M1), the first half in the low nibbles;
//! weight = value(code) * 2^(e - 128), with the values doubled so that they are whole.

use super::{
    Format, largest, nibble_codes, nibbles,
    planes::{Plane, Row, bits},
    put_nibbles,
};

pub const FORMAT: Format = Format {
    name: "MXFP4",
    ggml_type: Some(39),
    elements: 32,
    bytes: 17,
    block,
    pack,
    decoder: "format/mxfp4",
    planes: &[Plane::codes("codes", 4), Plane::new("scales", 1, 2)],
    integer: true,
    spread,
};

/// E2M1, doubled.
const VALUES: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

fn block(block: &[u8], weights: &mut [f32]) {
    let d = scale(block[0]);
    nibbles(&block[1..], weights, |code| d * f32::from(VALUES[usize::from(code)]));
}

/// 2^(e - 128); the lowest two are subnormal.
fn scale(e: u8) -> f32 {
    let e = u32::from(e);
    f32::from_bits(if e < 2 { 0x0020_0000 << e } else { (e - 1) << 23 })
}

fn spread(block: &[u8], index: usize, row: &mut Row<'_>) {
    row.codes(0, 4, 32 * index, nibble_codes(&block[1..]).map(u32::from));
    row.put(1, 8, index, bits(&block[..1]));
}

/// The exponent of the largest weight, then for each weight the nearest value, the first of equals.
fn pack(weights: &[f32], block: &mut [u8]) {
    let largest = largest(weights).abs();
    // floor(log2) of a float is its exponent; ggml shifts it by the 2 of the largest value, 6.
    let e = if largest > 0.0 { (largest.log2().floor() as i32 - 2 + 127).clamp(0, 255) as u8 } else { 0 };
    let d = scale(e);
    let mut codes = [0; 32];
    for (code, &weight) in codes.iter_mut().zip(weights) {
        let mut least = f32::INFINITY;
        for (i, &value) in (0u8..).zip(&VALUES) {
            let error = (d * f32::from(value) - weight).abs();
            if error < least {
                (*code, least) = (i, error);
            }
        }
    }
    block[0] = e;
    put_nibbles(&mut block[1..], &codes);
}
