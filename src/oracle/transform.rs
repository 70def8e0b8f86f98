//! Oracle of `transform`: the distance of every point to every centroid.

use super::distance::{bound as square_bound, distance as square};

/// Unit roundoff of f32.
const UNIT: f64 = 1.0 / 16_777_216.0;

/// `|x - c|`.
pub fn transform(x: &[f32], c: &[f32]) -> f64 {
    square(x, c).sqrt()
}

/// Largest error of [`transform`] in f32: half the relative error of the square, and the root's own, which WGSL lets be
/// that of a reciprocal of an inverse root; squares below the normal numbers may count as 0.
pub fn bound(x: &[f32], c: &[f32]) -> f64 {
    let (size, lost) = (square(x, c), x.len() as f64 * f64::from(f32::MIN_POSITIVE));
    if size == 0.0 {
        return 0.0;
    }
    0.5 * square_bound(x, c) / size.sqrt() + 10.0 * UNIT * size.sqrt() + lost.sqrt()
}
