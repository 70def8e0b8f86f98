//! Random problems of k-means, of the kinds at which fits may differ: ties, duplicates, values far from 0, huge and tiny ones, outliers,
//! nearly as many clusters as points.

use crate::io::npy::Matrix;
use crate::kmeans::{Init, KMeans, Metric};
use crate::random::Random;

/// What data are like.
const KINDS: [&str; 9] =
    ["normal", "whole numbers", "duplicates", "few values", "far from 0", "huge", "tiny", "outlier", "lines"];

/// Data, weights for every other problem, and how they are clustered.
#[derive(Clone, Debug)]
pub struct Problem {
    /// What is particular about it.
    pub name: String,
    /// 20 to 620 points of 1 to 70 dimensions.
    pub data: Matrix,
    /// One for each point.
    pub weights: Option<Vec<f32>>,
    /// Clusters.
    pub k: usize,
    /// What is near.
    pub metric: Metric,
    /// The first centroids.
    pub init: Init,
    /// Its number.
    pub seed: u64,
}

impl Problem {
    /// How the whole of it is clustered.
    pub fn fit(&self) -> KMeans {
        KMeans::new(self.k).metric(self.metric).init(self.init.clone()).seed(self.seed).max_iter(40)
    }
}

/// A problem by its number.
pub fn problem(number: usize) -> Problem {
    let mut random = Random::new(number as u64 + 1);
    let (rows, cols) = (20 + random.below(600) as usize, 1 + random.below(70) as usize);
    let kind = number % KINDS.len();
    let sites = random.floats(8 * cols);
    let mut values = Vec::with_capacity(rows * cols);
    for row in 0..rows {
        let site = random.below(8) as usize;
        let noise = random.floats(cols);
        for (column, noise) in noise.into_iter().enumerate() {
            let value = 4.0 * sites[site * cols + column] + noise;
            values.push(match kind {
                1 => value.round(),
                3 => value.signum(),
                4 => value + 1e4,
                5 => value * 1e30,
                6 => value * 1e-30,
                7 if row == 0 => value * 1e6,
                8 => (row as f32) * 0.25 + if column % 2 == 0 { 0.0 } else { noise },
                _ => value,
            });
        }
    }
    if kind == 2 {
        let half = rows / 2 * cols;
        values.copy_within(..half, half);
    }
    let data = Matrix { rows, cols, values };
    let metric = [Metric::Euclidean, Metric::Euclidean, Metric::Cosine, Metric::Dot][number / 9 % 4];
    let k = match number % 5 {
        0 => rows - 1,
        1 => 2,
        _ => 2 + random.below(rows as u64 / 3) as usize,
    };
    let (init, how) = match number % 4 {
        0 => (Init::Random, "random"),
        1 => (Init::Centroids(Matrix { rows: k, cols, values: data.values[..k * cols].to_vec() }), "given"),
        2 => (Init::PlusPlus, "k-means++"),
        _ => (Init::Parallel, "k-means||"),
    };
    let weights = number.is_multiple_of(2).then(|| random.floats(rows).iter().map(|x| x.abs()).collect());
    let weighted = if weights.is_some() { " weighted" } else { "" };
    let name = format!("{number}: {} [{rows}, {cols}] k={k} {metric:?} {how}{weighted}", KINDS[kind]);
    Problem { name, data, weights, k, metric, init, seed: number as u64 }
}
