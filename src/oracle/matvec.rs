//! Oracle of `matvec`: products of weights and activations in f64.

/// Unit roundoff of f32.
const UNIT: f64 = 1.0 / 16_777_216.0;

/// `sum_k weights[k] x[k] + bias`.
pub fn product(weights: &[f32], x: &[f32], bias: f32) -> f64 {
    weights.iter().zip(x).map(|(&w, &x)| f64::from(w) * f64::from(x)).sum::<f64>() + f64::from(bias)
}

/// Largest error of [`product`] in f32. Codes are multiplied before scale and offset are: both can be as large as the
/// largest weight of their block, and up to `SPREAD` times larger where the offset is far from zero.
pub fn bound(weights: &[f32], x: &[f32], bias: f32, block: usize) -> f64 {
    const SPREAD: f64 = 8.0;
    let block = block.max(32);
    let sizes = weights.chunks(block).zip(x.chunks(block)).map(|(weights, x)| {
        let most = weights.iter().fold(0f64, |most, &w| most.max(f64::from(w.abs())));
        most * x.iter().map(|&x| f64::from(x.abs())).sum::<f64>()
    });
    // Each product passes at most 16 additions in its granule, one for each pair of a lane, and the sums over lanes.
    let steps = 24.0 + weights.len() as f64 / 64.0;
    SPREAD * UNIT * (sizes.sum::<f64>() * steps.min(64.0) + f64::from(bias.abs()))
}
