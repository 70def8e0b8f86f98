//! Cases of `seed`: the distances to some trials, and the choice among them.

use super::laid::Points;
use super::{Case, Entry, Expected, FOLDED, Prepared, Random, Sample};
use crate::Result;
use crate::gpu::dispatch::Class;
use crate::gpu::{Bound, Context, OpKind, Spec};
use crate::kmeans::element::{Element, FILES};
use crate::kmeans::seed::{self, Pick, STAGES, Seed, State, VARIANTS, trials};
use crate::oracle;

/// The kernel's place in the registry.
pub const ENTRY: Entry = Entry {
    stem: "seed",
    variants: VARIANTS,
    stages: STAGES,
    decoders: FILES,
    op: OpKind::F32,
    tests,
    benches,
};

/// Points of one workgroup of the distances, as every variant's shader has it.
const GROUP: usize = 512;

fn tests() -> Vec<Box<dyn Case>> {
    let mut cases: Vec<Box<dyn Case>> = Vec::new();
    for (n, k, d) in [(1, 1, 1), (511, 2, 3), (512, 9, 4), (513, 3, 5), (1009, 60, 17), (70_001, 4, 1)] {
        for step in [0, 1, 6] {
            cases.push(Box::new(Step::new((n, k, d), step, Which::Distance)));
            cases.push(Box::new(Step::new((n, k, d), step, Which::Choice)));
        }
    }
    for n in [513, 1009] {
        let weights = Some((0..n).map(|i| (i % 3) as f32).collect());
        cases.push(Box::new(Step { weights, ..Step::new((n, 60, 5), 1, Which::Distance) }));
    }
    for element in [Element::F16, Element::U8, Element::I8] {
        for d in [4, 17] {
            let step = Step::new((1009, 60, d), 1, Which::Distance);
            let points = Points::of_integers(&step.points.clustered, d, element);
            cases.push(Box::new(Step { points, ..step }));
        }
    }
    // More problems than a row of a grid has workgroups.
    cases.push(Box::new(Step::several((FOLDED, 2, 1), 2, 1)));
    cases.push(Box::new(Step::several((7, 600, 3), 60, 1)));
    cases.push(Box::new(Step { before: vec![0.0; 300], ..Step::new((300, 5, 2), 3, Which::Choice) }));
    cases
}

fn benches(bytes: u64) -> Vec<Box<dyn Case>> {
    let d = 64;
    vec![Box::new(Step::new(((bytes as usize / (4 * d)).clamp(4_096, 1 << 20), 64, d), 1, Which::Distance))]
}

#[derive(Clone, Copy, PartialEq)]
enum Which {
    Distance,
    Choice,
}

/// Step number `step` among small whole numbers, which add up without rounding: only one answer is right.
struct Step {
    points: Points,
    before: Vec<f64>,
    weights: Option<Vec<f32>>,
    candidates: Vec<u32>,
    k: usize,
    d: usize,
    problems: usize,
    step: u32,
    which: Which,
}

const RANDOM_SEED: u32 = 12_345;

impl Step {
    fn new((n, k, d): (usize, usize, usize), step: u32, which: Which) -> Self {
        let mut random = Random::new(n as u64);
        let candidates = (0..trials(k as u64)).map(|_| random.below(n as u64) as u32).collect();
        let points = Points::plain(random.integers(n * d, 3), d);
        let before = (0..n).map(|_| random.below(9 * d as u64) as f64).collect();
        Self { points, before, weights: None, candidates, k, d, problems: 1, step, which }
    }

    /// The choice in several problems of so many points and dimensions.
    fn several((problems, each, d): (usize, usize, usize), k: usize, step: u32) -> Self {
        let one = Self::new((problems * each, k, d), step, Which::Choice);
        let mut random = Random::new(problems as u64);
        let trials = problems * one.candidates.len();
        let candidates = (0..trials).map(|_| random.below(each as u64) as u32).collect();
        Self { candidates, problems, ..one }
    }

    fn trials(&self) -> usize {
        self.candidates.len() / self.problems
    }

    /// `[n, trials]`: what the step before left behind; its best trial is number 1 where there is one.
    fn nearest(&self) -> Vec<f64> {
        let trials = self.trials();
        self.before
            .iter()
            .flat_map(|&x| (0..trials).map(move |t| if t == 1 { x } else { x + 1.0 + t as f64 }))
            .collect()
    }

    /// Sums of each workgroup's points; no workgroup has those of two problems.
    fn potential(&self, nearest: &[f64]) -> Vec<f64> {
        let trials = self.trials();
        let mut sums = Vec::new();
        for problem in nearest.chunks(nearest.len() / self.problems) {
            for group in problem.chunks(GROUP * trials) {
                sums.extend((0..trials).map(|t| group.iter().skip(t).step_by(trials).sum::<f64>()));
            }
        }
        sums
    }
}

