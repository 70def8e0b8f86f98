//! Cases of `lloyd`: decisions with known inputs, and the taking over of centroids.

use super::{Case, Entry, Expected, FOLDED, Prepared, Random, Sample};
use crate::Result;
use crate::gpu::{Buffer, Context, OpKind, Spec};
use crate::kmeans::centroid::Means;
use crate::kmeans::control::Control;
use crate::kmeans::frame::pad;
use crate::kmeans::lloyd::{Decision, STAGES};
use crate::oracle;

/// The kernel's place in the registry.
pub const ENTRY: Entry = Entry {
    stem: "lloyd",
    variants: &[STAGES[0]],
    stages: STAGES,
    decoders: &[],
    op: OpKind::F32,
    tests,
    benches,
};

fn tests() -> Vec<Box<dyn Case>> {
    let mut cases: Vec<Box<dyn Case>> = Vec::new();
    for k in [1, 33, 64, 255, 256, 257, 1009] {
        for state in [0, 1] {
            for (empty, relocate) in [(false, true), (true, true), (true, false)] {
                for (changed, tol) in [(0, 0.0), (5, 0.0), (5, 1e9)] {
                    cases.push(Box::new(Deciding::new(k, state, empty, relocate, changed, tol)));
                }
            }
        }
    }
    for relocate in [false, true] {
        let states = [(0, false, 5, 1e9), (0, true, 5, 0.0), (1, false, 5, 0.0), (0, false, 0, 0.0)];
        let problem = |(state, empty, changed, tol)| Deciding::new(300, state, empty, relocate, changed, tol);
        let problems = states.into_iter().flat_map(|state| problem(state).problems).collect();
        cases.push(Box::new(Deciding { problems, relocate, frozen: 0 }));
    }
    // More problems, and more centroids, than a row of a grid has workgroups.
    let states =
        (0..FOLDED).map(|i| Deciding::new(1, u32::from(i % 5 == 0), i % 3 == 0, true, i as u32 % 7, 100.0));
    let problems = states.flat_map(|state| state.problems).collect();
    cases.push(Box::new(Deciding { problems, relocate: true, frozen: 0 }));
    // The last cluster is empty, which counts unless it is frozen too.
    for (k, frozen) in [(1, 1), (33, 32), (33, 33), (257, 1), (257, 257)] {
        cases.push(Box::new(Deciding { frozen, ..Deciding::new(k, 0, true, true, 5, 0.0) }));
    }
    cases.push(Box::new(Committing::new((1, FOLDED, 1), true, false)));
    for (problems, k, d) in [(1, 1, 1), (1, 15, 3), (1, 16, 64), (1, 17, 300), (3, 5, 2), (70, 1, 9)] {
        for (accept, always) in [(true, false), (false, false), (false, true)] {
            cases.push(Box::new(Committing::new((problems, k, d), accept, always)));
        }
    }
    cases
}

fn benches(bytes: u64) -> Vec<Box<dyn Case>> {
    let k = (bytes as usize / 4096).clamp(16, 1 << 16);
    vec![Box::new(Committing::new((1, k, 512), true, false))]
}

/// One problem, as an iteration leaves it behind.
struct Problem {
    before: Control,
    mass: Vec<f32>,
    shift: Vec<f32>,
    changed: u32,
    tol: f32,
}

/// Problems of as many clusters.
struct Deciding {
    problems: Vec<Problem>,
    relocate: bool,
    frozen: usize,
}

impl Deciding {
    fn new(k: usize, state: u32, empty: bool, relocate: bool, changed: u32, tol: f32) -> Self {
        let mut random = Random::new(k as u64);
        let mut mass: Vec<f32> = (0..k).map(|_| 1.0 + random.below(1000) as f32).collect();
        if empty {
            mass[k - 1] = 0.0;
        }
        // Whole numbers below 2^24 in sum: no rounding.
        let shift = (0..k).map(|_| random.below(1000) as f32).collect();
        let before = Control { state, n_iter: 7, accept: 1, empty: 3, changed: 11, shift: 0.5 };
        Self { problems: vec![Problem { before, mass, shift, changed, tol }], relocate, frozen: 0 }
    }

    /// Some values of each problem, one behind the other.
    fn all<T: Copy>(&self, of: impl Fn(&Problem) -> &[T]) -> Vec<T> {
        self.problems.iter().flat_map(of).copied().collect()
    }
}

impl Case for Deciding {
    fn name(&self) -> String {
        let first = &self.problems[0];
        let (empty, state, relocate) = (first.mass.contains(&0.0), first.before.state, self.relocate);
        format!(
            "B={} k={} state={state} empty={empty} relocate={relocate} frozen={} changed={} tol={}",
            self.problems.len(),
            first.mass.len(),
            self.frozen,
            first.changed,
            first.tol
        )
    }

