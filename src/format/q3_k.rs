//! Q3_K: the third bits of 256 codes, their low 2 bits as in Q2_K, 16 scales of 6 bits in 12 bytes, d (f16). Each 16
//! weights have a scale; weight = d * (scale - 32) * (code - 4).

use super::{
    Format, half, inverse, largest,
    planes::{Plane, Row, bits},
    put_half,
    q2_k::place,
    search,
};

pub const FORMAT: Format = Format {
    name: "Q3_K",
    ggml_type: Some(11),
    elements: 256,
    bytes: 110,
    block,
    pack,
    decoder: "format/q3_k",
    planes: &[
        Plane::codes("codes", 2),
        Plane::codes("high", 1),
        Plane::new("scales", 3, 4),
        Plane::new("supers", 1, 8),
    ],
    integer: true,
    spread,
};

fn block(block: &[u8], weights: &mut [f32]) {
    let (third, codes, scales) = (&block[..32], &block[32..96], &block[96..108]);
    let d = half(block, 108);
    for (group, weights) in weights.chunks_exact_mut(16).enumerate() {
        let scale = d * (f32::from(scale(scales, group)) - 32.0);
        let (start, shift) = place(group);
        let (third_start, third_bit) = (group % 2 * 16, group / 2);
        for (i, weight) in weights.iter_mut().enumerate() {
            let low = (codes[start + i] >> shift) & 3;
            let high = (third[third_start + i] >> third_bit) & 1;
            *weight = scale * (f32::from(low | high << 2) - 4.0);
        }
    }
}

/// Low 4 bits: the first 8 scales in the low nibbles of the first 8 bytes, the others in the high ones. High 2 bits: two
/// at a time in the last 4 bytes.
fn scale(scales: &[u8], group: usize) -> u8 {
    let low = (scales[group % 8] >> (group / 8 * 4)) & 15;
    let high = (scales[8 + group % 4] >> (group / 4 * 2)) & 3;
    low | high << 4
}

fn spread(block: &[u8], index: usize, row: &mut Row<'_>) {
    let (third, codes, scales) = (&block[..32], &block[32..96], &block[96..108]);
    for group in 0..16 {
        let (start, shift) = place(group);
        let low = codes[start..].iter().take(16).map(|code| u32::from((code >> shift) & 3));
        let high = third[group % 2 * 16..].iter().take(16).map(|third| u32::from((third >> (group / 2)) & 1));
        row.codes(0, 2, 256 * index + 16 * group, low);
        row.codes(1, 1, 256 * index + 16 * group, high);
    }
    for pair in 0..4 {
        let [a, b, c, fourth] = [0, 1, 2, 3].map(|g| u32::from(scale(scales, 4 * pair + g)));
        spread_six(row, 2, 12 * index + pair, [a, b, c], fourth);
    }
    row.put(3, 16, index, bits(&block[108..]));
}

/// Four values of 6 bits, of a pair whose first byte is byte `at`: a byte in each of three words, which have a byte for
/// each of four pairs, and on top of each two bits of the fourth value.
pub(super) fn spread_six(row: &mut Row<'_>, plane: usize, at: usize, three: [u32; 3], fourth: u32) {
    for (word, value) in three.into_iter().enumerate() {
        row.put(plane, 8, at + 4 * word, value | (fourth >> (2 * word) & 3) << 6);
    }
}

fn pack(weights: &[f32], block: &mut [u8]) {
    let scales: Vec<f32> = weights
        .chunks_exact(16)
        .map(|group| search::symmetric(group, -4.0, 0.1, search::whole(-4.0, 3.0)))
        .collect();
    put_half(block, 108, largest(&scales) / -32.0);
    let d = half(block, 108);
    for (g, (found, weights)) in scales.iter().zip(weights.chunks_exact(16)).enumerate() {
        let code = (found * inverse(d)).round().clamp(-32.0, 31.0);
        let (bits, unit) = ((code + 32.0) as u8, inverse(d * code));
        block[96 + g % 8] |= (bits & 15) << (g / 8 * 4);
        block[104 + g % 4] |= (bits >> 4) << (g / 4 * 2);
        let (start, shift) = place(g);
        let (third_start, third_bit) = (g % 2 * 16, g / 2);
        for (i, weight) in weights.iter().enumerate() {
            let code = ((weight * unit).round().clamp(-4.0, 3.0) + 4.0) as u8;
            block[32 + start + i] |= (code & 3) << shift;
            block[third_start + i] |= (code >> 2) << third_bit;
        }
    }
}
