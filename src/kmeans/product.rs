//! Product quantization (Jégou, Douze and Schmid 2011): vectors cut into `m` parts, k-means in each, and for each part of
//! a vector the number of the nearest centroid, one byte.

use std::time::Instant;

use serde::Serialize;

use super::options::KMeans;
use super::progress::Progress;
use super::source::Source;
use super::statistics::Statistics;
use super::views::{Columns, Rows};
use crate::gpu::Context;
use crate::io::npy::Matrix;
use crate::{Error, Result};

/// Settings of a product quantization.
///
/// ```
/// use lowbit::gpu::{Context, Options};
/// use lowbit::io::npy::read_matrix;
/// use lowbit::kmeans::ProductQuantizer;
///
/// fn main() -> lowbit::Result<()> {
///     let gpu = Context::open(&Options::default())?;
///     // 800 embeddings of 384 floats: 1,536 bytes each, 48 as codes.
///     let points = read_matrix("assets/kmeans/points.npy".as_ref())?;
///     let quantized = ProductQuantizer::new(48).bits(6).fit(&gpu, &points, |_, _| ())?;
///     assert_eq!(quantized.codes.len(), points.rows * 48);
///     println!("{:.1} % of the squared length is lost", 100.0 * quantized.relative_squared_error);
///
///     // Approximations of the first two, and the codes of vectors that were not trained on.
///     let near = quantized.codebooks.decode(&quantized.codes[..2 * 48])?;
///     let codes = quantized.codebooks.encode(&gpu, &near)?;
///     assert_eq!(codes, quantized.codes[..2 * 48]);
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug)]
pub struct ProductQuantizer {
    m: usize,
    bits: u32,
    kmeans: KMeans,
}

/// The centroids of every sub-space.
#[derive(Clone, Debug, PartialEq)]
pub struct Codebooks {
    /// Sub-spaces.
    pub m: usize,
    /// Centroids in each, at most 256.
    pub k: usize,
    /// Columns of each.
    pub width: usize,
    /// `[m, k, width]`
    pub values: Vec<f32>,
}

/// Quantized vectors.
#[derive(Clone, Debug, Serialize)]
pub struct Quantized {
    /// Vectors.
    pub n: usize,
    /// Dimensions.
    pub d: usize,
    /// Sub-spaces, and bytes of a vector's codes.
    pub m: usize,
    /// Bits of a code that are used.
    pub bits: u32,
    /// Squared error of the decoded vectors over the vectors' squared size, both summed up.
    pub relative_squared_error: f64,
    /// Squared error of the decoded vectors, the mean over all values.
    pub mean_squared_error: f64,
    /// Most iterations that a sub-space took.
    pub n_iter: u32,
    /// Time of the whole call.
    pub seconds: f64,
    /// What the caller should know of this result.
    pub notices: Vec<String>,
    /// The centroids.
    #[serde(skip)]
    pub codebooks: Codebooks,
    /// `[n, m]` the number of the nearest centroid in each sub-space.
    #[serde(skip)]
    pub codes: Vec<u8>,
}

/// Points per centroid that are enough to train on (FAISS).
const SUBSAMPLE: u64 = 256;

/// Points to train on are kept on the host up to this size: each sub-space reads them twice.
const KEPT_BYTES: u64 = 128 << 20;

/// Bytes of points that are read and encoded at a time.
const PIECE_BYTES: usize = 32 << 20;

/// Reads all of `source`, if that is not too much.
fn keep(source: &dyn Source) -> Result<Option<Matrix>> {
    let (rows, cols) = (source.rows(), source.cols());
    if rows.saturating_mul(4 * cols as u64) > KEPT_BYTES {
        return Ok(None);
    }
    let mut values = vec![0.0; rows as usize * cols];
    source.read(0..rows, &mut values)?;
    Ok(Some(Matrix { rows: rows as usize, cols, values }))
}

impl ProductQuantizer {
    /// `m` sub-spaces of equal width, 8 bits, 256 points for each centroid to train on, otherwise the defaults of
    /// [`KMeans`].
    pub fn new(m: usize) -> Self {
        Self { m, bits: 8, kmeans: KMeans::new(256).subsample(Some(SUBSAMPLE)) }
    }

