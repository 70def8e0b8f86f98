//! Efficient global optimization (Jones, Schonlau and Welch 1998): a Gaussian process of a function, and the next point
//! where the expected improvement is largest.
//!
//! A box is searched in rounds: after each it shrinks around the best point, or moves where that point is at its edge.
//! The process is fitted anew to the points inside, in coordinates of the box, so that it stays well conditioned
//! however flat the function is around its least. Boxes cannot follow a valley that is long, narrow and oblique: the last
//! evaluations are steps of Newton's method from the best point, with differences for derivatives.

use nalgebra::{Cholesky, DMatrix, DVector, Dyn};

use crate::random::Random;

/// The most evaluations of the function.
pub const MOST_EVALUATIONS: usize = 100;
/// Steps of Newton's method, and what each of them moves by for its differences, in parts of the bounds.
const NEWTON: [f64; 2] = [1e-2, 1e-3];
/// Points of the process in a round.
const POINTS: usize = 12;
/// Of those, so many are spread over the box.
const SPREAD: usize = 6;
/// The next box is wider by this than the best points lie apart.
const ROOM: f64 = 3.0;
/// How many of those are looked at.
const BEST: usize = 4;
/// The least part of the box that is left after a round.
const SHRINK: f64 = 0.2;
/// The best point is at the edge within this part of the box.
const EDGE: f64 = 0.05;
/// Boxes are not searched below this part of the whole.
const SMALLEST: f64 = 1e-8;
/// Nor where the function, of which this part is rounding, does not change any more.
const FLAT: f64 = 1e-13;
/// Random points at which the expected improvement is looked at.
const CANDIDATES: usize = 300;
/// Lengths of the kernel in parts of the box, for each dimension.
const LENGTHS: [f64; 6] = [0.15, 0.4, 1.0, 2.0, 4.0, 8.0];
/// What is added to the diagonal of correlations.
const JITTER: f64 = 1e-10;

/// What a search found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The best point.
    pub point: Vec<f64>,
    /// How often the function was evaluated.
    pub evaluations: usize,
}

/// The least of a function within bounds.
pub fn minimize(bounds: &[[f64; 2]], seed: u64, mut function: impl FnMut(&[f64]) -> f64) -> Found {
    let mut random = Random::new(seed);
    let dimensions = bounds.len();
    let mut all: Vec<(Vec<f64>, f64)> = Vec::new();
    let mut evaluate = |all: &mut Vec<(Vec<f64>, f64)>, point: Vec<f64>| {
        let value = function(&point);
        all.push((point, value));
    };
    let mut region = bounds.to_vec();
    // Differences of a step take a point itself, two for each dimension, and one for each pair; then comes its end.
    let most = MOST_EVALUATIONS
        - NEWTON.len() * (2 + 2 * dimensions + dimensions * dimensions.saturating_sub(1) / 2);
    while all.len() < most {
        let inside = |all: &[(Vec<f64>, f64)]| -> Vec<usize> {
            let within =
                |point: &[f64]| point.iter().zip(&region).all(|(x, [low, high])| low <= x && x <= high);
            (0..all.len()).filter(|&i| within(&all[i].0)).collect()
        };
        // Each dimension is cut into as many strata as there are points to spread, in an order of its own.
        let missing = SPREAD.saturating_sub(inside(&all).len()).clamp(1, most - all.len());
        let orders: Vec<Vec<usize>> = (0..dimensions).map(|_| shuffled(missing, &mut random)).collect();
        for i in 0..missing {
            let unit: Vec<f64> =
                orders.iter().map(|order| (order[i] as f64 + random.unit()) / missing as f64).collect();
            evaluate(&mut all, placed(&unit, &region));
        }
        let mut flat = false;
        loop {
            let near = inside(&all);
            if near.len() >= POINTS || all.len() >= most {
                break;
            }
            let points: Vec<Vec<f64>> = near.iter().map(|&i| unit(&all[i].0, &region)).collect();
            let values: Vec<f64> = near.iter().map(|&i| all[i].1).collect();
            let least = values.iter().copied().fold(f64::INFINITY, f64::min);
            let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let rise = most - least;
            if !rise.is_finite() || rise <= FLAT * most.abs() {
                flat = true;
                break;
            }
            let Some(process) = Process::fit(points, &values) else { break };
            let next = process.best(&region, bounds, &mut random);
            let known = process.points.iter().any(|point| distance(point, &next) < 1e-7);
            if known {
                break;
            }
            evaluate(&mut all, placed(&next, &region));
        }
        let Some(best) = all.iter().min_by(|a, b| a.1.total_cmp(&b.1)).map(|(point, _)| point.clone()) else {
            break;
        };
        if flat {
            break;
        }
        let mut next = region.clone();
        // Where the function is flat along a dimension, the best points lie far apart, and the box stays as wide.
        let mut near = inside(&all);
        near.sort_by(|&i, &j| all[i].1.total_cmp(&all[j].1));
        for k in 0..dimensions {
            let ([low, high], whole, at) = (region[k], bounds[k], best[k]);
            let places = near.iter().take(BEST).map(|&i| all[i].0[k]);
            let (least, most) = places.fold((at, at), |(least, most), x| (least.min(x), most.max(x)));
            let width = high - low;
            let edge =
                (at - low < EDGE * width && low > whole[0]) || (high - at < EDGE * width && high < whole[1]);
            let width = if edge {
                (width / SHRINK.sqrt()).min(whole[1] - whole[0])
            } else {
                ((most - least) * ROOM).clamp(SHRINK * width, width)
            };
            let low = (at - 0.5 * width).clamp(whole[0], (whole[1] - width).max(whole[0]));
            next[k] = [low, (low + width).min(whole[1])];
        }
        region = next;
        let small =
            |([low, high], whole): (&[f64; 2], &[f64; 2])| high - low < SMALLEST * (whole[1] - whole[0]);
        if region.iter().zip(bounds).all(small) {
            break;
        }
    }
    for part in NEWTON {
        let Some((best, _)) = all.iter().min_by(|a, b| a.1.total_cmp(&b.1)).cloned() else { break };
        if let Some(next) = newton(bounds, &best, part, |point| {
            evaluate(&mut all, point);
            all.last().map_or(f64::INFINITY, |(_, value)| *value)
        }) {
            evaluate(&mut all, next);
        }
    }
    let evaluations = all.len();
    let best = all.into_iter().min_by(|a, b| a.1.total_cmp(&b.1));
    Found { point: best.map(|(point, _)| point).unwrap_or_default(), evaluations }
}

