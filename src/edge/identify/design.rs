//! Least squares with bounds, for a few parameters: rank, condition, the optimum, and the objective elsewhere.
//!
//! The rows are reduced once, by Householder's QR, to a triangle that has one column for each parameter and one for the
//! target; everything else happens in the triangle. Columns are scaled to length 1 first, so that units decide nothing.

use nalgebra::{DMatrix, DVector};

use super::Parameter;
use crate::{Error, Result};

/// A direction is unidentifiable where its singular value is below this part of the largest one.
pub const LEAST_SINGULAR: f64 = 1e-10;
/// A direction is unidentifiable too where so large a part of its square may be errors of the columns.
pub const MOST_ERROR: f64 = 0.25;
/// A parameter belongs to an unidentifiable direction where the projector onto those has entries above this.
const BELONGS: f64 = 0.05;

/// A parameter, and what it multiplies.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    /// The parameter.
    pub parameter: Parameter,
    /// The name of what it multiplies, such as dQ.
    pub column: &'static str,
    /// That, in each row.
    pub values: Vec<f64>,
}

/// A linear model, of which the squares of `target` less the sum of the terms are to be least, weighted.
#[derive(Clone, Debug)]
pub struct Design {
    terms: Vec<Term>,
    target: Vec<f64>,
    weights: Vec<f64>,
    /// Weighted products of what noise and the filter add to the columns.
    errors: [DMatrix<f64>; 2],
    lengths: Vec<f64>,
    /// Of the scaled columns and the target.
    triangle: DMatrix<f64>,
}

/// How well parameters can be told apart.
#[derive(Clone, Debug, PartialEq)]
pub struct Conditioning {
    /// How many directions of the parameters are identifiable.
    pub rank: usize,
    /// The largest singular value by the smallest, of columns of length 1.
    pub condition_number: f64,
    /// Parameters, by their place, that cannot be told from each other; one alone has no effect.
    pub confounded: Vec<Vec<usize>>,
}

/// The least squares within the bounds.
#[derive(Clone, Debug, PartialEq)]
pub struct Optimum {
    /// A value for each term.
    pub values: Vec<f64>,
    /// Whether a bound holds it there.
    pub at_bound: Vec<bool>,
    /// The weighted sum of squares.
    pub objective: f64,
}

impl Design {
    /// A design with a weight for each row. Its columns are taken to be exact.
    ///
    /// # Errors
    /// [`Error::Input`] if columns differ in length, there are no more rows than terms, or squares of values are not finite.
    pub fn new(terms: Vec<Term>, target: Vec<f64>, weights: Vec<f64>) -> Result<Self> {
        let (rows, count) = (target.len(), terms.len());
        if weights.len() != rows || terms.iter().any(|term| term.values.len() != rows) {
            return Err(Error::Shape(
                "the columns of a design have to have as many rows as its target".into(),
            ));
        }
        if count == 0 || rows <= count + 1 {
            return Err(Error::Input(format!("{count} parameters cannot be found from {rows} rows")));
        }
        let roots: Vec<f64> = weights.iter().map(|weight| weight.sqrt()).collect();
        let length = |values: &[f64]| {
            values.iter().zip(&roots).map(|(value, root)| (value * root).powi(2)).sum::<f64>().sqrt()
        };
        // A column of nothing keeps its length.
        let lengths: Vec<f64> = terms.iter().map(|term| length(&term.values)).collect();
        if let Some(at) = lengths.iter().chain([&length(&target)]).position(|length| !length.is_finite()) {
            let name = terms.get(at).map_or("I_actual", |term| term.column);
            return Err(Error::Input(format!(
                "{name} has values that are too large to compute with: check its unit, and that of dt"
            )));
        }
        let lengths: Vec<f64> =
            lengths.into_iter().map(|length| if length > 0.0 { length } else { 1.0 }).collect();
        let matrix = DMatrix::from_fn(rows, count + 1, |row, column| match terms.get(column) {
            Some(term) => term.values[row] * roots[row] / lengths[column],
            None => target[row] * roots[row],
        });
        let triangle = matrix.qr().unpack_r();
        let errors = [DMatrix::zeros(count, count), DMatrix::zeros(count, count)];
        Ok(Self { terms, target, weights, errors, lengths, triangle })
    }

    /// The same with columns that have errors, by noise and by the filter: the weighted sums of their squares and products.
    pub(super) fn with_errors(self, noise: DMatrix<f64>, filter: DMatrix<f64>) -> Self {
        Self { errors: [noise, filter], ..self }
    }

    /// The root of the weighted sum of squares of a column; 1 for a column of nothing.
    pub(super) fn length(&self, term: usize) -> f64 {
        self.lengths[term]
    }

