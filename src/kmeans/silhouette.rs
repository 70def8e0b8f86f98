//! The mean silhouette coefficient (Rousseeuw 1987) of several clusterings of the same rows.
//!
//! Of a row, `a` is the mean distance to the other members of its cluster, `b` the least mean distance to the members of another one,
//! and the coefficient (b - a) / max(a, b); 0 in a cluster of one. Distances are computed once for all clusterings, a piece of
//! them at a time, by the kernel `transform`; they are added up in f64, for each row and cluster in the order of the members.

use super::options::KMeans;
use super::statistics::Statistics;
use crate::Result;
use crate::gpu::Context;
use crate::io::npy::Matrix;

/// Rows whose distances to all others are computed at a time, at most.
const PIECE: usize = 512;

/// Bytes of sums of distances that are kept at a time, but for one row.
const SUM_BYTES: usize = 32 << 20;

/// A clustering of some rows, its clusters numbered by those that have a row.
pub(super) struct Groups {
    of: Vec<u32>,
    sizes: Vec<u32>,
    /// `[clusters, piece]` sums of the distances of the rows of a piece to the members.
    sums: Vec<f64>,
    /// Of the coefficients of the rows before.
    total: f64,
}

impl Groups {
    /// By the label of each row.
    pub fn new(labels: impl Iterator<Item = i32>) -> Self {
        let (mut numbers, mut sizes) = (std::collections::HashMap::new(), Vec::new());
        let mut number = |label| {
            let new = sizes.len() as u32;
            let number = *numbers.entry(label).or_insert(new);
            if number == new {
                sizes.push(0);
            }
            sizes[number as usize] += 1;
            number
        };
        let of = labels.map(&mut number).collect();
        Self { of, sizes, sums: Vec::new(), total: 0.0 }
    }

    /// Of one cluster no row has a distance to another one.
    pub fn are_several(&self) -> bool {
        self.sizes.len() > 1
    }

    /// The distances of the rows of a piece to a row.
    fn add(&mut self, row: usize, distances: &[f64]) {
        let sums = &mut self.sums[self.of[row] as usize * distances.len()..][..distances.len()];
        sums.iter_mut().zip(distances).for_each(|(sum, distance)| *sum += distance);
    }

    /// The coefficient of the row at a place of the piece that begins at `start`, of `width` rows.
    fn coefficient(&self, start: usize, place: usize, width: usize) -> f64 {
        let own = self.of[start + place] as usize;
        if self.sizes[own] == 1 {
            return 0.0;
        }
        let sums = self.sums.chunks_exact(width).zip(&self.sizes);
        let others = sums.enumerate().filter(|(group, _)| *group != own);
        let others = others.map(|(_, (sums, &size))| sums[place] / f64::from(size));
        let b = others.fold(f64::INFINITY, f64::min);
        let a = self.sums[own * width + place] / f64::from(self.sizes[own] - 1);
        let most = a.max(b);
        if most > 0.0 { (b - a) / most } else { 0.0 }
    }
}

impl KMeans {
    /// The mean silhouette coefficient of each clustering of the rows of `data`, by this metric; none where there are no several
    /// clusters. `progress` hears how many rows are done.
    pub(super) fn silhouettes(
        &self,
        gpu: &Context,
        data: &Matrix,
        groups: &mut [Groups],
        progress: &mut dyn FnMut(usize),
    ) -> Result<Vec<Option<f64>>> {
        let (n, d) = (data.rows, data.cols);
        let clusters: usize =
            groups.iter().filter(|groups| groups.are_several()).map(|groups| groups.sizes.len()).sum();
        if clusters == 0 {
            return Ok(vec![None; groups.len()]);
        }
        let statistics = Statistics::of(data, "X")?;
        // No coefficient depends on the scale, and distances might be beyond f32.
        let factor = self.factor(&statistics, n as u64, None);
        let (data, statistics) = (data.scaled(factor), statistics.scaled(factor));
        let mut several: Vec<&mut Groups> = groups.iter_mut().filter(|groups| groups.are_several()).collect();
        let piece = (SUM_BYTES / (8 * clusters)).clamp(1, PIECE);
        let mut distances_to = vec![0.0f64; piece];
        for start in (0..n).step_by(piece) {
            gpu.go_on(|| format!("after the silhouettes of {start} of {n} rows"))?;
            let width = piece.min(n - start);
            for groups in &mut several {
                groups.sums.clear();
                groups.sums.resize(groups.sizes.len() * width, 0.0);
            }
            let values = data.values[start * d..(start + width) * d].to_vec();
            let rows = Matrix { rows: width, cols: d, values };
            let (mut row, to) = (0usize, &mut distances_to[..width]);
            self.transform_known(gpu, &data, &statistics, &rows, &mut |distances| {
                for distances in distances.chunks_exact(width) {
                    to.iter_mut().zip(distances).for_each(|(to, &distance)| *to = f64::from(distance));
                    if let Some(own) = row.checked_sub(start).and_then(|place| to.get_mut(place)) {
                        *own = 0.0;
                    }
                    several.iter_mut().for_each(|groups| groups.add(row, to));
                    row += 1;
                }
                Ok(())
            })?;
            for groups in &mut several {
                for place in 0..width {
                    groups.total += groups.coefficient(start, place, width);
                }
            }
            progress(start + width);
        }
        Ok(groups.iter().map(|groups| groups.are_several().then(|| groups.total / n as f64)).collect())
    }
}
