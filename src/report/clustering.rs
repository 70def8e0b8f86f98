//! K-means, timed: `lowbit bench kmeans`, and the report's section.

use std::fmt;
use std::iter::repeat_n;
use std::time::Duration;

use serde::Serialize;

use crate::Result;
use crate::gpu::verify::{Answer, Expected, Sample, check};
use crate::gpu::{Bound, Context, OpKind, Timing, Work, time};
use crate::io::npy::Matrix;
use crate::kmeans::Metric;
use crate::kmeans::centroid::Scales;
use crate::kmeans::frame::Transform;
use crate::kmeans::iterate::Lloyd;
use crate::kmeans::points::{Points, Room};
use crate::oracle;
use crate::random::Random;
use crate::roofline::{Effort, Roofs, Share};
use crate::table;

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

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { n, k, d } = self;
        write!(f, "n={n} k={k} d={d}")
    }
}

/// Shapes of `points, clusters, dimensions`.
fn shapes_of(all: &[(u64, u64, u64)]) -> Vec<Shape> {
    all.iter().map(|&(n, k, d)| Shape { n, k, d }).collect()
}

/// The shapes of Flash-KMeans' tables (f32, assign alone), or what a processor does in seconds.
pub fn shapes(gpu: &Context) -> Vec<Shape> {
    match gpu.adapter.is_software() {
        true => shapes_of(&[(1 << 16, 256, 64), (1 << 18, 1024, 128)]),
        false => shapes_of(&[
            (1 << 20, 256, 128),
            (1 << 20, 4096, 128),
            (1 << 20, 65_536, 128),
            (1 << 17, 1024, 128),
        ]),
    }
}

/// The report's: those of [`shapes`] that take a second or less.
fn shapes_of_report(gpu: &Context, effort: Effort) -> Vec<Shape> {
    match (gpu.adapter.is_software(), effort) {
        (true, Effort::Quick) => shapes_of(&[(1 << 14, 256, 64), (1 << 12, 1024, 128)]),
        (true, Effort::Full) => shapes_of(&[(1 << 16, 256, 64), (1 << 15, 1024, 128)]),
        (false, _) => shapes_of(&[(1 << 20, 256, 128), (1 << 20, 4096, 128), (1 << 17, 1024, 128)]),
    }
}

