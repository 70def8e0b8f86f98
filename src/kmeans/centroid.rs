//! Host of `centroid`: the mean of the points of each label, from a sort by label, without float atomics.
//!
//! Sums are exact: of whole steps of a scale that follows from the largest value ([`Scales`]). So they are the same however
//! the points are cut into blocks, and whoever adds the blocks up.

use std::time::Duration;

use super::element::{Laid, Layout, Stored, dimensions};
use super::radix_sort::{RadixSort, Sort};
use super::statistics::Statistics;
use crate::Result;
use crate::gpu::dispatch::Class;
use crate::gpu::verify::{Answer, Expected};
use crate::gpu::{Bound, Buffer, Context, Kernel, Spec, Work, params, to_u32, tune};
use crate::oracle;
use crate::random::Random;

/// Interchangeable implementations of the partial sums of runs, all with the same result, once the slot `points` is filled
/// ([`Layout::fill`]). The first runs on every adapter.
pub const VARIANTS: &[Spec] = &[
    PARTIAL.slot("wide", "lib/wide32"),
    PARTIAL.slot("wide", "lib/wide32").consts(&[("COLUMNS", 2)]),
    PARTIAL.slot("wide", "lib/wide64"),
    PARTIAL.slot("wide", "lib/wide64").consts(&[("COLUMNS", 2)]),
];
const PARTIAL: Spec = Spec::new("kmeans/centroid_partial");

/// The same for values of very different sizes.
pub const WIDE: Spec = PARTIAL.slot("wide", "lib/wide32").consts(&[("LEVELS", 6)]);

/// Where each cluster begins, the sums of partial sums by cluster, and the means.
pub const STAGES: &[Spec] = &[
    Spec::new("kmeans/centroid_start"),
    Spec::new("kmeans/centroid"),
    Spec::new("kmeans/centroid_mean"),
    // For few dimensions.
    Spec::new("kmeans/centroid_mean").consts(&[("WG", 16)]),
    // For WIDE.
    Spec::new("kmeans/centroid").consts(&[("LEVELS", 6)]),
    Spec::new("kmeans/centroid_mean").consts(&[("LEVELS", 6)]),
];

/// Fewest sorted points of a run; [`LONGEST_RUN`] is the most.
const SHORTEST_RUN: u64 = 32;
/// Most sorted points that one invocation adds up in a row: so many sums of steps fit into a word.
const LONGEST_RUN: u64 = 64;
/// Invocations that keep a device busy; runs are made shorter where there would be fewer.
const ENOUGH_INVOCATIONS: u64 = 1 << 16;
/// Steps of the largest value, and those of a level to one of the level before: 2^24.
pub(super) const MOST_STEPS: f32 = 16_777_216.0;
/// Values below this are summed up as if they were as large as this: it keeps steps within the range of f32.
const LEAST_SIZE: f64 = 1e-22;

/// Values that variants are tried on: more than the caches of a processor hold.
const TRIAL_VALUES: u64 = 1 << 23;

/// Whole numbers that a value becomes (shaders/lib/exact.wgsl: LEVELS).
const LEVELS: u64 = 2;
/// The same of [`WIDE`]: 144 bits, more than from the largest value of any data to what is below the last digit of others.
const WIDE_LEVELS: u64 = 6;

params! {
    struct Start {
        rows: u32,
        k: u32,
    }
}
params! {
    struct Partial {
        rows: u32,
        n: u32,
        k: u32,
        d4: u32,
        columns: u32,
        slots: u32,
        run_length: u32,
        weighted: u32,
        scale: f32,
        weight_scale: f32,
    }
}
params! {
    struct Merge {
        rows: u32,
        columns: u32,
        slots: u32,
        run_length: u32,
        lanes: u32,
        first: u32,
    }
}
params! {
    struct Mean {
        rows: u32,
        d4: u32,
        columns: u32,
        spherical: u32,
        exponent: i32,
        weight_exponent: i32,
        frozen: u32,
    }
}

/// Steps to the unit of what is summed up: powers of two.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scales {
    /// Of the points, times their weights where they have any.
    pub points: f32,
    /// Of the weights; none if every point counts as one.
    pub weights: Option<f32>,
    /// Whole numbers that a value becomes.
    levels: u64,
}

impl Scales {
    /// For points whose values are at most `size` in size, and weights of at most `weight`, if any.
    pub fn new(size: f64, weight: Option<f64>) -> Self {
        let scale = |size: f64| (f64::from(MOST_STEPS) / power_above(size.max(LEAST_SIZE))) as f32;
        // A product of f32 may round up, but not beyond a factor where the other is 1 or less.
        let most = weight.map_or(size, |weight| {
            if weight <= 1.0 {
                (size * weight * (1.0 + 1e-6)).min(size)
            } else {
                size * weight * (1.0 + 1e-6)
            }
        });
        Self { points: scale(most), weights: weight.map(scale), levels: LEVELS }
    }