fn narrow(values: &[f64]) -> Vec<u32> {
    values.iter().map(|&x| (x as f32).to_bits()).collect()
}

impl Case for Step {
    fn name(&self) -> String {
        let which = if self.which == Which::Distance { "distances" } else { "choice" };
        let weighted = if self.weights.is_some() { " weighted" } else { "" };
        let (n, label) = (self.before.len(), self.points.label());
        let batch = if self.problems > 1 { format!("B={} ", self.problems) } else { String::new() };
        format!("{batch}{which} n={n} k={} d={} step={}{weighted}{label}", self.k, self.d, self.step)
    }

    fn class(&self) -> Class {
        seed::class(self.points.layout(), self.d as u64, self.k as u64)
    }

    fn decoder(&self) -> Option<&'static str> {
        Some(self.points.decoder())
    }

    fn prepare(&self, gpu: &Context, spec: &Spec) -> Result<Prepared> {
        let (n, d) = (self.before.len() as u64, self.d as u64);
        let problems = self.problems as u64;
        let kernels = Seed::load(gpu, &self.points.fill(spec), n / problems)?;
        let points = self.points.upload(gpu)?;
        let state = kernels.state(
            gpu,
            (n, problems),
            self.k as u64,
            &vec![0; problems as usize],
            self.weights.as_deref(),
        )?;
        let nearest = self.nearest();
        let pick = vec![Pick { step: self.step, best: 1 }; self.problems];
        state.candidates.write(gpu, &self.candidates)?;
        state.pick.write(gpu, &pick)?;
        let [distance, choice]: [Bound; 2] = kernels.bind(gpu, points.laid(), &state, d, RANDOM_SEED, 0)?;
        let before = bytemuck::cast_slice(&pick).to_vec();
        let State { nearest: [written, read], potential, candidates, chosen, pick, weights, .. } = state;
        if self.which == Which::Distance {
            read.write(gpu, &narrow(&nearest))?;
            return Ok(Prepared {
                passes: vec![distance],
                outputs: vec![("nearest", written), ("potential", potential)],
                others: [read, candidates, chosen, pick, weights]
                    .into_iter()
                    .chain(points.into_buffers())
                    .collect(),
                before: Vec::new(),
            });
        }
        written.write(gpu, &narrow(&nearest))?;
        potential.write(gpu, &narrow(&self.potential(&nearest)))?;
        Ok(Prepared {
            passes: vec![choice],
            outputs: vec![("candidates", candidates), ("chosen", chosen), ("pick", pick)],
            others: [read, written, potential, weights].into_iter().chain(points.into_buffers()).collect(),
            before: vec![
                ("candidates", self.candidates.clone()),
                ("chosen", vec![u32::MAX; self.problems * self.k]),
                ("pick", before),
            ],
        })
    }

    fn expected(&self, _: &Sample) -> Vec<Expected> {
        let trials = self.trials();
        if self.which == Which::Distance {
            // Before the first step there is no nearest seed yet.
            let before =
                if self.step == 0 { vec![f64::INFINITY; self.before.len()] } else { self.before.clone() };
            let weights = self.weights.as_deref();
            let (nearest, _) =
                oracle::seed::nearest(&self.points.clustered, weights, &before, &self.candidates, self.d);
            let potential = self.potential(&nearest);
            return vec![Expected::Exact(narrow(&nearest)), Expected::Exact(narrow(&potential))];
        }
        let nearest = self.nearest();
        let (mut drawn, mut chosen, mut pick) = (Vec::new(), Vec::new(), Vec::new());
        let own = nearest.chunks(nearest.len() / self.problems).zip(self.candidates.chunks(trials));
        for (nearest, candidates) in own {
            let best = oracle::seed::best(nearest, trials);
            let weights: Vec<f64> = nearest.iter().skip(best as usize).step_by(trials).copied().collect();
            let unit = |trial: u32| oracle::seed::random_unit(RANDOM_SEED, self.step, trial);
            drawn.extend((0..trials as u32).map(|trial| oracle::seed::draw(&weights, unit(trial))));
            let mut seeds = vec![u32::MAX; self.k];
            if let Some(place) = seeds.get_mut(self.step as usize) {
                *place = candidates[best as usize];
            }
            chosen.extend(seeds);
            pick.extend([self.step + 1, best]);
        }
        vec![Expected::Exact(drawn), Expected::Exact(chosen), Expected::Exact(pick)]
    }
}
