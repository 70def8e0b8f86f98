//! `lowbit kmeans fit|predict|transform|pq|palette`

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Serialize;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use super::terminal::Terminal;
use super::{Session, Traced, about, check_outputs};
use lowbit::gpu::Context;
use lowbit::io::npy::{self, Matrix};
use lowbit::io::picture;
use lowbit::io::vecs::{How, Vectors};
use lowbit::kmeans::palette::{self, Palette};
use lowbit::kmeans::product::{ProductQuantizer, Quantized};
use lowbit::kmeans::{Checkpoints, Empty, Fitted, Init, KMeans, Metric, MiniBatchKMeans, Progress};
use lowbit::report::table;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Cluster vectors
    Fit(Fit),
    /// Label vectors by given centroids
    Predict(Predict),
    /// Measure the distance of every vector to every centroid
    Transform(Transform),
    /// Product quantization: a vector becomes m numbers of centroids, one of each part of it
    Pq(Pq),
    /// Draw a picture in k colours, chosen by k-means in Oklab
    Palette(PaletteArguments),
}

/// Points, how they are measured, and where they are kept.
#[derive(Args, Debug)]
struct Points {
    /// The points, [n, d]: .npy (float32, float16, uint8, int8), .fvecs, .bvecs, .ivecs, .safetensors, or raw float32
    data: PathBuf,
    /// The length of a row, for raw float32
    #[arg(long, value_name = "D", value_parser = clap::value_parser!(u64).range(1..))]
    dim: Option<u64>,
    /// Which tensor of a .safetensors file
    #[arg(long, value_name = "NAME")]
    tensor: Option<String>,
    /// What "near" means: euclidean, cosine (1 - cosine, centroids are unit vectors) or dot (the inner product)
    #[arg(long, value_name = "METRIC", default_value = "euclidean", value_parser = metric)]
    metric: Metric,
    /// Keep points within so much of the device's memory; the rest is read again in each iteration, with the same result
    #[arg(long, value_name = "MiB", value_parser = clap::value_parser!(u64).range(1..=1 << 40))]
    memory: Option<u64>,
}

fn metric(name: &str) -> Result<Metric, String> {
    match name {
        "euclidean" => Ok(Metric::Euclidean),
        "cosine" => Ok(Metric::Cosine),
        "dot" => Ok(Metric::Dot),
        _ => Err("there are euclidean, cosine and dot".into()),
    }
}

fn empty(name: &str) -> Result<Empty, String> {
    match name {
        "farthest" => Ok(Empty::Farthest),
        "split-largest" => Ok(Empty::SplitLargest),
        "keep" => Ok(Empty::Keep),
        _ => Err("there are farthest, split-largest and keep".into()),
    }
}

impl Points {
    fn open(&self) -> anyhow::Result<Vectors> {
        Ok(Vectors::open(&self.data, &How { dim: self.dim, tensor: self.tensor.clone() })?)
    }

    fn settings(&self, k: usize) -> KMeans {
        let kmeans = KMeans::new(k).metric(self.metric);
        match self.memory {
            Some(memory) => kmeans.memory(memory << 20),
            None => kmeans,
        }
    }
}

