//! The one rule of what a percentile is.

/// The least of `sorted` numbers that `share` of all do not exceed, 0 to 1; of no numbers, none.
pub(crate) fn percentile(sorted: &[f64], share: f64) -> Option<f64> {
    let rank = ((share * sorted.len() as f64).ceil() as usize).clamp(1, sorted.len().max(1));
    sorted.get(rank - 1).copied()
}

/// Their lower median.
pub(crate) fn median(numbers: &[f64]) -> Option<f64> {
    percentile(&sorted(numbers.to_vec()), 0.5)
}

/// `numbers`, rising.
pub(crate) fn sorted(mut numbers: Vec<f64>) -> Vec<f64> {
    numbers.sort_unstable_by(f64::total_cmp);
    numbers
}

#[cfg(test)]
mod tests {
    use super::{median, percentile, sorted};

    #[test]
    fn percentiles_are_numbers_that_occur() {
        let numbers = sorted(vec![3.0, 1.0, 2.0, 4.0]);
        let at = |share| percentile(&numbers, share).unwrap();
        assert_eq!([0.0, 0.25, 0.26, 0.5, 0.75, 0.99, 1.0].map(at), [1.0, 1.0, 2.0, 2.0, 3.0, 4.0, 4.0]);
        assert_eq!((percentile(&[], 0.5), median(&[5.0, 7.0, 6.0])), (None, Some(6.0)));
    }
}
