//! Q2_K: 16 bytes of scales (low nibble) and minima (high nibble), 256 codes of 2 bits, d, dmin (f16). Each 16 weights
//! have a scale; weight = (d * scale) * code - dmin * minimum. Of each 32 code bytes, the lowest bits are the first 32
//! weights.

use super::{Format, half, inverse, put_half, search};

pub const FORMAT: Format = Format { name: "Q2_K", ggml_type: 10, elements: 256, bytes: 84, block, pack };

fn block(block: &[u8], weights: &mut [f32]) {
    let (scales, codes) = (&block[..16], &block[16..80]);
    let (d, dmin) = (half(block, 80), half(block, 82));
    for (group, (weights, scale)) in weights.chunks_exact_mut(16).zip(scales).enumerate() {
        let (scale, minimum) = (d * f32::from(scale & 15), dmin * f32::from(scale >> 4));
        // Groups of a half: 8; of a shift: 2.
        let (start, shift) = (group / 8 * 32 + group % 2 * 16, group % 8 / 2 * 2);
        for (weight, code) in weights.iter_mut().zip(&codes[start..]) {
            *weight = scale * f32::from((code >> shift) & 3) - minimum;
        }
    }
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
        let (start, shift) = (16 + g / 8 * 32 + g % 2 * 16, g % 8 / 2 * 2);
        for (byte, weight) in block[start..].iter_mut().zip(weights) {
            let code = ((weight + minimum) * unit).round().clamp(0.0, 3.0) as u8;
            *byte |= code << shift;
        }
    }
}
