//! Oracle of `dequantize`: the format's own definition, and one unit in the last place.

/// Largest error of each weight: 1 ulp of it.
pub fn bounds(weights: &[f32]) -> Vec<f64> {
    weights
        .iter()
        .map(|weight| f64::from(f32::from_bits(weight.abs().to_bits() + 1) - weight.abs()))
        .collect()
}
