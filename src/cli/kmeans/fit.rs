//! `lowbit kmeans fit`

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::checkpoint::Checkpoint;
use super::fitting::Fitting;
use super::{
    Points, Session, Traced, about, borrowed, check_outputs, facts, follow, notices, plainly, read_finite,
    written,
};
use lowbit::internals::gpu::{Context, Work, adapters};
use lowbit::internals::io::arrays;
use lowbit::internals::io::npy::Matrix;
use lowbit::internals::io::output::check_ending;
use lowbit::internals::io::vecs::Vectors;
use lowbit::internals::kmeans::{Fitted, FittedBatch, Init, KMeans, MiniBatchKMeans};
use lowbit::internals::roofline::{Roofs, Share};
use lowbit::internals::table;

const MOST_ITERATIONS: &str =
    "Most iterations [default: 300; with --mini-batch 100, of as many batches as a pass over the points has]";
const TOLERANCE: &str = "The loop ends when the centroids' squared shifts sum to this times the mean variance of the columns \
    (with --metric cosine, of the rows' directions), or less [default: 1e-4; with --mini-batch 0, which never ends it]";

#[derive(Args, Debug)]
#[command(mut_arg("max_iter", |arg| arg.help(MOST_ITERATIONS)), mut_arg("tol", |arg| arg.help(TOLERANCE)))]
pub struct Arguments {
    #[command(flatten)]
    points: Points,
    /// Number of clusters
    #[arg(short, long, allow_negative_numbers = true)]
    k: usize,
    #[command(flatten)]
    fitting: Fitting,
    /// Centroids that stay where they are, the first of the k: .npy, .npz or .csv, [f, d]; --init chooses the others
    #[arg(long, value_name = "CENTROIDS.npy", conflicts_with_all = ["batch", "mini_batch"])]
    frozen: Option<PathBuf>,
    /// Clusters of equal size, by one point at most: labels are then not always those of the nearest centroids
    #[arg(long, conflicts_with_all = ["mini_batch", "weights", "subsample", "adapters", "checkpoint"])]
    balanced: bool,
    /// The points are those of B problems, [B, n, d] (.npy or .safetensors), each clustered by itself; centroids are [B, k, d],
    /// labels [B, n]
    #[arg(long, conflicts_with_all = ["checkpoint", "subsample", "adapters", "mini_batch", "history"])]
    batch: bool,
    /// Learn from random batches of so many points (1024 if no number is given): faster, with a little more inertia
    #[arg(long, value_name = "SIZE", num_args = 0..=1, default_missing_value = "1024",
        value_parser = clap::value_parser!(u64).range(1..),
        conflicts_with_all = ["empty", "subsample", "adapters"])]
    mini_batch: Option<u64>,
    /// Share the points out over all adapters, or over these, as --adapter names them; twice the same is two devices of it;
    /// may be given several times
    #[arg(long, value_name = "all|NAME,NAME")]
    adapters: Vec<String>,
    /// Note the inertia that every iteration finds, in --json and as a table; it reads all points once more in each
    #[arg(long, conflicts_with = "mini_batch")]
    history: bool,
    /// Measure the adapter's roofs afterwards, which takes seconds, and say what share of them an iteration reached
    #[arg(long, conflicts_with_all = ["batch", "adapters"])]
    roofs: bool,
    /// Write the centroids here: .npy or .csv, float32, [k, d]
    #[arg(long, value_name = "OUT.npy")]
    centroids: Option<PathBuf>,
    /// Write the labels here: .npy or .csv, int32, [n]
    #[arg(long, value_name = "OUT.npy")]
    labels: Option<PathBuf>,
    #[command(flatten)]
    checkpoint: Checkpoint,
    #[command(flatten)]
    traced: Traced,
}

