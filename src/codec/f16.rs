//! f16: the nearest half, of two the even one. Scales: none.

use half::f16;

pub fn encode(x: &[f32], codes: &mut [u32]) {
    for (code, &x) in codes.iter_mut().zip(x) {
        *code = f16::from_f32(x).to_bits().into();
    }
}

pub fn decode(codes: &[u32], x: &mut [f32]) {
    for (x, &code) in x.iter_mut().zip(codes) {
        *x = f16::from_bits(code as u16).to_f32();
    }
}