    /// Sets the bits of a code, 4 to 8: there are 2^bits centroids. A code takes a byte whatever they are.
    pub fn bits(self, bits: u32) -> Self {
        let kmeans = KMeans { k: 1 << bits.min(16), ..self.kmeans };
        Self { bits, kmeans, ..self }
    }

    /// Sets the seed of every random choice.
    pub fn seed(self, seed: u64) -> Self {
        Self { kmeans: self.kmeans.seed(seed), ..self }
    }

    /// Sets the most iterations in a sub-space.
    pub fn max_iter(self, max_iter: u32) -> Self {
        Self { kmeans: self.kmeans.max_iter(max_iter), ..self }
    }

    /// Sets how many points for each centroid are trained on; all if `None`.
    pub fn subsample(self, per_centroid: Option<u64>) -> Self {
        Self { kmeans: self.kmeans.subsample(per_centroid), ..self }
    }

    /// Sets how many bytes of the device's memory points may take.
    pub fn memory(self, bytes: u64) -> Self {
        Self { kmeans: self.kmeans.memory(bytes), ..self }
    }

    /// Trains on the rows of `data` (`[n, d]`) and encodes all of them. `progress` is told the sub-space too.
    ///
    /// # Errors
    /// [`Error::Input`] for bits other than 4 to 8 and columns that `m` does not divide; those of [`KMeans::fit`].
    pub fn fit(
        &self,
        gpu: &Context,
        data: &dyn Source,
        mut progress: impl FnMut(usize, Progress),
    ) -> Result<Quantized> {
        let begun = Instant::now();
        let (n, d, m, k) = (data.rows() as usize, data.cols(), self.m, self.kmeans.k);
        if !(4..=8).contains(&self.bits) {
            return Err(Error::Input(format!("bits={} should be 4 to 8", self.bits)));
        }
        if m == 0 || !d.is_multiple_of(m) {
            return Err(Error::Shape(format!(
                "{d} columns cannot be cut into m={m} sub-spaces of equal width: m should divide {d}"
            )));
        }
        if n < k {
            return Err(Error::Input(format!(
                "{n} points are fewer than the {k} centroids of {} bits: take fewer bits, or more points",
                self.bits
            )));
        }
        let statistics = Statistics::of(data, "X")?;
        let kmeans = KMeans { subsample: None, ..self.kmeans.clone() };
        let (width, mut values) = (d / m, Vec::with_capacity(k * d));
        let (mut n_iter, mut notices) = (0, Vec::new());
        let chosen = self.kmeans.sampled(n as u64, None);
        let sample = chosen.as_ref().map(|rows| Rows { of: data, rows });
        notices.extend(sample.iter().map(|sample| sample.notice()));
        let from = sample.as_ref().map_or(data, |sample| sample);
        let kept = keep(from)?;
        let from = kept.as_ref().map_or(from, |kept| kept);
        let mut said: Vec<(String, usize)> = Vec::new();
        for part in 0..m {
            let columns = Columns { of: from, columns: part * width..(part + 1) * width };
            let fitted = kmeans.fit(gpu, &columns, |news| progress(part, news))?;
            values.extend(fitted.cluster_centers.values);
            n_iter = n_iter.max(fitted.n_iter);
            for notice in fitted.notices {
                match said.iter_mut().find(|(text, _)| *text == notice) {
                    Some((_, times)) => *times += 1,
                    None => said.push((notice, 1)),
                }
            }
        }
        drop(kept);
        let codebooks = Codebooks { m, k, width, values };
        let (codes, error) = codebooks.label(gpu, data, &statistics, &kmeans)?;
        let note =
            |(text, times)| if times == m { text } else { format!("{text} (in {times} of {m} sub-spaces)") };
        notices.extend(said.into_iter().map(note));
        let size = n as f64
            * (d as f64 * statistics.variance + statistics.mean.iter().map(|mean| mean * mean).sum::<f64>());
        Ok(Quantized {
            n,
            d,
            m,
            bits: self.bits,
            relative_squared_error: if error > 0.0 { error / size } else { 0.0 },
            mean_squared_error: error / n as f64 / d as f64,
            n_iter,
            seconds: begun.elapsed().as_secs_f64(),
            notices,
            codebooks,
            codes,
        })
    }
}

