//! The first centroids: given, drawn, or chosen among the points.

use super::drawing::{distances_to, draw, rows_of, sample};
use super::element::{Laid, Layout};
use super::frame::Transform;
use super::options::{Init, KMeans, SEED_BYTES};
use super::points::{Points, Room};
use super::progress::Progress;
use super::weights::{check_weights, of_rows};
use super::{parallel, seed};
use crate::gpu::{Buffer, Context};
use crate::random::Random;
use crate::{Error, Result};

impl KMeans {
    /// The frozen centroids, transformed and padded as the points are.
    pub(super) fn frozen_rows(&self, transform: &Transform) -> Result<Vec<f32>> {
        self.frozen.as_ref().map_or(Ok(Vec::new()), |frozen| self.given(frozen, transform, "frozen"))
    }

    /// The first centroids beside the `frozen` ones, transformed and padded as the points are.
    pub(super) fn first(
        &self,
        gpu: &Context,
        points: &Points<'_>,
        frozen: &[f32],
        random: &mut Random,
        notices: &mut Vec<String>,
        progress: &mut dyn FnMut(Progress) -> Result<()>,
    ) -> Result<Vec<f32>> {
        let chosen = match &self.init {
            Init::Centroids(given) => return self.given(given, points.transform(), "init"),
            Init::Random => draw(points.n() as usize, self.others(), points.weights(), random),
            Init::PlusPlus => self.plus_plus(gpu, points, frozen, random, notices, progress)?,
            Init::Parallel => parallel::choose(gpu, points, (self.others(), frozen), random, progress)?,
            Init::Bisecting | Init::TwoLevel => {
                let name = self.init.name();
                return Err(Error::Input(format!(
                    "`init` {name} divides all points, and a mini-batch has some: take another"
                )));
            }
        };
        rows_of(points, &chosen)
    }

    /// Room for the points of all adapters on the first one, beside its own, while seeds are chosen.
    pub(super) fn room_to_choose(&self, d: usize) -> Room {
        // Four points fit in any case.
        Room { bytes: self.room.bytes.min(SEED_BYTES.max(128 * d as u64)), ..self.room }
    }

    /// Room for some of the points beside all of them: what those leave, and no less than seeds may take.
    pub(super) fn room_beside(&self, points: &Points<'_>) -> Room {
        let seeds = self.room_to_choose(points.d() as usize);
        Room { bytes: self.room.bytes.saturating_sub(points.bytes()).max(seeds.bytes), ..self.room }
    }

    /// The points that k-means++ chooses. Of more than a 24-bit random number can tell apart, or of very many bytes, it
    /// sees a uniform sample.
    fn plus_plus(
        &self,
        gpu: &Context,
        points: &Points<'_>,
        frozen: &[f32],
        random: &mut Random,
        notices: &mut Vec<String>,
        progress: &mut dyn FnMut(Progress) -> Result<()>,
    ) -> Result<Vec<u64>> {
        let (n, d, k) = (points.n(), points.d(), self.others() as u64);
        let most = seed::most_points(gpu.adapter.max_binding_bytes.min(self.seed_bytes), d, k);
        let mut choose = |random: &mut Random,
                          (from, layout): (Laid<'_>, Layout),
                          of: (Option<&[f32]>, Option<&[f32]>)| {
            let seeds = seed::Seed::tuned(gpu, layout, from.rows(), d, k)?;
            seeds.choose(gpu, (from, 1), of, d, k, random, progress)
        };
        let beside = distances_to(gpu, points, frozen)?;
        if n <= most
            && let Some(block) = points.whole()
        {
            let chosen =
                choose(random, (block.laid(), points.layout()), (points.weights(), beside.as_deref()))?;
            return Ok(chosen.into_iter().map(u64::from).collect());
        }
        let rows: Vec<u64> = if n <= most {
            (0..n).collect()
        } else {
            if most < k {
                return Err(Error::Unsupported(format!(
                    "k-means++ can choose among at most {most} points of this size on this adapter, fewer than \
                     n_clusters={k}: use `init` random"
                )));
            }
            notices.push(format!("k-means++ chose among a uniform sample of {most} of the {n} points"));
            let mut rows = sample(n, most, random);
            // In the order in which they lie in a file.
            rows.sort_unstable();
            rows
        };
        let values = rows_of(points, &rows)?;
        let weights = of_rows(points.weights(), &rows);
        if let Some(weights) = &weights {
            check_weights(weights, rows.len(), k as usize)?;
        }
        let from = Buffer::from_slice(gpu, "points to choose from", rows.len() as u64, &values)?;
        let beside = of_rows(beside.as_deref(), &rows);
        let of = (weights.as_deref(), beside.as_deref());
        let chosen = choose(random, ((&from).into(), Layout::F32), of)?;
        Ok(chosen.into_iter().map(|i| rows[i as usize]).collect())
    }
}
