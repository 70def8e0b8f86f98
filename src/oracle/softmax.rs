//! Oracle of `softmax`.

/// Unit roundoff of f32.
const UNIT: f64 = 1.0 / 16_777_216.0;

/// `exp(x_i) / sum_k exp(x_k)` of one position's channels.
pub fn softmax(x: &[f64]) -> Vec<f64> {
    let most = x.iter().fold(f64::NEG_INFINITY, |most, &x| most.max(x));
    let powers: Vec<f64> = x.iter().map(|&x| (x - most).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|power| power / sum).collect()
}

/// Largest error of each of [`softmax`] in f32, less the largest first.
///
/// With d = x - max: d rounds once, which is |d| units of its exponential; WGSL's exp is within 3 + 2 |d| ulp, and an ulp
/// is two units. The sum has the mean error of its terms, by their shares, and one addition for each; the division is
/// within 2.5 ulp. What is below the smallest normal number may be 0.
pub fn bounds(x: &[f64]) -> Vec<f64> {
    let most = x.iter().fold(f64::NEG_INFINITY, |most, &x| most.max(x));
    let shares = softmax(x);
    let power = |x: f64| 6.0 + 5.0 * (most - x);
    let sum: f64 = shares.iter().zip(x).map(|(share, &x)| share * power(x)).sum();
    let steps = sum + x.len() as f64 + 5.0;
    // The second order of the errors: 1 % more.
    let bound =
        |(share, &x): (&f64, &f64)| 1.01 * UNIT * share * (power(x) + steps) + f64::from(f32::MIN_POSITIVE);
    shares.iter().zip(x).map(bound).collect()
}
