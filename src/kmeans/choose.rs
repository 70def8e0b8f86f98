//! Clusterings with several numbers of clusters, and what the elbow and the silhouette say of them.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Serialize;

use super::drawing::sample as draw_sample;
use super::elbow::elbow;
use super::fit::{ENOUGH_POINTS, too_few};
use super::fitted::Fitted;
use super::metric::Metric;
use super::options::{Init, KMeans};
use super::progress::Progress;
use super::silhouette::Groups;
use super::source::Source;
use super::views::Rows;
use super::weights::check_weights;
use crate::gpu::Context;
use crate::io::npy::Matrix;
use crate::random::Random;
use crate::{Error, Result};

/// Keeps the sample apart from the random choices that follow from the same seed.
const SAMPLE_SEED: u64 = 0x51_1404_e77e;

/// One number of clusters.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Candidate {
    /// Clusters.
    pub k: usize,
    /// As [`Fitted::inertia`].
    pub inertia: f64,
    /// Iterations, of the best start.
    pub n_iter: u32,
    /// As [`Fitted::converged`].
    pub converged: bool,
    /// Clusters that hold at least one point.
    pub distinct_clusters: usize,
    /// As [`Fitted::imbalance`].
    pub imbalance: f64,
    /// The mean silhouette coefficient, from -1 to 1; none if it was not asked for, for [`Metric::Dot`], and where the rows that it is of
    /// are in one cluster.
    pub silhouette: Option<f64>,
}

/// Clusterings of the same points with several numbers of clusters.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Choice {
    /// Points.
    pub n: usize,
    /// Dimensions.
    pub d: usize,
    /// What "near" means.
    pub metric: Metric,
    /// By their number of clusters, rising.
    pub candidates: Vec<Candidate>,
    /// The number of clusters at the elbow of the inertia over it, if there is one.
    pub elbow: Option<usize>,
    /// The number of clusters of the best silhouette, the least of equals.
    pub best_silhouette: Option<usize>,
    /// Rows that the silhouettes are of: 0 without silhouettes.
    pub sample: usize,
    /// Time of the whole call.
    pub seconds: f64,
    /// What the caller should know of this result.
    pub notices: Vec<String>,
}

/// What the host learns meanwhile.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Choosing<'a> {
    /// A clustering is at work.
    Fitting {
        /// Its clusters.
        k: usize,
        /// Clusterings before it.
        done: usize,
        /// Clusterings in all.
        of: usize,
        /// How far it is.
        progress: Progress,
    },
    /// A clustering is done: it is not kept.
    Fitted(&'a Fitted),
    /// Silhouettes are measured.
    Measuring {
        /// Rows done.
        done: usize,
        /// Rows in all.
        of: usize,
    },
}

