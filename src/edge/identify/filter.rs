//! Derivatives of a signal by local polynomials: Savitzky and Golay's filter, for steps of any length.
//!
//! A polynomial of a given order is fitted by least squares to the rows around each row, as many on either side; the
//! derivatives are its own. A row has none where that window leaves the log, or crosses a gap.

use nalgebra::{DMatrix, DVector};

use crate::percentile::median;
use crate::{Error, Result};

/// A step longer than so many median steps is a gap.
pub const GAP: f64 = 10.0;
/// Rows of the window, if nothing else is said.
pub const WINDOW: usize = 9;
/// Order of the polynomials, if nothing else is said.
pub const ORDER: usize = 4;
/// The widest window.
pub const MOST_ROWS: usize = 1001;
/// The highest order: what is judged by is two higher, and monomials stay well conditioned up to that.
pub const MOST_ORDER: usize = 8;

/// Whether a window and an order fit each other.
///
/// # Errors
/// [`Error::Input`] that says what fits.
pub fn check(window: usize, order: usize) -> Result<()> {
    if !(2..=MOST_ORDER).contains(&order) {
        return Err(Error::Input(format!("the order is {order}: it has to be from 2 to {MOST_ORDER}")));
    }
    // Two more orders, and residuals behind those, judge the filter.
    let least = (order + 5) | 1;
    if window.is_multiple_of(2) || !(least..=MOST_ROWS).contains(&window) {
        return Err(Error::Input(format!(
            "the window is {window} rows: for polynomials of order {order} it has to be an odd number from {least} to {MOST_ROWS}"
        )));
    }
    Ok(())
}

/// What is known at a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// Its place in the log.
    pub at: usize,
    /// The first derivative.
    pub first: f64,
    /// The second.
    pub second: f64,
    /// What polynomials of an order higher by two say less what these say: the first derivative.
    pub first_error: f64,
    /// The second.
    pub second_error: f64,
    /// How noise of variance 1 comes out: variances of both derivatives, then covariances of both derivatives, and of the
    /// signal with the first and the second.
    pub gains: [f64; 5],
}

/// The derivatives of a signal.
#[derive(Clone, Debug, PartialEq)]
pub struct Derivatives {
    /// Those rows whose window is whole.
    pub rows: Vec<Row>,
    /// The median step.
    pub step: f64,
    /// Steps that no window may cross.
    pub gaps: usize,
    /// Standard deviation of the signal's noise: what polynomials of an order higher by two leave, and rounding.
    pub noise: f64,
}

/// Differentiates `values`, of which each comes `dt` behind the one before; the first `dt` says nothing. Window and order
/// have to fit ([`check`]).
///
/// Where steps differ, each row has a filter of its own, by a QR decomposition of its window: a few microseconds at 9 rows;
/// at 201 rows some seconds for 200,000 of them.
pub fn differentiate(dt: &[f64], values: &[f64], window: usize, order: usize) -> Derivatives {
    let half = window / 2;
    let median = { median(dt.get(1..).unwrap_or_default()).unwrap_or(1.0) };
    let gap: Vec<bool> = dt.iter().enumerate().map(|(row, &dt)| row > 0 && dt > GAP * median).collect();
    let mut inside = gap.iter().skip(1).take(window - 1).filter(|gap| **gap).count();
    let (mut rows, mut squares) = (Vec::new(), 0.0);
    let mut known: Option<(Vec<f64>, Stencil)> = None;
    for at in half..values.len().saturating_sub(half) {
        if at > half {
            inside += usize::from(gap[at + half]);
            inside -= usize::from(gap[at - half]);
        }
        if inside > 0 {
            continue;
        }
        let steps = &dt[at - half + 1..=at + half];
        let stencil = match &mut known {
            Some((of, stencil)) if of == steps => stencil,
            known => &mut known.insert((steps.to_vec(), Stencil::new(steps, order))).1,
        };
        let around = values[at - half..=at + half].iter().map(|value| value - values[at]);
        let around = DVector::from_iterator(window, around);
        squares += stencil.mean_square_residual(&around);
        let [first, second, higher_first, higher_second] =
            [0, 1, 2, 3].map(|i| stencil.weights[i].dot(&around));
        rows.push(Row {
            at,
            first,
            second,
            first_error: higher_first - first,
            second_error: higher_second - second,
            gains: stencil.gains,
        });
    }
    let largest = values.iter().fold(0.0, |most: f64, value| most.max(value.abs()));
    let rounding = 4.0 * f64::EPSILON * largest;
    let noise = (squares / rows.len().max(1) as f64).sqrt().hypot(rounding);
    Derivatives { rows, step: median, gaps: gap.iter().filter(|gap| **gap).count(), noise }
}

