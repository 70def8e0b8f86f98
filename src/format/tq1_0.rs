//! TQ1_0: 256 ternary codes in base 3, five to a byte (four in the last 4 bytes), d (f16); weight = d * (code - 1). A
//! byte is the number scaled up to 256, so that its digits come out of it by multiplication, the first one first.

use super::{Format, half};

pub const FORMAT: Format = Format { name: "TQ1_0", ggml_type: 34, elements: 256, bytes: 54, block };

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
