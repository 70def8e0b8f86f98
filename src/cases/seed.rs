//! Cases of `seed`: the distances to some trials, and the choice among them.

use super::laid::Points;
use super::{Case, Entry, Expected, Prepared, Random};
use crate::Result;
use crate::gpu::{Bound, Context, OpKind, Spec};
use crate::kmeans::element::{Element, FILES};
use crate::kmeans::seed::{STAGES, Seed, State, VARIANTS, trials};
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
        Self { points, before, weights: None, candidates, k, d, step, which }
    }

    /// `[n, trials]`: what the step before left behind; its best trial is number 1 where there is one.
    fn nearest(&self) -> Vec<f64> {
        let trials = self.candidates.len();
        self.before
            .iter()
            .flat_map(|&x| (0..trials).map(move |t| if t == 1 { x } else { x + 1.0 + t as f64 }))
            .collect()
    }

    fn potential(nearest: &[f64], trials: usize) -> Vec<f64> {
        let mut sums = Vec::new();
        for group in nearest.chunks(GROUP * trials) {
            sums.extend((0..trials).map(|t| group.iter().skip(t).step_by(trials).sum::<f64>()));
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
        format!("{which} n={n} k={} d={} step={}{weighted}{label}", self.k, self.d, self.step)
    }

    fn decoder(&self) -> Option<&'static str> {
        Some(self.points.decoder())
    }

    fn prepare(&self, gpu: &Context, spec: &Spec) -> Result<Prepared> {
        let (n, d) = (self.before.len() as u64, self.d as u64);
        let kernels = Seed::load(gpu, &self.points.fill(spec), n)?;
        let points = self.points.upload(gpu)?;
        let state = kernels.state(gpu, (n, 1), self.k as u64, 0, self.weights.as_deref())?;
        let trials = self.candidates.len();
        let nearest = self.nearest();
        state.candidates.write(gpu, &self.candidates)?;
        state.pick.write(gpu, &[[self.step, 1]])?;
        let [distance, choice]: [Bound; 2] = kernels.bind(gpu, points.laid(), &state, d, RANDOM_SEED, 0)?;
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
        potential.write(gpu, &narrow(&Self::potential(&nearest, trials)))?;
        Ok(Prepared {
            passes: vec![choice],
            outputs: vec![("candidates", candidates), ("chosen", chosen), ("pick", pick)],
            others: [read, written, potential, weights].into_iter().chain(points.into_buffers()).collect(),
            before: vec![
                ("candidates", self.candidates.clone()),
                ("chosen", vec![u32::MAX; self.k]),
                ("pick", vec![self.step, 1]),
            ],
        })
    }

    fn expected(&self) -> Vec<Expected> {
        let trials = self.candidates.len();
        if self.which == Which::Distance {
            // Before the first step there is no nearest seed yet.
            let before =
                if self.step == 0 { vec![f64::INFINITY; self.before.len()] } else { self.before.clone() };
            let weights = self.weights.as_deref();
            let (nearest, _) =
                oracle::seed::nearest(&self.points.clustered, weights, &before, &self.candidates, self.d);
            let potential = Self::potential(&nearest, trials);
            return vec![Expected::Exact(narrow(&nearest)), Expected::Exact(narrow(&potential))];
        }
        let nearest = self.nearest();
        let best = oracle::seed::best(&nearest, trials);
        let weights: Vec<f64> = nearest.iter().skip(best as usize).step_by(trials).copied().collect();
        let draw =
            |t: u32| oracle::seed::draw(&weights, oracle::seed::random_unit(RANDOM_SEED, self.step, t));
        let mut chosen = vec![u32::MAX; self.k];
        if let Some(place) = chosen.get_mut(self.step as usize) {
            *place = self.candidates[best as usize];
        }
        vec![
            Expected::Exact((0..trials as u32).map(draw).collect()),
            Expected::Exact(chosen),
            Expected::Exact(vec![self.step + 1, best]),
        ]
    }
}
