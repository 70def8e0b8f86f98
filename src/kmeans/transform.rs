//! Host of `transform`: the distance of every point to every centroid.

use super::element::{Laid, Layout};
use super::metric::Metric;
use super::options::KMeans;
use super::options::Prepared;
use super::points::{Points, Room, bytes_besides};
use super::source::Source;
use super::statistics::Statistics;
use super::views::Scaled;
use crate::gpu::{Bound, Buffer, Context, Kernel, Spec, Work, params, to_u32};
use crate::io::npy::Matrix;
use crate::random::Random;
use crate::{Error, Result};

/// The shader, whose slot `points` is to be filled ([`Layout::fill`]).
pub const SPEC: Spec = Spec::new("kmeans/transform").slot("wide", "lib/wide32");

/// Bytes of distances that lie on the device at a time, but for one row that is longer.
const OUTPUT_BYTES: u64 = 32 << 20;

/// Operations by which it is seen how long a chunk may be.
const TRIAL_OPS: u64 = 100_000_000;

params! {
    struct TransformParams {
        rows: u32,
        n: u32,
        k: u32,
        d4: u32,
        metric: u32,
    }
}

/// The compiled kernel.
#[derive(Debug)]
pub struct Distances(Kernel<TransformParams>);

impl Distances {
    /// Compiles it for points so laid.
    pub fn load(gpu: &Context, layout: Layout) -> Result<Self> {
        Kernel::load(gpu, &layout.fill(&SPEC)).map(Self)
    }

    /// Binds the distances (`[n, k]`) of points of `d` dimensions to all centroids.
    pub fn bind(
        &self,
        gpu: &Context,
        points: Laid<'_>,
        centroids: &Buffer,
        distances: &Buffer,
        d: u64,
        metric: Metric,
    ) -> Result<Bound> {
        let (n, k) = (points.rows(), centroids.rows());
        let params = TransformParams {
            rows: to_u32(n, "the number of points")?,
            n: to_u32(n, "the number of points")?,
            k: to_u32(k, "the number of centroids")?,
            d4: to_u32(d.div_ceil(4), "the dimension")?,
            metric: metric as u32,
        };
        let work = Work { bytes: 4 * (n * d + k * d + n * k), ops: 3 * n * k * d };
        let buffers = points.bindings(&[("centroids", centroids), ("distances", distances)]);
        self.0.bind(gpu, &buffers, params, work)
    }
}

impl KMeans {
    /// The distances of the rows of `data` (`[n, d]`) to the rows of `centroids` (`[k, d]`): `[n, k]`. Plain ones, not
    /// squared, as scikit-learn's `transform` gives them; 1 - cosine for [`Metric::Cosine`], -x . c for [`Metric::Dot`].
    ///
    /// # Errors
    /// Those of [`KMeans::predict`].
    pub fn transform(&self, gpu: &Context, data: &dyn Source, centroids: &Matrix) -> Result<Matrix> {
        let (rows, cols) = (data.rows() as usize, centroids.rows);
        let mut values = Vec::new();
        let room = rows.checked_mul(cols).filter(|&count| values.try_reserve_exact(count).is_ok());
        room.ok_or_else(|| {
            Error::Input(format!("there is not enough memory for {rows} x {cols} distances"))
        })?;
        self.transform_into(gpu, data, centroids, &mut |distances| {
            values.extend_from_slice(distances);
            Ok(())
        })?;
        Ok(Matrix { rows, cols, values })
    }

    /// As [`KMeans::transform`], where the matrix does not lie in memory: `each` sees some rows of it at a time, in order.
    ///
    /// # Errors
    /// Those of [`KMeans::predict`], and of `each`.
    pub fn transform_into(
        &self,
        gpu: &Context,
        data: &dyn Source,
        centroids: &Matrix,
        each: &mut dyn FnMut(&[f32]) -> Result<()>,
    ) -> Result<()> {
        self.transform_known(gpu, data, &Statistics::of(data, "X")?, centroids, each)
    }

    /// The same, of rows that were read before.
    pub(super) fn transform_known(
        &self,
        gpu: &Context,
        data: &dyn Source,
        statistics: &Statistics,
        centroids: &Matrix,
        each: &mut dyn FnMut(&[f32]) -> Result<()>,
    ) -> Result<()> {
        let (Prepared { factor, transform, .. }, first) = self.prepare(data, statistics, centroids)?;
        let scaled = Scaled { of: data, factor };
        let data = scaled.source();
        let by = match self.metric {
            Metric::Euclidean => 1.0 / factor,
            // A product of two.
            Metric::Cosine | Metric::Dot => 1.0 / factor / factor,
        };
        let (d, k) = (data.cols() as u64, centroids.rows as u64);
        let d4 = d.div_ceil(4);
        let centroids = Buffer::from_slice(gpu, "centroids", k, &first)?;
        let layout = Layout::new(data.element(), &transform);
        let kernel = Distances::load(gpu, layout)?;
        let bind = |points: Laid<'_>, distances: &Buffer| {
            kernel.bind(gpu, points, &centroids, distances, d, self.metric)
        };
        let of_point = (3 * k * d).max(1);
        let piece = gpu.ops_of_a_piece(&kernel.0, data.rows().saturating_mul(of_point), || {
            let n = (TRIAL_OPS / of_point).clamp(64, 1 << 16);
            let (points, _) = layout.random(gpu, n, d, &mut Random::new(0))?;
            bind(points.laid(), &Buffer::new(gpu, "distances", n, 4 * k)?)
        })?;
        let output = OUTPUT_BYTES.min(gpu.adapter.max_binding_bytes) / (4 * k);
        let chunk = output.min(piece / of_point).min(self.room.chunk).max(1);
        // Points are seen once, so none has to stay: no more than the chunks that are under way.
        let bytes = chunk.saturating_mul(4 * (16 * d4 + bytes_besides(d4, false)));
        let room = Room { bytes: self.room.bytes.min(bytes), chunk };
        let points = Points::new(gpu, data, None, &transform, room)?;
        let distances = Buffer::new(gpu, "distances", points.largest(), 4 * k)?;
        let bound: Vec<Bound> =
            points.blocks().iter().map(|block| bind(block.laid(), &distances)).collect::<Result<_>>()?;
        points.sweep(
            gpu,
            &|_, block| vec![&bound[block]],
            Some(&mut |block, _| {
                let mut all: Vec<f32> = distances.read(gpu)?;
                if factor != 1.0 {
                    all.iter_mut().for_each(|distance| *distance *= by);
                }
                each(&all[..(block.rows() * k) as usize])
            }),
        )
    }

    /// The negative inertia of the rows of `data` by `centroids`: the larger, the better they fit.
    ///
    /// # Errors
    /// Those of [`KMeans::predict`].
    pub fn score(&self, gpu: &Context, data: &dyn Source, centroids: &Matrix) -> Result<f64> {
        Ok(-self.predict(gpu, data, centroids)?.inertia)
    }
}
