//! Oracle of `split_sum`, in f64.

/// A rounding of f32 that may go either way.
const CUT: f64 = 1.0 / 8_388_608.0;

/// The sum of a result's splits.
pub fn sum(splits: impl Iterator<Item = f32>) -> f64 {
    splits.map(f64::from).sum()
}

/// Largest error of [`sum`]: each split passes at most one addition for every other one.
pub fn bound(splits: impl ExactSizeIterator<Item = f32>) -> f64 {
    let additions = splits.len().saturating_sub(1) as f64;
    CUT * additions * splits.map(|split| f64::from(split.abs())).sum::<f64>()
}