#[derive(Args, Debug)]
pub struct Fit {
    #[command(flatten)]
    points: Points,
    /// Number of clusters
    #[arg(short, long, allow_negative_numbers = true)]
    k: usize,
    /// First centroids: k-means++, k-means|| (few passes, for large k and many points), random, or a .npy file [k, d]
    #[arg(long, default_value = "k-means++", value_name = "METHOD|CENTROIDS.npy")]
    init: String,
    /// How many starts to try; the one of the least inertia counts
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    n_init: u32,
    /// How often each point counts: .npy, float32 or float16, [n]
    #[arg(long, value_name = "W.npy")]
    weights: Option<PathBuf>,
    /// What becomes of a cluster without points: it takes the farthest point, or half of the largest cluster, or stays
    #[arg(long, value_name = "farthest|split-largest|keep", default_value = "farthest", value_parser = empty)]
    empty: Empty,
    /// Fit the centroids to a uniform sample of so many points for each (256 are enough), then label all points
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    subsample: Option<u64>,
    /// Learn from random batches of so many points (1024 if no number is given): faster, with a little more inertia
    #[arg(long, value_name = "SIZE", num_args = 0..=1, default_missing_value = "1024",
        value_parser = clap::value_parser!(u64).range(1..),
        conflicts_with_all = ["checkpoint", "weights", "empty", "subsample", "adapters"])]
    mini_batch: Option<u64>,
    /// Share the points out over all adapters, or over these, as --adapter names them; twice the same is two devices of it
    #[arg(long, value_name = "all|NAME,NAME", value_delimiter = ',')]
    adapters: Vec<String>,
    /// Seed of every random choice
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    seed: u64,
    /// Most iterations [default: 300; with --mini-batch 100, of as many batches as a pass over the points has]
    #[arg(long, allow_negative_numbers = true)]
    max_iter: Option<u32>,
    /// The loop ends when the centroids' squared shifts sum to this times the mean variance of the columns, or less
    /// [default: 1e-4; with --mini-batch 0, which never ends it]
    #[arg(long, allow_negative_numbers = true)]
    tol: Option<f64>,
    /// Write the centroids here: .npy, float32, [k, d]
    #[arg(long, value_name = "OUT.npy")]
    centroids: Option<PathBuf>,
    /// Write the labels here: .npy, int32, [n]
    #[arg(long, value_name = "OUT.npy")]
    labels: Option<PathBuf>,
    #[command(flatten)]
    checkpoint: Checkpoint,
    #[command(flatten)]
    traced: Traced,
}

/// How a fit that was ended can go on.
#[derive(Args, Debug)]
struct Checkpoint {
    /// Keep the state of the fit in this .safetensors file; Ctrl-C and SIGTERM write it too, and exit with 130
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// The least time from one checkpoint to the next
    #[arg(long, value_name = "SECONDS", default_value_t = 60, requires = "checkpoint")]
    checkpoint_every: u32,
    /// Go on from the checkpoint, if there is one, to the same result as without the interruption
    #[arg(long, requires = "checkpoint")]
    resume: bool,
}

impl Checkpoint {
    /// Has signals stop the fit instead of the process; a second one ends the process at once.
    fn open(&self, terminal: &Terminal) -> anyhow::Result<Option<Checkpoints>> {
        let Some(path) = &self.checkpoint else { return Ok(None) };
        let stop = Arc::new(AtomicBool::new(false));
        for (signal, code) in [(SIGINT, 130), (SIGTERM, 143)] {
            // In this order: the first signal finds the flag not yet set.
            flag::register_conditional_shutdown(signal, code, Arc::clone(&stop))?;
            flag::register(signal, Arc::clone(&stop))?;
        }
        let (name, exists) = (path.display(), path.exists());
        match (self.resume, exists) {
            (true, true) => terminal.notice(&format!("resuming from {name}")),
            (true, false) => terminal.notice(&format!("there is no {name}: starting from the beginning")),
            (false, true) => {
                terminal.notice(&format!("{name} will be replaced; --resume would go on from it"))
            }
            (false, false) => (),
        }
        let every = Duration::from_secs(self.checkpoint_every.into());
        Ok(Some(Checkpoints { path: path.clone(), every, stop, resume: self.resume }))
    }
}

#[derive(Args, Debug)]
pub struct Predict {
    #[command(flatten)]
    points: Points,
    /// The centroids: .npy, float32 or float16, [k, d]
    #[arg(long, value_name = "C.npy")]
    centroids: PathBuf,
    /// Write the labels here: .npy, int32, [n]
    #[arg(short, long, value_name = "LABELS.npy")]
    output: PathBuf,
    #[command(flatten)]
    traced: Traced,
}

#[derive(Args, Debug)]
pub struct Transform {
    #[command(flatten)]
    points: Points,
    /// The centroids: .npy, float32 or float16, [k, d]
    #[arg(long, value_name = "C.npy")]
    centroids: PathBuf,
    /// Write the distances here, plain ones for euclidean: .npy, float32, [n, k]
    #[arg(short, long, value_name = "DISTANCES.npy")]
    output: PathBuf,
    #[command(flatten)]
    traced: Traced,
}