/// The names in a list with commas between. A name may have commas of its own: as many parts as are together in the name of
/// an adapter are one.
fn names(list: &str, known: &[String]) -> Vec<String> {
    let parts: Vec<&str> = list.split(',').collect();
    let here = |name: &str| known.iter().any(|known| known.to_lowercase().contains(&name.to_lowercase()));
    let (mut names, mut start) = (Vec::new(), 0);
    while start < parts.len() {
        let name = |end: usize| parts[start..end].join(",").trim().to_owned();
        let end = (start + 2..=parts.len()).rev().find(|&end| here(&name(end))).unwrap_or(start + 1);
        names.push(name(end));
        start = end;
    }
    names
}

pub fn run(arguments: &Arguments, session: &Session) -> anyhow::Result<()> {
    arguments.fitting.given()?;
    arguments.check_adapters(session)?;
    let inputs = [arguments.points.files(), arguments.fitting.files()].concat();
    let inputs: Vec<PathBuf> = inputs.into_iter().chain(arguments.frozen.clone()).collect();
    let outputs = arguments.outputs().chain(arguments.checkpoint.checkpoint.as_deref());
    check_outputs(outputs.collect(), &borrowed(&inputs), &arguments.traced)?;
    let axes = usize::from(arguments.batch);
    arguments.centroids.iter().try_for_each(|path| arrays::check(path, 2 + axes))?;
    arguments.labels.iter().try_for_each(|path| arrays::check(path, 1 + axes))?;
    if let Some(path) = &arguments.checkpoint.checkpoint {
        check_ending(path, "safetensors", "a checkpoint is a safetensors file")?;
    }
    arguments.run(session)
}

impl Arguments {
    fn outputs(&self) -> impl Iterator<Item = &Path> {
        self.centroids.iter().chain(&self.labels).map(PathBuf::as_path)
    }

    fn check_adapters(&self, session: &Session) -> anyhow::Result<()> {
        if !self.adapters.is_empty() && session.adapter.is_some() {
            anyhow::bail!(
                "--adapters names all devices, so --adapter would have nothing to choose: leave one out"
            );
        }
        if !self.adapters.is_empty() && self.traced.trace.is_some() {
            anyhow::bail!("--adapters: a --trace is of the passes of one adapter: leave one out");
        }
        if self.adapters.iter().flat_map(|list| list.split(',')).any(|name| name.trim().is_empty()) {
            anyhow::bail!(
                "--adapters: there is an empty name; give all, or parts of names with commas between"
            );
        }
        Ok(())
    }

    fn run(&self, session: &Session) -> anyhow::Result<()> {
        let data = self.points.open(self.batch, &session.terminal)?;
        let weights = self.fitting.weights(&data, self.k, session)?;
        let init = self.fitting.init(self.batch, session)?;
        if let Some(size) = self.mini_batch {
            return self.run_mini_batch(size, init, &data, weights.as_deref(), session);
        }
        let max_iter = self.fitting.most_iterations();
        let kmeans = self.fitting.settings(self.points.settings(self.k)).init(init);
        let mut kmeans = kmeans.history(self.history).balanced(self.balanced);
        if let Some(path) = &self.frozen {
            session.say_conversions([path.as_path()]);
            kmeans = kmeans.frozen(read_finite(path)?);
        }
        if self.batch {
            return self.run_batch(&kmeans, max_iter, &data, weights.as_deref(), session);
        }
        if let Some(checkpoints) = self.checkpoint.open(&session.terminal)? {
            kmeans = kmeans.checkpoints(checkpoints);
        }
        let fit = |gpus: &[&Context]| {
            let (bar, progress) = follow(&session.terminal, max_iter);
            let fitted = kmeans.fit_on(gpus, &data, weights.as_deref(), progress);
            bar.finish_and_clear();
            fitted.map_err(about(data.path()))
        };
        if self.adapters.is_empty() {
            return session.with_device(&self.traced, |gpu| self.finish(&fit(&[gpu])?, Some(gpu), session));
        }
        let known: Vec<String> = adapters().into_iter().map(|adapter| adapter.name).collect();
        let names: Vec<String> = self.adapters.iter().flat_map(|list| names(list, &known)).collect();
        let gpus = session.open_several(&names)?;
        self.finish(&fit(&gpus.iter().collect::<Vec<_>>())?, None, session).map(|_| ())
    }

