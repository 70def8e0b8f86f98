//! What residuals say: whether they are white, and how uncertain the parameters are.

use nalgebra::{DMatrix, DVector};
use serde::Serialize;
use statrs::distribution::{ChiSquared, ContinuousCDF};

use super::design::Design;

/// Residuals with a smaller p-value are not white.
pub const LEAST_P: f64 = 0.05;
/// The confidence of intervals. The quantile's number is for this one.
pub const CONFIDENCE: f64 = 0.95;

/// Ljung and Box's test (Biometrika 65, 1978) of whether residuals are white.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LjungBox {
    /// Q = n (n + 2) * sum of r_k^2 / (n - k).
    pub statistic: f64,
    /// How many lags, in rows.
    pub lags: usize,
    /// How probable a Q as large is, if they are white.
    pub p_value: f64,
}

/// The test over min(10, n / 5) lags.
pub fn ljung_box(residuals: &[f64]) -> LjungBox {
    let (rows, lags) = (residuals.len(), (residuals.len() / 5).clamp(1, 10));
    let n = rows as f64;
    let mean = residuals.iter().sum::<f64>() / n;
    let square = residuals.iter().map(|e| (e - mean).powi(2)).sum::<f64>();
    let correlation = |lag: usize| {
        let pairs = residuals.iter().zip(residuals.iter().skip(lag));
        pairs.map(|(a, b)| (a - mean) * (b - mean)).sum::<f64>() / square
    };
    let sum: f64 = (1..=lags).map(|lag| correlation(lag).powi(2) / (n - lag as f64)).sum();
    // Residuals of nothing are not correlated.
    let statistic = if square > 0.0 { n * (n + 2.0) * sum } else { 0.0 };
    let p_value = ChiSquared::new(lags as f64).map_or(f64::NAN, |law| law.sf(statistic));
    LjungBox { statistic, lags, p_value }
}

/// Where the errors of parameters come from.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Covariance {
    /// White residuals of one variance.
    White,
    /// Newey and West's for autocorrelated residuals (Econometrica 55, 1987), prewhitened by first-order autoregressions
    /// (Andrews and Monahan, Econometrica 60, 1992), by Bartlett's kernel over so many lags, which follow from the data
    /// (Andrews, Econometrica 59, 1991). No error is taken to be smaller than for white residuals.
    NeweyWest {
        /// The lags, in rows.
        lags: usize,
    },
}

/// Standard errors of these `free` terms, if the others are known. `None` where they cannot be computed.
pub(super) fn standard_errors(
    design: &Design,
    free: &[usize],
    residuals: &[f64],
    white: bool,
) -> Option<(Covariance, Vec<f64>)> {
    let inverse = design.inverse(free)?;
    let (rows, count) = (residuals.len(), free.len());
    let freedom = (rows - count) as f64;
    let weights = design.weights();
    let whole: f64 = weights.iter().sum();
    let weighted = |k: usize, i: usize| design.terms()[free[k]].values[i] * weights[i];
    let deviations =
        |inner: &DMatrix<f64>| (&inverse * inner * &inverse).diagonal().map(|v| v.max(0.0).sqrt());

    let square: f64 = residuals.iter().zip(weights).map(|(e, weight)| e * e * weight).sum();
    let variance = square / whole * rows as f64 / freedom;
    let mut inner = DMatrix::zeros(count, count);
    for i in 0..rows {
        for (a, b) in (0..count).flat_map(|a| (0..count).map(move |b| (a, b))) {
            inner[(a, b)] += variance * weighted(a, i) * weighted(b, i);
        }
    }
    let plain = deviations(&inner);
    if white {
        return Some((Covariance::White, plain.iter().copied().collect()));
    }

    // A column for each row of the log.
    let scores = DMatrix::from_fn(count, rows, |k, i| weighted(k, i) * residuals[i]);
    let slopes = slopes(&scores);
    let whitened = DMatrix::from_fn(count, rows - 1, |k, i| scores[(k, i + 1)] - slopes[k] * scores[(k, i)]);
    let lags = bandwidth(&whitened);
    let colour = DMatrix::from_diagonal(&slopes.map(|slope| 1.0 / (1.0 - slope)));
    let inner = &colour * bartlett(&whitened, lags) * &colour * (rows as f64 / freedom);
    let wide = deviations(&inner);
    let errors = plain.iter().zip(wide.iter()).map(|(a, b)| a.max(*b)).collect();
    Some((Covariance::NeweyWest { lags }, errors))
}

