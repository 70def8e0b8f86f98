//! Oracle of `histogram`: counts of sizes.

/// How many of the finite values have a size in each of `bins` bins, of which `scale` make a unit; the last bin has all
/// that is larger.
pub fn histogram(values: &[f32], scale: f32, bins: usize) -> Vec<u64> {
    let mut counts = vec![0; bins];
    for value in values.iter().filter(|value| value.is_finite()) {
        // The definition rounds this product to f32.
        let bin = f64::from(value.abs() * scale).floor();
        counts[if bin >= bins as f64 { bins - 1 } else { bin as usize }] += 1;
    }
    counts
}
