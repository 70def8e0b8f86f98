//! Repeated multiply-add in f16.

use super::fma_f32::{Precision, chains};

/// Each of `x` after `steps` steps of v = v * factor + addend, and how far an f16 kernel may be from it.
/// `x`, `factor` and `addend` are values that f16 holds exactly.
pub fn fma_f16(x: &[f32], factor: f32, addend: f32, steps: u64) -> (Vec<f64>, Vec<f64>) {
    chains(x, factor, addend, steps, Precision { unit: 2f64.powi(-11), smallest: 2f64.powi(-14) })
}