/// The sum of the products of all scores with each other, weighted by 1 - distance / (lags + 1).
// That is the mean over all windows of lags + 1 rows, those across the ends too, of squares of their sums.
fn bartlett(scores: &DMatrix<f64>, lags: usize) -> DMatrix<f64> {
    let (count, rows) = scores.shape();
    let mut products = DMatrix::zeros(count, count);
    let mut sum = DVector::zeros(count);
    for i in 0..rows + lags {
        if i < rows {
            sum += scores.column(i);
        }
        if i > lags {
            sum -= scores.column(i - lags - 1);
        }
        products.ger(1.0 / (lags + 1) as f64, &sum, &sum, 1.0);
    }
    products
}

/// First-order autoregressions of scores, each by itself.
fn slopes(scores: &DMatrix<f64>) -> DVector<f64> {
    // Beyond that it is all but a random walk, which has no variance.
    const MOST: f64 = 0.97;
    DVector::from_fn(scores.nrows(), |k, _| {
        let pairs = || (1..scores.ncols()).map(|i| (scores[(k, i - 1)], scores[(k, i)]));
        let square: f64 = pairs().map(|(a, _)| a * a).sum();
        let product: f64 = pairs().map(|(a, b)| a * b).sum();
        if square > 0.0 { (product / square).clamp(-MOST, MOST) } else { 0.0 }
    })
}

/// Andrews' bandwidth for Bartlett's kernel, from first-order autoregressions.
fn bandwidth(scores: &DMatrix<f64>) -> usize {
    let rows = scores.ncols();
    let (mut above, mut below) = (0.0, 0.0);
    for (k, slope) in slopes(scores).iter().enumerate() {
        let square: f64 = (0..rows).map(|i| scores[(k, i)].powi(2)).sum();
        let spread: f64 = (1..rows).map(|i| (scores[(k, i)] - slope * scores[(k, i - 1)]).powi(2)).sum();
        // Scores have units of their own, so that each counts by its own variance.
        let spread = if square > 0.0 { (spread / square).powi(2) } else { 0.0 };
        above += 4.0 * slope * slope * spread / ((1.0 - slope).powi(6) * (1.0 + slope).powi(2));
        below += spread / (1.0 - slope).powi(4);
    }
    let lags = if below > 0.0 { 1.1447 * (above / below * rows as f64).cbrt() } else { 0.0 };
    (lags as usize).min(rows / 4)
}

/// What a standard error is multiplied by, for half of the interval: a quantile of Student's law.
// By its expansion in 1 / freedom (Abramowitz and Stegun 26.7.5), good to 1e-6 from 25 on. That of the crate is off by 7 %
// for ten million.
pub(super) fn quantile(freedom: usize) -> f64 {
    const Z: f64 = 1.959963984540054;
    let power = |exponent: i32| Z.powi(exponent);
    let terms = [
        (power(3) + Z) / 4.0,
        (5.0 * power(5) + 16.0 * power(3) + 3.0 * Z) / 96.0,
        (3.0 * power(7) + 19.0 * power(5) + 17.0 * power(3) - 15.0 * Z) / 384.0,
        (79.0 * power(9) + 776.0 * power(7) + 1482.0 * power(5) - 1920.0 * power(3) - 945.0 * Z) / 92160.0,
    ];
    terms.iter().rev().fold(0.0, |sum, term| (sum + term) / freedom as f64) + Z
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_scipys() {
        // scipy.stats.t.ppf(0.975, freedom)
        for (freedom, known) in [
            (26, 2.055529438642871),
            (50, 2.008559112100761),
            (96, 1.9849843115224561),
            (1000, 1.9623390808264078),
            (10_000_000, 1.9599642217),
        ] {
            assert!((quantile(freedom) / known - 1.0).abs() < 1e-6, "{freedom} {}", quantile(freedom));
        }
    }

    #[test]
    fn the_sum_over_windows_is_bartletts_kernel() {
        let score = |k: usize, i: i32| {
            if k == 0 { f64::from((i * i * 7 + i * 3) % 23) - 11.0 } else { f64::from(i % 5) }
        };
        let scores = DMatrix::from_fn(2, 50, |k, i| score(k, i as i32));
        for lags in [0usize, 1, 5, 12] {
            let found = bartlett(&scores, lags);
            for (a, b) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                let mut known = 0.0;
                for i in 0..50usize {
                    for j in 0..50 {
                        let weight = 1.0 - i.abs_diff(j) as f64 / (lags + 1) as f64;
                        known += weight.max(0.0) * scores[(a, i)] * scores[(b, j)];
                    }
                }
                assert!((found[(a, b)] - known).abs() < 1e-9, "{lags}: {} {known}", found[(a, b)]);
            }
        }
    }
}
