//! fp8: E4M3 (OCP FP8) with a scale for each vector.
//!
//! s = largest * (1 / 448) as f16; code = the one nearest to x * (1 / s), of two the even one, at most 448; all codes are 0
//! if s is 0. Scales: `[1]`, s; value = s * E4M3(code).

use half::f16;

use super::half;
use crate::format::fp8::{TOP, nearest, value};

pub fn encode(x: &[f32], codes: &mut [u32], scales: &mut [u16]) {
    let largest = x.iter().fold(0.0, |most: f32, x| most.max(x.abs()));
    let scale = f16::from_f32(largest * (1.0 / TOP));
    scales[0] = scale.to_bits();
    if scale == f16::ZERO {
        return;
    }
    let inverse = 1.0 / scale.to_f32();
    for (code, x) in codes.iter_mut().zip(x) {
        *code = nearest(x * inverse).into();
    }
}

pub fn decode(codes: &[u32], scales: &[u16], x: &mut [f32]) {
    for (x, &code) in x.iter_mut().zip(codes) {
        *x = half(scales[0]) * value(code as u8);
    }
}
