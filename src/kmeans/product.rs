//! Product quantization (Jégou, Douze and Schmid 2011): vectors cut into `m` parts, k-means in each, and for each part of
//! a vector the number of the nearest centroid, one byte.

use std::time::Instant;

use serde::Serialize;

use super::points::Statistics;
use super::views::Columns;
use super::{KMeans, Progress, Source};
use crate::gpu::Context;
use crate::io::npy::Matrix;
use crate::{Error, Result};

/// Settings of a product quantization.
///
/// ```
/// use lowbit::gpu::{Context, Options};
/// use lowbit::io::npy::read_matrix;
/// use lowbit::kmeans::product::ProductQuantizer;
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
            return Err(Error::Input(format!(
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
        let width = d / m;
        let (mut codes, mut values) = (vec![0; n * m], Vec::with_capacity(k * d));
        let (mut error, mut n_iter) = (0.0, 0);
        let mut said: Vec<(String, usize)> = Vec::new();
        for part in 0..m {
            let columns = Columns { of: data, columns: part * width..(part + 1) * width };
            let fitted = self.kmeans.fit(gpu, &columns, |news| progress(part, news))?;
            for (code, &label) in codes.iter_mut().skip(part).step_by(m).zip(&fitted.labels) {
                *code = label as u8;
            }
            values.extend(fitted.cluster_centers.values);
            error += fitted.inertia;
            n_iter = n_iter.max(fitted.n_iter);
            for notice in fitted.notices {
                match said.iter_mut().find(|(text, _)| *text == notice) {
                    Some((_, times)) => *times += 1,
                    None => said.push((notice, 1)),
                }
            }
        }
        let note =
            |(text, times)| if times == m { text } else { format!("{text} (in {times} of {m} sub-spaces)") };
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
            notices: said.into_iter().map(note).collect(),
            codebooks: Codebooks { m, k, width, values },
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
            return Err(Error::Input(format!(
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
            return Err(Error::Input(format!("X has {d} features, but the codebooks are of {own}")));
        }
        let mut codes = vec![0; data.rows() as usize * self.m];
        for part in 0..self.m {
            let columns = Columns { of: data, columns: part * self.width..(part + 1) * self.width };
            let centroids = Matrix { rows: self.k, cols: self.width, values: self.of(part).to_vec() };
            let predicted = KMeans::new(self.k).predict(gpu, &columns, &centroids)?;
            for (code, &label) in codes.iter_mut().skip(part).step_by(self.m).zip(&predicted.labels) {
                *code = label as u8;
            }
        }
        Ok(codes)
    }

    /// The vectors (`[n, m * width]`) that `codes` (`[n, m]`) stand for.
    ///
    /// # Errors
    /// [`Error::Input`] for codes that are not whole rows, or beyond the codebooks.
    pub fn decode(&self, codes: &[u8]) -> Result<Matrix> {
        self.check()?;
        if !codes.len().is_multiple_of(self.m.max(1)) {
            return Err(Error::Input(format!("{} codes are no rows of {}", codes.len(), self.m)));
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