    fn prepare(&self, gpu: &Context, _: &Spec) -> Result<Prepared> {
        let problems = self.problems.len() as u64;
        let (masses, shifts) = (self.all(|problem| &problem.mass), self.all(|problem| &problem.shift));
        let mass = Buffer::from_slice(gpu, "mass", masses.len() as u64, &masses)?;
        let shift = Buffer::from_slice(gpu, "shift", shifts.len() as u64, &shifts)?;
        let tols = self.all(|problem| std::slice::from_ref(&problem.tol));
        let tol = Buffer::from_slice(gpu, "tol", problems, &tols)?;
        let changed = Buffer::new(gpu, "changed", problems, 4)?;
        let control = Buffer::new(gpu, "control", problems, size_of::<Control>() as u64)?;
        let other = &mass;
        let means =
            Means { centroids: other, sums: other, counts: other, next: other, shift: &shift, mass: &mass };
        let decision = Decision::load(gpu, (self.problems[0].mass.len() as u64, 1))?;
        let bound = decision.bind_decide(
            gpu,
            &means,
            (&tol, &changed),
            &control,
            self.relocate,
            self.frozen as u64,
        )?;
        let before = self.all(|problem| std::slice::from_ref(&problem.before));
        Ok(Prepared {
            passes: vec![bound],
            outputs: vec![("control", control), ("changed", changed)],
            others: vec![mass, shift, tol],
            before: vec![
                ("control", bytemuck::cast_slice(&before).to_vec()),
                ("changed", self.all(|problem| std::slice::from_ref(&problem.changed))),
            ],
        })
    }

    fn expected(&self, _: &Sample) -> Vec<Expected> {
        let (mut words, mut left) = (Vec::new(), Vec::new());
        for Problem { before: b, mass, shift, changed, tol } in &self.problems {
            let before = oracle::lloyd::Control {
                state: b.state,
                n_iter: b.n_iter,
                accept: b.accept,
                empty: b.empty,
                changed: b.changed,
                shift: b.shift,
            };
            let after =
                oracle::lloyd::decide(before, mass, shift, *changed, *tol, self.relocate, self.frozen);
            words.extend([after.state, after.n_iter, after.accept, after.empty, after.changed]);
            words.push(after.shift.to_bits());
            // An iteration that counts takes its changes with it; one to be finished later keeps them.
            left.push(if after.accept == 1 { 0 } else { *changed });
        }
        vec![Expected::Exact(words), Expected::Exact(left)]
    }
}

/// In turn, a problem accepts as `accept` says, and the other way round.
struct Committing {
    next: Vec<f32>,
    problems: usize,
    d: usize,
    accept: bool,
    always: bool,
}

const OLD: f32 = 7.0;

impl Committing {
    fn new((problems, k, d): (usize, usize, usize), accept: bool, always: bool) -> Self {
        let next = Random::new(k as u64).integers(problems * k * d, 8);
        Self { next, problems, d, accept, always }
    }

    fn rows(&self) -> usize {
        self.next.len() / self.d
    }

    fn accepts(&self, problem: usize) -> bool {
        self.accept == problem.is_multiple_of(2)
    }
}

impl Case for Committing {
    fn name(&self) -> String {
        let (problems, k) = (self.problems, self.rows() / self.problems);
        format!("B={problems} k={k} d={} accept={} always={}", self.d, self.accept, self.always)
    }

    fn prepare(&self, gpu: &Context, _: &Spec) -> Result<Prepared> {
        let (rows, width) = (self.rows(), self.d.next_multiple_of(4));
        let next = Buffer::from_slice(gpu, "next", rows as u64, &pad(&self.next, self.d))?;
        let control = |problem| Control { accept: u32::from(self.accepts(problem)), ..Control::default() };
        let controls: Vec<Control> = (0..self.problems).map(control).collect();
        let control = Buffer::from_slice(gpu, "control", self.problems as u64, &controls)?;
        let centroids = Buffer::new(gpu, "centroids", rows as u64, 4 * width as u64)?;
        let norms = Buffer::new(gpu, "norms", rows as u64, 4)?;
        let into = (&centroids, &norms);
        let d = self.d as u64;
        let decision = Decision::load(gpu, (1, d))?;
        let bound = decision.bind_commit(gpu, &next, &control, into, d, self.always)?;
        Ok(Prepared {
            passes: vec![bound],
            outputs: vec![("centroids", centroids), ("norms", norms)],
            others: vec![next, control],
            before: vec![
                ("centroids", vec![OLD.to_bits(); rows * width]),
                ("norms", vec![OLD.to_bits(); rows]),
            ],
        })
    }

    fn expected(&self, _: &Sample) -> Vec<Expected> {
        let (width, k) = (self.d.next_multiple_of(4), self.rows() / self.problems);
        // Squares of whole numbers: no rounding.
        let norm = |row: &[f32]| row.iter().map(|x| x * x).sum::<f32>();
        let (mut centroids, mut norms) = (Vec::new(), Vec::new());
        for (at, row) in self.next.chunks(self.d).enumerate() {
            if self.accepts(at / k) || self.always {
                centroids.extend(pad(row, self.d));
                norms.push(norm(row));
            } else {
                centroids.extend(vec![OLD; width]);
                norms.push(OLD);
            }
        }
        let bits = |values: Vec<f32>| Expected::Exact(values.iter().map(|x| x.to_bits()).collect());
        vec![bits(centroids), bits(norms)]
    }
}
