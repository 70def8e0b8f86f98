//! Neighbouring problems of a batch in one buffer: each transformed as it would be alone, and scaled to a common size.

use std::ops::Range;

use super::centroid::Scales;
use super::frame::Transform;
use super::metric::Metric;
use super::options::{KMeans, Prepared};
use super::source::Source;
use super::statistics::Statistics;
use super::views::Window;
use super::weights::Weights;
use crate::io::npy::Matrix;
use crate::{Error, Result};

/// Neighbouring problems that lie on the device at the same time, as a source of their points: transformed, each problem
/// as it would be alone, and scaled to a common size.
pub(super) struct Group<'a> {
    pub window: Window<'a>,
    /// Points of each problem.
    pub each: u64,
    pub problems: Vec<Problem>,
    /// `[problems each]`; none if no problem has any.
    weights: Option<Vec<f32>>,
}

/// What is done to the points of one problem.
pub(super) struct Problem {
    transform: Transform,
    /// A power of two.
    pub factor: f32,
    /// As [`Points::within`](super::points::Points::within) takes it, of points so scaled.
    square: Option<f64>,
    pub variance: f64,
    /// What a weight of 1 counts.
    unit: f64,
    /// Whether it can be scaled to the size that the others have.
    fits: bool,
}

impl Problem {
    pub fn apply_to(&self, row: &mut [f32]) {
        self.transform.apply_to(row);
        row.iter_mut().for_each(|value| *value *= self.factor);
    }

    pub fn undo(&self, row: &mut [f32]) {
        row.iter_mut().for_each(|value| *value /= self.factor);
        self.transform.undo(row);
    }

    /// What squares are multiplied with.
    pub fn squared(&self) -> f64 {
        f64::from(self.factor).powi(2)
    }

    /// An inertia of points so scaled as it would be alone.
    pub fn inertia(&self, sum: f64) -> f64 {
        sum / self.squared() * self.unit
    }
}

impl Group<'_> {
    /// Whether its problems can be clustered together.
    pub fn fits(&self) -> bool {
        self.problems.iter().all(|problem| problem.fits)
    }

    pub fn weights(&self) -> Option<&[f32]> {
        self.weights.as_deref()
    }

    /// The weights of a problem.
    pub fn weights_of(&self, problem: usize) -> Option<&[f32]> {
        let each = self.each as usize;
        self.weights.as_ref().map(|weights| &weights[problem * each..][..each])
    }

    /// How its points are summed up.
    pub fn scales(&self) -> Scales {
        common(self.weights.is_some())
    }

    /// As [`Points::within`](super::points::Points::within) takes it.
    pub fn square(&self) -> Option<f64> {
        self.problems.iter().try_fold(0.0, |most: f64, problem| Some(most.max(problem.square?)))
    }
}

impl Source for Group<'_> {
    fn rows(&self) -> u64 {
        self.window.rows()
    }

    fn cols(&self) -> usize {
        self.window.cols()
    }

    fn read(&self, rows: Range<u64>, out: &mut [f32]) -> Result<()> {
        let d = self.cols();
        self.window.read(rows.clone(), out)?;
        for (row, values) in rows.zip(out.chunks_exact_mut(d)) {
            self.problems[(row / self.each) as usize].apply_to(values);
        }
        Ok(())
    }
}

/// How points of the common size, which is 1, are summed up, times weights of at most 1 where they have any.
fn common(weighted: bool) -> Scales {
    Scales::new(1.0, weighted.then_some(1.0))
}

/// Given centroids that lie farther away than so many times the size of a problem are not scaled to it.
const FAR: f64 = 1e9;

impl KMeans {
    /// Reads neighbouring problems once, to see how their points are to be transformed, and centroids `given` for them in turn. Of
    /// `weights`, which are those of all problems, `k` in each have to be more than 0.
    pub(super) fn group<'a>(
        &self,
        data: &'a dyn Source,
        n: usize,
        range: Range<usize>,
        (weights, k): (Option<&[f32]>, usize),
        given: &dyn Fn(usize) -> Option<Matrix>,
    ) -> Result<Group<'a>> {
        let mut all = Vec::new();
        let mut problem = |problem: usize| {
            let given = given(problem).map(|given| Statistics::of(&given, "centroids")).transpose()?;
            let rows = rows_in(n, problem..problem + 1);
            let weights = weights.map(|weights| &weights[rows.start as usize..rows.end as usize]);
            let weighing = Weights::new(weights, n, k)?;
            let weighted = weighing.values().is_some();
            all.extend_from_slice(weighing.values().unwrap_or_default());
            let statistics = self.statistics(&Window { of: data, rows }, "X")?;
            let prepared = self.prepared(&statistics, n as u64, given.as_ref())?;
            let (scales, square) = (prepared.scales(&weighing), prepared.square());
            // Values of very different sizes need sums of their own kind, or a size of their own; and weights that are equal are
            // none.
            let size = statistics.size_of(&prepared.transform);
            let near = given.as_ref().is_none_or(|given| given.size <= FAR * size);
            let alike = scales.levels() == common(weighted).levels() && weighted == weights.is_some();
            let Prepared { factor: own, transform, .. } = prepared;
            let fits = alike && (near || self.metric == Metric::Cosine) && own == 1.0;
            let factor = scales.points / common(weighted).points;
            let square = square.map(|square| square * f64::from(factor).powi(2));
            let (variance, unit) = (statistics.variance, weighing.unit);
            Ok(Problem { transform, factor, square, variance, unit, fits })
        };
        let problems = range
            .clone()
            .map(|at| problem(at).map_err(|error| in_problem(at, error)))
            .collect::<Result<_>>()?;
        let window = Window { of: data, rows: rows_in(n, range) };
        Ok(Group { window, each: n as u64, problems, weights: weights.is_some().then_some(all) })
    }

    /// Given centroids of each problem, or of all, as they lie on the device.
    pub(super) fn given_to(
        &self,
        group: &Group<'_>,
        given: &Matrix,
        k: usize,
        range: Range<usize>,
    ) -> Result<Vec<f32>> {
        let mut padded = Vec::new();
        for (at, problem) in range.zip(&group.problems) {
            let own = if given.rows == k { given.clone() } else { part(given, k, at..at + 1) };
            let own = self.given(&own, &problem.transform, "init").map_err(|error| in_problem(at, error))?;
            padded.extend(own.into_iter().map(|value| value * problem.factor));
        }
        Ok(padded)
    }
}

/// The rows of some problems.
pub(super) fn rows_in(n: usize, problems: Range<usize>) -> Range<u64> {
    problems.start as u64 * n as u64..problems.end as u64 * n as u64
}

/// The centroids of some problems.
pub(super) fn part(centroids: &Matrix, k: usize, problems: Range<usize>) -> Matrix {
    let width = k * centroids.cols;
    let values =
        centroids.values.get(problems.start * width..problems.end * width).unwrap_or_default().to_vec();
    Matrix { rows: problems.len() * k, cols: centroids.cols, values }
}

/// A label of point number `point` of a group, within its problem.
pub(super) fn within(label: u32, point: usize, n: usize, k: usize) -> u32 {
    label - (point / n * k) as u32
}

pub(super) fn in_problem(problem: usize, error: Error) -> Error {
    error.reworded(|text| format!("problem {problem}: {text}"))
}