    /// The terms.
    pub fn terms(&self) -> &[Term] {
        &self.terms
    }

    /// The weights of the rows.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// What the terms leave of the target, in each row.
    pub fn residuals(&self, values: &[f64]) -> Vec<f64> {
        let fitted = |row: usize| -> f64 {
            self.terms.iter().zip(values).map(|(term, value)| term.values[row] * value).sum()
        };
        self.target.iter().enumerate().map(|(row, target)| target - fitted(row)).collect()
    }

    /// The scaled triangle without the target.
    fn columns(&self) -> DMatrix<f64> {
        let count = self.terms.len();
        self.triangle.view((0, 0), (count, count)).into_owned()
    }

    /// What the singular values of the scaled columns say.
    pub fn conditioning(&self) -> Conditioning {
        let count = self.terms.len();
        let found = self.columns().svd(false, true);
        let singular = &found.singular_values;
        let (largest, smallest) = (singular.max(), singular.min());
        let mut projector = DMatrix::zeros(count, count);
        let mut rank = 0;
        if let Some(directions) = &found.v_t {
            for (direction, value) in directions.row_iter().zip(singular.iter()) {
                let scaled = DVector::from_fn(count, |i, _| direction[i] / self.lengths[i]);
                let error: f64 = self.errors.iter().map(|errors| scaled.dot(&(errors * &scaled))).sum();
                if *value <= LEAST_SINGULAR * largest || value * value * MOST_ERROR <= error {
                    projector += direction.transpose() * direction;
                } else {
                    rank += 1;
                }
            }
        }
        let condition_number = if smallest > 0.0 { largest / smallest } else { f64::INFINITY };
        Conditioning { rank, condition_number, confounded: groups(&projector) }
    }

    /// What [`Design::conditioning`] says, if all parameters can be told apart.
    ///
    /// # Errors
    /// [`Error::Input`] that names those which cannot, and says what is missing.
    pub fn check(&self) -> Result<Conditioning> {
        let found = self.conditioning();
        if found.confounded.is_empty() {
            return Ok(found);
        }
        let groups: Vec<String> = found.confounded.iter().map(|group| self.confounded(group)).collect();
        let (rank, count) = (found.rank, self.terms.len());
        let parameters = if count == 1 { "parameter" } else { "parameters" };
        Err(Error::Input(format!(
            "the log does not determine the model (rank {rank} of {count} {parameters}): {}",
            groups.join("; ")
        )))
    }

    /// What is wrong with a group of parameters, and what to do.
    fn confounded(&self, group: &[usize]) -> String {
        let terms: Vec<&Term> = group.iter().map(|&i| &self.terms[i]).collect();
        let list = |of: &dyn Fn(&Term) -> String| {
            let mut all: Vec<String> = terms.iter().map(|term| of(term)).collect();
            let last = all.pop().unwrap_or_default();
            if all.is_empty() { last } else { format!("{} and {last}", all.join(", ")) }
        };
        let (names, columns) = (list(&|term| term.parameter.name().into()), list(&|term| term.column.into()));
        let has = |parameter| terms.iter().any(|term| term.parameter == parameter);
        if let [term] = terms.as_slice() {
            let [noise, filter] = [0, 1].map(|i| self.errors[i][(group[0], group[0])]);
            let advice = match term.parameter {
                Parameter::KE => "log a flow that is not 0",
                Parameter::KBase | Parameter::Tau if filter > noise => {
                    "Q changes too fast for the filter: log with a shorter dt, or smooth less by a shorter `window`"
                }
                Parameter::KBase | Parameter::Tau => "vary the flow Q, or smooth more by a longer `window`",
                Parameter::Gamma => "log with a w_rot that is not 0 and varies",
            };
            return format!(
                "{names} has no effect, as {columns} is 0 throughout, or no more than its errors: {advice}, or `fix` {names}=…"
            );
        }
        if terms.iter().all(|term| term.values == terms[0].values) {
            let sum: Vec<&str> = terms.iter().map(|term| term.parameter.name()).collect();
            return format!(
                "{names} cannot be told apart, as they multiply the same column ({}): only {} is identifiable",
                terms[0].column,
                sum.join(" + ")
            );
        }
        let mut advice = Vec::new();
        if has(Parameter::Gamma) {
            advice.push("vary w_rot, and not in step with Q");
        }
        if has(Parameter::KBase) || has(Parameter::Tau) {
            advice.push("vary Q with two or more frequencies");
        }
        let relation = if terms.len() == 2 { "are parallel" } else { "depend on each other" };
        let fixes: Vec<String> =
            terms.iter().map(|term| format!("`fix` {}=…", term.parameter.name())).collect();
        format!(
            "{names} cannot be told apart, as {columns} {relation}: {}, or {}",
            advice.join(", and "),
            fixes.join(" or ")
        )
    }

