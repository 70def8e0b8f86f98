//! What becomes of clusters without points: the problems that have some stand still until the host has filled them. It is
//! rare, so it may take reading all distances.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

use super::centroid::{Centroid, MOST_STEPS};
use super::control::{Control, EMPTY_CLUSTERS, LABELS_UNCHANGED, PAUSED, RUNNING};
use super::frame::norm;
use super::iterate::Lloyd;
use super::labeller::Labeller;
use super::metric::{Empty, Metric};
use crate::Result;

/// A problem with empty clusters.
struct Vacancy {
    points: Range<u64>,
    clusters: Range<usize>,
    /// The empty ones of them.
    empty: Vec<usize>,
    /// As many points, those that lie farthest from their centroids, and how far.
    far: Vec<(f32, u64)>,
}

impl Lloyd<'_> {
    /// Finishes the iteration of the problems that were found with empty clusters by the rule for these; the others stay as
    /// they are.
    pub(super) fn fill_empty(&self, found: &[Control]) -> Result<()> {
        let Labeller { gpu, control, k, .. } = &self.labeller;
        let pause = |control: &Control| {
            let state = match control.state {
                EMPTY_CLUSTERS => RUNNING,
                RUNNING => PAUSED,
                ended => ended,
            };
            Control { state, ..*control }
        };
        control.write(gpu, &found.iter().map(pause).collect::<Vec<_>>())?;
        let mass: Vec<f32> = self.mass.read(gpu)?;
        let n: u64 = self.placed().map(|(_, labeller)| labeller.points.n()).sum();
        let (each, k) = (n / found.len() as u64, *k as usize);
        let vacant = (0..).zip(found).filter(|(_, control)| control.state == EMPTY_CLUSTERS);
        let mut vacancies: Vec<Vacancy> = vacant
            .map(|(problem, _): (usize, _)| {
                let clusters = problem * k..(problem + 1) * k;
                let moving = clusters.clone().skip(self.frozen as usize);
                let empty = moving.filter(|&cluster| mass[cluster] == 0.0).collect();
                let points = problem as u64 * each..(problem as u64 + 1) * each;
                Vacancy { points, clusters, empty, far: Vec::new() }
            })
            .collect();
        match self.empty {
            Empty::SplitLargest => self.split(&vacancies)?,
            Empty::Farthest | Empty::Keep => self.relocate(&mut vacancies)?,
        }
        let mut after = self.labeller.controls()?;
        if after.iter().any(|control| control.state == PAUSED) {
            let paused = after.iter_mut().filter(|control| control.state == PAUSED);
            paused.for_each(|control| control.state = RUNNING);
            control.write(gpu, &after)?;
        }
        Ok(())
    }

    /// As scikit-learn does it: the points farthest from their centroids become the centroids of the empty clusters and
    /// leave their own. Where no point lies off its centroid, nothing moves.
    fn relocate(&self, vacancies: &mut [Vacancy]) -> Result<()> {
        let gpu = self.labeller.gpu;
        for (from, labeller) in self.placed() {
            labeller.distances(&mut |first, distances| {
                let first = from + first;
                for Vacancy { points, empty, far, .. } in &mut *vacancies {
                    let own = points.start.max(first)..points.end.min(first + distances.len() as u64);
                    far.extend(own.map(|point| (distances[(point - first) as usize], point)));
                    farthest(far, empty.len());
                }
            })?;
        }
        // An inner product says nothing of whether a point lies on its centroid.
        let off = |distance: f32| self.metric == Metric::Dot || distance > 0.0;
        vacancies.iter_mut().for_each(|vacancy| {
            if !vacancy.far.first().is_some_and(|&(distance, _)| off(distance)) {
                vacancy.far.clear();
            }
        });
        if vacancies.iter().any(|vacancy| !vacancy.far.is_empty()) {
            let labels = self.labels()?;
            let columns = Centroid::columns(self.labeller.points.d(), self.scales) as usize;
            let mut sums: Vec<u32> = self.sums.read(gpu)?;
            let mut counts: Vec<u32> = self.counts.read(gpu)?;
            let moves = vacancies.iter().flat_map(|vacancy| vacancy.far.iter().zip(&vacancy.empty));
            for (&(_, point), &cluster) in moves {
                let donor = labels[point as usize] as usize;
                let (mut values, weight) = self.point(point)?;
                if self.scales.weights.is_some() {
                    values.iter_mut().for_each(|value| *value *= weight);
                }
                for (cluster, sign) in [(donor, -1), (cluster, 1)] {
                    let sums = &mut sums[cluster * columns * self.scales.words() as usize..];
                    let mut add = |at, value, scale| {
                        let steps = self.scales.steps_of(value, scale);
                        self.scales.add(sums, at, steps.into_iter().map(|steps| sign * steps));
                    };
                    for (at, &value) in values.iter().enumerate() {
                        add(at, value, self.scales.points);
                    }
                    if let Some(scale) = self.scales.weights {
                        add(4 * (columns - 1), weight, scale);
                    }
                    counts[cluster] = counts[cluster].wrapping_add_signed(sign as i32);
                }
            }
            self.sums.write(gpu, &sums)?;
            self.counts.write(gpu, &counts)?;
        }
        self.labeller.submit([&self.mean, &self.decide_with_empty, &self.labeller.commit])
    }

    /// As FAISS does it: each empty cluster takes half of the one that is largest by then, frozen ones aside. Both go on from its
    /// centroid, a little larger in the one and smaller in the other, by turns of the dimension.
    fn split(&self, vacancies: &[Vacancy]) -> Result<()> {
        const LITTLE: f32 = 1.0 / 1024.0;
        // Of a centroid at 0 no part is any way: it takes a part of what values may be.
        let apart = LITTLE * MOST_STEPS / self.scales.points;
        let Labeller { gpu, points, next, control, commit, k, .. } = &self.labeller;
        self.labeller.submit([&self.mean, &self.decide_with_empty])?;
        let mut decided = self.labeller.controls()?;
        let mass: Vec<f32> = self.mass.read(gpu)?;
        let mut centroids: Vec<f32> = next.read(gpu)?;
        let (d, width) = (points.d() as usize, centroids.len() / mass.len().max(1));
        let order = |at: usize, mass: f32| (mass.to_bits(), Reverse(at));
        for Vacancy { clusters, empty, .. } in vacancies {
            let control = &mut decided[clusters.start / *k as usize];
            if control.state == LABELS_UNCHANGED {
                // The last halves could not be told apart, and no more could the next.
                continue;
            }
            control.state = RUNNING;
            let mut largest: BinaryHeap<_> =
                clusters.clone().skip(self.frozen as usize).map(|at| order(at, mass[at])).collect();
            for &empty in empty {
                let Some((size, Reverse(donor))) = largest.pop() else { break };
                let half = f32::from_bits(size) / 2.0;
                largest.extend([order(donor, half), order(empty, half)]);
                let whole = centroids[donor * width..][..width].to_vec();
                let zero = whole.iter().all(|&value| value == 0.0);
                for (cluster, sign) in [(empty, LITTLE), (donor, -LITTLE)] {
                    let row = &mut centroids[cluster * width..][..width];
                    for (i, (value, from)) in row.iter_mut().zip(&whole).enumerate().take(d) {
                        let part = if i % 2 == 0 { sign } else { -sign };
                        *value = if zero { part * apart } else { from * (1.0 + part) };
                    }
                    if self.metric == Metric::Cosine {
                        let norm = norm(row);
                        row.iter_mut().for_each(|value| *value = (f64::from(*value) / norm) as f32);
                    }
                }
            }
        }
        control.write(gpu, &decided)?;
        next.write(gpu, &centroids)?;
        self.labeller.submit([commit])
    }
}

