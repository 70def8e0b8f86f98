//! What one reading of all points says of them.

use super::Source;
use super::points::Transform;
use crate::{Error, Result};

/// Rows read at a time where the device does not matter.
pub(super) const GRAIN: u64 = 4096;

/// What is known of all rows after reading them once.
#[derive(Clone, Debug)]
pub struct Statistics {
    /// The mean of each column.
    pub mean: Vec<f64>,
    /// The mean of the columns' variances.
    pub variance: f64,
    /// The largest difference of a value from its column's mean as an f32, in size.
    pub spread: f64,
    /// The largest value, in size.
    pub size: f64,
    /// The first row of zeros.
    pub zero: Option<u64>,
}

impl Statistics {
    /// The mean of each column, as points are centred by it.
    pub fn centre(&self) -> Vec<f32> {
        self.mean.iter().map(|&mean| mean as f32).collect()
    }

    /// The sum of the squares of `n` points, so centred.
    pub(super) fn squares(&self, n: f64) -> f64 {
        let off: f64 = self.mean.iter().map(|&mean| (mean - f64::from(mean as f32)).powi(2)).sum();
        n * (self.variance * self.mean.len() as f64 + off)
    }

    /// As [`Statistics::of`], of rows divided by their norms, as [`Metric::Cosine`](super::Metric::Cosine) clusters them: scaling
    /// rows changes nothing. Rows of zeros stay as they are.
    ///
    /// # Errors
    /// Those of [`Statistics::of`].
    pub fn of_directions(source: &dyn Source, what: &str) -> Result<Self> {
        Self::read(source, &Transform::Unit, what)
    }

    /// Reads all of `source`; the result does not depend on how much is read at a time.
    ///
    /// # Errors
    /// [`Error::Input`] for no rows, no columns, and values that are not finite, which it places in `what`; those of reading.
    pub fn of(source: &dyn Source, what: &str) -> Result<Self> {
        Self::read(source, &Transform::Plain, what)
    }

    fn read(source: &dyn Source, transform: &Transform, what: &str) -> Result<Self> {
        let (n, d) = (source.rows(), source.cols());
        if n == 0 || d == 0 {
            return Err(Error::Input(format!("{what} is empty: {n} rows of {d} values")));
        }
        let (mut mean, mut squares, mut zero) = (vec![0.0; d], vec![0.0; d], None);
        let (mut low, mut high) = (vec![f32::INFINITY; d], vec![f32::NEG_INFINITY; d]);
        let mut values = vec![0.0; GRAIN.min(n) as usize * d];
        for start in (0..n).step_by(GRAIN as usize) {
            let rows = GRAIN.min(n - start);
            let values = &mut values[..rows as usize * d];
            source.read(start..start + rows, values)?;
            if let Some(at) = values.iter().position(|value| !value.is_finite()) {
                let (value, row, column) = (values[at], start + (at / d) as u64, at % d);
                let name = if value.is_nan() { "NaN".into() } else { format!("infinity ({value})") };
                return Err(Error::Input(format!(
                    "Input {what} contains {name}: row {row}, column {column} (from 0): leave such rows out, or fill them"
                )));
            }
            for (row, values) in (start..).zip(values.chunks_exact_mut(d)) {
                if values.iter().all(|&value| value == 0.0) {
                    zero.get_or_insert(row);
                } else {
                    transform.apply_to(values);
                }
            }
            let (mut sums, mut own) = (vec![0.0; d], vec![0.0; d]);
            for row in values.chunks_exact(d) {
                for (i, &value) in row.iter().enumerate() {
                    sums[i] += f64::from(value);
                    low[i] = low[i].min(value);
                    high[i] = high[i].max(value);
                }
            }
            let means: Vec<f64> = sums.iter().map(|sum| sum / rows as f64).collect();
            for row in values.chunks_exact(d) {
                for ((own, &value), mean) in own.iter_mut().zip(row).zip(&means) {
                    *own += (f64::from(value) - mean).powi(2);
                }
            }
            // Chan, Golub and LeVeque 1979.
            let (before, here) = (start as f64, rows as f64);
            for i in 0..d {
                let way = means[i] - mean[i];
                mean[i] += way * here / (before + here);
                squares[i] += own[i] + way * way * before * here / (before + here);
            }
        }
        let variance = squares.iter().sum::<f64>() / n as f64 / d as f64;
        let (mut spread, mut size) = (0.0f64, 0.0f64);
        for ((&low, &high), &mean) in low.iter().zip(&high).zip(&mean) {
            let (low, high, mean) = (f64::from(low), f64::from(high), f64::from(mean as f32));
            spread = spread.max(high - mean).max(mean - low);
            size = size.max(high.abs()).max(low.abs());
        }
        Ok(Self { mean, variance, spread, size, zero })
    }
}

/// The first row with a value farther than `most` from `from`.
///
/// # Errors
/// Those of reading.
pub fn first_beyond(source: &dyn Source, from: &[f32], most: f64) -> Result<Option<u64>> {
    let d = source.cols();
    let mut row = vec![0.0; d];
    for at in 0..source.rows() {
        source.read(at..at + 1, &mut row)?;
        if row.iter().zip(from).any(|(&value, from)| (f64::from(value) - f64::from(*from)).abs() > most) {
            return Ok(Some(at));
        }
    }
    Ok(None)
}
