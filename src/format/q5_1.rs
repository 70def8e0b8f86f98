//! Q5_1: d, m (f16), codes of 5 bits as in Q5_0; weight = d * code + m.

use super::{Format, half, q5_0};

pub const FORMAT: Format = Format { name: "Q5_1", ggml_type: 7, elements: 32, bytes: 24, block };

fn block(block: &[u8], weights: &mut [f32]) {
    let (d, m) = (half(block, 0), half(block, 2));
    q5_0::codes(&block[4..8], &block[8..], weights);
    weights.iter_mut().for_each(|code| *code = d * *code + m);
}