#[derive(Args, Debug)]
pub struct Pq {
    #[command(flatten)]
    points: Points,
    /// Into how many sub-spaces of equal width to cut the columns: bytes of a vector's codes
    #[arg(short, long, allow_negative_numbers = true)]
    m: usize,
    /// Bits of a code, 4 to 8: 2^bits centroids in each sub-space
    #[arg(long, default_value_t = 8, value_name = "BITS", value_parser = clap::value_parser!(u32).range(4..=8))]
    bits: u32,
    /// How many points to train on for each centroid, at most
    #[arg(long, default_value = "256", value_name = "all|N", value_parser = training)]
    train: Training,
    /// Seed of every random choice
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    seed: u64,
    /// Most iterations in a sub-space
    #[arg(long, default_value_t = 300, allow_negative_numbers = true)]
    max_iter: u32,
    /// Write the centroids here: .npy, float32, [m, 2^bits, d / m]
    #[arg(long, value_name = "OUT.npy")]
    codebooks: Option<PathBuf>,
    /// Write the codes here: .npy, uint8, [n, m]
    #[arg(long, value_name = "OUT.npy")]
    codes: Option<PathBuf>,
    #[command(flatten)]
    traced: Traced,
}

/// Points to train on for each centroid; all if `None`.
#[derive(Clone, Copy, Debug)]
struct Training(Option<u64>);

fn training(text: &str) -> Result<Training, String> {
    match (text, text.parse()) {
        ("all", _) => Ok(Training(None)),
        (_, Ok(count)) if count > 0 => Ok(Training(Some(count))),
        _ => Err("give 'all', or a number of points above 0".into()),
    }
}

#[derive(Args, Debug)]
pub struct PaletteArguments {
    /// The picture: .png or .jpg
    input: PathBuf,
    /// Number of colours
    #[arg(short, long, default_value_t = 16, allow_negative_numbers = true)]
    k: usize,
    /// Write the picture in those colours here
    #[arg(short, long, value_name = "OUT.png")]
    output: PathBuf,
    /// Seed of every random choice
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    seed: u64,
    #[command(flatten)]
    traced: Traced,
}

impl Command {
    /// What can be refused before a device is opened and anything is computed.
    fn check(&self, session: &Session) -> anyhow::Result<()> {
        let (outputs, inputs): (Vec<&Path>, Vec<&Path>) = match self {
            Self::Fit(fit) => {
                fit.check_init()?;
                fit.check_adapters(session)?;
                let outputs = fit.centroids.iter().chain(&fit.labels).chain(&fit.checkpoint.checkpoint);
                let outputs = outputs.map(PathBuf::as_path);
                let inputs = [fit.points.data.as_path(), Path::new(&fit.init)].into_iter();
                (outputs.collect(), inputs.chain(fit.weights.as_deref()).collect())
            }
            Self::Predict(predict) => (vec![&predict.output], vec![&predict.points.data, &predict.centroids]),
            Self::Transform(transform) => {
                (vec![&transform.output], vec![&transform.points.data, &transform.centroids])
            }
            Self::Pq(pq) => {
                if pq.points.metric != Metric::Euclidean {
                    anyhow::bail!("--metric: codes are chosen by euclidean distance alone; leave it out");
                }
                (pq.outputs().collect(), vec![&pq.points.data])
            }
            Self::Palette(palette) => {
                picture::check_png_path(&palette.output)?;
                (vec![&palette.output], vec![&palette.input])
            }
        };
        check_outputs(outputs, &inputs, self.traced())
    }

    fn traced(&self) -> &Traced {
        match self {
            Self::Fit(fit) => &fit.traced,
            Self::Predict(predict) => &predict.traced,
            Self::Transform(transform) => &transform.traced,
            Self::Pq(pq) => &pq.traced,
            Self::Palette(palette) => &palette.traced,
        }
    }
}

