//! Identification: the parameters of the flow model from a telemetry log.
//!
//! The model is `I = k_e Q + k_base dQ + tau ddQ + gamma w_rot Q`. What is least is the integral of `(I_actual - I)^2`
//! over time, so that each row counts by its dt; tau is in [0.001, 0.5] and gamma in [0, 1]. The model is linear in all
//! four parameters, so that bounded least squares give the optimum itself ([`design`]); a search by a Gaussian process
//! over tau and gamma, which knows nothing of that, has to land on it (`search`). ddQ, and dQ where the log has none,
//! come from local polynomials ([`filter`]).
//!
//! Noise of what is differentiated makes estimates too small, and a window that is too wide for how fast the signal
//! changes bends them. Both are estimated, to first order: with columns `X + E` instead of X, estimates are off by
//! `-(X'WX)^-1 (X'WE + E'WE) b`. For noise, E'WE follows from the residuals of the polynomials and the weights of the
//! filter; the error of the filter is taken to be what polynomials of an order higher by two say less what these say.
//!
//! ```
//! use lowbit::internals::edge::identify::{Log, Options, identify};
//!
//! let dt = 0.001;
//! let flow = |t: f64| 5.0 + (30.0 * t).sin() + (90.0 * t).cos() + (55.0 * t).sin();
//! let rates = |t: f64| 30.0 * (30.0 * t).cos() - 90.0 * (90.0 * t).sin() + 55.0 * (55.0 * t).cos();
//! let bends = |t: f64| -900.0 * (30.0 * t).sin() - 8100.0 * (90.0 * t).cos() - 3025.0 * (55.0 * t).sin();
//! let times: Vec<f64> = (0..2000).map(|i| f64::from(i) * dt).collect();
//! let speed = |t: f64| 2.0 + (3.0 * t).sin();
//! let current = |&t: &f64| {
//!     12.0 * flow(t) + 0.05 * rates(t) + 0.02 * bends(t) + 0.4 * speed(t) * flow(t)
//! };
//! let log = Log {
//!     dt: vec![dt; times.len()],
//!     q: times.iter().map(|&t| flow(t)).collect(),
//!     dq: None,
//!     w_rot: times.iter().map(|&t| speed(t)).collect(),
//!     i_actual: times.iter().map(current).collect(),
//! };
//! let found = identify(&log, &Options::default())?;
//! assert!((found.values.tau_s / 0.02 - 1.0).abs() < 1e-3 && found.agree == Some(true));
//! # Ok::<(), lowbit::Error>(())
//! ```

pub mod design;
pub mod filter;
mod log;
mod options;
pub mod residuals;
pub mod search;

use nalgebra::{DMatrix, DVector};
use serde::Serialize;

use crate::{Error, Result};
use design::{Design, Term};
use filter::{Derivatives, Row};
pub use log::Log;
pub use options::{Fix, Method, Options, Parameter};
use residuals::{CONFIDENCE, Covariance, LjungBox, ljung_box};

/// A condition number of the scaled design above this is warned of.
pub const MOST_CONDITION: f64 = 100.0;
/// Methods agree where the search's sum of squares, which is what it makes least, is off the least one by no more than this
/// part of the variance of what is left: that is a tenth of a standard error, in any direction of the parameters.
pub const AGREEMENT: f64 = 0.01;
/// Or by no more than so small a part of the bounds' width of tau and gamma changes: where next to nothing is left, the
/// search ends above the rounding of the least squares.
pub const RESOLUTION: f64 = 1e-6;
/// A bias is warned of above this part of a parameter, if it is more than a quarter of the interval's width too.
pub const MOST_BIAS: f64 = 0.01;
/// Fewer rows than this are not identified from.
pub const LEAST_ROWS: usize = 30;

