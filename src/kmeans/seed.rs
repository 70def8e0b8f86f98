//! Host of `seed`: greedy k-means++ on the device, without a host synchronisation between steps.

use std::time::{Duration, Instant};

use super::element::{Laid, Layout, dimensions};
use super::progress::{Batch, Progress};
use crate::Result;
use crate::gpu::dispatch::Class;
use crate::gpu::verify::{Answer, Expected};
use crate::gpu::{Bound, Buffer, Context, Kernel, Recorder, Spec, Work, params, to_u32, tune};
use crate::oracle;
use crate::random::Random;

/// Interchangeable implementations of the distances to the candidates, once the slot `points` is filled ([`Layout::fill`]);
/// all cover as many points with a workgroup.
pub const VARIANTS: &[Spec] = &[
    Spec::new("kmeans/seed_distance").slot("wide", "lib/wide32"),
    Spec::new("kmeans/seed_distance_subgroup").slot("wide", "lib/wide32"),
];
/// The choice among the candidates, also for few groups of points.
pub const STAGES: &[Spec] = &[Spec::new("kmeans/seed"), Spec::new("kmeans/seed").consts(&[("WG", 32)])];
/// The most groups that count as few.
const FEW_GROUPS: u64 = 32;

/// Steps in a submission, at most.
const LONGEST_BATCH: u32 = 256;

params! {
    struct DistanceParams {
        rows: u32,
        n: u32,
        each: u32,
        problems: u32,
        d4: u32,
        trials: u32,
        groups: u32,
        weighted: u32,
    }
}
params! {
    struct PickParams {
        rows: u32,
        n: u32,
        each: u32,
        trials: u32,
        groups: u32,
        group_rows: u32,
        k: u32,
        seed: u32,
    }
}
params! {
    /// Where the seeding of a problem stands (shaders/lib/seed.wgsl).
    pub struct Pick {
        /// Seeds chosen so far.
        step: u32,
        /// The trial that won the last step.
        best: u32,
    }
}

/// The compiled stages.
#[derive(Debug)]
pub struct Seed {
    distance: Kernel<DistanceParams>,
    pick: Kernel<PickParams>,
}

/// The buffers of a seeding of several problems. The first candidates and the start of `pick` are uploaded, the kernels
/// write the rest.
#[derive(Debug)]
pub struct State {
    /// `[n, trials]` squared distances to the nearest seed if the trial were taken; two, in turn.
    pub nearest: [Buffer; 2],
    /// `[groups, trials]` their sums.
    pub potential: Buffer,
    /// `[problems, trials]` points to be tried.
    pub candidates: Buffer,
    /// `[problems, k]` the seeds.
    pub chosen: Buffer,
    /// `[problems]` steps done, and the trial that won.
    pub pick: Buffer,
    /// `[n]`, or `[1]`: 1 for every point.
    pub weights: Buffer,
    trials: u64,
    groups: u64,
    k: u64,
    /// Steps that were done before the first.
    begun: u64,
}

/// Weighed distances below this are 0 (shaders/lib/seed.wgsl).
const LEAST_POTENTIAL: f32 = f32::from_bits((127 - 120) << 23);

impl State {
    /// The state behind a first step that chose something else than points: `nearest` (`[n]`) are the weighed distances to it, and
    /// these points are to be tried next.
    fn beside(self, gpu: &Context, nearest: &[f32], candidates: &[u32]) -> Result<Self> {
        let trials = self.trials as usize;
        let mut all = vec![0.0; nearest.len() * trials];
        all.iter_mut().step_by(trials).zip(nearest).for_each(|(to, &nearest)| *to = nearest);
        self.nearest[0].write(gpu, &all)?;
        self.candidates.write(gpu, candidates)?;
        self.pick.write(gpu, &[Pick { step: 1, best: 0 }])?;
        let k = self.k + 1;
        Ok(Self { chosen: Buffer::new(gpu, "chosen", 1, 4 * k)?, k, begun: 1, ..self })
    }
}