pub fn run(command: &Command, session: &Session) -> anyhow::Result<()> {
    command.check(session)?;
    match command {
        Command::Fit(fit) => fit.run(session),
        Command::Predict(predict) => predict.run(session),
        Command::Transform(transform) => transform.run(session),
        Command::Pq(pq) => pq.run(session),
        Command::Palette(palette) => palette.run(session),
    }
}

/// A bar that follows first the seeding, then Lloyd's loop.
fn follow(terminal: &Terminal, max_iter: u32) -> (indicatif::ProgressBar, impl FnMut(Progress)) {
    let bar = terminal.bar(u64::from(max_iter), "k-means {bar:20} {pos}/{len} {per_sec:8} ETA {eta} {msg}");
    let moved = bar.clone();
    let mut seeding = false;
    (bar, move |progress: Progress| match progress {
        Progress::Seeding { chosen, of } => {
            seeding = true;
            moved.set_length(of as u64);
            moved.set_position(chosen as u64);
            moved.set_message("seeding");
        }
        Progress::Iterating { n_iter, changed, .. } => {
            if std::mem::take(&mut seeding) {
                moved.reset();
                moved.set_length(u64::from(max_iter));
            }
            moved.set_position(u64::from(n_iter));
            moved.set_message(format!("at most; {changed} moved"));
        }
    })
}

impl Fit {
    fn check_init(&self) -> anyhow::Result<()> {
        let known = ["k-means++", "k-means||", "random"].contains(&self.init.as_str());
        if !known && !Path::new(&self.init).exists() {
            anyhow::bail!(
                "--init {}: there is no such file; k-means++, k-means|| and random need none",
                self.init
            );
        }
        Ok(())
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
        if self.adapters.iter().any(|name| name.trim().is_empty()) {
            anyhow::bail!(
                "--adapters: there is an empty name; give all, or parts of names with commas between"
            );
        }
        Ok(())
    }

    fn run(&self, session: &Session) -> anyhow::Result<()> {
        let data = self.points.open()?;
        let weights = self.weights.as_deref().map(read_weights).transpose()?;
        let init = match self.init.as_str() {
            "k-means++" => Init::PlusPlus,
            "k-means||" => Init::Parallel,
            "random" => Init::Random,
            path => Init::Centroids(read_finite(Path::new(path))?),
        };
        if let Some(size) = self.mini_batch {
            return self.run_mini_batch(size, init, &data, session);
        }
        let (max_iter, tol) = (self.max_iter.unwrap_or(300), self.tol.unwrap_or(1e-4));
        let kmeans = self.points.settings(self.k).init(init).n_init(self.n_init);
        let kmeans = kmeans.seed(self.seed).max_iter(max_iter).tol(tol).subsample(self.subsample);
        let mut kmeans = kmeans.empty(self.empty);
        if let Some(checkpoints) = self.checkpoint.open(&session.terminal)? {
            kmeans = kmeans.checkpoints(checkpoints);
        }
        let fit = |gpus: &[&Context]| {
            let (bar, progress) = follow(&session.terminal, max_iter);
            let fitted = kmeans.fit_on(gpus, &data, weights.as_deref(), progress);
            bar.finish_and_clear();
            self.finish(&fitted.map_err(about(&self.points.data))?, &session.terminal)
        };
        if self.adapters.is_empty() {
            return session.with_device(&self.traced, |gpu| fit(&[gpu]).map(|()| None));
        }
        let gpus = session.open_several(&self.adapters)?;
        fit(&gpus.iter().collect::<Vec<_>>())
    }

    fn run_mini_batch(&self, size: u64, init: Init, data: &Vectors, session: &Session) -> anyhow::Result<()> {
        let (max_iter, tol) = (self.max_iter.unwrap_or(100), self.tol.unwrap_or(0.0));
        let kmeans = MiniBatchKMeans::new(self.k).batch_size(size).init(init).n_init(self.n_init);
        let mut kmeans = kmeans.seed(self.seed).max_iter(max_iter).tol(tol).metric(self.points.metric);
        if let Some(memory) = self.points.memory {
            kmeans = kmeans.memory(memory << 20);
        }
        session.with_device(&self.traced, |gpu| {
            let (bar, progress) = follow(&session.terminal, max_iter);
            let fitted = kmeans.fit(gpu, data, progress);
            bar.finish_and_clear();
            self.finish(&fitted.map_err(about(&self.points.data))?, &session.terminal)?;
            Ok(None)
        })
    }