impl KMeans {
    /// Clusters the rows of `data` (`[n, d]`) once for each number of clusters in `ks`, by these settings but for their own number:
    /// each clustering is the one that [`KMeans::fit_weighted`] gives, to the bit.
    ///
    /// The elbow is that of the inertia over the number of clusters, by Kneedle (Satopaa et al. 2011, sensitivity 1): of the curve
    /// brought to the unit square, the place farthest above its diagonal, if from there on the curve comes nearer to it by more than
    /// a mean step. It takes four numbers of clusters or more, if those are as far from each other.
    ///
    /// Silhouettes (Rousseeuw 1987) are the mean coefficients of at most `sample` rows, uniformly drawn, among those rows, by the labels of
    /// each clustering: scikit-learn's `silhouette_score`, with `sample_size` where the rows are more. Distances are euclidean,
    /// not squared, or 1 - cosine for [`Metric::Cosine`], in f32, and sums in f64 in a fixed order. Weights play no part, as in
    /// scikit-learn. A row that is alone in its cluster counts 0; none are measured if `sample` is none, and for [`Metric::Dot`],
    /// since products are no distances. Their time grows with the square of the sample, and not with the number of clusterings.
    ///
    /// Inertia is the same on every adapter, as that of a fit is. Euclidean silhouettes are within (d + 30) 2^-24 of the definition, and so
    /// may differ between adapters by twice that; those of cosine as those of directions that were rounded to f32.
    ///
    /// # Errors
    /// Those of [`KMeans::fit_weighted`]; [`Error::Input`] for no `ks`, a number of clusters that is 0 or more than `n`, a `sample` below 2,
    /// given centroids (which are of one number of clusters) and checkpoints (which are of one fit).
    pub fn choose(
        &self,
        gpu: &Context,
        data: &dyn Source,
        weights: Option<&[f32]>,
        ks: &[usize],
        sample: Option<usize>,
        mut progress: impl FnMut(Choosing<'_>),
    ) -> Result<Choice> {
        let begun = Instant::now();
        let (n, d) = (data.rows() as usize, data.cols());
        let mut notices = Vec::new();
        let ks = self.checked(n, d, weights, ks, sample, &mut notices)?;
        let sample = match self.metric {
            Metric::Euclidean | Metric::Cosine => sample,
            Metric::Dot => {
                let text = || "no silhouette for metric=dot: products are no distances".into();
                notices.extend(sample.map(|_| text()));
                None
            }
        };
        let rows = sample.map(|most| self.rows_of_sample(n, most));
        let (mut candidates, mut groups, mut said) = (Vec::new(), Vec::new(), BTreeMap::new());
        for (done, &k) in ks.iter().enumerate() {
            gpu.go_on(|| format!("after {done} of {} numbers of clusters", ks.len()))?;
            let of = ks.len();
            let kmeans = Self { k, history: false, ..self.clone() };
            let fitted = kmeans.fit_weighted(gpu, data, weights, |news| {
                progress(Choosing::Fitting { k, done, of, progress: news });
            })?;
            groups.extend(
                rows.as_ref().map(|rows| Groups::new(rows.iter().map(|&row| fitted.labels[row as usize]))),
            );
            candidates.push(Candidate {
                k,
                inertia: fitted.inertia,
                n_iter: fitted.n_iter,
                converged: fitted.converged,
                distinct_clusters: fitted.distinct_clusters,
                imbalance: fitted.imbalance,
                silhouette: None,
            });
            progress(Choosing::Fitted(&fitted));
            let few = too_few(n, k);
            for text in fitted.notices.into_iter().filter(|text| few.as_ref() != Some(text)) {
                said.entry(text).or_insert_with(Vec::new).push(k);
            }
        }
        if let Some(rows) = &rows {
            let of = rows.len();
            let all = read(data, rows)?;
            let mut news = |done| progress(Choosing::Measuring { done, of });
            let found = self.silhouettes(gpu, &all, &mut groups, &mut news)?;
            candidates.iter_mut().zip(found).for_each(|(candidate, found)| candidate.silhouette = found);
        }
        notices.extend(said.iter().map(|(text, ks)| format!("k={}: {text}", list(ks))));
        let few: Vec<usize> = ks.iter().copied().filter(|&k| too_few(n, k).is_some()).collect();
        if !few.is_empty() {
            notices.push(format!(
                "k={}: {ENOUGH_POINTS} or more points for each cluster are advised",
                list(&few)
            ));
        }
        let x: Vec<f64> = ks.iter().map(|&k| k as f64).collect();
        let inertia: Vec<f64> = candidates.iter().map(|candidate| candidate.inertia).collect();
        let measured = candidates.iter().filter_map(|candidate| Some((candidate.k, candidate.silhouette?)));
        let best = measured.max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)));
        Ok(Choice {
            n,
            d,
            metric: self.metric,
            elbow: elbow(&x, &inertia).map(|at| ks[at]),
            best_silhouette: best.map(|(k, _)| k),
            candidates,
            sample: rows.map_or(0, |rows| rows.len()),
            seconds: begun.elapsed().as_secs_f64(),
            notices,
        })
    }

    /// The numbers of clusters, rising, each once; what would fail at one of them fails before the work.
    fn checked(
        &self,
        n: usize,
        d: usize,
        weights: Option<&[f32]>,
        ks: &[usize],
        sample: Option<usize>,
        notices: &mut Vec<String>,
    ) -> Result<Vec<usize>> {
        let refuse = |text: &str| Err(Error::Input(text.into()));
        let mut rising = ks.to_vec();
        rising.sort_unstable();
        rising.dedup();
        let Some(&most) = rising.last() else { return refuse("there is no number of clusters to try") };
        if matches!(self.init, Init::Centroids(_)) {
            return refuse(
                "given centroids are of one number of clusters: choose takes a method as `init`, such as k-means++",
            );
        }
        if self.checkpoints.is_some() {
            return refuse("a checkpoint is of one fit: choose keeps none");
        }
        if let Some(sample @ ..2) = sample {
            return Err(Error::Input(format!("sample={sample} should be >= 2")));
        }
        rising.iter().try_for_each(|&k| Self { k, ..self.clone() }.check(n, d))?;
        weights.map(|weights| check_weights(weights, n, most)).transpose()?;
        if rising != ks {
            notices.push(format!("numbers of clusters: {}, rising, each once", list(&rising)));
        }
        Ok(rising)
    }

    /// The rows that silhouettes are of, rising.
    fn rows_of_sample(&self, n: usize, most: usize) -> Vec<u64> {
        if n <= most {
            return (0..n as u64).collect();
        }
        let mut rows = draw_sample(n as u64, most as u64, &mut Random::new(self.seed ^ SAMPLE_SEED));
        rows.sort_unstable();
        rows
    }
}

/// Reads rows to where they stay.
fn read(data: &dyn Source, rows: &[u64]) -> Result<Matrix> {
    let (count, cols) = (rows.len(), data.cols());
    let mut values = Vec::new();
    let room = count.checked_mul(cols).filter(|&all| values.try_reserve_exact(all).is_ok());
    let problem =
        || Error::Input(format!("there is not enough memory for a `sample` of {count} rows of {cols}"));
    values.resize(room.ok_or_else(problem)?, 0.0);
    if count as u64 == data.rows() {
        data.read(0..data.rows(), &mut values)?;
    } else {
        Rows { of: data, rows }.read(0..count as u64, &mut values)?;
    }
    Ok(Matrix { rows: count, cols, values })
}

/// Rising numbers, a run of neighbours by its ends.
fn list(ks: &[usize]) -> String {
    let runs = ks.chunk_by(|a, b| a + 1 == *b).map(|run| match run {
        [first, _, .., last] => format!("{first} to {last}"),
        run => run.iter().map(usize::to_string).collect::<Vec<_>>().join(", "),
    });
    runs.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::list;

    #[test]
    fn runs_are_said_by_their_ends() {
        for (ks, expected) in [
            (&[][..], ""),
            (&[4], "4"),
            (&[4, 5], "4, 5"),
            (&[2, 3, 4, 8, 16, 17, 18, 19, 21], "2 to 4, 8, 16 to 19, 21"),
        ] {
            assert_eq!(list(ks), expected);
        }
    }
}