/// Leaves the `count` largest distances, the largest first, the highest index first among equals: scikit-learn's order in
/// the cases whose answers it publishes.
fn farthest(distances: &mut Vec<(f32, u64)>, count: usize) {
    let order = |a: &(f32, u64), b: &(f32, u64)| b.0.total_cmp(&a.0).then(b.1.cmp(&a.1));
    if count < distances.len() {
        distances.select_nth_unstable_by(count, order);
        distances.truncate(count);
    }
    distances.sort_unstable_by(order);
}

#[cfg(test)]
mod tests {
    use super::farthest;

    #[test]
    fn farthest_are_ordered_and_ties_take_the_highest_index() {
        let of = |distances: &[f32], count| {
            let mut all: Vec<(f32, u64)> = distances.iter().copied().zip(0..).collect();
            farthest(&mut all, count);
            all.into_iter().map(|(_, point)| point).collect::<Vec<_>>()
        };
        assert_eq!(of(&[1.0, 3.0, 3.0, 0.0], 2), [2, 1]);
        assert_eq!(of(&[1.0, 3.0, 2.0, 3.0], 3), [3, 1, 2]);
        assert_eq!(of(&[1.0, 2.0], 5), [1, 0]);
        assert!(of(&[], 1).is_empty());
    }
}