/// Trials per step, as scikit-learn has them: 2 + floor(ln k).
pub fn trials(k: u64) -> u64 {
    2 + (k as f64).ln().floor() as u64
}

/// How many points of `d` dimensions `k` seeds can be chosen among, with so many bytes for each list of them: no more than
/// a 24-bit random number can tell apart.
pub fn most_points(bytes: u64, d: u64, k: u64) -> u64 {
    (bytes / bytes_of_each(d, k)).min(1 << 24)
}

/// How many bytes for each list let `k` seeds be chosen among so many points.
pub(super) fn bytes_for(points: u64, d: u64, k: u64) -> u64 {
    points.saturating_mul(bytes_of_each(d, k))
}

fn bytes_of_each(d: u64, k: u64) -> u64 {
    (16 * d.div_ceil(4)).max(4 * trials(k))
}

/// What the choice of a variant depends on.
pub fn class(layout: Layout, d: u64, k: u64) -> Class {
    layout.class(Class::new(&[("d", dimensions(d)), ("trials", trials(k))]))
}

impl Seed {
    /// Compiles the stages for problems of `each` points, the distances as `spec`, one of [`VARIANTS`]
    /// with its slot filled.
    pub fn load(gpu: &Context, spec: &Spec, each: u64) -> Result<Self> {
        let distance: Kernel<DistanceParams> = Kernel::load(gpu, spec)?;
        let group_rows = distance.reflection().rows_per_group.unwrap_or(1);
        let few = each.div_ceil(u64::from(group_rows)) <= FEW_GROUPS;
        Ok(Self { distance, pick: Kernel::load(gpu, &STAGES[usize::from(few)])? })
    }

    /// Compiles the variant on this adapter for `d` dimensions and `k` seeds of problems of `each` points.
    pub fn tuned(gpu: &Context, layout: Layout, each: u64, d: u64, k: u64) -> Result<Self> {
        let d = dimensions(d);
        let n = if gpu.adapter.is_software() { 4096 } else { ((1 << 24) / d).max(1 << 15) };
        let mut trial = None;
        let variants = layout.fill_all(VARIANTS);
        let spec = tune::choose(gpu, &variants, class(layout, d, k), |spec| {
            let kernels = Self::load(gpu, spec, n)?;
            let (points, expected) = match &mut trial {
                Some(trial) => trial,
                none => {
                    let (points, values) = layout.random(gpu, n, d, &mut Random::new(0))?;
                    none.insert((points, kernels.first_distances(&values, d, k)))
                }
            };
            let state = kernels.state(gpu, (n, 1), k, &[0], None)?;
            let [distance, _] = kernels.bind(gpu, points.laid(), &state, d, 0, 0)?;
            let outputs = [("nearest", &state.nearest[0]), ("potential", &state.potential)];
            let answers = outputs.into_iter().zip(expected.iter());
            let answers =
                answers.map(|((name, buffer), expected)| Answer { name, buffer, sample: None, expected });
            let answers: Vec<Answer<'_>> = answers.collect();
            tune::trial(gpu, spec, &[&distance], &answers, &[&distance], Duration::ZERO)
        })?;
        Self::load(gpu, spec, each)
    }

    /// What the first step writes for `points` (`[n, d]`) whose candidates are all the first: the distances to it, and their sums
    /// over the points of each workgroup.
    fn first_distances(&self, points: &[f32], d: u64, k: u64) -> [Expected; 2] {
        const UNIT: f64 = 1.0 / 16_777_216.0;
        let (d, trials) = (d as usize, trials(k) as usize);
        let of_points: Vec<(f64, f64)> = points
            .chunks(d)
            .map(|x| (oracle::distance::distance(x, &points[..d]), oracle::distance::bound(x, &points[..d])))
            .collect();
        let sums = of_points.chunks(self.group_rows() as usize).map(|group| {
            let sum: f64 = group.iter().map(|(distance, _)| distance).sum();
            (sum, group.iter().map(|(_, bound)| bound).sum::<f64>() + group.len() as f64 * UNIT * sum)
        });
        let sums: Vec<(f64, f64)> = sums.collect();
        [of_points, sums].map(|pairs| {
            let (values, bounds) = pairs.into_iter().flat_map(|pair| vec![pair; trials]).unzip();
            Expected::Within { values, bounds }
        })
    }

