//! How centroids are fitted, for what fits once or several times.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{Seeded, Session, about, read_batch, read_finite};
use lowbit::internals::io::npy::Matrix;
use lowbit::internals::io::vecs::Vectors;
use lowbit::internals::io::{npy, split_part};
use lowbit::internals::kmeans::weights::check_weights;
use lowbit::internals::kmeans::{Empty, Init, KMeans};

/// Settings of a fit that hold for any number of clusters.
#[derive(Args, Debug)]
pub struct Fitting {
    /// First centroids: k-means++, k-means|| (few passes, for large k and many points), bisecting (the part of the largest inertia
    /// becomes two, again and again), two-level (sqrt(k) parts, and clusters of each: for very large k), random, or a file [k, d]:
    /// .npy, .npz or .csv
    #[arg(long, default_value = "k-means++", value_name = "METHOD|CENTROIDS.npy")]
    init: String,
    /// How many starts to try; the one of the least inertia counts
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub n_init: u32,
    /// How often each point counts, [n]: .npy, .npz, or a .csv (table.csv:COLUMN)
    #[arg(long, value_name = "W.npy")]
    weights: Option<PathBuf>,
    /// What becomes of a cluster without points: it takes the farthest point, or half of the largest cluster, or stays
    #[arg(long, value_name = "farthest|split-largest|keep", default_value = "farthest", value_parser = empty)]
    empty: Empty,
    /// Fit the centroids to a uniform sample of so many points for each (256 are enough), then label all points
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    subsample: Option<u64>,
    #[command(flatten)]
    pub random: Seeded,
    /// Most iterations [default: 300]
    #[arg(long, allow_negative_numbers = true)]
    pub max_iter: Option<u32>,
    /// The loop ends when the centroids' squared shifts sum to this times the mean variance of the columns (with --metric
    /// cosine, of the rows' directions), or less [default: 1e-4]
    #[arg(long, allow_negative_numbers = true)]
    pub tol: Option<f64>,
}

fn empty(name: &str) -> Result<Empty, String> {
    match name {
        "farthest" => Ok(Empty::Farthest),
        "split-largest" => Ok(Empty::SplitLargest),
        "keep" => Ok(Empty::Keep),
        _ => Err("there are farthest, split-largest and keep".into()),
    }
}

impl Fitting {
    /// The method that chooses the first centroids, if they are in no file.
    pub fn method(&self) -> Option<Init> {
        match self.init.as_str() {
            "k-means++" => Some(Init::PlusPlus),
            "k-means||" => Some(Init::Parallel),
            "bisecting" => Some(Init::Bisecting),
            "two-level" => Some(Init::TwoLevel),
            "random" => Some(Init::Random),
            _ => None,
        }
    }

    /// The file of the first centroids, which is there.
    pub fn given(&self) -> anyhow::Result<Option<&Path>> {
        let path = Path::new(&self.init);
        if self.method().is_none() && !split_part(path).0.exists() {
            anyhow::bail!(
                "--init {}: there is no such file; k-means++, k-means||, bisecting, two-level and random need none",
                self.init
            );
        }
        Ok(self.method().is_none().then_some(path))
    }

    /// What is read besides the points.
    pub fn files(&self) -> Vec<PathBuf> {
        [PathBuf::from(&self.init)].into_iter().chain(self.weights.clone()).collect()
    }

    /// The first centroids, or how they are chosen; `batch`: a file may have those of several problems.
    pub fn init(&self, batch: bool, session: &Session) -> anyhow::Result<Init> {
        let path = Path::new(&self.init);
        session.say_conversions([path]);
        match self.method() {
            Some(method) => Ok(method),
            None if batch && npy::dimensions(path)? == 3 => Ok(Init::Centroids(read_batch(path)?.0)),
            None => Ok(Init::Centroids(read_finite(path)?)),
        }
    }

    /// How often each of the points counts, where they do not all count once; `k` of them have to, or of several problems (whose
    /// weights may be `[B, n]`) as many in each.
    pub fn weights(&self, points: &Vectors, k: usize, session: &Session) -> anyhow::Result<Option<Vec<f32>>> {
        let Some(path) = &self.weights else { return Ok(None) };
        session.say_conversions([path.as_path()]);
        let (Matrix { rows, cols, values }, _) = npy::read_columns(path)?;
        let problems = points.problems() as usize;
        let each = points.rows() as usize / problems.max(1);
        if cols != 1 && (problems, each) != (rows, cols) {
            anyhow::bail!("{}: it has {cols} columns; weights are one for each point", path.display());
        }
        if values.len() == problems * each {
            for own in values.chunks(each.max(1)) {
                check_weights(own, each, k).map_err(about(path))?;
            }
        } else {
            check_weights(&values, problems * each, k).map_err(about(path))?;
        }
        Ok(Some(values))
    }

    /// The most iterations of a fit to all points.
    pub fn most_iterations(&self) -> u32 {
        self.max_iter.unwrap_or(300)
    }

    /// A fit to all points with all of these but for the first centroids.
    pub fn settings(&self, kmeans: KMeans) -> KMeans {
        let kmeans = kmeans.n_init(self.n_init).seed(self.random.seed).max_iter(self.most_iterations());
        kmeans.tol(self.tol.unwrap_or(1e-4)).subsample(self.subsample).empty(self.empty)
    }
}