/// Where the quadratic form that has the function's differences around a point is least within the bounds. Each dimension is
/// free or at one of its bounds. `None` if that is nowhere.
fn newton(
    bounds: &[[f64; 2]],
    point: &[f64],
    part: f64,
    mut function: impl FnMut(Vec<f64>) -> f64,
) -> Option<Vec<f64>> {
    let dimensions = bounds.len();
    let step = |k: usize| part * (bounds[k][1] - bounds[k][0]);
    let inside = |k: usize, x: f64| x.clamp(bounds[k][0] + step(k), bounds[k][1] - step(k));
    let centre: Vec<f64> = point.iter().enumerate().map(|(k, x)| inside(k, *x)).collect();
    let mut moved = |by: &[(usize, f64)]| {
        let mut point = centre.clone();
        by.iter().for_each(|&(k, steps)| point[k] += steps * step(k));
        function(point)
    };
    let middle = moved(&[]);
    let ends: Vec<[f64; 2]> = (0..dimensions).map(|k| [moved(&[(k, -1.0)]), moved(&[(k, 1.0)])]).collect();
    // In steps.
    let slope = DVector::from_fn(dimensions, |k, _| 0.5 * (ends[k][1] - ends[k][0]));
    let mut bend =
        DMatrix::from_fn(dimensions, dimensions, |i, _| ends[i][0] - middle + (ends[i][1] - middle));
    for (i, j) in (0..dimensions).flat_map(|j| (0..j).map(move |i| (i, j))) {
        let corner = moved(&[(i, 1.0), (j, 1.0)]) - ends[i][1] - (ends[j][1] - middle);
        (bend[(i, j)], bend[(j, i)]) = (corner, corner);
    }
    let mut best: Option<(f64, Vec<f64>)> = None;
    for case in 0..3usize.pow(dimensions as u32) {
        let end = |k: usize| (case / 3usize.pow(k as u32) % 3).checked_sub(1).map(|end| bounds[k][end]);
        let free: Vec<usize> = (0..dimensions).filter(|&k| end(k).is_none()).collect();
        let mut at =
            DVector::from_fn(dimensions, |k, _| end(k).map_or(0.0, |end| (end - centre[k]) / step(k)));
        if !free.is_empty() {
            let down = -(&slope + &bend * &at);
            let form = DMatrix::from_fn(free.len(), free.len(), |i, j| bend[(free[i], free[j])]);
            let right = DVector::from_fn(free.len(), |i, _| down[free[i]]);
            let Some(root) = Cholesky::new(form) else { continue };
            free.iter().zip(root.solve(&right).iter()).for_each(|(&k, x)| at[k] = *x);
        }
        let value = slope.dot(&at) + 0.5 * at.dot(&(&bend * &at));
        let next: Vec<f64> = (0..dimensions).map(|k| end(k).unwrap_or(centre[k] + at[k] * step(k))).collect();
        let within = next.iter().zip(bounds).all(|(x, [low, high])| low <= x && x <= high);
        if within && best.as_ref().is_none_or(|(least, _)| value < *least) {
            best = Some((value, next));
        }
    }
    best.map(|(_, next)| next)
}

