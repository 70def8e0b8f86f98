//! Q8_0: d (f16), 32 codes (i8); weight = d * code.

use super::{Format, half, inverse, largest, put_half};

pub const FORMAT: Format = Format { name: "Q8_0", ggml_type: 8, elements: 32, bytes: 34, block, pack };

fn block(block: &[u8], weights: &mut [f32]) {
    let d = half(block, 0);
    for (weight, &code) in weights.iter_mut().zip(&block[2..]) {
        *weight = d * f32::from(code as i8);
    }
}

/// d = largest / 127; codes round half away from zero.
fn pack(weights: &[f32], block: &mut [u8]) {
    let d = largest(weights).abs() / 127.0;
    put_half(block, 0, d);
    let inverse = inverse(d);
    for (code, weight) in block[2..].iter_mut().zip(weights) {
        *code = (weight * inverse).round() as i8 as u8;
    }
}
