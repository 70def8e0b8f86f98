//! Whether fits of k-means have one answer: the hashes of the same random problems, on every driver that runs what it compiles.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use lowbit::internals::cases::problems::{Problem, problem};
use lowbit::internals::gpu::{Context, Options};
use lowbit::internals::io::hash::Hasher;
use lowbit::internals::io::npy::Matrix;
use lowbit::internals::kmeans::definition;
use lowbit::kmeans::{Fitted, Init, MiniBatchKMeans, ProductQuantizer};
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
    /// SHA-256 of labels, centroids, inertia and the number of iterations of a fit.
    pub fit: String,
    /// Of what else is tried: mini-batches, product quantization, or divided and frozen starts.
    pub others: String,
}

fn solve(gpu: &Context, number: usize) -> Result<Answer> {
    let problem = problem(number);
    let fit = problem.fit();
    let Problem { name, data, weights, k, metric, init, seed } = problem;
    let weights = weights.as_deref();
    let (mut own, mut hash) = (Hasher::default(), Hasher::default());
    add(&mut own, fit.fit_weighted(gpu, &data, weights, |_| ()).map(found));
    match number % 3 {
        0 => {
            let batches = MiniBatchKMeans::new(k).metric(metric).init(init).seed(seed);
            let batches = batches.batch_size(64).max_iter(4).n_init(1 + number as u32 % 2);
            add(&mut hash, batches.fit_weighted(gpu, &data, weights, |_| ()).map(found));
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
            let balanced = fit.clone().balanced(true).max_iter(5);
            for fit in [fit.clone().init(divided), fit.init(beside).frozen(frozen)] {
                add(&mut hash, fit.fit_weighted(gpu, &data, weights, |_| ()).map(found));
            }
            add(&mut hash, balanced.fit(gpu, &data, |_| ()).map(found));
        }
    }
    Ok(Answer { name, fit: own.finish(), others: hash.finish() })
}

/// The hashes of the fits by the definition, which no device computes.
pub fn of_host(problems: usize) -> Vec<String> {
    let hash = |number| {
        let problem = problem(number);
        let mut hash = Hasher::default();
        let defined = definition::fit(&problem.fit(), &problem.data, problem.weights.as_deref());
        add(&mut hash, defined.map(|of| (of.labels, of.cluster_centers, of.inertia, of.n_iter)));
        hash.finish()
    };
    (0..problems).map(hash).collect()
}

/// Labels, centroids, inertia, iterations.
type Found = (Vec<i32>, Matrix, f64, u32);

fn found(fitted: Fitted) -> Found {
    (fitted.labels, fitted.cluster_centers, fitted.inertia, fitted.n_iter)
}

/// What is refused is refused everywhere, in the same words.
fn add(hash: &mut Hasher, found: lowbit::Result<Found>) {
    match found {
        Ok((labels, centroids, inertia, n_iter)) => {
            labels.iter().for_each(|label| hash.update(label.to_le_bytes()));
            centroids.values.iter().for_each(|value| hash.update(value.to_le_bytes()));
            hash.update(inertia.to_le_bytes());
            hash.update(n_iter.to_le_bytes());
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
