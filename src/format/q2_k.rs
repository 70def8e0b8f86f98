//! Q2_K: 16 bytes of scales (low nibble) and minima (high nibble), 256 codes of 2 bits, d, dmin (f16). Each 16 weights
//! have a scale; weight = (d * scale) * code - dmin * minimum. Of each 32 code bytes, the lowest bits are the first 32
//! weights.

use super::{
    Format, half, inverse,
    planes::{Plane, Row, bits},
    put_half, search,
};

pub const FORMAT: Format = Format {
    name: "Q2_K",
    ggml_type: Some(10),
    elements: 256,
    bytes: 84,
    block,
    pack,
    decoder: "format/q2_k",
    planes: &[Plane::codes("codes", 2), Plane::new("scales", 1, 1), Plane::new("supers", 1, 4)],
    integer: true,
    spread,
};

fn block(block: &[u8], weights: &mut [f32]) {
    let (scales, codes) = (&block[..16], &block[16..80]);
    let (d, dmin) = (half(block, 80), half(block, 82));
    for (group, (weights, scale)) in weights.chunks_exact_mut(16).zip(scales).enumerate() {
        let (scale, minimum) = (d * f32::from(scale & 15), dmin * f32::from(scale >> 4));
        let (start, shift) = place(group);
        for (weight, code) in weights.iter_mut().zip(&codes[start..]) {
            *weight = scale * f32::from((code >> shift) & 3) - minimum;
        }
    }
}

/// Code `i` of a group lies in byte `start + i`, at bit `shift`.
pub(super) fn place(group: usize) -> (usize, usize) {
    // Groups of a half: 8; of a shift: 2.
    (group / 8 * 32 + group % 2 * 16, group % 8 / 2 * 2)
}

fn spread(block: &[u8], index: usize, row: &mut Row<'_>) {
    for group in 0..16 {
        let (start, shift) = place(group);
        let codes = block[16 + start..].iter().take(16).map(|code| u32::from((code >> shift) & 3));
        row.codes(0, 2, 256 * index + 16 * group, codes);
        row.put(1, 8, 16 * index + group, u32::from(block[group]));
    }
    row.put(2, 32, index, bits(&block[80..]));
}

fn pack(weights: &[f32], block: &mut [u8]) {
    let groups = weights.chunks_exact(16).map(|group| search::affine(group, &search::importance(group), 3));
    let groups: Vec<_> = groups.collect();
    let most = |of: fn(&search::Affine) -> f32| groups.iter().map(of).fold(0.0, f32::max);
    put_half(block, 80, most(|group| group.scale) / 15.0);
    put_half(block, 82, most(|group| group.minimum) / 15.0);
    // What the scales are rounded against is what the reader will find.
    let (d, dmin) = (half(block, 80), half(block, 82));
    for (g, (found, weights)) in groups.iter().zip(weights.chunks_exact(16)).enumerate() {
        let nearest = |value: f32, unit: f32| (value * inverse(unit)).round().clamp(0.0, 15.0) as u8;
        let (scale, minimum) = (nearest(found.scale, d), nearest(found.minimum, dmin));
        block[g] = scale | minimum << 4;
        let (unit, minimum) = (inverse(d * f32::from(scale)), dmin * f32::from(minimum));
        let (start, shift) = place(g);
        for (byte, weight) in block[16 + start..].iter_mut().zip(weights) {
            let code = ((weight + minimum) * unit).round().clamp(0.0, 3.0) as u8;
            *byte |= code << shift;
        }
    }
}
