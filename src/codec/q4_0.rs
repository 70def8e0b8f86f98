//! q4_0: groups of 32 channels of a token as in GGUF files; a last group of 16 counts as with zeros behind it.
//!
//! d = largest / -8, of the first value of the largest size, with its sign; code = x * (1 / d) + 8.5, cut to a whole number
//! from 0 to 15, and 8 if d is 0. Scales: `[groups]`, d as f16; value = d * (code - 8).

use super::{GROUP, half};
use crate::format::{nibble_codes, q4_0::pack};

pub fn encode(x: &[f32], codes: &mut [u32], scales: &mut [u16]) {
    for ((x, codes), scale) in x.chunks(GROUP).zip(codes.chunks_mut(GROUP)).zip(scales) {
        let (mut weights, mut block) = ([0.0; GROUP], [0; 18]);
        weights[..x.len()].copy_from_slice(x);
        pack(&weights, &mut block);
        *scale = u16::from_le_bytes([block[0], block[1]]);
        for (code, nibble) in codes.iter_mut().zip(nibble_codes(&block[2..])) {
            *code = nibble.into();
        }
    }
}

pub fn decode(codes: &[u32], scales: &[u16], x: &mut [f32]) {
    for ((codes, &scale), x) in codes.chunks(GROUP).zip(scales).zip(x.chunks_mut(GROUP)) {
        for (x, &code) in x.iter_mut().zip(codes) {
            *x = half(scale) * (code as f32 - 8.0);
        }
    }
}
