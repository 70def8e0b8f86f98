//! What batches have taught: the sums and numbers of the points that each centroid ever got.

use super::frame::{Transform, pad};
use super::iterate::Lloyd;
use super::keeper::{Kept, Tensor, Written, doubles, floats, numbers, text_of};
use super::metric::Metric;
use super::points::Points;
use super::weights::sample_of_heavy;
use crate::Result;
use crate::io::npy::Matrix;
use crate::io::saved::Saved;
use crate::random::Random;

/// What one batch hands to the next.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub transform: Transform,
    pub random: Random,
    /// `[k, d]`, padded, transformed as the points are.
    centroids: Vec<f32>,
    /// `[k, d]` sums of the points that each centroid ever got, times their weights.
    pub sums: Vec<f64>,
    /// `[k]` their numbers, or the sums of their weights.
    pub counts: Vec<f64>,
    /// Points since rarely used centroids were last looked for.
    since_reassignment: u64,
    /// Batches that were taken in.
    pub steps: u64,
}

/// Where a fit by batches stands.
#[derive(Clone, Debug)]
pub(super) struct Learning {
    pub state: State,
    pub trend: Trend,
    /// Whether there is no batch to come, but for the most of them.
    pub converged: bool,
}

impl Kept for Learning {
    const FORMAT: &'static str = "lowbit mini-batch k-means checkpoint 1";

    fn written(&self, (k, d): (usize, usize)) -> Written {
        let State { random, centroids, sums, counts, since_reassignment, steps, .. } = &self.state;
        let centroids: Vec<f32> =
            centroids.chunks_exact(d.next_multiple_of(4)).flat_map(|row| &row[..d]).copied().collect();
        let Trend { mean, least, without } = &self.trend;
        Written {
            pairs: vec![
                ("random", random.state().to_string()),
                ("steps", steps.to_string()),
                ("since_reassignment", since_reassignment.to_string()),
                ("mean_inertia", text_of(mean.as_slice())),
                ("least_inertia", text_of(least.as_slice())),
                ("without_improvement", without.to_string()),
                ("converged", self.converged.to_string()),
            ],
            tensors: vec![
                Tensor::f64("sums", &[k, d], sums),
                Tensor::f64("counts", &[k], counts),
                Tensor::f32("centroids", &[k, d], &centroids),
            ],
        }
    }

    /// Without the transform, which follows from the data.
    fn read(file: &Saved, (k, d): (usize, usize)) -> Result<Self> {
        let one = |key| Ok::<_, crate::Error>(numbers(file, key)?.first().copied());
        Ok(Self {
            state: State {
                transform: Transform::Plain,
                random: Random::at(file.value("random")?),
                centroids: pad(&floats(file, "centroids", &[k, d])?, d),
                sums: doubles(file, "sums", &[k, d])?,
                counts: doubles(file, "counts", &[k])?,
                since_reassignment: file.value("since_reassignment")?,
                steps: file.value("steps")?,
            },
            trend: Trend {
                mean: one("mean_inertia")?,
                least: one("least_inertia")?,
                without: file.value("without_improvement")?,
            },
            converged: file.value("converged")?,
        })
    }
}

/// What one batch did.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// Of the batch, by the centroids before it.
    pub inertia: f64,
    /// Sum of the centroids' squared shifts.
    pub shift: f64,
}

impl State {
    pub fn new(transform: Transform, random: Random, centroids: Vec<f32>, (k, d): (usize, usize)) -> Self {
        let (sums, counts) = (vec![0.0; k * d], vec![0.0; k]);
        Self { transform, random, centroids, sums, counts, since_reassignment: 0, steps: 0 }
    }

    /// The same, of points that are so transformed.
    pub fn with(self, transform: Transform) -> Self {
        Self { transform, ..self }
    }

    /// As if the points of `counts` had been at these `centers`, `[k, d]`, in so many batches.
    pub fn learnt(metric: Metric, random: Random, centers: &Matrix, counts: Vec<f64>, steps: u64) -> Self {
        let transform = if metric == Metric::Cosine { Transform::Unit } else { Transform::Plain };
        let rows = centers.values.chunks(centers.cols.max(1)).zip(&counts);
        let sums = rows.flat_map(|(row, count)| row.iter().map(move |&value| f64::from(value) * count));
        let (sums, centroids) = (sums.collect(), pad(&centers.values, centers.cols));
        Self { transform, random, centroids, sums, counts, since_reassignment: 0, steps }
    }