/// The report's rows.
///
/// # Errors
/// The device's.
pub fn rows(
    gpu: &Context,
    roofs: &Roofs,
    effort: Effort,
    progress: &mut dyn FnMut(&str),
) -> Result<Vec<ClusteringRow>> {
    let budget = match effort {
        Effort::Quick => Duration::ZERO,
        Effort::Full => Duration::from_millis(300),
    };
    let row = |shape: Shape| {
        progress(&format!("timing k-means {shape}"));
        measure(gpu, roofs, shape, budget)
    };
    shapes_of_report(gpu, effort).into_iter().map(row).collect()
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
    /// Time of an iteration: assign and update, each with its own percentiles, added up.
    #[serde(flatten)]
    pub timing: Timing,
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

/// Times an iteration on random points: assign and update take about `budget` each.
///
/// # Errors
/// The device's.
pub fn measure(gpu: &Context, roofs: &Roofs, shape: Shape, budget: Duration) -> Result<ClusteringRow> {
    let Shape { n, k, d } = shape;
    let mut random = Random::new(n ^ k);
    let data = Matrix { rows: n as usize, cols: d as usize, values: random.floats((n * d) as usize) };
    let transform = Transform::Plain;
    let points = Points::new(gpu, &data, None, &transform, Room::default())?;
    let lloyd = Lloyd::new(gpu, &points, k, Metric::Euclidean, Scales::new(1.0, None), &[0.0])?;
    lloyd.labeller.start_from(&transform.apply(&data.values[..(k * d) as usize], d as usize))?;
    let [assign, update] = lloyd.stages();
    verify(gpu, &data, &points, &lloyd, shape)?;
    let assigned = time(gpu, std::slice::from_ref(&assign), budget)?;
    let updated = time(gpu, std::slice::from_ref(&update), budget)?;
    // A pass is timed by the passes up to it, less those before: alone it would be given what its own last run left behind,
    // which the passes that follow might take for counts to loop up to.
    let (mut passes, mut before) = (Vec::new(), 0.0);
    for (i, pass) in update.iter().enumerate() {
        let us = time(gpu, &[update[..=i].to_vec()], budget / 10)?.us;
        passes.push((pass.label().to_owned(), f64::max(us - before, 0.0)));
        before = us;
    }
    let work = |passes: &[&Bound]| {
        let add = |a: Work, b: &&Bound| Work { bytes: a.bytes + b.work().bytes, ops: a.ops + b.work().ops };
        passes.iter().fold(Work { bytes: 0, ops: 0 }, add)
    };
    let of_assign = work(&assign);
    let timing = Timing {
        us: assigned.us + updated.us,
        low_us: assigned.low_us + updated.low_us,
        high_us: assigned.high_us + updated.high_us,
        samples: assigned.samples.min(updated.samples),
        timestamps: assigned.timestamps && updated.timestamps,
    };
    Ok(ClusteringRow {
        kernel: "kmeans",
        case: shape.to_string(),
        shape,
        variant: lloyd.labeller.variant.label(),
        timing,
        assign_us: assigned.us,
        gflop_s: assigned.gop_s(of_assign),
        share: roofs.share(of_assign, lloyd.labeller.variant.arithmetic(OpKind::F32), assigned.us),
        update_us: updated.us,
        update_of_iteration: updated.us / timing.us,
        update_of_copy_roof: (4 * n * d) as f64 / 1e3 / updated.us / roofs.copy.value,
        passes,
    })
}

/// Runs the very passes that are timed, at their very size: labels of some points, and means of some clusters.
fn verify(gpu: &Context, data: &Matrix, points: &Points<'_>, lloyd: &Lloyd<'_>, shape: Shape) -> Result<()> {
    let (k, d) = (shape.k as usize, shape.d as usize);
    let what = format!("k-means {shape}");
    let [assign, update] = lloyd.stages();
    let start = &data.values[..k * d];
    points.forget_labels(gpu)?;
    let mut first = 0;
    let mut expected = Vec::new();
    for block in points.blocks() {
        let rows = block.rows() as usize;
        let sample = Sample::of(rows, assign.iter().copied());
        let own = sample.pick(&data.values[first * d..(first + rows) * d]);
        expected.push((sample, Expected::Exact(oracle::assign::assign(&own, start, d))));
        first += rows;
    }
    let answers = points.blocks().iter().zip(&expected);
    let answers: Vec<Answer<'_>> = answers
        .map(|(block, (sample, expected))| Answer {
            name: "labels",
            buffer: &block.labels,
            sample: Some(sample),
            expected,
        })
        .collect();
    check(gpu, &what, assign.iter().copied(), &answers)?;

    let sample = Sample::of(k, update.iter().copied());
    let clusters = sample.rows();
    // What the sums' steps follow from, the largest value, is a point of a cluster by itself.
    let (mut own, mut labels) = (vec![1.0; d], vec![clusters.len() as u32]);
    for (point, &label) in data.values.chunks(d).zip(&points.labels(gpu)?) {
        if let Ok(at) = clusters.binary_search(&(label as usize)) {
            own.extend_from_slice(point);
            labels.push(at as u32);
        }
    }
    let old = [sample.pick(start), vec![0.0; d]].concat();
    let means = oracle::centroid::centroid(&own, &labels, None, &old, d, false, 0);
    let padded = |values: &[f64]| -> Vec<f64> {
        let rows = values.chunks(d).take(clusters.len());
        rows.flat_map(|row| row.iter().copied().chain(repeat_n(0.0, d.next_multiple_of(4) - d))).collect()
    };
    let expected = Expected::Within { values: padded(&means.next), bounds: padded(&means.next_bounds) };
    let answer = Answer { name: "means", buffer: lloyd.means(), sample: Some(&sample), expected: &expected };
    check(gpu, &what, update.iter().copied(), &[answer])
}

/// The header of [`cells`].
pub const HEADER: [&str; 9] = [
    "n x k x d",
    "ms per iteration",
    "assign, ms",
    "GFLOP/s",
    "% of its roof",
    "update, ms",
    "% of iteration",
    "% of copy roof",
    "variant of assign",
];

/// What the columns mean.
pub const NOTE: &str = "n points, k clusters, d dimensions, f32; assign by the f32 roof, or by memory's where k is small; update: \
                        sort by label, exact sums, means, against the points read once at the copy roof";

/// A row for people.
pub fn cells(row: &ClusteringRow) -> [String; 9] {
    let Shape { n, k, d } = row.shape;
    let percent = |share: f64| format!("{:.1}", share * 100.0);
    [
        format!("{n} x {k} x {d}"),
        format!("{:.3}", row.timing.us / 1e3),
        format!("{:.3}", row.assign_us / 1e3),
        format!("{:.1}", row.gflop_s),
        if row.share.valid { percent(row.share.value) } else { "invalid".into() },
        format!("{:.3}", row.update_us / 1e3),
        percent(row.update_of_iteration),
        percent(row.update_of_copy_roof),
        row.variant.clone(),
    ]
}

/// The rows as a table.
pub fn text(rows: &[ClusteringRow]) -> String {
    table::render(&HEADER, rows.iter().map(|row| cells(row).to_vec()).collect()) + NOTE + "\n"
}
