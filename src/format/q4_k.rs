//! Q4_K: d, dmin (f16), 8 scales and 8 minima of 6 bits in 12 bytes, 256 codes of 4 bits. Each 32 weights have a scale
//! and a minimum; weight = (d * scale) * code - dmin * minimum. Of each 32 code bytes, the low nibbles are the first 32
//! weights.

use super::{
    Format, half, inverse,
    planes::{Plane, Row, bits},
    put_half,
    q3_k::spread_six,
    search,
};

pub const FORMAT: Format = Format {
    name: "Q4_K",
    ggml_type: Some(12),
    elements: 256,
    bytes: 144,
    block,
    pack,
    decoder: "format/q4_k",
    planes: &[Plane::codes("codes", 4), Plane::new("scales", 4, 4)],
    integer: true,
    spread,
};

fn block(block: &[u8], weights: &mut [f32]) {
    let (d, dmin) = (half(block, 0), half(block, 2));
    let (scales, codes) = (&block[4..16], &block[16..]);
    for (group, weights) in weights.chunks_exact_mut(32).enumerate() {
        let (scale, minimum) = scale_and_minimum(scales, group);
        let (scale, minimum) = (d * f32::from(scale), dmin * f32::from(minimum));
        for (weight, code) in weights.iter_mut().zip(&codes[group / 2 * 32..]) {
            *weight = scale * f32::from((code >> (group % 2 * 4)) & 15) - minimum;
        }
    }
}

/// Group `group`'s scale and minimum: the first four of each are the low 6 bits of a byte; the others have their low 4
/// bits in the last four bytes, and their high 2 bits where the first ones left room.
pub(super) fn scale_and_minimum(scales: &[u8], group: usize) -> (u8, u8) {
    if group < 4 {
        return (scales[group] & 63, scales[group + 4] & 63);
    }
    let low = scales[group + 4];
    (low & 15 | scales[group - 4] >> 6 << 4, low >> 4 | scales[group] >> 6 << 4)
}

fn spread(block: &[u8], index: usize, row: &mut Row<'_>) {
    for group in 0..8 {
        let codes = block[16 + group / 2 * 32..].iter().take(32);
        let codes = codes.map(|code| u32::from((code >> (group % 2 * 4)) & 15));
        row.codes(0, 4, 256 * index + 32 * group, codes);
    }
    spread_scales(block, index, row, 1);
}

/// d and dmin, and the scales and minima of each pair.
pub(super) fn spread_scales(block: &[u8], index: usize, row: &mut Row<'_>, plane: usize) {
    row.put(plane, 32, 4 * index, bits(&block[..4]));
    for pair in 0..4 {
        let [(a, c), (b, d)] = [0, 1].map(|unit| {
            let (scale, minimum) = scale_and_minimum(&block[4..16], 2 * pair + unit);
            (u32::from(scale), u32::from(minimum))
        });
        spread_six(row, plane, 16 * index + 4 + pair, [a, b, c], d);
    }
}

fn pack(weights: &[f32], block: &mut [u8]) {
    let codes = pack_groups(weights, block, 15);
    for (g, codes) in codes.chunks_exact(32).enumerate() {
        for (byte, code) in block[16 + g / 2 * 32..].iter_mut().zip(codes) {
            *byte |= code << (g % 2 * 4);
        }
    }
}

/// Writes d, dmin, scales and minima of 8 groups, and gives the codes from 0 to `top`.
pub(super) fn pack_groups(weights: &[f32], block: &mut [u8], top: u8) -> Vec<u8> {
    let groups = weights.chunks_exact(32).map(|group| search::affine(group, &search::importance(group), top));
    let groups: Vec<_> = groups.collect();
    let most = |of: fn(&search::Affine) -> f32| groups.iter().map(of).fold(0.0, f32::max);
    put_half(block, 0, most(|group| group.scale) / 63.0);
    put_half(block, 2, most(|group| group.minimum) / 63.0);
    // What the scales are rounded against is what the reader will find.
    let (d, dmin) = (half(block, 0), half(block, 2));
    let mut codes = Vec::with_capacity(weights.len());
    for (g, (found, weights)) in groups.iter().zip(weights.chunks_exact(32)).enumerate() {
        let nearest = |value: f32, unit: f32| (value * inverse(unit)).round().clamp(0.0, 63.0) as u8;
        let (scale, minimum) = (nearest(found.scale, d), nearest(found.minimum, dmin));
        put_scale_and_minimum(&mut block[4..16], g, (scale, minimum));
        let (unit, minimum) = (inverse(d * f32::from(scale)), dmin * f32::from(minimum));
        let top = f32::from(top);
        codes.extend(weights.iter().map(|weight| ((weight + minimum) * unit).round().clamp(0.0, top) as u8));
    }
    codes
}

/// Packs what [`scale_and_minimum`] reads.
fn put_scale_and_minimum(scales: &mut [u8], group: usize, (scale, minimum): (u8, u8)) {
    if group < 4 {
        scales[group] |= scale;
        scales[group + 4] |= minimum;
    } else {
        scales[group + 4] |= scale & 15 | minimum << 4;
        scales[group - 4] |= scale >> 4 << 6;
        scales[group] |= minimum >> 4 << 6;
    }
}
