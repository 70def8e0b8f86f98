//! Q5_K: d, dmin (f16), scales and minima as in Q4_K, the fifth bits of 256 codes, their low 4 bits as in Q4_K;
//! weight = (d * scale) * code - dmin * minimum. Bit `g` of fifth byte `i` belongs to weight `i` of group `g`.

use super::{
    Format, half,
    planes::{Plane, Row},
    q4_k::{pack_groups, scale_and_minimum, spread_scales},
};

pub const FORMAT: Format = Format {
    name: "Q5_K",
    ggml_type: Some(13),
    elements: 256,
    bytes: 176,
    block,
    pack,
    decoder: "format/q5_k",
    planes: &[Plane::codes("codes", 4), Plane::codes("high", 1), Plane::new("scales", 4, 4)],
    integer: true,
    spread,
};

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

fn spread(block: &[u8], index: usize, row: &mut Row<'_>) {
    for group in 0..8 {
        let codes = block[48 + group / 2 * 32..].iter().take(32);
        let codes = codes.map(|code| u32::from((code >> (group % 2 * 4)) & 15));
        let fifth = block[16..48].iter().map(|fifth| u32::from((fifth >> group) & 1));
        row.codes(0, 4, 256 * index + 32 * group, codes);
        row.codes(1, 1, 256 * index + 32 * group, fifth);
    }
    spread_scales(block, index, row, 2);
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
