//! Oracle of `row_scale`: powers of two that bring rows into the range of f16.

/// 2^e, so that the largest size of `weights` over it lies between 2^14 and 2^15.
pub fn scale(weights: &[f32]) -> f32 {
    of_most(weights.iter().fold(0f32, |most, weight| most.max(weight.abs())))
}

/// The scales that weights within 1e-6 of these may have.
pub fn allowed(weights: &[f32]) -> [f32; 2] {
    let most = weights.iter().fold(0f32, |most, weight| most.max(weight.abs()));
    [of_most(most * (1.0 - 1e-6)), of_most(most * (1.0 + 1e-6))]
}

fn of_most(most: f32) -> f32 {
    if most == 0.0 {
        return f32::MIN_POSITIVE;
    }
    // -126 is the least exponent of a normal number.
    let exponent = (f64::from(most).log2().floor() as i32 - 14).clamp(-126, 113);
    2f64.powi(exponent) as f32
}
