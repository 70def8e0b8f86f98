//! TQ1_0: 256 ternary codes in base 3, five to a byte (four in the last 4 bytes), d (f16); weight = d * (code - 1). A
//! byte is the number scaled up to 256, so that its digits come out of it by multiplication, the first one first.

use super::{Format, half, inverse, largest, put_half};

pub const FORMAT: Format = Format { name: "TQ1_0", ggml_type: 34, elements: 256, bytes: 54, block, pack };

/// Bytes at a time and digits in each: a run of digits of `bytes` weights each.
const RUNS: [(usize, u32); 3] = [(32, 5), (16, 5), (4, 4)];

fn block(block: &[u8], weights: &mut [f32]) {
    let d = half(block, 52);
    let (mut codes, mut rest) = (block, weights);
    for (bytes, digits) in RUNS {
        for digit in 0..digits {
            let (here, behind) = rest.split_at_mut(bytes);
            for (weight, &code) in here.iter_mut().zip(codes) {
                let shifted = code.wrapping_mul(3u8.pow(digit));
                *weight = d * (f32::from((u16::from(shifted) * 3) >> 8) - 1.0);
            }
            rest = behind;
        }
        codes = &codes[bytes..];
    }
}

fn pack(weights: &[f32], block: &mut [u8]) {
    let d = largest(weights).abs();
    put_half(block, 52, d);
    let inverse = inverse(d);
    let (mut at, mut rest) = (0, weights);
    for (bytes, digits) in RUNS {
        for byte in 0..bytes {
            let number = (0..5).fold(0u16, |number, digit| {
                // Four digits stand where five would: the fifth is zero.
                let code =
                    if digit < digits { ternary(rest[digit as usize * bytes + byte] * inverse) } else { 0 };
                number * 3 + u16::from(code)
            });
            block[at + byte] = (number * 256).div_ceil(243) as u8;
        }
        at += bytes;
        rest = &rest[bytes * digits as usize..];
    }
}

/// 0, 1 or 2 for what rounds to -1, 0 or 1.
pub(super) fn ternary(scaled: f32) -> u8 {
    (scaled.round() + 1.0) as u8
}
