//! Whether fits of k-means have one answer: the hashes of the same random problems, on every driver that runs what it compiles.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use lowbit::internals::gpu::{Context, Options};
use lowbit::internals::io::hash::Hasher;
use lowbit::internals::io::npy::Matrix;
use lowbit::internals::random::Random;
use lowbit::kmeans::{Fitted, Init, KMeans, Metric, MiniBatchKMeans, ProductQuantizer};
use serde::{Deserialize, Serialize};

use crate::child::{self, Outcome};
use crate::family::Family;

/// A fit that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// Which problems, and how.
#[derive(Clone, Debug, clap::Args)]
pub struct Wanted {
    /// Random problems
    #[arg(long, default_value_t = 200)]
    pub problems: usize,
    /// As on an adapter without subgroups
    #[arg(long)]
    pub no_subgroups: bool,
    /// By variants of the kernels that are drawn by chance, and not by those that are taken
    #[arg(long)]
    pub vary: bool,
}

impl Wanted {
    /// So many problems, as drivers are.
    pub fn of(problems: usize) -> Self {
        Self { problems, no_subgroups: false, vary: false }
    }

    /// What distinguishes a run, in words.
    pub fn name(&self) -> &'static str {
        match (self.no_subgroups, self.vary) {
            (false, false) => "",
            (true, false) => " without subgroups",
            (false, true) => " by any variants",
            (true, true) => " without subgroups by any variants",
        }
    }
}

/// What a fit came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The problem.
    pub name: String,
    /// SHA-256 of labels, centroids, inertia and the number of iterations, of a fit and of what else is tried of it.
    pub hash: String,
}

/// What data are like.
const KINDS: [&str; 9] =
    ["normal", "whole numbers", "duplicates", "few values", "far from 0", "huge", "tiny", "outlier", "lines"];

/// Data, weights for every other problem, and how they are clustered.
struct Problem {
    name: String,
    data: Matrix,
    weights: Option<Vec<f32>>,
    k: usize,
    metric: Metric,
    init: Init,
    seed: u64,
}

/// A problem by its number.
fn problem(number: usize) -> Problem {
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

fn solve(gpu: &Context, number: usize) -> Result<Answer> {
    let Problem { name, data, weights, k, metric, init, seed } = problem(number);
    let weights = weights.as_deref();
    let mut hash = Hasher::default();
    let fit = KMeans::new(k).metric(metric).init(init.clone()).seed(seed).max_iter(40);
    add(&mut hash, fit.fit_weighted(gpu, &data, weights, |_| ()));
    match number % 3 {
        0 => {
            let batches = MiniBatchKMeans::new(k).metric(metric).init(init).seed(seed);
            let batches = batches.batch_size(64).max_iter(4).n_init(1 + number as u32 % 2);
            add(&mut hash, batches.fit_weighted(gpu, &data, weights, |_| ()));
        }
        1 => {
            let parts = (1..=4).rev().find(|parts| data.cols.is_multiple_of(*parts)).unwrap_or(1);
            match ProductQuantizer::new(parts).bits(3).seed(seed).fit(gpu, &data, |_, _| ()) {
                Ok(quantized) => {
                    hash.update(&quantized.codes);
                    quantized.codebooks.values.iter().for_each(|value| hash.update(value.to_le_bytes()));
                }
                Err(error) => hash.update(error.to_string()),
            }
        }
        _ => {
            // A fit for each part, but for two levels.
            let divided = if k < 60 { Init::Bisecting } else { Init::TwoLevel };
            let frozen =
                Matrix { rows: k / 2, cols: data.cols, values: data.values[..k / 2 * data.cols].to_vec() };
            let beside = [Init::PlusPlus, Init::Parallel][number % 2].clone();
            for fit in [fit.clone().init(divided), fit.init(beside).frozen(frozen)] {
                add(&mut hash, fit.fit_weighted(gpu, &data, weights, |_| ()));
            }
        }
    }
    Ok(Answer { name, hash: hash.finish() })
}

/// What is refused is refused everywhere, in the same words.
fn add(hash: &mut Hasher, fitted: lowbit::Result<Fitted>) {
    match fitted {
        Ok(fitted) => {
            fitted.labels.iter().for_each(|label| hash.update(label.to_le_bytes()));
            fitted.cluster_centers.values.iter().for_each(|value| hash.update(value.to_le_bytes()));
            hash.update(fitted.inertia.to_le_bytes());
            hash.update(fitted.n_iter.to_le_bytes());
        }
        Err(error) => hash.update(error.to_string()),
    }
}

/// The other side: this process's driver solves the problems from this one on.
pub fn serve(from: usize, wanted: &Wanted) -> Result<()> {
    let vary = wanted.vary.then_some(from as u64);
    let gpu = Context::open(&Options { no_subgroups: wanted.no_subgroups, vary, ..Options::default() })?;
    child::serve(from..wanted.problems, |number| solve(&gpu, number))
}

/// The answers of a driver, in the order of the problems; none of a problem that it died over.
pub fn of(family: &Family, folder: &Path, wanted: &Wanted) -> Result<Vec<Option<Answer>>> {
    let outcomes = child::run(wanted.problems, PATIENCE, |from| {
        let mut command = family.command(folder)?;
        command.args(["child-answers", &from.to_string(), "--problems", &wanted.problems.to_string()]);
        let flags = [(wanted.no_subgroups, "--no-subgroups"), (wanted.vary, "--vary")];
        command.args(flags.into_iter().filter(|(is, _)| *is).map(|(_, flag)| flag));
        Ok(command)
    })?;
    let answer = |outcome| match outcome {
        Outcome::Done(answer) => Some(answer),
        Outcome::Died(_) => None,
    };
    Ok(outcomes.into_iter().map(answer).collect())
}
