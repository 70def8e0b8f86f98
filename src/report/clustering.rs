//! K-means, timed: `lowbit bench kmeans`.

use std::time::Duration;

use serde::Serialize;

use super::table;
use crate::Result;
use crate::gpu::{Bound, Context, OpKind, Work, time};
use crate::io::npy::Matrix;
use crate::kmeans::Metric;
use crate::kmeans::assign;
use crate::kmeans::centroid::Scales;
use crate::kmeans::lloyd::Lloyd;
use crate::kmeans::points::{Points, Room, Transform};
use crate::random::Random;
use crate::roofline::{Roofs, Share};

/// `n` points of `d` dimensions to `k` clusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Shape {
    /// Points.
    pub n: u64,
    /// Clusters.
    pub k: u64,
    /// Dimensions.
    pub d: u64,
}

/// The shapes of Flash-KMeans' tables (f32, assign alone), or what a processor does in seconds.
pub fn shapes(gpu: &Context) -> Vec<Shape> {
    let of = |(n, k, d)| Shape { n, k, d };
    match gpu.adapter.is_software() {
        true => [(1 << 16, 256, 64), (1 << 18, 1024, 128)].map(of).into(),
        false => [(1 << 20, 256, 128), (1 << 20, 4096, 128), (1 << 20, 65_536, 128), (1 << 17, 1024, 128)]
            .map(of)
            .into(),
    }
}

/// One shape.
#[derive(Clone, Debug, Serialize)]
pub struct ClusteringRow {
    /// `kmeans`.
    pub kernel: &'static str,
    /// The shape.
    pub case: String,
    /// The same.
    #[serde(flatten)]
    pub shape: Shape,
    /// The variant of assign that was fastest.
    pub variant: String,
    /// Time of an iteration: assign and update.
    pub us: f64,
    /// Time of the assignment.
    pub assign_us: f64,
    /// Multiplications and additions of the assignment over its time.
    pub gflop_s: f64,
    /// The shortest time of the assignment that the roofs allow, over its time.
    pub share: Share,
    /// Time of the update: the sort by label, the sums and the means.
    pub update_us: f64,
    /// The update's time over the iteration's.
    pub update_of_iteration: f64,
    /// The points read once at the copy roof, over the update's time.
    pub update_of_copy_roof: f64,
    /// Dispatches of the update: name and time of each.
    pub passes: Vec<(String, f64)>,
}

/// Times an iteration on random points.
///
/// # Errors
/// The device's.
pub fn measure(gpu: &Context, roofs: &Roofs, shape: Shape) -> Result<ClusteringRow> {
    let Shape { n, k, d } = shape;
    let mut random = Random::new(n ^ k);
    let data = Matrix { rows: n as usize, cols: d as usize, values: random.floats((n * d) as usize) };
    let transform = Transform::Plain;
    let points = Points::new(gpu, &data, None, &transform, Room::default())?;
    let lloyd = Lloyd::new(gpu, &points, k, Metric::Euclidean, Scales::new(1.0, None), &[0.0])?;
    lloyd.labeller.start_from(&transform.apply(&data.values[..(k * d) as usize], d as usize))?;
    let [assign, update] = lloyd.stages();
    let budget = Duration::from_millis(500);
    let assigned = time(gpu, std::slice::from_ref(&assign), budget)?;
    let updated = time(gpu, std::slice::from_ref(&update), budget)?;
    let mut passes = Vec::new();
    for pass in &update {
        passes.push((pass.label().to_owned(), time(gpu, &[vec![*pass]], budget / 10)?.us));
    }
    let work = |passes: &[&Bound]| {
        let add = |a: Work, b: &&Bound| Work { bytes: a.bytes + b.work().bytes, ops: a.ops + b.work().ops };
        passes.iter().fold(Work { bytes: 0, ops: 0 }, add)
    };
    let of_assign = work(&assign);
    let us = assigned.us + updated.us;
    Ok(ClusteringRow {
        kernel: "kmeans",
        case: format!("n={n} k={k} d={d}"),
        shape,
        variant: assign::tuned(gpu, n, k, d)?.label(),
        us,
        assign_us: assigned.us,
        gflop_s: assigned.gop_s(of_assign),
        share: roofs.share(of_assign, OpKind::F32, assigned.us),
        update_us: updated.us,
        update_of_iteration: updated.us / us,
        update_of_copy_roof: (4 * n * d) as f64 / 1e3 / updated.us / roofs.copy.value,
        passes,
    })
}

/// The rows for people.
pub fn text(rows: &[ClusteringRow]) -> String {
    let row = |row: &ClusteringRow| {
        vec![
            format!("{} x {} x {}", row.shape.n, row.shape.k, row.shape.d),
            format!("{:.3}", row.us / 1e3),
            format!("{:.3}", row.assign_us / 1e3),
            format!("{:.1}", row.gflop_s),
            format!("{:.1}", row.share.value * 100.0),
            format!("{:.3}", row.update_us / 1e3),
            format!("{:.1}", row.update_of_iteration * 100.0),
            format!("{:.1}", row.update_of_copy_roof * 100.0),
            row.variant.clone(),
        ]
    };
    let header = [
        "n x k x d",
        "ms an iteration",
        "assign ms",
        "GFLOP/s",
        "% of its roof",
        "update ms",
        "% of iteration",
        "% of copy roof",
        "variant of assign",
    ];
    table::render(&header, rows.iter().map(row).collect())
}
