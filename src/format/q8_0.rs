//! Q8_0: d (f16), 32 codes (i8); weight = d * code.

use super::{Format, half};

pub const FORMAT: Format = Format { name: "Q8_0", ggml_type: 8, elements: 32, bytes: 34, block };

fn block(block: &[u8], weights: &mut [f32]) {
    let d = half(block, 0);
    for (weight, &code) in weights.iter_mut().zip(&block[2..]) {
        *weight = d * f32::from(code as i8);
    }
}
