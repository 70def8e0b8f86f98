//! Oracle of `distance`: squared distances, and inertia as their sum.

/// Unit roundoff of f32.
const UNIT: f64 = 1.0 / 16_777_216.0;

/// `|x - c|^2`.
pub fn distance(x: &[f32], c: &[f32]) -> f64 {
    x.iter().zip(c).map(|(&x, &c)| (f64::from(x) - f64::from(c)).powi(2)).sum()
}

/// Largest error of [`distance`] in f32: each difference, square and addition rounds once.
pub fn bound(x: &[f32], c: &[f32]) -> f64 {
    (x.len() as f64 + 6.0) * UNIT * distance(x, c)
}

/// `x . c`.
pub fn product(x: &[f32], c: &[f32]) -> f64 {
    x.iter().zip(c).map(|(&x, &c)| f64::from(x) * f64::from(c)).sum()
}

/// Largest error of [`product`] in f32: each product and addition rounds once.
pub fn product_bound(x: &[f32], c: &[f32]) -> f64 {
    let sizes: f64 = x.iter().zip(c).map(|(&x, &c)| (f64::from(x) * f64::from(c)).abs()).sum();
    (x.len() as f64 + 6.0) * UNIT * sizes
}