    fn run_batch(
        &self,
        kmeans: &KMeans,
        max_iter: u32,
        data: &Vectors,
        weights: Option<&[f32]>,
        session: &Session,
    ) -> anyhow::Result<()> {
        let terminal = &session.terminal;
        session.with_device(&self.traced, |gpu| {
            let (bar, progress) = follow(terminal, max_iter);
            let fitted = kmeans.fit_batch_weighted(gpu, data, data.problems() as usize, weights, progress);
            bar.finish_and_clear();
            let fitted = fitted.map_err(about(data.path()))?;
            notices(terminal, &fitted.notices);
            let FittedBatch { problems, n, d, k, .. } = fitted;
            if let Some(path) = &self.centroids {
                arrays::write(path, &[problems, k, d], &fitted.cluster_centers.values)?;
            }
            if let Some(path) = &self.labels {
                arrays::write(path, &[problems, n], &fitted.labels)?;
            }
            written(terminal, self.outputs());
            terminal.result(&fitted, || {
                let range = |values: &[u32]| {
                    let bound = |value: Option<&u32>| value.map_or_else(String::new, u32::to_string);
                    format!("{} to {}", bound(values.iter().min()), bound(values.iter().max()))
                };
                let converged = fitted.converged.iter().filter(|&&converged| converged).count();
                let rows = [
                    ("problems", problems.to_string()),
                    ("points of each", format!("{n} x {d}")),
                    ("clusters of each", k.to_string()),
                    ("iterations", range(&fitted.n_iter)),
                    ("converged", format!("{converged} of {problems}")),
                    ("inertia, all", format!("{}", fitted.inertia.iter().sum::<f64>())),
                    ("ms per iteration", format!("{:.3}", fitted.ms_per_iteration)),
                    ("seconds", format!("{:.3}", fitted.seconds)),
                ];
                facts("k-means", rows)
            })?;
            Ok(None)
        })
    }

    fn run_mini_batch(
        &self,
        size: u64,
        init: Init,
        data: &Vectors,
        weights: Option<&[f32]>,
        session: &Session,
    ) -> anyhow::Result<()> {
        let fitting = &self.fitting;
        let (max_iter, tol) = (fitting.max_iter.unwrap_or(100), fitting.tol.unwrap_or(0.0));
        let kmeans = MiniBatchKMeans::new(self.k).batch_size(size).init(init).n_init(fitting.n_init);
        let kmeans = kmeans.seed(fitting.random.seed).max_iter(max_iter).tol(tol);
        let mut kmeans = kmeans.metric(self.points.metric).memory(self.points.memory());
        if let Some(checkpoints) = self.checkpoint.open(&session.terminal)? {
            kmeans = kmeans.checkpoints(checkpoints);
        }
        session.with_device(&self.traced, |gpu| {
            let (bar, progress) = follow(&session.terminal, max_iter);
            let fitted = kmeans.fit_weighted(gpu, data, weights, progress);
            bar.finish_and_clear();
            self.finish(&fitted.map_err(about(data.path()))?, Some(gpu), session)
        })
    }