    /// The same for points of such statistics, of which some may be so large that the digits of others need more steps; as do
    /// those that count least, if the `lightest` weight is small beside a heaviest one of 1.
    pub(super) fn reaching(self, statistics: &Statistics, lightest: f64) -> Self {
        let levels = if statistics.wide() || lightest < LIGHT { WIDE_LEVELS } else { LEVELS };
        Self { levels, ..self }
    }

    /// Whole numbers that a value becomes.
    pub(super) fn levels(self) -> usize {
        self.levels as usize
    }

    /// Words of a sum of four neighbouring values: low and high of the steps of each level.
    pub fn words(self) -> u64 {
        8 * self.levels
    }

    /// `value` in steps of each level, as `lib/exact` counts them, by a scale of these.
    pub fn steps_of(self, value: f32, scale: f32) -> Vec<i64> {
        let mut rest = value * scale;
        let level = |_| {
            let whole = rest.round_ties_even();
            rest = (rest - whole) * MOST_STEPS;
            whole as i64
        };
        (0..self.levels).map(level).collect()
    }

    /// Where the low word of sum number `at` lies among the words of neighbouring sums, for each level; its high word lies four
    /// places behind.
    fn places(self, at: usize) -> impl Iterator<Item = usize> {
        let first = at / 4 * self.words() as usize + at % 4;
        (0..self.levels as usize).map(move |level| first + 8 * level)
    }

    /// Sum number `at`, times its scale.
    pub fn read(self, sums: &[u32], at: usize) -> f64 {
        let steps = self.places(at).map(|low| read_step(sums, low) as f64);
        steps.zip(0..).map(|(steps, level)| steps / f64::from(MOST_STEPS).powi(level)).sum()
    }

    /// Adds steps to sum number `at`.
    pub fn add(self, sums: &mut [u32], at: usize, steps: impl IntoIterator<Item = i64>) {
        self.places(at).zip(steps).for_each(|(low, steps)| add_step(sums, low, steps));
    }
}

/// The largest power of two that is at most `size`, which is above 0. By its bits: a logarithm is rounded, and another
/// one for what is larger by a power of two.
fn power_below(size: f64) -> f64 {
    f64::from_bits(size.to_bits() & !((1 << 52) - 1))
}

/// The exponent of a power of two.
fn exponent(power: f32) -> i32 {
    f64::from(power).log2() as i32
}

/// The least power of two that is at least `size`, which is above 0.
pub(super) fn power_above(size: f64) -> f64 {
    let below = power_below(size);
    if below < size { 2.0 * below } else { below }
}

/// The number whose low word lies at `low`, and its high word four places behind.
pub fn read_step(sums: &[u32], low: usize) -> i64 {
    (i64::from(sums[low + 4]) << 32) | i64::from(sums[low])
}

/// Adds to such a number.
pub fn add_step(sums: &mut [u32], low: usize, steps: i64) {
    let sum = read_step(sums, low).wrapping_add(steps);
    (sums[low], sums[low + 4]) = (sum as u32, (sum >> 32) as u32);
}

/// Weights below this, of a heaviest one of 1, leave a value too few of the steps of two levels.
const LIGHT: f64 = 1e-6;

/// The compiled stages.
#[derive(Debug)]
pub struct Centroid {
    start: Kernel<Start>,
    partial: Kernel<Partial>,
    levels: u64,
    /// Columns that one invocation of it adds up.
    columns_each: u64,
    merge: Kernel<Merge>,
    mean: Kernel<Mean>,
}

/// Room for the sums of up to a number of points.
#[derive(Debug)]
pub struct Scratch {
    start: Buffer,
    partial: Buffer,
    /// Sorted points in a run, the same for every block: the partial sums of a smaller block then fit as well.
    run_length: u64,
}

/// Points and their weights, if they have any.
#[derive(Clone, Copy, Debug)]
pub struct Weighted<'a> {
    /// `[n, d4]`, laid as the kernel was compiled for.
    pub points: Laid<'a>,
    /// `[n]`, or `[1]` unused where the scales say that there are none.
    pub weights: &'a Buffer,
}

/// What the means are computed from and into.
#[derive(Clone, Copy, Debug)]
pub struct Means<'a> {
    /// `[k, d4]` vec4s: the centroids before.
    pub centroids: &'a Buffer,
    /// `[k, columns]` sums of [`Scales::words`] words over all blocks of points so far.
    pub sums: &'a Buffer,
    /// `[k]` points of each cluster in all blocks so far.
    pub counts: &'a Buffer,
    /// `[k, d4]` vec4s: the centroids after.
    pub next: &'a Buffer,
    /// `[k]` squared distance between the two.
    pub shift: &'a Buffer,
    /// `[k]` points of each cluster, or the sum of their weights.
    pub mass: &'a Buffer,
}

