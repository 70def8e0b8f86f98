//! Greedy k-means++ to the bit: the steps of `seed_distance` and `seed`, whose f32 sums decide what is drawn.

use super::seed::random_unit;
use super::strict;

/// Invocations and points of a workgroup of `seed_distance`.
const LANES: usize = 128;
const GROUP: usize = 4 * LANES;

/// Invocations of `seed`.
const PICKERS: usize = 256;

/// Weighed squares below this are 0: 2^-120.
const LEAST: f32 = f32::from_bits((127 - 120) << 23);

/// Where a choice begins.
#[derive(Clone, Copy, Debug)]
pub enum Start<'a> {
    /// The first seed.
    Point(u32),
    /// Beside other centroids: the weighed squared distances to them (`[n]`), and the first points to try.
    Beside(&'a [f32], &'a [u32]),
}

/// `k` of the points (`[n, width]`, whole vec4s) by so many `trials` for each, with `weights` (`[n]`).
pub fn choose(
    points: &[f32],
    width: usize,
    weights: &[f32],
    (k, trials): (usize, usize),
    seed: u32,
    start: Start<'_>,
) -> Vec<u32> {
    let row = |point: u32| &points[point as usize * width..][..width];
    let (mut nearest, mut candidates) = match start {
        Start::Point(first) => (None, vec![first; trials]),
        Start::Beside(nearest, candidates) => (Some(nearest.to_vec()), candidates.to_vec()),
    };
    let mut step = u32::from(nearest.is_some());
    let mut chosen = Vec::with_capacity(k);
    while chosen.len() < k {
        let tried: Vec<Vec<f32>> = candidates
            .iter()
            .map(|&candidate| {
                let squares = points.chunks(width).zip(weights).enumerate().map(|(at, (x, weight))| {
                    let weighed = counted(strict::seed_square(x, row(candidate)) * weight);
                    nearest.as_ref().map_or(weighed, |nearest: &Vec<f32>| weighed.min(nearest[at]))
                });
                squares.collect()
            })
            .collect();
        let potentials: Vec<Vec<f32>> = tried.iter().map(|squares| potentials(squares)).collect();
        let mut best = 0;
        let sums: Vec<f32> = potentials.iter().map(|groups| strict::strided(groups, PICKERS)).collect();
        for (trial, &sum) in sums.iter().enumerate() {
            if sum < sums[best] {
                best = trial;
            }
        }
        chosen.push(candidates[best]);
        let drawn = (0..trials as u32)
            .map(|trial| draw(&tried[best], &potentials[best], random_unit(seed, step, trial) as f32));
        candidates = drawn.collect();
        nearest = Some(tried[best].clone());
        step += 1;
    }
    chosen
}

/// A weighed square as it counts.
pub fn counted(weighed: f32) -> f32 {
    if weighed < LEAST { 0.0 } else { weighed }
}

/// The sum of the squares of each workgroup.
fn potentials(squares: &[f32]) -> Vec<f32> {
    squares.chunks(GROUP).map(|group| strict::strided(group, LANES)).collect()
}

/// The point at which the sum of the squares passes `unit` of them all.
fn draw(squares: &[f32], potentials: &[f32], unit: f32) -> u32 {
    let n = squares.len();
    let length = potentials.len().div_ceil(PICKERS);
    let mut stretches: Vec<f32> =
        potentials.chunks(length).map(|groups| groups.iter().fold(0.0, |sum, x| sum + x)).collect();
    let used = stretches.len();
    stretches.resize(PICKERS, 0.0);
    let starts = strict::scan(&stretches);
    let total = starts[PICKERS - 1] + stretches[PICKERS - 1];
    if total <= 0.0 {
        return ((unit * n as f32) as u32).min(n as u32 - 1);
    }
    let aim = unit * total;
    let place = (1..used).rev().find(|&at| starts[at] <= aim && starts[at] < total).unwrap_or(0);
    let mut rest = aim - starts[place];
    let mut block = place * length;
    let end = (block + length).min(potentials.len());
    while block + 1 < end && potentials[block] <= rest {
        rest -= potentials[block];
        block += 1;
    }
    let first = block * GROUP;
    let (mut drawn, mut sum) = (first, 0.0);
    for (at, &square) in squares.iter().enumerate().take(n.min(first + GROUP)).skip(first) {
        sum += square;
        if square > 0.0 {
            drawn = at;
            if sum > rest {
                break;
            }
        }
    }
    drawn as u32
}