    /// Least squares for `free` terms, with the others at their `values`, which it changes; the objective.
    fn solve(&self, free: &[usize], values: &mut [f64]) -> Option<f64> {
        let count = self.terms.len();
        let mut target = self.triangle.column(count).into_owned();
        for i in (0..count).filter(|i| !free.contains(i)) {
            target.axpy(-values[i] * self.lengths[i], &self.triangle.column(i), 1.0);
        }
        if !free.is_empty() {
            let matrix = DMatrix::from_fn(count + 1, free.len(), |row, i| self.triangle[(row, free[i])]);
            let (q, r) = matrix.clone().qr().unpack();
            let found = r.solve_upper_triangular(&(q.transpose() * &target))?;
            target -= matrix * &found;
            for (&i, value) in free.iter().zip(found.iter()) {
                values[i] = value / self.lengths[i];
            }
        }
        Some(target.norm_squared())
    }

    /// The least squares with bounded parameters at `known` values (by place), and the others, which have no bounds, free.
    pub(super) fn at(&self, known: &[(usize, f64)]) -> Option<Optimum> {
        let count = self.terms.len();
        let mut values = vec![0.0; count];
        known.iter().for_each(|&(i, value)| values[i] = value);
        let free: Vec<usize> = (0..count).filter(|i| known.iter().all(|(known, _)| known != i)).collect();
        let objective = self.solve(&free, &mut values)?;
        Some(Optimum { values, at_bound: vec![false; count], objective })
    }

    /// The least squares within the bounds of the parameters. Each of the two that have any is free or at either of them:
    /// of all those cases whose solution is inside, the best one is the optimum.
    ///
    /// # Errors
    /// [`Error::Input`] if parameters cannot be told apart ([`Design::check`]).
    pub fn optimum(&self) -> Result<Optimum> {
        let count = self.terms.len();
        let bounds: Vec<(usize, [f64; 2])> = self
            .terms
            .iter()
            .enumerate()
            .filter_map(|(i, term)| Some((i, term.parameter.bounds()?)))
            .collect();
        let mut best: Option<Optimum> = None;
        for case in 0..3usize.pow(bounds.len() as u32) {
            let mut values = vec![0.0; count];
            let mut at_bound = vec![false; count];
            for (digit, &(i, ends)) in bounds.iter().enumerate() {
                if let Some(&end) = (case / 3usize.pow(digit as u32) % 3).checked_sub(1).map(|end| &ends[end])
                {
                    (values[i], at_bound[i]) = (end, true);
                }
            }
            let free: Vec<usize> = (0..count).filter(|&i| !at_bound[i]).collect();
            let Some(objective) = self.solve(&free, &mut values) else { continue };
            let inside = bounds.iter().all(|&(i, [low, high])| low <= values[i] && values[i] <= high);
            if inside && best.as_ref().is_none_or(|best| objective < best.objective) {
                best = Some(Optimum { values, at_bound, objective });
            }
        }
        best.ok_or_else(|| {
            self.check().err().unwrap_or_else(|| Error::Input("the log determines nothing".into()))
        })
    }

    /// The inverse of the weighted products of the columns of these terms.
    pub(super) fn inverse(&self, terms: &[usize]) -> Option<DMatrix<f64>> {
        if terms.is_empty() {
            return Some(DMatrix::zeros(0, 0));
        }
        let columns = self.columns();
        let matrix = DMatrix::from_fn(columns.nrows(), terms.len(), |row, i| columns[(row, terms[i])]);
        let root = matrix.qr().unpack_r().try_inverse()?;
        let scaled = &root * root.transpose();
        let length = |i: usize| self.lengths[terms[i]];
        Some(DMatrix::from_fn(terms.len(), terms.len(), |i, j| scaled[(i, j)] / length(i) / length(j)))
    }
}

/// Parameters that the projector onto unidentifiable directions connects.
fn groups(projector: &DMatrix<f64>) -> Vec<Vec<usize>> {
    let count = projector.nrows();
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for i in (0..count).filter(|&i| projector[(i, i)] > BELONGS) {
        let (with, mut others): (Vec<_>, Vec<_>) = groups
            .into_iter()
            .partition(|group: &Vec<usize>| group.iter().any(|&j| projector[(i, j)].abs() > BELONGS));
        others.push(with.into_iter().flatten().chain([i]).collect());
        groups = others;
    }
    groups
}
