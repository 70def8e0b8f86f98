//! Q5_K: d, dmin (f16), scales and minima as in Q4_K, the fifth bits of 256 codes, their low 4 bits as in Q4_K;
//! weight = (d * scale) * code - dmin * minimum. Bit `g` of fifth byte `i` belongs to weight `i` of group `g`.

use super::{
    Format, half,
    q4_k::{pack_groups, scale_and_minimum},
};

pub const FORMAT: Format = Format { name: "Q5_K", ggml_type: 13, elements: 256, bytes: 176, block, pack };

fn block(block: &[u8], weights: &mut [f32]) {
    let (d, dmin) = (half(block, 0), half(block, 2));
    let (scales, fifth, codes) = (&block[4..16], &block[16..48], &block[48..]);
    for (group, weights) in weights.chunks_exact_mut(32).enumerate() {
        let (scale, minimum) = scale_and_minimum(scales, group);
        let (scale, minimum) = (d * f32::from(scale), dmin * f32::from(minimum));
        for ((weight, code), fifth) in weights.iter_mut().zip(&codes[group / 2 * 32..]).zip(fifth) {
            let code = (code >> (group % 2 * 4)) & 15 | ((fifth >> group) & 1) << 4;
            *weight = scale * f32::from(code) - minimum;
        }
    }
}

fn pack(weights: &[f32], block: &mut [u8]) {
    let codes = pack_groups(weights, block, 31);
    for (g, codes) in codes.chunks_exact(32).enumerate() {
        for (i, code) in codes.iter().enumerate() {
            block[48 + g / 2 * 32 + i] |= (code & 15) << (g % 2 * 4);
            block[16 + i] |= (code >> 4) << g;
        }
    }
}
