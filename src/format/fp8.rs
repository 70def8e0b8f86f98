//! FP8_128: a scale (f32) for 128 codes in E4M3 (OCP FP8: bias 7, no infinities, 0x7f is no number); weight = scale *
//! value(code). Files with a scale for 128 x 128 weights repeat it in each of 128 rows.

use super::{
    Format, inverse, largest,
    planes::{Plane, Row, bits},
};

pub const FORMAT: Format = Format {
    name: "FP8_128",
    ggml_type: None,
    elements: 128,
    bytes: 132,
    block,
    pack,
    decoder: "format/fp8_128",
    planes: &[Plane::codes("codes", 8), Plane::new("scales", 1, 2)],
    integer: false,
    spread,
};

/// The largest value.
pub const TOP: f32 = 448.0;

fn block(block: &[u8], weights: &mut [f32]) {
    let scale = f32::from_bits(bits(&block[..4]));
    for (weight, &code) in weights.iter_mut().zip(&block[4..]) {
        *weight = scale * value(code);
    }
}

/// What an E4M3 code stands for.
pub fn value(code: u8) -> f32 {
    let (exponent, mantissa) = (i32::from(code >> 3 & 15), f32::from(code & 7));
    let size = match (exponent, code & 7) {
        (15, 7) => f32::NAN,
        (0, _) => mantissa * 2f32.powi(-9),
        _ => (8.0 + mantissa) * 2f32.powi(exponent - 10),
    };
    if code & 0x80 == 0 { size } else { -size }
}

fn spread(block: &[u8], index: usize, row: &mut Row<'_>) {
    row.codes(0, 8, 128 * index, block[4..].iter().map(|&code| u32::from(code)));
    row.put(1, 32, index, bits(&block[..4]));
}

/// The largest weight becomes the largest value; each weight becomes the nearest one, of two the even code.
fn pack(weights: &[f32], block: &mut [u8]) {
    let scale = largest(weights).abs() / TOP;
    block[..4].copy_from_slice(&scale.to_le_bytes());
    let inverse = inverse(scale);
    for (code, weight) in block[4..].iter_mut().zip(weights) {
        *code = nearest(weight * inverse);
    }
}

/// The code of the nearest value, of two the even one; beyond the largest, that one.
pub fn nearest(x: f32) -> u8 {
    let sign = if x.is_sign_negative() { 0x80 } else { 0 };
    let size = x.abs().min(TOP);
    // Below the smallest normal value, 2^-6, the steps are those of the first exponent.
    let exponent = if size < 2f32.powi(-6) { 1 } else { ((size.to_bits() >> 23) as i32) - 120 };
    let steps = (size * 2f32.powi(10 - exponent)).round_ties_even() as u8;
    // Eight steps more are the next exponent, so sixteen carry into it by themselves.
    sign | (((exponent as u8) << 3) + steps - 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_comes_back() {
        for code in (0..=255u8).filter(|code| code & 0x7f != 0x7f) {
            assert_eq!(nearest(value(code)), code, "{}", value(code));
        }
        assert!(value(0x7f).is_nan() && value(0xff).is_nan());
        assert_eq!((value(0x7e), value(0x08), value(0x01)), (448.0, 2f32.powi(-6), 2f32.powi(-9)));
    }

    #[test]
    fn values_between_codes_become_the_nearest() {
        let mut x = 1e-4f32;
        while x < 448.0 {
            let found = (value(nearest(x)) - x).abs();
            let best = (0..0x7f).map(|code| (value(code) - x).abs()).fold(f32::INFINITY, f32::min);
            assert!(found <= best * 1.000_001, "{x}: {found} against {best}");
            x *= 1.013;
        }
    }
}