impl Codebooks {
    /// The centroids of a sub-space, `[k, width]`.
    fn of(&self, part: usize) -> &[f32] {
        &self.values[part * self.k * self.width..][..self.k * self.width]
    }

    fn check(&self) -> Result<()> {
        let Self { m, k, width, values } = self;
        let wanted = m.checked_mul(*k).and_then(|count| count.checked_mul(*width));
        if wanted != Some(values.len()) || !(1..=256).contains(k) {
            let found = values.len();
            return Err(Error::Shape(format!(
                "{found} values are no codebooks of shape ({m}, {k}, {width})"
            )));
        }
        Ok(())
    }

    /// The codes (`[n, m]`) of the rows of `data` (`[n, m * width]`).
    ///
    /// # Errors
    /// [`Error::Input`] for rows of another length; those of [`KMeans::predict`].
    pub fn encode(&self, gpu: &Context, data: &dyn Source) -> Result<Vec<u8>> {
        self.check()?;
        let (d, own) = (data.cols(), self.m * self.width);
        if d != own {
            return Err(Error::Shape(format!("X has {d} features, but the codebooks are of {own}")));
        }
        let (kmeans, statistics) = (KMeans::new(self.k), Statistics::of(data, "X")?);
        Ok(self.label(gpu, data, &statistics, &kmeans)?.0)
    }

    /// The codes of the rows of `data`, whose `statistics` are known, and the squared error. Reads them once.
    fn label(
        &self,
        gpu: &Context,
        data: &dyn Source,
        statistics: &Statistics,
        kmeans: &KMeans,
    ) -> Result<(Vec<u8>, f64)> {
        let (n, d, m) = (data.rows() as usize, data.cols(), self.m);
        let books = (0..m)
            .map(|part| Matrix { rows: self.k, cols: self.width, values: self.of(part).to_vec() })
            .collect::<Vec<_>>();
        let (mut codes, mut error) = (vec![0; n * m], 0.0);
        let most = (PIECE_BYTES / (4 * d.max(1))).clamp(1, n.max(1));
        let mut piece = Matrix { rows: 0, cols: d, values: Vec::new() };
        for (start, codes) in (0..n).step_by(most).zip(codes.chunks_mut(most * m)) {
            piece.rows = codes.len() / m;
            piece.values.resize(piece.rows * d, 0.0);
            data.read(start as u64..(start + piece.rows) as u64, &mut piece.values)?;
            for (part, book) in books.iter().enumerate() {
                let columns = part * self.width..(part + 1) * self.width;
                // The other figures bound those of the columns.
                let statistics = Statistics {
                    mean: statistics.mean[columns.clone()].to_vec(),
                    extents: statistics.extents[columns.clone()].to_vec(),
                    ..*statistics
                };
                let columns = Columns { of: &piece, columns };
                let labelled = kmeans.label(&[gpu], &columns, &statistics, None, book)?;
                error += labelled.inertia;
                for (code, &label) in codes.iter_mut().skip(part).step_by(m).zip(&labelled.labels) {
                    *code = label as u8;
                }
            }
        }
        Ok((codes, error))
    }

    /// The vectors (`[n, m * width]`) that `codes` (`[n, m]`) stand for.
    ///
    /// # Errors
    /// [`Error::Input`] for codes that are not whole rows, or beyond the codebooks.
    pub fn decode(&self, codes: &[u8]) -> Result<Matrix> {
        self.check()?;
        if !codes.len().is_multiple_of(self.m.max(1)) {
            return Err(Error::Shape(format!("{} codes are no rows of {}", codes.len(), self.m)));
        }
        if let Some(code) = codes.iter().find(|&&code| usize::from(code) >= self.k) {
            return Err(Error::Input(format!("there is no centroid {code} among {}", self.k)));
        }
        let parts = codes.iter().zip((0..self.m).cycle());
        let values: Vec<f32> = parts
            .flat_map(|(&code, part)| &self.of(part)[usize::from(code) * self.width..][..self.width])
            .copied()
            .collect();
        Ok(Matrix { rows: codes.len() / self.m.max(1), cols: self.m * self.width, values })
    }
}