    fn finish(&self, fitted: &Fitted, terminal: &Terminal) -> anyhow::Result<()> {
        for notice in &fitted.notices {
            terminal.notice(notice);
        }
        let centers: &Matrix = &fitted.cluster_centers;
        if let Some(path) = &self.centroids {
            npy::write_matrix(path, centers.rows, centers.cols, &centers.values)?;
        }
        if let Some(path) = &self.labels {
            npy::write_labels(path, &fitted.labels)?;
        }
        for path in self.centroids.iter().chain(&self.labels) {
            terminal.notice(&format!("written: {}", path.display()));
        }
        terminal.result(fitted, || {
            let facts = [
                ("points", format!("{} x {}", fitted.n, fitted.d)),
                ("clusters", fitted.k.to_string()),
                ("iterations", fitted.n_iter.to_string()),
                ("converged", if fitted.converged { "yes" } else { "no" }.to_owned()),
                ("inertia", format!("{}", fitted.inertia)),
                ("imbalance", format!("{:.3}", fitted.imbalance)),
                ("ms per iteration", format!("{:.3}", fitted.ms_per_iteration)),
                ("seconds", format!("{:.3}", fitted.seconds)),
            ];
            let rows = facts.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
            table::render(&["k-means", ""], rows)
        })
    }
}

/// Reads a matrix. The library would refuse NaN and infinity as well, but knows no file to name.
fn read_finite(path: &Path) -> anyhow::Result<Matrix> {
    let matrix = npy::read_matrix(path)?;
    if let Some((row, column)) = matrix.first_non_finite() {
        let value = matrix.values[row * matrix.cols + column];
        anyhow::bail!(
            "{}: row {row}, column {column} (counted from 0) is {value}: leave such rows out, or fill them",
            path.display()
        );
    }
    Ok(matrix)
}

fn read_weights(path: &Path) -> anyhow::Result<Vec<f32>> {
    let (matrix, _) = npy::read_columns(path)?;
    if matrix.cols != 1 {
        anyhow::bail!("{}: it has {} columns; weights are one for each point", path.display(), matrix.cols);
    }
    Ok(matrix.values)
}

impl Predict {
    fn run(&self, session: &Session) -> anyhow::Result<()> {
        let data = self.points.open()?;
        let centroids = read_finite(&self.centroids)?;
        session.with_device(&self.traced, |gpu| {
            let predicted = self.points.settings(centroids.rows).predict(gpu, &data, &centroids);
            let predicted = predicted.map_err(about(&self.points.data))?;
            npy::write_labels(&self.output, &predicted.labels)?;
            session.terminal.result(&predicted, || {
                format!(
                    "{} points of {} dimensions labelled by {} centroids, inertia {}: {}",
                    predicted.n,
                    predicted.d,
                    predicted.k,
                    predicted.inertia,
                    self.output.display()
                )
            })?;
            Ok(None)
        })
    }
}

/// What there is to say of distances that went into a file.
#[derive(Serialize)]
struct TransformDocument<'a> {
    n: u64,
    d: usize,
    k: usize,
    metric: Metric,
    output: &'a Path,
}

impl Transform {
    fn run(&self, session: &Session) -> anyhow::Result<()> {
        let data = self.points.open()?;
        let centroids = read_finite(&self.centroids)?;
        let (n, d, k, metric) = (data.rows(), data.cols(), centroids.rows, self.points.metric);
        session.with_device(&self.traced, |gpu| {
            let kmeans = self.points.settings(k);
            let written = npy::write_matrix_by_rows(&self.output, n as usize, k, |write| {
                kmeans.transform_into(gpu, &data, &centroids, write)
            });
            written.map_err(about(&self.points.data))?;
            let document = TransformDocument { n, d, k, metric, output: &self.output };
            session.terminal.result(&document, || {
                let output = self.output.display();
                format!("distances of {n} points of {d} dimensions to {k} centroids: {output}")
            })?;
            Ok(None)
        })
    }
}

