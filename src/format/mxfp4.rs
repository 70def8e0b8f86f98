//! MXFP4 (OCP Microscaling): a shared exponent e (E8M0), 32 codes of 4 bits (E2M1), the first half in the low nibbles;
//! weight = value(code) * 2^(e - 128), with the values doubled so that they are whole.

use super::{Format, nibbles};

pub const FORMAT: Format = Format { name: "MXFP4", ggml_type: 39, elements: 32, bytes: 17, block };

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