    fn group_rows(&self) -> u32 {
        self.distance.reflection().rows_per_group.unwrap_or(1)
    }

    /// Buffers for choosing `k` points of each of several problems, `n` points in all, by these weights if they have any (one
    /// for all, or one for each); point `first` (`[problems]`) of each problem is its first.
    pub fn state(
        &self,
        gpu: &Context,
        (n, problems): (u64, u64),
        k: u64,
        first: &[u32],
        weights: Option<&[f32]>,
    ) -> Result<State> {
        let weights = weights.unwrap_or(&[1.0]);
        let trials = trials(k);
        let groups = problems * (n / problems).div_ceil(u64::from(self.group_rows()));
        let candidates: Vec<u32> = first.iter().flat_map(|&first| vec![first; trials as usize]).collect();
        Ok(State {
            nearest: [
                Buffer::new(gpu, "nearest 0", n, 4 * trials)?,
                Buffer::new(gpu, "nearest 1", n, 4 * trials)?,
            ],
            potential: Buffer::new(gpu, "potential", groups, 4 * trials)?,
            candidates: Buffer::from_slice(gpu, "candidates", problems, &candidates)?,
            chosen: Buffer::new(gpu, "chosen", problems, 4 * k)?,
            pick: Buffer::from_slice(gpu, "pick", problems, &vec![Pick::default(); problems as usize])?,
            weights: Buffer::from_slice(gpu, "weights", weights.len() as u64, weights)?,
            trials,
            groups,
            k,
            begun: 0,
        })
    }

    /// Binds step number `parity` modulo 2: distances to the candidates, then the choice.
    pub fn bind(
        &self,
        gpu: &Context,
        points: Laid<'_>,
        state: &State,
        d: u64,
        seed: u32,
        parity: usize,
    ) -> Result<[Bound; 2]> {
        let (n, problems, trials) = (points.rows(), state.pick.rows(), state.trials);
        let (problems32, each) =
            (to_u32(problems, "the number of problems")?, to_u32(n / problems, "the number of points")?);
        let (n32, trials32) = (to_u32(n, "the number of points")?, to_u32(trials, "the number of trials")?);
        let groups = to_u32(state.groups, "the number of groups")?;
        let distance = self.distance.bind(
            gpu,
            &points.bindings(&[
                ("candidates", &state.candidates),
                ("pick", &state.pick),
                ("nearest", &state.nearest[1 - parity]),
                ("nearest_next", &state.nearest[parity]),
                ("potential", &state.potential),
                ("weights", &state.weights),
            ]),
            DistanceParams {
                rows: to_u32(state.groups * u64::from(self.group_rows()), "the number of points")?,
                n: n32,
                each,
                problems: problems32,
                d4: to_u32(d.div_ceil(4), "the dimension")?,
                trials: trials32,
                groups,
                weighted: to_u32(state.weights.rows(), "the number of weights")?,
            },
            Work { bytes: 4 * (n * d + n + n * trials), ops: 3 * n * d * trials },
        )?;
        let pick = self.pick.bind(
            gpu,
            &[
                ("nearest", &state.nearest[parity]),
                ("potential", &state.potential),
                ("candidates", &state.candidates),
                ("chosen", &state.chosen),
                ("pick", &state.pick),
            ],
            PickParams {
                rows: problems32,
                n: n32,
                each,
                trials: trials32,
                groups,
                group_rows: self.group_rows(),
                k: to_u32(state.k, "the number of clusters")?,
                seed,
            },
            Work { bytes: 4 * state.groups * (trials + 1), ops: state.groups * (trials + 1) },
        )?;
        Ok([distance, pick])
    }