    /// Takes in a batch, each of whose weights counts `unit`.
    pub fn step(
        &mut self,
        lloyd: &Lloyd<'_>,
        points: &Points<'_>,
        metric: Metric,
        reassignment_ratio: f64,
        unit: f64,
    ) -> Result<Step> {
        let (k, d, n) = (self.counts.len(), points.d() as usize, points.n());
        lloyd.labeller.start_from(&self.centroids)?;
        let (sums, masses, inertia) = lloyd.sums()?;
        self.since_reassignment += n;
        self.steps += 1;
        let reassign = self.counts.contains(&0.0) || self.since_reassignment >= 10 * k as u64;
        for (sum, own) in self.sums.iter_mut().zip(sums) {
            *sum += own * unit;
        }
        for (count, own) in self.counts.iter_mut().zip(&masses) {
            *count += own * unit;
        }
        let (width, before) = (d.next_multiple_of(4), self.centroids.clone());
        for cluster in (0..k).filter(|&cluster| masses[cluster] > 0.0) {
            let sum = &self.sums[cluster * d..][..d];
            let by = match metric {
                Metric::Cosine => sum.iter().map(|value| value * value).sum::<f64>().sqrt(),
                Metric::Euclidean | Metric::Dot => self.counts[cluster],
            };
            // Directions that cancel out have no mean.
            if by > 0.0 {
                let row = self.centroids[cluster * width..].iter_mut();
                row.zip(sum).for_each(|(value, sum)| *value = (sum / by) as f32);
            }
        }
        if reassign {
            self.since_reassignment = 0;
            self.reassign(points, reassignment_ratio)?;
        }
        let moves = self.centroids.iter().zip(&before).map(|(after, before)| f64::from(after - before));
        let shift = moves.map(|by| by * by).sum();
        Ok(Step { inertia: inertia * unit, shift })
    }

    /// Centroids that got few points become points of the batch, at most half of them, and count as much as the least of
    /// the others.
    fn reassign(&mut self, points: &Points<'_>, ratio: f64) -> Result<()> {
        let d = points.d() as usize;
        let most = self.counts.iter().copied().fold(0.0, f64::max);
        let mut rare: Vec<usize> =
            (0..self.counts.len()).filter(|&cluster| self.counts[cluster] < ratio * most).collect();
        rare.sort_by(|&a, &b| self.counts[a].total_cmp(&self.counts[b]));
        rare.truncate((points.n() / 2) as usize);
        let mut others = vec![true; self.counts.len()];
        rare.iter().for_each(|&cluster| others[cluster] = false);
        let counts = self.counts.iter().zip(&others).filter(|(_, other)| **other);
        let least = counts.map(|(count, _)| *count).fold(f64::INFINITY, f64::min);
        let drawn = sample_of_heavy(points.n(), rare.len() as u64, points.weights(), &mut self.random);
        for (&cluster, point) in rare.iter().zip(drawn) {
            let row = points.row(point)?;
            for (sum, &value) in self.sums[cluster * d..].iter_mut().zip(&row) {
                *sum = least * f64::from(value);
            }
            self.centroids[cluster * d.next_multiple_of(4)..][..d].copy_from_slice(&row);
            self.counts[cluster] = least;
        }
        Ok(())
    }

    /// The centroids, `[k, d]`, as the data has them.
    pub fn centers(&self, d: usize) -> Matrix {
        let rows = self.centroids.chunks_exact(d.next_multiple_of(4));
        let mut values: Vec<f32> = rows.flat_map(|row| &row[..d]).copied().collect();
        values.chunks_mut(d).for_each(|row| self.transform.undo(row));
        Matrix { rows: self.counts.len(), cols: d, values }
    }
}

/// Whether the batches still improve, by an exponentially weighted mean of their inertia.
#[derive(Clone, Debug, Default)]
pub(super) struct Trend {
    mean: Option<f64>,
    least: Option<f64>,
    without: u32,
}

impl Trend {
    /// Takes in a batch's inertia per point, with weight `alpha`; for how many batches the mean has not fallen.
    pub fn add(&mut self, inertia: f64, alpha: f64) -> u32 {
        let mean = self.mean.map_or(inertia, |mean| mean * (1.0 - alpha) + inertia * alpha);
        self.mean = Some(mean);
        if self.least.is_none_or(|least| mean < least) {
            (self.least, self.without) = (Some(mean), 0);
        } else {
            self.without += 1;
        }
        self.without
    }
}

#[cfg(test)]
mod tests {
    use super::Trend;

    #[test]
    fn a_trend_counts_batches_since_its_mean_was_least() {
        let mut trend = Trend::default();
        assert_eq!([8.0, 4.0, 4.0, 9.0, 9.0, 0.0].map(|inertia| trend.add(inertia, 0.5)), [0, 0, 0, 1, 2, 0]);
    }
}
