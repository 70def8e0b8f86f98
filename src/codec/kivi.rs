//! KIVI (Liu and others 2024): groups of 32, keys along the tokens of a channel, values along the channels of a token; the
//! last group of a token of 80 values has 16.
//!
//! m = least value as f16; s = (largest - least) * (1 / top) as f16, top = 2^bits - 1; code = how many k of 1..=top have
//! x - m > (k - 0.5) * s, which is (x - m) / s rounded and cut to 0..=top without a division, and 0 for a constant group;
//! value = s * code + m, rounded twice. Scales: pairs (s, m): `[groups, 2]` of a token for values, `[channels, 2]` of 32
//! tokens for keys.

use half::f16;

use super::{GROUP, half};

/// One group: gives (s, m).
fn group(bits: usize, x: &[f32], codes: &mut [u32]) -> [u16; 2] {
    let top = (1u32 << bits) - 1;
    let ends = (f32::INFINITY, f32::NEG_INFINITY);
    let (least, largest) = x.iter().fold(ends, |(low, high), &x| (low.min(x), high.max(x)));
    // Of 0 and -0 any may be the least: the sum is 0 for both.
    let least_half = f16::from_f32(least + 0.0);
    let scale = f16::from_f32((largest - least) * (1.0 / top as f32));
    let (m, s) = (least_half.to_f32(), scale.to_f32());
    for (code, x) in codes.iter_mut().zip(x) {
        let above = x - m;
        let reached = (1..=top).filter(|&k| s > 0.0 && above > (k as f32 - 0.5) * s);
        *code = reached.count() as u32;
    }
    [scale.to_bits(), least_half.to_bits()]
}

/// The values of one token.
pub fn encode(bits: usize, x: &[f32], codes: &mut [u32], scales: &mut [u16]) {
    let groups = x.chunks(GROUP).zip(codes.chunks_mut(GROUP));
    for ((x, codes), pair) in groups.zip(scales.chunks_exact_mut(2)) {
        pair.copy_from_slice(&group(bits, x, codes));
    }
}

pub fn decode(codes: &[u32], scales: &[u16], x: &mut [f32]) {
    for ((codes, pair), x) in codes.chunks(GROUP).zip(scales.chunks_exact(2)).zip(x.chunks_mut(GROUP)) {
        for (x, &code) in x.iter_mut().zip(codes) {
            *x = value(pair, code);
        }
    }
}

/// The keys of 32 tokens, `[32, dim]`.
pub fn encode_keys(bits: usize, x: &[f32], codes: &mut [u32], scales: &mut [u16]) {
    let dim = x.len() / GROUP;
    for (channel, pair) in scales.chunks_exact_mut(2).enumerate() {
        let (mut keys, mut of_keys) = ([0.0; GROUP], [0; GROUP]);
        for (token, key) in keys.iter_mut().enumerate() {
            *key = x[token * dim + channel];
        }
        pair.copy_from_slice(&group(bits, &keys, &mut of_keys));
        for (token, &code) in of_keys.iter().enumerate() {
            codes[token * dim + channel] = code;
        }
    }
}

/// The keys of one token, with the scales of its 32.
pub fn decode_keys(codes: &[u32], scales: &[u16], x: &mut [f32]) {
    for ((x, &code), pair) in x.iter_mut().zip(codes).zip(scales.chunks_exact(2)) {
        *x = value(pair, code);
    }
}

fn value(pair: &[u16], code: u32) -> f32 {
    half(pair[0]) * code as f32 + half(pair[1])
}
