//! Oracle of `matmul_matrix`: the same products as [`super::matvec`], with the error of operands in f16.

use super::matvec;
pub use super::matvec::product;

/// A step of f16: conversions may round either way.
const STEP: f64 = 1.0 / 1024.0;
/// What may be taken for zero, of the largest in its row: f16's least normal number, 2^-14, where that is scaled to 2^14.
const LEAST: f64 = 1.0 / 268_435_456.0;
/// Unit of an f32 sum that is cut off instead of rounded.
const CUT: f64 = 1.0 / 8_388_608.0;

/// Largest error of [`product`].
pub fn bound(weights: &[f32], x: &[f32], bias: f32, block: usize) -> f64 {
    let most = |values: &[f32]| values.iter().fold(0f64, |most, &value| most.max(f64::from(value.abs())));
    let (most_weight, most_x) = (most(weights), most(x));
    let terms = weights.iter().zip(x).map(|(&w, &x)| {
        let (w, x) = (f64::from(w.abs()), f64::from(x.abs()));
        let (off_w, off_x) = (w * STEP + most_weight * LEAST, x * STEP + most_x * LEAST);
        // Products of f16 are exact in f32; a sum passes at most as many additions as there are products.
        off_w * x + w * off_x + off_w * off_x + (w + off_w) * (x + off_x) * CUT * weights.len() as f64
    });
    matvec::bound(weights, x, bias, block) + terms.sum::<f64>()
}
