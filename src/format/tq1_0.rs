//! TQ1_0: 256 ternary codes in base 3, five to a byte (four in the last 4 bytes), d (f16); weight = d * (code - 1). A
//! byte is the number scaled up to 256, so that its digits come out of it by multiplication, the first one first.

use super::{
    Format, half, inverse, largest,
    planes::{Plane, Row, bits},
    put_half,
};

pub const FORMAT: Format = Format {
    name: "TQ1_0",
    ggml_type: Some(34),
    elements: 256,
    bytes: 54,
    block,
    pack,
    decoder: "format/tq1_0",
    planes: &[Plane::new("codes", 13, 4), Plane::new("supers", 1, 8)],
    integer: true,
    spread,
};

/// Bytes at a time and digits in each: a run of digits of `bytes` weights each.
const RUNS: [(usize, u32); 3] = [(32, 5), (16, 5), (4, 4)];

fn block(block: &[u8], weights: &mut [f32]) {
    let d = half(block, 52);
    for (weight, code) in weights.iter_mut().zip(codes(block)) {
        *weight = d * (f32::from(code) - 1.0);
    }
}

/// A pair has 12 bytes of five digits and one byte of four. Granule `g` has digit `g` of the 12 bytes, the last digit of
/// bytes `g`, `g + 4` and `g + 8`, and digit `g` of the one.
fn spread(block: &[u8], index: usize, row: &mut Row<'_>) {
    let codes = codes(block);
    for (pair, codes) in codes.chunks_exact(64).enumerate() {
        for byte in 0..12 {
            let last = codes[byte % 4 * 16 + 12 + byte / 4];
            let digits = [0, 16, 32, 48].map(|granule| codes[granule + byte]).into_iter().chain([last]);
            row.put(0, 8, 52 * index + 12 * pair + byte, u32::from(fraction(digits)));
        }
        let digits = [15, 31, 47, 63].map(|at| codes[at]).into_iter().chain([0]);
        row.put(0, 8, 52 * index + 48 + pair, u32::from(fraction(digits)));
    }
    row.put(1, 16, index, bits(&block[52..]));
}

/// The 256 codes, from 0 to 2.
fn codes(block: &[u8]) -> [u8; 256] {
    let mut codes = [0; 256];
    let (mut bytes_left, mut rest) = (block, codes.as_mut_slice());
    for (bytes, digits) in RUNS {
        for digit in 0..digits {
            let (here, behind) = rest.split_at_mut(bytes);
            for (code, &byte) in here.iter_mut().zip(bytes_left) {
                let shifted = byte.wrapping_mul(3u8.pow(digit));
                *code = ((u16::from(shifted) * 3) >> 8) as u8;
            }
            rest = behind;
        }
        bytes_left = &bytes_left[bytes..];
    }
    codes
}

/// The byte whose digits are these five.
fn fraction(digits: impl IntoIterator<Item = u8>) -> u8 {
    let number = digits.into_iter().fold(0u16, |number, digit| number * 3 + u16::from(digit));
    (number * 256).div_ceil(243) as u8
}

fn pack(weights: &[f32], block: &mut [u8]) {
    let d = largest(weights).abs();
    put_half(block, 52, d);
    let inverse = inverse(d);
    let (mut at, mut rest) = (0, weights);
    for (bytes, digits) in RUNS {
        for byte in 0..bytes {
            let code = |digit: u32| ternary(rest[digit as usize * bytes + byte] * inverse);
            // Four digits stand where five would: the fifth is zero.
            block[at + byte] = fraction((0..5).map(|digit| if digit < digits { code(digit) } else { 0 }));
        }
        at += bytes;
        rest = &rest[bytes * digits as usize..];
    }
}

/// 0, 1 or 2 for what rounds to -1, 0 or 1.
pub(super) fn ternary(scaled: f32) -> u8 {
    (scaled.round() + 1.0) as u8
}