/// Points of known means, for the tuner.
struct Trial {
    points: Stored,
    labels: Buffer,
    scales: Scales,
    means: Expected,
}

impl Trial {
    fn new(gpu: &Context, layout: Layout, (n, k, d): (u64, u64, u64), random: &mut Random) -> Result<Self> {
        let labels: Vec<u32> = (0..n).map(|_| random.below(k) as u32).collect();
        let (points, values) = layout.random(gpu, n, d, random)?;
        let old = vec![0.0; (k * d) as usize];
        let means = oracle::centroid::centroid(&values, &labels, None, &old, d as usize, false, 0);
        let size = values.iter().fold(0f32, |most, value| most.max(value.abs()));
        Ok(Self {
            points,
            labels: Buffer::from_slice(gpu, "labels to try", n, &labels)?,
            scales: Scales::new(size.into(), None),
            means: Expected::Within { values: means.next, bounds: means.next_bounds },
        })
    }
}

/// Sorted points in a run, for blocks of up to `n` points.
fn run_length(n: u64, d4: u64) -> u64 {
    (n * d4 / ENOUGH_INVOCATIONS).next_power_of_two().clamp(SHORTEST_RUN, LONGEST_RUN)
}

/// What the choice of a variant depends on.
pub fn class(layout: Layout, d: u64) -> Class {
    layout.class(Class::new(&[("d", dimensions(d))]))
}

impl Centroid {
    /// Compiles the stages for `d` dimensions, the partial sums as `spec`, one of [`VARIANTS`] with its slot
    /// filled.
    pub fn load(gpu: &Context, spec: &Spec, d: u64) -> Result<Self> {
        let partial: Kernel<Partial> = Kernel::load(gpu, spec)?;
        let levels = partial.reflection().constant("LEVELS")?.into();
        let [merge, mean] = if levels == LEVELS { [1, 2 + usize::from(d <= 64)] } else { [4, 5] };
        Ok(Self {
            start: Kernel::load(gpu, &STAGES[0])?,
            levels,
            columns_each: partial.reflection().constant("COLUMNS")?.into(),
            partial,
            merge: Kernel::load(gpu, &STAGES[merge])?,
            mean: Kernel::load(gpu, &STAGES[mean])?,
        })
    }

    /// Compiles the variant for `d` dimensions on this adapter, or the one for sums of so many levels.
    pub fn tuned(gpu: &Context, layout: Layout, d: u64, scales: Scales) -> Result<Self> {
        if scales.levels != LEVELS {
            return Self::load(gpu, &layout.fill(&WIDE), d);
        }
        let (whole, d) = (d, dimensions(d));
        let (n, k) = (TRIAL_VALUES.div_ceil(d), 64);
        let mut random = Random::new(0);
        let mut trial = None;
        let variants = layout.fill_all(VARIANTS);
        let spec = tune::choose(gpu, &variants, class(layout, d), |spec| {
            let kernels = Self::load(gpu, spec, d)?;
            let Trial { points, labels, scales, means: expected } = match &mut trial {
                Some(trial) => trial,
                none => none.insert(Trial::new(gpu, layout, (n, k, d), &mut random)?),
            };
            let sorter = RadixSort::load(gpu)?;
            let sort_scratch = sorter.scratch(gpu, n)?;
            let sort = sorter.bind(gpu, labels, None, k.ilog2(), &sort_scratch)?;
            let scratch = kernels.scratch(gpu, n, k, d.div_ceil(4))?;
            let room = |bytes| Buffer::new(gpu, "sums to try", k, bytes);
            let old = Buffer::from_slice(gpu, "old centroids", k, &vec![0.0f32; (k * d) as usize])?;
            let means = Means {
                centroids: &old,
                sums: &room(4 * scales.words() * d.div_ceil(4))?,
                counts: &room(4)?,
                next: &room(4 * d)?,
                shift: &room(4)?,
                mass: &room(4)?,
            };
            let weighted =
                Weighted { points: points.laid(), weights: &Buffer::new(gpu, "no weights", 1, 4)? };
            let own = kernels.bind(gpu, weighted, &sort, &means, &scratch, (k, d), *scales, true)?;
            let mean = kernels.bind_mean(gpu, &means, d, *scales, false, 0)?;
            let passes: Vec<&Bound> = sort.passes.iter().chain(&own).chain([&mean]).collect();
            let answer = Answer { name: "means", buffer: means.next, sample: None, expected };
            tune::trial(gpu, spec, &passes, &[answer], &[&own[1]], Duration::ZERO)
        })?;
        Self::load(gpu, spec, whole)
    }