/// What is known of a parameter.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// Which one.
    pub name: Parameter,
    /// Its unit.
    pub unit: &'static str,
    /// Its value.
    pub estimate: f64,
    /// Its standard error; None where it is known, or held at a bound.
    pub standard_error: Option<f64>,
    /// Its 95 % interval, as far as it is within the bounds.
    pub interval: Option<[f64; 2]>,
    /// Its bounds.
    pub bounds: Option<[f64; 2]>,
    /// Whether it is held at a bound. The intervals of the others are then for this value.
    pub at_bound: bool,
    /// Whether it was given.
    pub fixed: bool,
    /// How much noise of the differentiated column shifts it, roughly.
    pub noise_bias: Option<f64>,
    /// How much the filter shifts it, roughly.
    pub filter_bias: Option<f64>,
    /// What the other method says, if there was one.
    pub bayesian: Option<f64>,
}

/// The parameters by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Values {
    /// In A per unit of Q.
    pub k_e: f64,
    /// In A s per unit of Q.
    pub k_base: f64,
    /// In s.
    pub tau_s: f64,
    /// A number.
    pub gamma: f64,
}

impl Values {
    fn new([k_e, k_base, tau_s, gamma]: [f64; 4]) -> Self {
        Self { k_e, k_base, tau_s, gamma }
    }
}

/// How derivatives were found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Filter {
    /// Savitzky and Golay's.
    pub kind: &'static str,
    /// What was differentiated.
    pub of: &'static str,
    /// What came of it.
    pub derives: &'static [&'static str],
    /// Rows of the window.
    pub window_rows: usize,
    /// How long it is at the median dt.
    pub window_s: f64,
    /// The order of the polynomials.
    pub order: usize,
    /// Rows without a whole window.
    pub rows_left_out: usize,
    /// Steps of more than ten median ones, which no window crosses.
    pub gaps: usize,
    /// Standard deviation of the noise of what was differentiated, in its unit.
    pub noise: f64,
}

/// How well the model fits.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Quality {
    /// Root of the mean square of what is left, over time, in A.
    pub residual_rms_a: f64,
    /// That by the root of the mean square of I_actual.
    pub residual_relative: Option<f64>,
    /// 1 less the square of what is left by that of I_actual less its mean; None where I_actual does not change.
    pub r_squared: Option<f64>,
    /// Whether what is left is white.
    pub ljung_box: LjungBox,
    /// Whether it is, at 5 %.
    pub white: bool,
    /// What intervals are made of.
    pub covariance: Covariance,
    /// Their confidence.
    pub confidence: f64,
}

/// What the search found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Search {
    /// Where the objective is least.
    pub values: Values,
    /// How often it was evaluated.
    pub evaluations: usize,
    /// The seed.
    pub seed: u64,
}

/// The current over time, for a picture.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    /// Places in the log: where one is left out, a gap in time lies between.
    pub row: Vec<usize>,
    /// In s from the first row of the log.
    pub time: Vec<f64>,
    /// In A.
    pub actual: Vec<f64>,
    /// In A.
    pub fitted: Vec<f64>,
}

/// What a log says of the model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Identification {
    /// How the estimates were found.
    pub method: Method,
    /// Rows of the log.
    pub rows: usize,
    /// Those with derivatives.
    pub rows_used: usize,
    /// From its first row to its last.
    pub duration_s: f64,
    /// Where derivatives come from.
    pub filter: Filter,
    /// The estimates.
    pub values: Values,
    /// The same with what is known of them.
    pub parameters: Vec<Estimate>,
    /// How many of the free parameters can be told apart: all of them.
    pub rank: usize,
    /// Of the scaled design.
    pub condition_number: f64,
    /// How well the model fits.
    pub quality: Quality,
    /// What the search found, if there was one.
    pub bayesian: Option<Search>,
    /// Whether both methods found the same.
    pub agree: Option<bool>,
    /// What must be known before trusting a number.
    pub warnings: Vec<String>,
    /// The current.
    #[serde(skip)]
    pub trace: Trace,
}

impl Identification {
    /// Whether the methods found the same, if there were two.
    ///
    /// # Errors
    /// [`Error::Gate`] if they did not.
    pub fn gate(&self) -> Result<()> {
        match self.agree {
            Some(false) => Err(Error::Gate(
                "least squares and the Bayesian search disagree: see the warnings; do not deploy these parameters".into(),
            )),
            _ => Ok(()),
        }
    }
}

