//! q8_0: groups of 32 channels of a token as in GGUF files; a last group of 16 counts as with zeros behind it.
//!
//! d = largest / 127; code = round(x * (1 / d)), halves away from zero, and 0 if d is 0. Codes: i8. Scales: `[groups]`, d as
//! f16; value = d * code.

use super::{GROUP, half};
use crate::format::q8_0::pack;

pub fn encode(x: &[f32], codes: &mut [u32], scales: &mut [u16]) {
    for ((x, codes), scale) in x.chunks(GROUP).zip(codes.chunks_mut(GROUP)).zip(scales) {
        let (mut weights, mut block) = ([0.0; GROUP], [0; 34]);
        weights[..x.len()].copy_from_slice(x);
        pack(&weights, &mut block);
        *scale = u16::from_le_bytes([block[0], block[1]]);
        for (code, &byte) in codes.iter_mut().zip(&block[2..]) {
            *code = byte.into();
        }
    }
}

pub fn decode(codes: &[u32], scales: &[u16], x: &mut [f32]) {
    for ((codes, &scale), x) in codes.chunks(GROUP).zip(scales).zip(x.chunks_mut(GROUP)) {
        for (x, &code) in x.iter_mut().zip(codes) {
            *x = half(scale) * f32::from(code as u8 as i8);
        }
    }
}