/// The filter for one pattern of steps.
struct Stencil {
    /// What the values of a window are multiplied by: for both derivatives, and for those of the higher order.
    weights: [DVector<f64>; 4],
    gains: [f64; 5],
    /// An orthonormal basis of polynomials of the higher order.
    basis: DMatrix<f64>,
}

impl Stencil {
    fn new(steps: &[f64], order: usize) -> Self {
        let (window, half, higher) = (steps.len() + 1, steps.len() / 2, order + 2);
        let mut times = vec![0.0; window];
        for i in half + 1..window {
            times[i] = times[i - 1] + steps[i - 1];
        }
        for i in (0..half).rev() {
            times[i] = times[i + 1] - steps[i];
        }
        let scale = times.iter().fold(0.0, |most: f64, time| most.max(time.abs()));
        let powers = DMatrix::from_fn(window, higher + 1, |i, k| (times[i] / scale).powi(k as i32));
        let (basis, triangle) = powers.qr().unpack();
        // Coefficient k of the polynomial is row k of R^-1 Q' times the values. Bases are nested, so that one serves both orders.
        let weights = |derivative: usize, order: usize| {
            let mut z = DVector::zeros(order + 1);
            for i in 0..=order {
                let known: f64 = (0..i).map(|j| triangle[(j, i)] * z[j]).sum();
                z[i] = (f64::from(u8::from(i == derivative)) - known) / triangle[(i, i)];
            }
            // 1! and 2!
            basis.columns(0, order + 1) * z * (derivative as f64 / scale.powi(derivative as i32))
        };
        let weights = [weights(1, order), weights(2, order), weights(1, higher), weights(2, higher)];
        let [first, second, ..] = &weights;
        let gains = [first.dot(first), second.dot(second), first.dot(second), first[half], second[half]];
        Self { weights, gains, basis }
    }