/// Identifies the parameters.
///
/// # Errors
/// [`Error::Input`] for options or columns that do not fit, for too few rows, and for a log that does not determine the
/// free parameters: that names them, and says what is missing.
pub fn identify(log: &Log, options: &Options) -> Result<Identification> {
    options.check()?;
    log.check()?;
    let (rows, window) = (log.rows(), options.window);
    if rows < window {
        return Err(Error::Input(format!("it has {rows} rows, fewer than the window of {window} rows")));
    }
    let source = log.dq.as_ref().unwrap_or(&log.q);
    let derivatives = filter::differentiate(&log.dt, source, window, options.order);
    let used = derivatives.rows.len();
    if used < LEAST_ROWS {
        return Err(Error::Input(format!(
            "{used} of its {rows} rows have a whole window of {window} rows; {LEAST_ROWS} or more are needed"
        )));
    }

    let columns = Columns::new(log, &derivatives);
    let fixed = |parameter| options.fixed.iter().find(|fix| fix.parameter == parameter).map(|fix| fix.value);
    let free: Vec<Parameter> = Parameter::ALL.into_iter().filter(|p| fixed(*p).is_none()).collect();
    let target = (0..used).map(|row| {
        let known = |fix: &Fix| fix.value * columns.values[fix.parameter as usize][row];
        columns.current[row] - options.fixed.iter().map(known).sum::<f64>()
    });
    let terms = free.iter().map(|&parameter| Term {
        parameter,
        column: parameter.column(),
        values: columns.values[parameter as usize].clone(),
    });
    let design = Design::new(terms.collect(), target.collect(), columns.weights.clone())?
        .with_errors(columns.part(&columns.noise, &free), columns.part(&columns.filter_square, &free));
    let conditioning = design.check()?;

    let search = match options.method {
        Method::LeastSquares => None,
        _ => search(&design, options.seed),
    };
    let optimum = match (options.method, &search) {
        (Method::Bayesian, Some((found, _))) => found.clone(),
        _ => design.optimum()?,
    };
    let all = |values: &[f64]| {
        Parameter::ALL.map(|parameter| {
            let place = free.iter().position(|free| *free == parameter);
            place.and_then(|i| values.get(i).copied()).or_else(|| fixed(parameter)).unwrap_or(f64::NAN)
        })
    };

    let left = design.residuals(&optimum.values);
    let tested = ljung_box(&left);
    let white = tested.p_value >= residuals::LEAST_P;
    let inner: Vec<usize> = (0..free.len()).filter(|&i| !optimum.at_bound[i]).collect();
    let (covariance, errors) = residuals::standard_errors(&design, &inner, &left, white)
        .ok_or_else(|| Error::Input("the log determines no intervals".into()))?;
    let quantile = residuals::quantile(used - inner.len());
    let inverse = design.inverse(&inner).unwrap_or_else(|| DMatrix::zeros(inner.len(), inner.len()));
    let values = all(&optimum.values);
    let biases = |of: &DMatrix<f64>| {
        let effect = of * DVector::from_column_slice(&values);
        let effect = DVector::from_fn(inner.len(), |i, _| effect[free[inner[i]] as usize]);
        -(&inverse * effect)
    };
    let (noise_bias, filter_bias) = (biases(&columns.noise), biases(&columns.filter));
    let other =
        search.as_ref().filter(|_| options.method == Method::Both).map(|(found, _)| all(&found.values));
    let parameters: Vec<Estimate> = Parameter::ALL
        .into_iter()
        .map(|name| {
            let at = free.iter().position(|free| *free == name);
            let place = inner.iter().position(|&i| Some(i) == at);
            let (estimate, bounds) = (values[name as usize], name.bounds());
            let error = place.map(|place| errors[place]);
            let [least, most] = bounds.unwrap_or([f64::NEG_INFINITY, f64::INFINITY]);
            let ends = |error: f64| {
                [(estimate - quantile * error).max(least), (estimate + quantile * error).min(most)]
            };
            Estimate {
                name,
                unit: name.unit(),
                estimate,
                standard_error: error,
                interval: error.map(ends),
                bounds,
                at_bound: at.is_some_and(|i| optimum.at_bound[i]),
                fixed: at.is_none(),
                noise_bias: place.map(|place| noise_bias[place]),
                filter_bias: place.map(|place| filter_bias[place]),
                bayesian: other.filter(|_| at.is_some()).map(|other| other[name as usize]),
            }
        })
        .collect();

    let half = |of: &Estimate| of.standard_error.map_or(0.0, |error| quantile * error);
    let excess = search.as_ref().filter(|_| other.is_some()).map(|(found, _)| {
        let excess = (found.objective - optimum.objective).abs();
        (excess <= tolerance(&design, &optimum), excess)
    });
    let mut warnings = Vec::new();
    if conditioning.condition_number > MOST_CONDITION {
        warnings.push(format!(
            "the condition number is {:.0}, above {MOST_CONDITION}: the parameters are all but confounded; vary Q and w_rot more",
            conditioning.condition_number
        ));
    }
    for of in &parameters {
        let name = of.name.name();
        if of.at_bound {
            let value = of.estimate;
            warnings.push(format!(
                "{name} is held at its bound {value}: the log, or the model, asks for one beyond"
            ));
        }
        let matters = |bias: &Option<f64>| {
            bias.map(f64::abs).filter(|bias| *bias > (MOST_BIAS * of.estimate.abs()).max(0.5 * half(of)))
        };
        let percent = |bias: f64| 100.0 * bias / of.estimate.abs();
        let source = source_name(log);
        // A window that helps against one of them makes the other larger.
        let blurred = of.filter_bias.map(f64::abs) > of.noise_bias.map(f64::abs);
        if let Some(bias) = matters(&of.noise_bias) {
            let window = if blurred { "" } else { "a longer `window`, or " };
            warnings.push(format!(
                "noise of {source} shifts {name} by about {:.1} %: {window}a log of dQ with less noise, helps",
                percent(bias)
            ));
        }
        if let Some(bias) = matters(&of.filter_bias) {
            let shorter = if blurred { "a shorter `window`, or " } else { "" };
            warnings.push(format!(
                "{source} changes fast for a window of {window} rows, which shifts {name} by about {:.1} %: {shorter}a log with a shorter dt, helps",
                percent(bias)
            ));
        }
    }
    if let Some((false, excess)) = excess {
        let both = |of: &Estimate| Some(format!("{} {} and {}", of.name.name(), of.estimate, of.bayesian?));
        warnings.push(format!(
            "the methods disagree: the search's sum of squares is {excess:.3e} off the least, {:.3e}: {} (least squares and search)",
            optimum.objective,
            parameters.iter().filter_map(both).collect::<Vec<_>>().join(", ")
        ));
    }
    if options.method == Method::Both && search.is_none() {
        warnings.push("tau and gamma are fixed: there was nothing to search".into());
    }

    let whole: f64 = columns.weights.iter().sum();
    let mean =
        |of: &dyn Fn(usize) -> f64| (0..used).map(|row| columns.weights[row] * of(row)).sum::<f64>() / whole;
    let square = mean(&|row| left[row].powi(2));
    let middle = mean(&|row| columns.current[row]);
    let spread = mean(&|row| (columns.current[row] - middle).powi(2));
    let size = mean(&|row| columns.current[row].powi(2));
    let ratio = |a: f64, b: f64| Some(a / b).filter(|_| b > 0.0);
    // The step of the first row is not one of the log.
    let steps = std::iter::once(&0.0).chain(log.dt.iter().skip(1));
    let time: Vec<f64> = steps
        .scan(0.0, |time, dt| {
            *time += dt;
            Some(*time)
        })
        .collect();
    let duration_s = time.last().copied().unwrap_or_default();
    Ok(Identification {
        method: options.method,
        rows,
        rows_used: used,
        duration_s,
        filter: Filter {
            kind: "local polynomial (Savitzky-Golay)",
            of: source_name(log),
            derives: if log.dq.is_some() { &["ddQ"] } else { &["dQ", "ddQ"] },
            window_rows: window,
            window_s: derivatives.step * (window - 1) as f64,
            order: options.order,
            rows_left_out: rows - used,
            gaps: derivatives.gaps,
            noise: derivatives.noise,
        },
        values: Values::new(values),
        agree: excess.map(|(agree, _)| agree),
        parameters,
        rank: conditioning.rank,
        condition_number: conditioning.condition_number,
        quality: Quality {
            residual_rms_a: square.sqrt(),
            residual_relative: ratio(square.sqrt(), size.sqrt()),
            r_squared: ratio(square, spread).map(|part| 1.0 - part),
            ljung_box: tested,
            white,
            covariance,
            confidence: CONFIDENCE,
        },
        bayesian: search.as_ref().map(|(found, evaluations)| Search {
            values: Values::new(all(&found.values)),
            evaluations: *evaluations,
            seed: options.seed,
        }),
        warnings,
        trace: Trace {
            row: derivatives.rows.iter().map(|row| row.at).collect(),
            time: derivatives.rows.iter().map(|row| time[row.at]).collect(),
            fitted: columns.current.iter().zip(&left).map(|(current, left)| current - left).collect(),
            actual: columns.current,
        },
    })
}