    /// The indices of `k` of the points of each of several problems, chosen by greedy k-means++, unless an error of `progress`
    /// ends it. Each problem's are those that it would get alone. `beside` are the squared distances (`[n]`) of the points of one
    /// problem to centroids that it has already.
    #[allow(
        clippy::too_many_arguments,
        reason = "they are a clustering's own settings, each of another kind"
    )]
    pub fn choose(
        &self,
        gpu: &Context,
        (points, problems): (Laid<'_>, u64),
        (weights, beside): (Option<&[f32]>, Option<&[f32]>),
        d: u64,
        k: u64,
        random: &mut Random,
        progress: &mut dyn FnMut(Progress) -> Result<()>,
    ) -> Result<Vec<u32>> {
        // The sum over all points must not overflow; a factor of all weights changes nothing else.
        let part = 1.0 / (points.rows() / problems).next_power_of_two() as f32;
        let parts: Vec<f32> = weights.unwrap_or(&[1.0]).iter().map(|weight| weight * part).collect();
        let each = points.rows() / problems;
        let draw = |weights: Option<&[f32]>, random: &mut Random| {
            to_u32(one_of(each, weights, random), "the first seed")
        };
        let state = match beside {
            None => {
                let before = random.clone();
                let mut first = |problem: u64| {
                    *random = before.clone();
                    let own = weights.map(|weights| &weights[(problem * each) as usize..][..each as usize]);
                    draw(own, random)
                };
                let first = (0..problems).map(&mut first).collect::<Result<Vec<u32>>>()?;
                self.state(gpu, (points.rows(), problems), k, &first, Some(&parts))?
            }
            Some(distances) => {
                let state = self.state(gpu, (points.rows(), problems), k, &[0], Some(&parts))?;
                let nearest = distances.iter().enumerate().map(|(at, distance)| {
                    let weighed = distance * parts[at.min(parts.len() - 1)];
                    if weighed < LEAST_POTENTIAL { 0.0 } else { weighed }
                });
                let nearest: Vec<f32> = nearest.collect();
                let likely = nearest.iter().any(|&weighed| weighed > 0.0).then_some(&nearest[..]);
                let drawn = (0..state.trials).map(|_| draw(likely, random)).collect::<Result<Vec<u32>>>()?;
                state.beside(gpu, &nearest, &drawn)?
            }
        };
        let begun = state.begun;
        let seed = random.word();
        let steps =
            [self.bind(gpu, points, &state, d, seed, 0)?, self.bind(gpu, points, &state, d, seed, 1)?];
        let mut batch = Batch::new(LONGEST_BATCH);
        let mut done = 0;
        while done < k {
            let (from, size) = (Instant::now(), u64::from(batch.size).min(k - done));
            let mut record = Recorder::new(gpu);
            for step in (begun + done..).take(size as usize) {
                for bound in &steps[(step % 2) as usize] {
                    record.dispatch(bound);
                }
            }
            record.submit()?;
            gpu.wait()?;
            batch.took(from.elapsed(), to_u32(size, "the steps")?);
            done += size;
            progress(Progress::Seeding { chosen: done as usize, of: k as usize })?;
            gpu.go_on(|| "while the first centroids were chosen".into())?;
        }
        Ok(state.chosen.read(gpu)?.split_off((problems * begun) as usize))
    }
}

/// One of `n` points, by their weights if they have any.
pub(super) fn one_of(n: u64, weights: Option<&[f32]>, random: &mut Random) -> u64 {
    let Some(weights) = weights else { return random.below(n) };
    let total: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
    let mut left = random.unit() * total;
    let mut last = 0;
    for (point, &weight) in (0..).zip(weights).filter(|(_, weight)| **weight > 0.0) {
        last = point;
        left -= f64::from(weight);
        if left < 0.0 {
            break;
        }
    }
    last
}
