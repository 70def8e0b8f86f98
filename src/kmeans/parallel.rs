//! k-means|| (Bahmani, Moseley, Vattani, Kumar and Vassilvitskii 2012): seeding in a few passes over all points, wherever
//! they lie.

use super::drawing::{distances_to, draw, nearest, rows_of};
use super::element::Layout;
use super::points::Points;
use super::progress::Progress;
use super::seed::{self, Seed};
use super::weights::of_rows;
use crate::gpu::{Buffer, Context};
use crate::random::Random;
use crate::{Error, Result};

/// Rounds of drawing; more of them hardly lower the inertia (section 5.3 of the paper).
pub(super) const ROUNDS: usize = 5;
/// Points that a round draws for each centroid, on average.
pub(super) const OVERSAMPLING: f64 = 2.0;

/// No candidate.
const FROZEN: u32 = u32::MAX;

/// What each point is to the candidates drawn so far.
struct Nearest {
    /// `[n]` squared distance to the nearest candidate, not yet times the weight.
    distances: Vec<f32>,
    /// `[n]` which one it is; [`FROZEN`] if another centroid is nearer.
    candidates: Vec<u32>,
}

impl Nearest {
    /// Takes in the candidates from number `known` on, in one pass over the points.
    fn add(&mut self, gpu: &Context, points: &Points<'_>, candidates: &[u64], known: usize) -> Result<()> {
        let new = rows_of(points, &candidates[known..])?;
        nearest(gpu, points, &new, &mut |point, label, distance| {
            if distance < self.distances[point] {
                (self.distances[point], self.candidates[point]) = (distance, known as u32 + label);
            }
        })
    }

    /// What a point adds to the sum that it is drawn in proportion to.
    fn potential(&self, points: &Points<'_>, point: u64) -> f64 {
        f64::from(self.distances[point as usize]) * f64::from(points.weight(point))
    }
}

/// `k` different points beside the `frozen` centroids (padded): weighted k-means++ among candidates. Every point takes one draw in
/// each round, in the order of the points, so that the choice does not depend on chunks. No point has a label afterwards.
pub fn choose(
    gpu: &Context,
    points: &Points<'_>,
    (k, frozen): (usize, &[f32]),
    random: &mut Random,
    progress: &mut dyn FnMut(Progress) -> Result<()>,
) -> Result<Vec<u64>> {
    let (n, d) = (points.n(), points.d());
    let beside = distances_to(gpu, points, frozen)?;
    let distances = beside.clone().unwrap_or_else(|| vec![f32::INFINITY; n as usize]);
    let mut nearest = Nearest { distances, candidates: vec![FROZEN; n as usize] };
    let mut candidates = Vec::new();
    if beside.is_none() {
        candidates.push(seed::one_of(n, points.weights(), random));
        nearest.add(gpu, points, &candidates, 0)?;
    }
    for _ in 0..ROUNDS {
        progress(Progress::Seeding { chosen: 0, of: k })?;
        let sum: f64 = (0..n).map(|point| nearest.potential(points, point)).sum();
        let known = candidates.len();
        let drawn =
            |point: &u64| random.unit() * sum < OVERSAMPLING * k as f64 * nearest.potential(points, *point);
        candidates.extend((0..n).filter(drawn));
        if candidates.len() > known {
            nearest.add(gpu, points, &candidates, known)?;
        }
    }
    points.forget_labels(gpu)?;
    let mut weights = vec![0.0f64; candidates.len()];
    let known = (0..n).zip(&nearest.candidates).filter(|(_, candidate)| **candidate != FROZEN);
    for (point, &candidate) in known {
        weights[candidate as usize] += f64::from(points.weight(point));
    }
    // Of equal points drawn in one round, one has all the weight.
    let (mut chosen, weights): (Vec<u64>, Vec<f32>) =
        candidates.iter().zip(weights).filter(|(_, w)| *w > 0.0).map(|(&c, w)| (c, w as f32)).unzip();
    if chosen.len() <= k {
        let taken: std::collections::HashSet<u64> = chosen.iter().copied().collect();
        let others = draw(n as usize, k, points.weights(), random);
        let others = others.into_iter().filter(|point| !taken.contains(point));
        chosen.extend(others.take(k - taken.len()));
        return Ok(chosen);
    }
    let m = chosen.len() as u64;
    let most = seed::most_points(gpu.adapter.max_binding_bytes, d, k as u64);
    if m > most {
        return Err(Error::Unsupported(format!(
            "k-means|| drew {m} candidates, and this adapter can choose among at most {most} of this size: use `init` random"
        )));
    }
    let from = Buffer::from_slice(gpu, "candidates", m, &rows_of(points, &chosen)?)?;
    let beside = of_rows(beside.as_deref(), &chosen);
    let indices = Seed::tuned(gpu, Layout::F32, from.rows(), d, k as u64)?.choose(
        gpu,
        ((&from).into(), 1),
        (Some(&weights), beside.as_deref()),
        d,
        k as u64,
        random,
        progress,
    )?;
    Ok(indices.into_iter().map(|i| chosen[i as usize]).collect())
}