    /// Of values around the row.
    fn mean_square_residual(&self, values: &DVector<f64>) -> f64 {
        let residual = values - &self.basis * (self.basis.transpose() * values);
        residual.norm_squared() / (self.basis.nrows() - self.basis.ncols()) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn steps(rows: usize, uneven: f64) -> Vec<f64> {
        let mut random = Random::new(1);
        (0..rows).map(|_| 0.001 * (1.0 + uneven * (2.0 * random.unit() - 1.0))).collect()
    }

    fn times(dt: &[f64]) -> Vec<f64> {
        dt.iter()
            .scan(0.0, |time, dt| {
                *time += dt;
                Some(*time)
            })
            .collect()
    }

    #[test]
    fn polynomials_of_the_order_are_differentiated_exactly() {
        for uneven in [0.0, 0.6] {
            let dt = steps(60, uneven);
            let time = times(&dt);
            let cubic: Vec<f64> =
                time.iter().map(|t| 3.0 - 40.0 * t + 500.0 * t * t - 9000.0 * t * t * t).collect();
            for (window, order) in [(9, 3), (9, 4), (21, 6)] {
                for row in differentiate(&dt, &cubic, window, order).rows {
                    let t = time[row.at];
                    let (first, second) = (-40.0 + 1000.0 * t - 27000.0 * t * t, 1000.0 - 54000.0 * t);
                    assert!((row.first - first).abs() < 1e-8 * 40.0, "{row:?} {first}");
                    assert!((row.second - second).abs() < 1e-6 * 1000.0, "{row:?} {second}");
                }
            }
        }
    }

    #[test]
    fn even_steps_have_the_published_weights() {
        // Savitzky and Golay 1964, second derivative, cubic (as quadratic), 9 points: 28 7 -8 -17 -20 … over 462.
        let stencil = Stencil::new(&[1.0; 8], 3);
        let known = [28.0, 7.0, -8.0, -17.0, -20.0, -17.0, -8.0, 7.0, 28.0];
        for (found, known) in stencil.weights[1].iter().zip(known) {
            assert!((found - known / 462.0).abs() < 1e-14, "{found} {known}");
        }
    }

    #[test]
    fn the_default_filter_is_far_below_a_percent_off_on_smooth_signals() {
        for (uneven, samples, most) in
            [(0.0, 40.0, 5e-4), (0.5, 40.0, 2e-3), (0.0, 100.0, 2e-5), (0.5, 100.0, 1e-4)]
        {
            let dt = steps(2000, uneven);
            let time = times(&dt);
            let w = std::f64::consts::TAU / (0.001 * samples);
            let wave: Vec<f64> = time.iter().map(|t| (w * t).sin()).collect();
            let found = differentiate(&dt, &wave, WINDOW, ORDER);
            let size =
                |of: &dyn Fn(&Row) -> f64| found.rows.iter().map(|row| of(row).powi(2)).sum::<f64>().sqrt();
            let first = size(&|row| row.first - w * (w * time[row.at]).cos()) / size(&|row| row.first);
            let second = size(&|row| row.second + w * w * wave[row.at]) / size(&|row| row.second);
            assert!(first < most && second < most, "{uneven} {samples}: {first} {second}");
            // It says so itself, within a factor.
            let claimed = size(&|row| row.second_error) / size(&|row| row.second);
            assert!((0.5..2.0).contains(&(claimed / second)), "{claimed} {second}");
        }
    }

    #[test]
    fn noise_is_found_and_comes_out_as_the_gains_say() {
        let dt = steps(20_000, 0.3);
        let mut random = Random::new(5);
        let noise: Vec<f64> = dt.iter().map(|_| (0..12).map(|_| random.unit()).sum::<f64>() - 6.0).collect();
        let found = differentiate(&dt, &noise, WINDOW, ORDER);
        assert!((found.noise - 1.0).abs() < 0.02, "{}", found.noise);
        let mean =
            |of: &dyn Fn(&Row) -> f64| found.rows.iter().map(of).sum::<f64>() / found.rows.len() as f64;
        let cases: [(f64, f64); 5] = [
            (mean(&|row| row.first.powi(2)), mean(&|row| row.gains[0])),
            (mean(&|row| row.second.powi(2)), mean(&|row| row.gains[1])),
            (mean(&|row| row.second * noise[row.at]), mean(&|row| row.gains[4])),
            // Differences of both orders are independent of these derivatives.
            (mean(&|row| row.second.powi(2) + row.second * row.second_error), mean(&|row| row.gains[1])),
            (mean(&|row| row.first.powi(2) + row.first * row.first_error), mean(&|row| row.gains[0])),
        ];
        for (found, known) in cases {
            assert!((found / known - 1.0).abs() < 0.05, "{found} {known}");
        }
    }

    #[test]
    fn windows_stay_inside_the_log_and_cross_no_gap() {
        let mut dt = vec![0.01; 40];
        dt[0] = 5.0;
        dt[20] = 1.0;
        let found = differentiate(&dt, &[1.0; 40], 9, 4);
        let rows: Vec<usize> = found.rows.iter().map(|row| row.at).collect();
        assert_eq!(rows, (4..=15).chain(24..=35).collect::<Vec<_>>());
        assert_eq!(found.gaps, 1);
        assert!(differentiate(&dt[..8], &[1.0; 8], 9, 4).rows.is_empty());
        assert!(differentiate(&[], &[], 9, 4).rows.is_empty());
    }

    #[test]
    fn windows_that_do_not_fit_are_refused() {
        for (window, order) in [(8, 4), (7, 4), (1003, 4), (0, 4), (9, 1), (31, 9), (9, 6)] {
            assert!(check(window, order).is_err(), "{window} {order}");
        }
        for (window, order) in [(9, 4), (1001, 8), (7, 2), (9, 3), (11, 6)] {
            check(window, order).unwrap();
        }
    }
}
