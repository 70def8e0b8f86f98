//! `lowbit kmeans fit|choose|predict|transform|pq|palette`

mod checkpoint;
mod choose;
mod fit;
mod fitting;
mod palette;
mod pq;
mod predict;
mod transform;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::terminal::Terminal;
use super::{Session, Traced, about, check_finite, check_outputs};
use lowbit::internals::io::npy::{self, Matrix};
use lowbit::internals::io::vecs::{Element, How, Vectors, files_of};
use lowbit::internals::kmeans::{KMeans, Metric, Progress};
use lowbit::internals::table;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Cluster vectors
    Fit(fit::Arguments),
    /// Cluster vectors with several numbers of clusters, and see which of them elbow and silhouette speak for
    Choose(choose::Arguments),
    /// Label vectors by given centroids
    Predict(predict::Arguments),
    /// Measure the distance of every vector to every centroid
    Transform(transform::Arguments),
    /// Product quantization: a vector becomes m numbers of centroids, one of each part of it
    Pq(pq::Arguments),
    /// Draw a picture in k colours, chosen by k-means in Oklab
    Palette(palette::Arguments),
}

pub fn run(command: &Command, session: &Session) -> anyhow::Result<()> {
    match command {
        Command::Fit(arguments) => fit::run(arguments, session),
        Command::Choose(arguments) => choose::run(arguments, session),
        Command::Predict(arguments) => predict::run(arguments, session),
        Command::Transform(arguments) => transform::run(arguments, session),
        Command::Pq(arguments) => pq::run(arguments, session),
        Command::Palette(arguments) => palette::run(arguments, session),
    }
}

/// Points, how they are measured, and where they are kept.
#[derive(Args, Debug)]
struct Points {
    /// The points, [n, d]: .npy or .npz of any numbers (data.npz:NAME of several arrays), .csv, .parquet (data.parquet:COLUMN),
    /// .h5 (data.h5:DATASET), .fvecs, .bvecs, .ivecs, .safetensors, or raw values; or several such files, a folder of them, or a pattern: one behind the other
    #[arg(required = true)]
    data: Vec<PathBuf>,
    /// The file is values of this type, little-endian, and nothing else; --dim says how many a row has
    #[arg(long, value_name = "f32|f16|u8|i8", requires = "dim")]
    raw: Option<Element>,
    /// The length of a row, for raw values
    #[arg(long, value_name = "D", value_parser = clap::value_parser!(u64).range(1..))]
    dim: Option<u64>,
    /// A column of a .csv or .parquet that is no value of the points, such as a label; may be given several times
    #[arg(long, value_name = "COLUMN")]
    without: Vec<String>,
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

impl Points {
    /// `batch`: they are those of several problems, [B, n, d].
    fn open(&self, batch: bool, terminal: &Terminal) -> anyhow::Result<Vectors> {
        let &Self { raw, dim, .. } = self;
        let (tensor, without) = (self.tensor.clone(), self.without.clone());
        let vectors = Vectors::open_all(&self.data, &How { raw, dim, tensor, batch, without })?;
        vectors.conversion().iter().for_each(|text| terminal.notice(text));
        Ok(vectors)
    }

    /// All files that they are read from, as far as they can be found.
    fn files(&self) -> Vec<PathBuf> {
        let raw = self.raw.is_some();
        self.data.iter().flat_map(|path| files_of(path, raw).unwrap_or_else(|_| vec![path.clone()])).collect()
    }

    /// Bytes of the device's memory that they may take.
    fn memory(&self) -> u64 {
        self.memory.map_or(u64::MAX, |memory| memory << 20)
    }

    fn settings(&self, k: usize) -> KMeans {
        KMeans::new(k).metric(self.metric).memory(self.memory())
    }
}

/// For what goes by given centroids.
#[derive(Args, Debug)]
struct Given {
    #[command(flatten)]
    points: Points,
    /// The centroids: .npy, .npz or .csv, [k, d]
    #[arg(long, value_name = "C.npy")]
    centroids: PathBuf,
}

impl Given {
    fn files(&self) -> Vec<PathBuf> {
        [self.points.files(), vec![self.centroids.clone()]].concat()
    }

    fn open(&self, batch: bool, session: &Session) -> anyhow::Result<(Vectors, Matrix)> {
        let points = self.points.open(batch, &session.terminal)?;
        session.say_conversions([self.centroids.as_path()]);
        let centroids = if batch { read_batch(&self.centroids)?.0 } else { read_finite(&self.centroids)? };
        Ok((points, centroids))
    }
}

fn borrowed(paths: &[PathBuf]) -> Vec<&Path> {
    paths.iter().map(PathBuf::as_path).collect()
}

/// For what draws random numbers.
#[derive(Args, Debug)]
struct Seeded {
    /// Seed of every random choice
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    seed: u64,
}

/// Reads a matrix. The library would refuse NaN and infinity as well, but knows no file to name.
fn read_finite(path: &Path) -> anyhow::Result<Matrix> {
    let matrix = npy::read_matrix(path)?;
    check_finite(path, &matrix)?;
    Ok(matrix)
}

/// Reads the rows of several problems, `[B, k, d]`, and how many problems they are of.
fn read_batch(path: &Path) -> anyhow::Result<(Matrix, usize)> {
    let vectors = Vectors::open(path, &How { batch: true, ..How::default() })?;
    let (rows, cols) = (vectors.rows() as usize, vectors.cols());
    let mut values = vec![0.0; rows * cols];
    vectors.read(0..vectors.rows(), &mut values)?;
    Ok((Matrix { rows, cols, values }, vectors.problems() as usize))
}

/// A bar that follows first the seeding, then Lloyd's loop.
fn follow(terminal: &Terminal, max_iter: u32) -> (indicatif::ProgressBar, impl FnMut(Progress)) {
    let bar = terminal.bar(u64::from(max_iter), "k-means {bar:20} {pos}/{len} {rate} ETA {eta} {msg}");
    let moved = bar.clone();
    let mut seeding = false;
    (bar, move |progress: Progress| match progress {
        Progress::Seeding { chosen, of } => {
            seeding = true;
            moved.set_length(of as u64);
            moved.set_position(chosen as u64);
            moved.set_message("seeding");
        }
        Progress::Iterating { n_iter, changed, inertia, running, .. } => {
            if std::mem::take(&mut seeding) {
                moved.reset();
                moved.set_length(u64::from(max_iter));
            }
            moved.set_position(u64::from(n_iter));
            let inertia = inertia.map_or_else(String::new, |inertia| format!(", inertia {inertia:.6e}"));
            let problems = if running > 1 { format!(", {running} problems") } else { String::new() };
            moved.set_message(format!("at most; {changed} moved{inertia}{problems}"));
        }
        _ => {}
    })
}

/// Passes on what a result comes with.
fn notices(terminal: &Terminal, notices: &[String]) {
    notices.iter().for_each(|notice| terminal.notice(notice));
}

fn written<'a>(terminal: &Terminal, paths: impl IntoIterator<Item = &'a Path>) {
    paths.into_iter().for_each(|path| terminal.notice(&format!("written: {}", path.display())));
}

/// A number to all its digits, without rows of zeros.
fn plainly(number: f64) -> String {
    let size = number.abs();
    if size == 0.0 || (1e-5..1e16).contains(&size) { number.to_string() } else { format!("{number:e}") }
}

/// A result as a table of names and values.
fn facts<const N: usize>(title: &str, facts: [(&str, String); N]) -> String {
    let rows = facts.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    table::render(&[title, ""], rows)
}