fn shuffled(count: usize, random: &mut Random) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    for i in (1..count).rev() {
        order.swap(i, random.below(i as u64 + 1) as usize);
    }
    order
}

/// A point of the unit cube, in a box. The ends of the box are met exactly.
fn placed(unit: &[f64], region: &[[f64; 2]]) -> Vec<f64> {
    let place = |(x, [low, high]): (&f64, &[f64; 2])| if *x >= 1.0 { *high } else { low + x * (high - low) };
    unit.iter().zip(region).map(place).collect()
}

fn unit(point: &[f64], region: &[[f64; 2]]) -> Vec<f64> {
    point.iter().zip(region).map(|(x, [low, high])| (x - low) / (high - low)).collect()
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

/// A Gaussian process with a squared exponential kernel and a constant mean, in the unit cube.
struct Process {
    points: Vec<Vec<f64>>,
    lengths: Vec<f64>,
    root: Cholesky<f64, Dyn>,
    solved: DVector<f64>,
    /// Of the values, which are shifted and scaled to mean 0 and variance 1.
    least: f64,
    variance: f64,
}

impl Process {
    /// The process whose lengths are the most likely ones.
    fn fit(points: Vec<Vec<f64>>, values: &[f64]) -> Option<Self> {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let spread = (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt();
        let scaled = DVector::from_iterator(values.len(), values.iter().map(|value| (value - mean) / spread));
        let dimensions = points.first()?.len();
        let mut best: Option<(f64, Vec<f64>, Cholesky<f64, Dyn>)> = None;
        for case in 0..LENGTHS.len().pow(dimensions as u32) {
            let digit = |k: usize| case / LENGTHS.len().pow(k as u32) % LENGTHS.len();
            let lengths: Vec<f64> = (0..dimensions).map(|k| LENGTHS[digit(k)]).collect();
            let correlations = DMatrix::from_fn(points.len(), points.len(), |i, j| {
                kernel(&points[i], &points[j], &lengths) + if i == j { JITTER } else { 0.0 }
            });
            let Some(root) = Cholesky::new(correlations) else { continue };
            let variance = scaled.dot(&root.solve(&scaled)) / count;
            let logarithms: f64 = root.l_dirty().diagonal().iter().map(|x| x.ln()).sum();
            let likelihood = -0.5 * count * variance.ln() - logarithms;
            if best.as_ref().is_none_or(|(most, ..)| likelihood > *most) {
                best = Some((likelihood, lengths, root));
            }
        }
        let (_, lengths, root) = best?;
        let solved = root.solve(&scaled);
        let variance = scaled.dot(&solved) / count;
        Some(Self { points, lengths, root, solved, least: scaled.min(), variance })
    }

    /// How much the least value is expected to improve by at a point.
    fn improvement(&self, at: &[f64]) -> f64 {
        let near = self.points.iter().map(|point| kernel(point, at, &self.lengths));
        let near = DVector::from_iterator(self.points.len(), near);
        let better = self.least - near.dot(&self.solved);
        let deviation = (self.variance * (1.0 - near.dot(&self.root.solve(&near)))).max(0.0).sqrt();
        if deviation <= f64::EPSILON {
            return better.max(0.0);
        }
        let z = better / deviation;
        let density = libm::exp(-0.5 * z * z) / std::f64::consts::TAU.sqrt();
        better * 0.5 * libm::erfc(-z / std::f64::consts::SQRT_2) + deviation * density
    }

    /// The point of the unit cube with the largest expected improvement. Ends of the box that are bounds of the whole are
    /// candidates by themselves: an optimum there has no neighbours on the other side.
    fn best(&self, region: &[[f64; 2]], bounds: &[[f64; 2]], random: &mut Random) -> Vec<f64> {
        let dimensions = region.len();
        let mut best = (f64::NEG_INFINITY, vec![0.5; dimensions]);
        let consider = |best: &mut (f64, Vec<f64>), point: &[f64]| {
            let value = self.improvement(point);
            let better = value > best.0;
            if better {
                *best = (value, point.to_vec());
            }
            better
        };
        for i in 0..CANDIDATES {
            let mut point: Vec<f64> = (0..dimensions).map(|_| random.unit()).collect();
            // Every other point is moved to a side, or a corner.
            for k in 0..dimensions {
                for end in 0..2 {
                    if region[k][end] == bounds[k][end] && i % 2 == 1 && random.below(3) == 0 {
                        point[k] = end as f64;
                    }
                }
            }
            consider(&mut best, &point);
        }
        let mut step = 0.05;
        while step > 1e-6 {
            let from = best.1.clone();
            let mut better = false;
            for k in 0..dimensions {
                for sign in [-1.0, 1.0] {
                    let mut point = from.clone();
                    point[k] = (point[k] + sign * step).clamp(0.0, 1.0);
                    better |= consider(&mut best, &point);
                }
            }
            if !better {
                step *= 0.5;
            }
        }
        best.1
    }
}

fn kernel(a: &[f64], b: &[f64], lengths: &[f64]) -> f64 {
    let square = a.iter().zip(b).zip(lengths).map(|((a, b), length)| ((a - b) / length).powi(2));
    libm::exp(-0.5 * square.sum::<f64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: [[f64; 2]; 2] = [[0.001, 0.5], [0.0, 1.0]];

    #[test]
    fn valleys_that_are_narrow_and_oblique_are_searched_to_their_ground() {
        for (tau, gamma, tilt) in
            [(0.02, 0.3, 0.0), (0.0015, 0.9, 0.9), (0.3, 0.01, -0.9), (0.499, 0.5, 0.98), (0.25, 0.25, 0.5)]
        {
            let form = |x: &[f64]| {
                let (a, b) = ((x[0] - tau) * 100.0, x[1] - gamma);
                a * a + 2.0 * tilt * a * b + b * b + 1e-4
            };
            for seed in 0..5 {
                let found = minimize(&BOUNDS, seed, form);
                assert!(found.evaluations <= MOST_EVALUATIONS);
                let off = [(found.point[0] / tau - 1.0).abs(), (found.point[1] / gamma - 1.0).abs()];
                assert!(off.iter().all(|off| *off < 2e-3), "{tau} {gamma} {seed}: {found:?}");
                assert_eq!(found, minimize(&BOUNDS, seed, form));
            }
        }
    }

    #[test]
    fn an_optimum_at_a_bound_is_met_exactly() {
        let found = minimize(&BOUNDS, 3, |x| (x[0] - 0.1).powi(2) + (x[1] + 0.2).powi(2));
        assert_eq!(found.point[1], 0.0, "{found:?}");
        assert!((found.point[0] / 0.1 - 1.0).abs() < 1e-3, "{found:?}");
        let corner = minimize(&BOUNDS, 3, |x| (x[0] - 0.6).powi(2) + (x[1] - 1.2).powi(2));
        assert_eq!(corner.point, [0.5, 1.0]);
    }

    #[test]
    fn a_valley_that_no_box_can_follow_is_searched_to_its_ground() {
        // The condition number is a million: along the valley, 0.1 changes as much as 1e-4 does across it.
        for seed in 0..20 {
            let valley = |x: &[f64]| {
                let (along, across) =
                    (x[1] - 0.35 + 100.0 * (x[0] - 0.02), x[1] - 0.35 - 100.0 * (x[0] - 0.02));
                along * along + 1e-6 * across * across + 1.0
            };
            let found = minimize(&BOUNDS, seed, valley);
            assert!(found.evaluations <= MOST_EVALUATIONS);
            assert!((found.point[1] - 0.35).abs() < 1e-4, "{seed}: {found:?}");
        }
    }

    #[test]
    fn one_dimension_and_a_function_with_two_valleys() {
        let found = minimize(&BOUNDS[..1], 1, |x| (x[0] - 0.123).powi(2));
        assert!((found.point[0] - 0.123).abs() < 1e-5, "{found:?}");
        let two = |x: &[f64]| (x[1] - 0.2).powi(2).min((x[1] - 0.8).powi(2) - 0.01) + (x[0] - 0.25).powi(2);
        let found = minimize(&BOUNDS, 1, two);
        assert!((found.point[1] - 0.8).abs() < 1e-3, "{found:?}");
    }

    #[test]
    fn a_flat_function_ends_the_search() {
        assert!(minimize(&BOUNDS, 1, |_| 1.0).evaluations <= SPREAD + 7 * NEWTON.len());
    }
}
