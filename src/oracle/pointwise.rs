//! The definition of `pointwise`'s operations: one step, in f64, and in f32 where every bit counts.

use crate::network::{Arithmetic, Unary};

/// A function of one number.
pub fn unary(unary: Unary, x: f64) -> f64 {
    match unary {
        Unary::Relu => x.max(0.0),
        Unary::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Unary::Tanh => x.tanh(),
        Unary::Clip { low, high } => x.max(f64::from(low)).min(f64::from(high)),
    }
}

/// A function of two.
pub fn arithmetic(arithmetic: Arithmetic, a: f64, b: f64) -> f64 {
    match arithmetic {
        Arithmetic::Add => a + b,
        Arithmetic::Sub => a - b,
        Arithmetic::Mul => a * b,
        Arithmetic::Div => a / b,
    }
}

/// F32 to I8: every step is one operation of f32.
pub fn quantize(x: f32, scale: f32, zero: i32) -> i8 {
    let code = (x * (1.0 / scale)).round_ties_even() + zero as f32;
    code.clamp(-128.0, 127.0) as i8
}

/// I8 to F32.
pub fn dequantize(code: i8, scale: f32, zero: i32) -> f32 {
    (f32::from(code) - zero as f32) * scale
}