impl Pq {
    fn outputs(&self) -> impl Iterator<Item = &Path> {
        self.codebooks.iter().chain(&self.codes).map(PathBuf::as_path)
    }

    fn run(&self, session: &Session) -> anyhow::Result<()> {
        let data = self.points.open()?;
        let quantizer = ProductQuantizer::new(self.m).bits(self.bits).seed(self.seed).max_iter(self.max_iter);
        let quantizer = quantizer.subsample(self.train.0);
        let quantizer = match self.points.memory {
            Some(memory) => quantizer.memory(memory << 20),
            None => quantizer,
        };
        session.with_device(&self.traced, |gpu| {
            let bar = session.terminal.bar(self.m as u64, "sub-spaces {bar:20} {pos}/{len} ETA {eta}");
            let quantized = quantizer.fit(gpu, &data, |part, _| bar.set_position(part as u64));
            bar.finish_and_clear();
            self.finish(&quantized.map_err(about(&self.points.data))?, &session.terminal)?;
            Ok(None)
        })
    }

    fn finish(&self, quantized: &Quantized, terminal: &Terminal) -> anyhow::Result<()> {
        for notice in &quantized.notices {
            terminal.notice(notice);
        }
        let books = &quantized.codebooks;
        if let Some(path) = &self.codebooks {
            npy::write_tensor(path, &[books.m, books.k, books.width], &books.values)?;
        }
        if let Some(path) = &self.codes {
            npy::write_codes(path, quantized.n, quantized.m, &quantized.codes)?;
        }
        for path in self.outputs() {
            terminal.notice(&format!("written: {}", path.display()));
        }
        terminal.result(quantized, || {
            let facts = [
                ("vectors", format!("{} x {}", quantized.n, quantized.d)),
                ("codebooks", format!("{} x {} x {}", books.m, books.k, books.width)),
                ("bytes per vector", format!("{}, as float32 {}", quantized.m, 4 * quantized.d)),
                ("relative squared error", format!("{:.6}", quantized.relative_squared_error)),
                ("mean squared error", format!("{:.6e}", quantized.mean_squared_error)),
                ("seconds", format!("{:.3}", quantized.seconds)),
            ];
            let rows = facts.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
            table::render(&["product quantization", ""], rows)
        })
    }
}

#[derive(Serialize)]
struct PaletteDocument<'a> {
    input: &'a Path,
    output: &'a Path,
    #[serde(flatten)]
    palette: &'a Palette,
}

impl PaletteArguments {
    fn run(&self, session: &Session) -> anyhow::Result<()> {
        let picture = picture::read(&self.input)?;
        session.with_device(&self.traced, |gpu| {
            let (bar, progress) = follow(&session.terminal, 300);
            let palette = palette::palette(gpu, &picture, self.k, self.seed, progress);
            bar.finish_and_clear();
            self.finish(&palette?, &session.terminal)?;
            Ok(None)
        })
    }

    fn finish(&self, palette: &Palette, terminal: &Terminal) -> anyhow::Result<()> {
        for notice in &palette.clustering.notices {
            terminal.notice(notice);
        }
        picture::write_png(&self.output, &palette.picture)?;
        terminal.result(&PaletteDocument { input: &self.input, output: &self.output, palette }, || {
            let mut text = String::new();
            for swatch in &palette.colours {
                let [r, g, b] = swatch.rgb;
                let colour = if terminal.colours() {
                    format!("\x1b[48;2;{r};{g};{b}m      \x1b[0m ")
                } else {
                    String::new()
                };
                let bar = "#".repeat((swatch.share * 60.0).round() as usize);
                text += &format!("{colour}{} {:5.1} % {bar}\n", swatch.hex, swatch.share * 100.0);
            }
            text + &format!(
                "{} x {} pixels in {} colours, Oklab rms error {:.4}, {} iterations, {:.2} s: {}",
                palette.width,
                palette.height,
                palette.colours.len(),
                palette.rms_error,
                palette.clustering.n_iter,
                palette.clustering.seconds,
                self.output.display()
            )
        })
    }
}