/// How far off the least sum of squares another may be that agrees with it.
fn tolerance(design: &Design, optimum: &design::Optimum) -> f64 {
    let count = design.terms().len();
    let variance = optimum.objective / (design.weights().len() - count) as f64;
    let resolved = design.terms().iter().enumerate().filter_map(|(i, term)| {
        let [low, high] = term.parameter.bounds()?;
        Some((RESOLUTION * (high - low) * design.length(i)).powi(2))
    });
    AGREEMENT * variance + resolved.sum::<f64>()
}

/// What is differentiated.
fn source_name(log: &Log) -> &'static str {
    if log.dq.is_some() { "dQ" } else { "Q" }
}

/// The columns of the model at the rows that have derivatives, and what is wrong with them.
struct Columns {
    /// For each parameter.
    values: [Vec<f64>; 4],
    current: Vec<f64>,
    /// Parts of their mean.
    weights: Vec<f64>,
    /// Weighted products of noise in the columns.
    noise: DMatrix<f64>,
    /// Weighted products of columns with the errors of the filter.
    filter: DMatrix<f64>,
    /// Weighted products of the errors of the filter.
    filter_square: DMatrix<f64>,
}

impl Columns {
    fn new(log: &Log, derivatives: &Derivatives) -> Self {
        let rows = &derivatives.rows;
        let taken = |of: &[f64]| -> Vec<f64> { rows.iter().map(|row| of[row.at]).collect() };
        let by_row = |of: &dyn Fn(&Row) -> f64| -> Vec<f64> { rows.iter().map(of).collect() };
        let (q, w_rot, current) = (taken(&log.q), taken(&log.w_rot), taken(&log.i_actual));
        let turning = q.iter().zip(&w_rot).map(|(q, w)| q * w).collect();
        let dt = taken(&log.dt);
        let mean = dt.iter().sum::<f64>() / dt.len() as f64;
        let weights: Vec<f64> = dt.iter().map(|dt| dt / mean).collect();
        let given = log.dq.as_ref().map(|dq| taken(dq));
        let derived = given.is_none();
        let (first, second) = match given {
            Some(first) => (first, by_row(&|row| row.first)),
            None => (by_row(&|row| row.first), by_row(&|row| row.second)),
        };
        let values = [q, first, second, turning];
        let (mut noise, mut filter, mut filter_square) =
            (DMatrix::zeros(4, 4), DMatrix::zeros(4, 4), DMatrix::zeros(4, 4));
        let variance = derivatives.noise.powi(2);
        for (i, row) in rows.iter().enumerate() {
            let [first, second, both, own_first, own_second] = row.gains;
            let w = w_rot[i];
            // How noise of Q, or of dQ alone, appears in the columns together.
            let products = if derived {
                [
                    [1.0, own_first, own_second, w],
                    [own_first, first, both, w * own_first],
                    [own_second, both, second, w * own_second],
                    [w, w * own_first, w * own_second, w * w],
                ]
            } else {
                [[0.0; 4], [0.0, 1.0, own_first, 0.0], [0.0, own_first, first, 0.0], [0.0; 4]]
            };
            // These columns less the true ones.
            let errors = if derived {
                [0.0, -row.first_error, -row.second_error, 0.0]
            } else {
                [0.0, 0.0, -row.first_error, 0.0]
            };
            for a in 0..4 {
                for b in 0..4 {
                    noise[(a, b)] += weights[i] * variance * products[a][b];
                    filter[(a, b)] += weights[i] * values[a][i] * errors[b];
                    filter_square[(a, b)] += weights[i] * errors[a] * errors[b];
                }
            }
        }
        Self { values, current, weights, noise, filter, filter_square }
    }

