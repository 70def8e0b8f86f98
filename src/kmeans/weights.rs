//! Weights of points. Only how they relate to each other matters.

use super::centroid::{Scales, power_above};
use super::drawing::sample;
use super::statistics::Statistics;
use crate::random::Random;
use crate::{Error, Result};

/// The weights of some points as they are clustered with them.
pub(super) struct Weights {
    /// `[n]`, the heaviest of them above 1/2, up to 1, so that all weights have the same scale; none if all are equal.
    values: Option<Vec<f32>>,
    /// What each of them counts, or each point where there are none.
    pub unit: f64,
}

impl Weights {
    /// Those of `n` points, at least `k` of which have to weigh more than 0; each point counts as one if there are none.
    ///
    /// # Errors
    /// Those of [`check_weights`].
    pub fn new(given: Option<&[f32]>, n: usize, k: usize) -> Result<Self> {
        let Some(given) = given else { return Ok(Self { values: None, unit: 1.0 }) };
        let heaviest = check_weights(given, n, k)?;
        if given.iter().all(|&weight| f64::from(weight) == heaviest) {
            return Ok(Self { values: None, unit: heaviest });
        }
        let unit = power_above(heaviest);
        let values: Vec<f32> = given.iter().map(|&weight| (f64::from(weight) / unit) as f32).collect();
        // Beside the heaviest, others may weigh nothing.
        check_weights(&values, n, k)?;
        Ok(Self { values: Some(values), unit })
    }

    pub fn values(&self) -> Option<&[f32]> {
        self.values.as_deref()
    }

    /// How values of up to `size` are summed up, times these.
    pub fn scales(&self, size: f64, statistics: &Statistics) -> Scales {
        let heavy = || self.values.iter().flatten().copied().filter(|&weight| weight > 0.0);
        let heaviest = self.values.is_some().then(|| f64::from(heavy().fold(0.0, f32::max)));
        Scales::new(size, heaviest).reaching(statistics, f64::from(heavy().fold(f32::INFINITY, f32::min)))
    }
}

/// The largest of `n` weights, at least `k` of which have to be more than 0.
///
/// # Errors
/// [`Error::Shape`] for another number of them; [`Error::Input`] for negative ones, or too few that are more than 0;
/// [`Error::NotFinite`].
pub fn check_weights(weights: &[f32], n: usize, k: usize) -> Result<f64> {
    let found = weights.len();
    if found != n {
        return Err(Error::Shape(format!("there are {found} weights for {n} points")));
    }
    if let Some(row) = weights.iter().position(|&weight| !(weight >= 0.0 && weight.is_finite())) {
        let text = format!("the weight of row {row} is {}: weights are numbers >= 0", weights[row]);
        return Err(if weights[row].is_finite() { Error::Input(text) } else { Error::NotFinite(text) });
    }
    let heavy = weights.iter().filter(|&&weight| weight > 0.0).count();
    if heavy < k {
        return Err(Error::Input(format!(
            "{heavy} points have a weight above 0: there should be at least n_clusters={k}"
        )));
    }
    Ok(f64::from(weights.iter().copied().fold(0.0, f32::max)))
}

/// The weights of some rows.
pub(super) fn of_rows(weights: Option<&[f32]>, rows: &[u64]) -> Option<Vec<f32>> {
    weights.map(|weights| rows.iter().map(|&row| weights[row as usize]).collect())
}

/// `most` different rows of `n` whose weight is above 0, or all those, uniformly drawn.
pub(super) fn sample_of_heavy(n: u64, most: u64, weights: Option<&[f32]>, random: &mut Random) -> Vec<u64> {
    let Some(weights) = weights else { return sample(n, most.min(n), random) };
    let heavy: Vec<u64> = (0..).zip(weights).filter(|(_, w)| **w > 0.0).map(|(row, _)| row).collect();
    let drawn = sample(heavy.len() as u64, most.min(heavy.len() as u64), random);
    drawn.into_iter().map(|i| heavy[i as usize]).collect()
}

/// How likely each of `n` rows is drawn: equally, or by their weights.
pub(super) struct Chances {
    n: u64,
    /// `[n]` sums of the weights up to each row.
    sums: Option<Vec<f64>>,
}

impl Chances {
    pub fn new(n: u64, weights: Option<&[f32]>) -> Self {
        let up_to = |sum: &mut f64, weight: &f32| {
            *sum += f64::from(*weight);
            Some(*sum)
        };
        Self { n, sums: weights.map(|weights| weights.iter().scan(0.0, up_to).collect()) }
    }

    /// Draws a row; one without weight never.
    pub fn draw(&self, random: &mut Random) -> u64 {
        const STEPS: u64 = 1 << 53;
        match self.sums.as_deref() {
            None | Some([]) => random.below(self.n),
            Some(sums @ [.., total]) => {
                // Below the total, also when it is rounded: it is by half a step of an f64 or more.
                let at = random.below(STEPS) as f64 / STEPS as f64 * total;
                sums.partition_point(|&sum| sum <= at) as u64
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_that_are_equal_are_none() {
        for weight in [1.0f32, 3.0, 1e-40, f32::MAX] {
            let weights = Weights::new(Some(&[weight; 3]), 3, 3).unwrap();
            assert!(weights.values().is_none());
            assert_eq!(weights.unit, f64::from(weight));
        }
        assert_eq!(Weights::new(None, 3, 3).unwrap().unit, 1.0);
    }

    #[test]
    fn weights_times_their_unit_are_what_was_given() {
        for given in [[0.0f32, 1.0, 3.0], [1e-40, 2e-38, 1e-39], [f32::MAX, 1.0, 0.0]] {
            let weights = Weights::new(Some(&given), 3, 1).unwrap();
            let values = weights.values().unwrap();
            let heaviest = values.iter().copied().fold(0.0, f32::max);
            assert!(heaviest > 0.5 && heaviest <= 1.0);
            assert!(
                values
                    .iter()
                    .zip(given)
                    .all(|(&own, given)| f64::from(own) * weights.unit == f64::from(given))
            );
        }
    }

    #[test]
    fn rows_are_drawn_by_their_weights() {
        let mut random = Random::new(3);
        let weights = [0.0f32, 1.0, 0.0, 0.0, 3.0, 0.0];
        let chances = Chances::new(6, Some(&weights));
        let mut times = [0u32; 6];
        (0..40_000).for_each(|_| times[chances.draw(&mut random) as usize] += 1);
        assert_eq!([times[0], times[2], times[3], times[5]], [0; 4]);
        // 10,000 expected, with a standard deviation of 87.
        assert!(times[1].abs_diff(10_000) < 500, "{times:?}");
        let mut rows = sample_of_heavy(6, 4, Some(&weights), &mut random);
        rows.sort_unstable();
        assert_eq!(rows, [1, 4]);
    }
}
