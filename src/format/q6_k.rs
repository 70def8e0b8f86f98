//! Q6_K: the low 4 and the high 2 bits of 256 codes, 16 scales (i8), d (f16). Each 16 weights have a scale;
//! weight = (d * scale) * (code - 32). Each half of 128 weights has 64 low bytes, of whose nibbles the low ones come
//! first, and 32 high bytes, of whose bits the lowest belong to the first 32 weights.

use super::{
    Format, half, inverse, largest,
    planes::{Plane, Row, bits},
    put_half, search,
};

pub const FORMAT: Format = Format {
    name: "Q6_K",
    ggml_type: Some(14),
    elements: 256,
    bytes: 210,
    block,
    pack,
    decoder: "format/q6_k",
    planes: &[
        Plane::codes("codes", 4),
        Plane::codes("high", 2),
        Plane::new("scales", 1, 1),
        Plane::new("supers", 1, 8),
    ],
    integer: true,
    spread,
};

fn block(block: &[u8], weights: &mut [f32]) {
    let (low, high, scales) = (&block[..128], &block[128..192], &block[192..208]);
    let d = half(block, 208);
    for (group, (weights, &scale)) in weights.chunks_exact_mut(16).zip(scales).enumerate() {
        let scale = d * f32::from(scale as i8);
        // Of the 8 groups of a half, each pair is one 32 weights long run.
        let (part, run, odd) = (group / 8, group % 8 / 2, group % 2 * 16);
        for (i, weight) in weights.iter_mut().enumerate() {
            let low = (low[part * 64 + run % 2 * 32 + odd + i] >> (run / 2 * 4)) & 15;
            let high = (high[part * 32 + odd + i] >> (run * 2)) & 3;
            *weight = scale * (f32::from(low | high << 4) - 32.0);
        }
    }
}

fn spread(block: &[u8], index: usize, row: &mut Row<'_>) {
    for group in 0..16 {
        let (part, run, odd) = (group / 8, group % 8 / 2, group % 2 * 16);
        let low = block[part * 64 + run % 2 * 32 + odd..].iter().take(16);
        let low = low.map(|low| u32::from((low >> (run / 2 * 4)) & 15));
        let high = block[128 + part * 32 + odd..].iter().take(16);
        let high = high.map(|high| u32::from((high >> (run * 2)) & 3));
        row.codes(0, 4, 256 * index + 16 * group, low);
        row.codes(1, 2, 256 * index + 16 * group, high);
        row.put(2, 8, 16 * index + group, u32::from(block[192 + group]));
    }
    row.put(3, 16, index, bits(&block[208..]));
}

fn pack(weights: &[f32], block: &mut [u8]) {
    let scales: Vec<f32> = weights
        .chunks_exact(16)
        .map(|group| search::symmetric(group, -32.0, 0.1, search::whole(-32.0, 31.0)))
        .collect();
    put_half(block, 208, largest(&scales) / -128.0);
    let d = half(block, 208);
    for (g, (found, weights)) in scales.iter().zip(weights.chunks_exact(16)).enumerate() {
        let scale = (found * inverse(d)).round().clamp(-128.0, 127.0);
        block[192 + g] = scale as i8 as u8;
        let unit = inverse(d * scale);
        let (part, run, odd) = (g / 8, g % 8 / 2, g % 2 * 16);
        for (i, weight) in weights.iter().enumerate() {
            let code = ((weight * unit).round().clamp(-32.0, 31.0) + 32.0) as u8;
            block[part * 64 + run % 2 * 32 + odd + i] |= (code & 15) << (run / 2 * 4);
            block[128 + part * 32 + odd + i] |= (code >> 4) << (run * 2);
        }
    }
}