    /// Of a matrix over all parameters, what belongs to some.
    fn part(&self, of: &DMatrix<f64>, parameters: &[Parameter]) -> DMatrix<f64> {
        let count = parameters.len();
        DMatrix::from_fn(count, count, |i, j| of[(parameters[i] as usize, parameters[j] as usize)])
    }
}

/// The least of the objective over the bounded parameters that are free, and how often it was evaluated. None if none is.
fn search(design: &Design, seed: u64) -> Option<(design::Optimum, usize)> {
    let bounded: Vec<(usize, [f64; 2])> = design
        .terms()
        .iter()
        .enumerate()
        .filter_map(|(i, term)| Some((i, term.parameter.bounds()?)))
        .collect();
    if bounded.is_empty() {
        return None;
    }
    let bounds: Vec<[f64; 2]> = bounded.iter().map(|(_, bounds)| *bounds).collect();
    let known = |point: &[f64]| -> Vec<(usize, f64)> {
        bounded.iter().zip(point).map(|(&(i, _), &value)| (i, value)).collect()
    };
    let found = search::minimize(&bounds, seed, |point| {
        design.at(&known(point)).map_or(f64::INFINITY, |optimum| optimum.objective)
    });
    let mut optimum = design.at(&known(&found.point))?;
    for &(i, ends) in &bounded {
        optimum.at_bound[i] = ends.contains(&optimum.values[i]);
    }
    Some((optimum, found.evaluations))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn methods_agree_within_a_tenth_of_a_standard_error_and_no_further() {
        let mut random = Random::new(3);
        let mut column = |size: f64| (0..200).map(|_| size * (random.unit() - 0.5)).collect::<Vec<f64>>();
        for (noise, resolved) in [(1.0, false), (0.0, true)] {
            let term = |parameter, values| Term { parameter, column: "", values };
            let terms = vec![term(Parameter::KBase, column(3.0)), term(Parameter::Tau, column(100.0))];
            let rest = column(noise);
            let target = (0..200).map(|i| 0.1 * terms[1].values[i] + rest[i]).collect();
            let design = Design::new(terms, target, vec![1.0; 200]).unwrap();
            let optimum = design.optimum().unwrap();
            // Of tau, if k_base follows it.
            let inverse = design.inverse(&[0, 1]).unwrap();
            let error = (optimum.objective / 198.0 * inverse[(1, 1)]).sqrt();
            let step = if resolved { RESOLUTION * 0.499 } else { 0.1 * error };
            for (part, agree) in [(0.0, true), (0.95, true), (1.1, false), (2.0, false), (100.0, false)] {
                let other = design.at(&[(1, optimum.values[1] + part * step)]).unwrap();
                let excess = other.objective - optimum.objective;
                assert_eq!(excess <= tolerance(&design, &optimum), agree, "{noise} {part}: {excess}");
            }
        }
    }
}
