//! Cases of `lloyd`: decisions with known inputs, and the taking over of centroids.

use super::{Case, Entry, Expected, Prepared, Random};
use crate::Result;
use crate::gpu::{Buffer, Context, OpKind, Spec};
use crate::kmeans::Metric;
use crate::kmeans::centroid::Means;
use crate::kmeans::lloyd::{Control, Decision, STAGES};
use crate::kmeans::points::pad;
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
    for k in [1, 255, 256, 257, 1009] {
        for state in [0, 1] {
            for (empty, relocate) in [(false, true), (true, true), (true, false)] {
                for (changed, tol) in [(0, 0.0), (5, 0.0), (5, 1e9)] {
                    cases.push(Box::new(Deciding::new(k, state, empty, relocate, changed, tol)));
                }
            }
        }
    }
    for (k, d) in [(1, 1), (15, 3), (16, 64), (17, 300)] {
        for (accept, always) in [(true, false), (false, false), (false, true)] {
            cases.push(Box::new(Committing::new((k, d), Metric::Euclidean, accept, always)));
        }
        cases.push(Box::new(Committing::new((k, d), Metric::Dot, true, false)));
    }
    cases
}

fn benches(bytes: u64) -> Vec<Box<dyn Case>> {
    vec![Box::new(Committing::new(
        ((bytes as usize / 4096).clamp(16, 1 << 16), 512),
        Metric::Euclidean,
        true,
        false,
    ))]
}

struct Deciding {
    before: Control,
    mass: Vec<f32>,
    shift: Vec<f32>,
    changed: u32,
    tol: f32,
    relocate: bool,
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
        Self { before, mass, shift, changed, tol, relocate }
    }
}

impl Case for Deciding {
    fn name(&self) -> String {
        let empty = self.mass.contains(&0.0);
        let (k, state, relocate) = (self.mass.len(), self.before.state, self.relocate);
        format!(
            "k={k} state={state} empty={empty} relocate={relocate} changed={} tol={}",
            self.changed, self.tol
        )
    }

    fn prepare(&self, gpu: &Context, _: &Spec) -> Result<Prepared> {
        let k = self.mass.len() as u64;
        let mass = Buffer::from_slice(gpu, "mass", k, &self.mass)?;
        let shift = Buffer::from_slice(gpu, "shift", k, &self.shift)?;
        let changed = Buffer::new(gpu, "changed", 1, 4)?;
        let control = Buffer::new(gpu, "control", 1, size_of::<Control>() as u64)?;
        let other = &mass;
        let means =
            Means { centroids: other, sums: other, counts: other, next: other, shift: &shift, mass: &mass };
        let decision = Decision::load(gpu)?;
        let bound = decision.bind_decide(gpu, &means, &changed, &control, self.tol, self.relocate)?;
        let words = bytemuck::cast_slice(std::slice::from_ref(&self.before)).to_vec();
        Ok(Prepared {
            passes: vec![bound],
            outputs: vec![("control", control), ("changed", changed)],
            others: vec![mass, shift],
            before: vec![("control", words), ("changed", vec![self.changed])],
        })
    }

    fn expected(&self) -> Vec<Expected> {
        let b = self.before;
        let before = oracle::lloyd::Control {
            state: b.state,
            n_iter: b.n_iter,
            accept: b.accept,
            empty: b.empty,
            changed: b.changed,
            shift: b.shift,
        };
        let after =
            oracle::lloyd::decide(before, &self.mass, &self.shift, self.changed, self.tol, self.relocate);
        let words =
            vec![after.state, after.n_iter, after.accept, after.empty, after.changed, after.shift.to_bits()];
        // An iteration that counts takes its changes with it; one to be finished later keeps them.
        let changed = if after.accept == 1 { 0 } else { self.changed };
        vec![Expected::Exact(words), Expected::Exact(vec![changed])]
    }
}

struct Committing {
    next: Vec<f32>,
    d: usize,
    metric: Metric,
    accept: bool,
    always: bool,
}

const OLD: f32 = 7.0;

impl Committing {
    fn new((k, d): (usize, usize), metric: Metric, accept: bool, always: bool) -> Self {
        Self { next: Random::new(k as u64).integers(k * d, 8), d, metric, accept, always }
    }

    fn rows(&self) -> usize {
        (self.next.len() / self.d).next_multiple_of(16)
    }
}

impl Case for Committing {
    fn name(&self) -> String {
        let (k, metric) = (self.next.len() / self.d, self.metric);
        format!("k={k} d={} {metric:?} accept={} always={}", self.d, self.accept, self.always)
    }

    fn prepare(&self, gpu: &Context, _: &Spec) -> Result<Prepared> {
        let (k, rows, width) = (self.next.len() / self.d, self.rows(), self.d.next_multiple_of(4));
        let next = Buffer::from_slice(gpu, "next", k as u64, &pad(&self.next, self.d))?;
        let control = Control { accept: u32::from(self.accept), ..Control::default() };
        let control = Buffer::from_slice(gpu, "control", 1, &[control])?;
        let centroids = Buffer::new(gpu, "centroids", rows as u64, 4 * width as u64)?;
        let norms = Buffer::new(gpu, "norms", rows as u64, 4)?;
        let into = (&centroids, &norms);
        let d = self.d as u64;
        let bound =
            Decision::load(gpu)?.bind_commit(gpu, &next, &control, into, (d, self.metric), self.always)?;
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

    fn expected(&self) -> Vec<Expected> {
        let width = self.d.next_multiple_of(4);
        let bits = |values: Vec<f32>| Expected::Exact(values.iter().map(|x| x.to_bits()).collect());
        if !self.accept && !self.always {
            return vec![bits(vec![OLD; self.rows() * width]), bits(vec![OLD; self.rows()])];
        }
        // Squares of whole numbers: no rounding.
        let mut norms: Vec<f32> =
            self.next.chunks(self.d).map(|row| row.iter().map(|x| x * x).sum()).collect();
        if self.metric != Metric::Euclidean {
            norms.fill(0.0);
        }
        norms.resize(self.rows(), f32::MAX);
        let mut centroids = pad(&self.next, self.d);
        centroids.resize(self.rows() * width, 0.0);
        vec![bits(centroids), bits(norms)]
    }
}