    /// Writes and says what came out; the roofs of `gpu`, if they were asked for.
    fn finish(
        &self,
        fitted: &Fitted,
        gpu: Option<&Context>,
        session: &Session,
    ) -> anyhow::Result<Option<Roofs>> {
        let terminal = &session.terminal;
        notices(terminal, &fitted.notices);
        let centers: &Matrix = &fitted.cluster_centers;
        if let Some(path) = &self.centroids {
            arrays::write(path, &[centers.rows, centers.cols], &centers.values)?;
        }
        if let Some(path) = &self.labels {
            arrays::write(path, &[fitted.labels.len()], &fitted.labels)?;
        }
        written(terminal, self.outputs());
        let roofs = gpu.filter(|_| self.roofs).map(|gpu| session.roofs(gpu)).transpose()?;
        let told = Told::new(fitted, roofs.as_ref());
        terminal.result(&told, || {
            let rows = [
                ("points", format!("{} x {}", fitted.n, fitted.d)),
                ("clusters", fitted.k.to_string()),
                ("iterations", fitted.n_iter.to_string()),
                ("converged", if fitted.converged { "yes" } else { "no" }.to_owned()),
                ("inertia", plainly(fitted.inertia)),
                ("imbalance", format!("{:.3}", fitted.imbalance)),
                ("ms per iteration", format!("{:.3}", fitted.ms_per_iteration)),
                ("rate", told.rate()),
                ("scores of", told.scores()),
                ("seconds", format!("{:.3}", fitted.seconds)),
            ];
            let mut text = facts("k-means", rows);
            if !fitted.history.is_empty() {
                let rows = (1..).zip(&fitted.history);
                let rows = rows.map(|(i, inertia): (u32, _)| vec![i.to_string(), inertia.to_string()]);
                text = format!("{text}\n\n{}", table::render(&["iteration", "inertia"], rows.collect()));
            }
            text
        })?;
        Ok(roofs)
    }
}

/// A fit with what its iterations reached.
#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    fitted: &'a Fitted,
    /// Bytes that have to move over the time of an iteration.
    gb_s: f64,
    /// Operations over the same.
    gflop_s: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    share: Option<Share>,
}

impl<'a> Told<'a> {
    fn new(fitted: &'a Fitted, roofs: Option<&Roofs>) -> Self {
        let (bytes, ops) = (fitted.iteration.bytes, fitted.iteration.ops);
        let us = fitted.ms_per_iteration * 1e3;
        let rate = |amount: u64| if us > 0.0 { amount as f64 / us / 1e3 } else { 0.0 };
        let share = roofs.map(|roofs| roofs.share(Work { bytes, ops }, fitted.iteration.arithmetic(), us));
        Self { fitted, gb_s: rate(bytes), gflop_s: rate(ops), share }
    }

    fn rate(&self) -> String {
        let share = self.share.as_ref().map_or_else(String::new, |share| {
            format!(", {:.0} % of the {} roof", share.value * 100.0, share.bound)
        });
        format!("{:.1} GB/s, {:.1} GFLOP/s{share}", self.gb_s, self.gflop_s)
    }

    fn scores(&self) -> String {
        let Fitted { iteration, reranked, .. } = self.fitted;
        format!("{}; {:.2e} of the labels decided exactly", iteration.precision, reranked.share())
    }
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn commas_part_names_but_for_those_of_a_name() {
        let known = ["llvmpipe (LLVM 20.1.2, 256 bits)".to_owned(), "Tahiti, Pro, 2".to_owned()];
        for (list, expected) in [
            ("all", &["all"][..]),
            ("llvm", &["llvm"]),
            ("llvm, tahiti", &["llvm", "tahiti"]),
            ("llvm,llvm", &["llvm", "llvm"]),
            (&known[0], &[&known[0]]),
            (&format!("{0},{0}", known[0]), &[&known[0], &known[0]]),
            ("x,llvmpipe (llvm 20.1.2, 256,tahiti, pro", &["x", "llvmpipe (llvm 20.1.2, 256", "tahiti, pro"]),
            ("Tahiti, Pro, 2,Tahiti", &["Tahiti, Pro, 2", "Tahiti"]),
            ("256 bits), Tahiti", &["256 bits)", "Tahiti"]),
        ] {
            assert_eq!(names(list, &known), expected, "{list}");
        }
    }
}