    /// Vec4s of a sum over points of `d` dimensions.
    pub fn columns(d: u64, scales: Scales) -> u64 {
        d.div_ceil(4) + u64::from(scales.weights.is_some())
    }

    /// Bytes of the partial sums of `n` points in `k` clusters, at most.
    pub fn scratch_bytes(n: u64, k: u64, columns: u64) -> u64 {
        16 * WIDE_LEVELS * columns * (n.div_ceil(SHORTEST_RUN) + k)
    }

    /// Room for blocks of up to `n` points in `k` clusters, sums of so many columns.
    pub fn scratch(&self, gpu: &Context, n: u64, k: u64, columns: u64) -> Result<Scratch> {
        let run_length = run_length(n, columns);
        let slots = n.div_ceil(run_length) + k;
        Ok(Scratch {
            run_length,
            start: Buffer::new(gpu, "cluster starts", k + 1, 4)?,
            partial: Buffer::new(gpu, "partial sums", slots, 16 * self.levels * columns)?,
        })
    }

    /// Binds the sums of one block, sorted by label; the `first` of all starts them.
    #[allow(clippy::too_many_arguments, reason = "they are the kernel's own inputs, each of another kind")]
    pub fn bind(
        &self,
        gpu: &Context,
        block: Weighted<'_>,
        sort: &Sort<'_>,
        means: &Means<'_>,
        scratch: &Scratch,
        (k, d): (u64, u64),
        scales: Scales,
        first: bool,
    ) -> Result<[Bound; 3]> {
        let (n, columns) = (block.points.rows(), Self::columns(d, scales));
        let run = scratch.run_length;
        let runs = n.div_ceil(run);
        let slots = to_u32(runs + k, "the number of partial sums")?;
        let (n32, k32) = (to_u32(n, "the number of points")?, to_u32(k, "the number of clusters")?);
        let (columns32, run_length) = (to_u32(columns, "the dimension")?, to_u32(run, "the run length")?);
        let start = self.start.bind(
            gpu,
            &[("sorted_labels", sort.keys), ("start", &scratch.start)],
            Start { rows: n32, k: k32 },
            Work { bytes: 4 * (n + k), ops: n },
        )?;
        let partial = self.partial.bind(
            gpu,
            &block.points.bindings(&[
                ("weights", block.weights),
                ("order", sort.values),
                ("sorted_labels", sort.keys),
                ("start", &scratch.start),
                ("partial", &scratch.partial),
            ]),
            Partial {
                rows: to_u32(runs * columns.div_ceil(self.columns_each), "the number of sums")?,
                n: n32,
                k: k32,
                d4: to_u32(d.div_ceil(4), "the dimension")?,
                columns: columns32,
                slots,
                run_length,
                weighted: if scales.weights.is_some() { n32 } else { 1 },
                scale: scales.points,
                weight_scale: scales.weights.unwrap_or(1.0),
            },
            Work { bytes: 4 * (n * d + 2 * n + 2 * runs.max(k) * d), ops: n * d },
        )?;
        let merge = self.merge.bind(
            gpu,
            &[
                ("start", &scratch.start),
                ("partial", &scratch.partial),
                ("sums", means.sums),
                ("counts", means.counts),
            ],
            Merge {
                rows: k32,
                columns: columns32,
                slots,
                run_length,
                lanes: columns32.next_power_of_two().min(64),
                first: u32::from(first),
            },
            Work { bytes: 4 * (2 * runs.max(k) * d + 4 * k * d), ops: (runs.max(k) + k) * d },
        )?;
        Ok([start, partial, merge])
    }

    /// Binds the means of the sums; `spherical` ones are unit vectors. The first `frozen` centroids stay.
    pub fn bind_mean(
        &self,
        gpu: &Context,
        means: &Means<'_>,
        d: u64,
        scales: Scales,
        spherical: bool,
        frozen: u64,
    ) -> Result<Bound> {
        let k = means.counts.rows();
        let fine = 1.0 / MOST_STEPS;
        let weight_exponent = scales.weights.map_or(0, |weights| exponent(fine / weights));
        self.mean.bind(
            gpu,
            &[
                ("sums", means.sums),
                ("counts", means.counts),
                ("centroids", means.centroids),
                ("next", means.next),
                ("shift", means.shift),
                ("mass", means.mass),
            ],
            Mean {
                rows: to_u32(k, "the number of clusters")?,
                d4: to_u32(d.div_ceil(4), "the dimension")?,
                columns: to_u32(Self::columns(d, scales), "the dimension")?,
                spherical: u32::from(spherical),
                exponent: exponent(fine / scales.points) - weight_exponent,
                weight_exponent,
                frozen: to_u32(frozen, "the number of frozen centroids")?,
            },
            Work { bytes: 4 * k * (6 * d + 3), ops: 4 * k * d },
        )
    }
}
