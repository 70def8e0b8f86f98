//! The registry against its oracles on a driver that runs what it compiles: poisoned, guarded buffers, every case twice.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use lowbit::internals::cases::{self, Case, REGISTRY};
use lowbit::internals::gpu::{Context, Options, Recorder, Reflection, Spec};
use serde::{Deserialize, Serialize};

use crate::child::{self, Outcome};
use crate::family::Family;

/// A case that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(300);
/// Workgroups side by side, as in tests/gpu: small cases fold.
const FOLD: u32 = 2;
/// As the tests have it.
const CUT: u64 = 3;

/// Which cases.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Wanted {
    /// Only this kernel; may be given several times
    #[arg(long = "only", value_name = "STEM")]
    pub stems: Vec<String>,
    /// One of so many cases of each kernel
    #[arg(long, default_value_t = 1)]
    pub share: usize,
    /// Only what needs cooperative matrices
    #[arg(long)]
    pub matrices: bool,
    /// As on an adapter without subgroups
    #[arg(long)]
    pub no_subgroups: bool,
    /// Take the shaders of this folder instead of those that were built in
    #[arg(long, value_name = "FOLDER")]
    pub shaders: Option<PathBuf>,
}

/// How a case went.
#[derive(Debug, Serialize, Deserialize)]
enum Verdict {
    Right,
    Lacks(String),
    Wrong(String),
}

/// Counts, and what failed.
#[derive(Debug, Default)]
pub struct Summary {
    pub right: usize,
    pub skipped: usize,
    pub failed: Vec<String>,
}

type Piece = (Rc<dyn Case>, Spec);

fn pieces(wanted: &Wanted) -> Result<Vec<Piece>> {
    let mut pieces: Vec<Piece> = Vec::new();
    for entry in REGISTRY {
        if !wanted.stems.is_empty() && !wanted.stems.iter().any(|stem| stem == entry.stem) {
            continue;
        }
        for (at, (case, variants)) in entry.checks().into_iter().enumerate() {
            let case: Rc<dyn Case> = case.into();
            for (turn, spec) in variants.into_iter().enumerate() {
                let matrices = Reflection::of(&spec)?.needs.matrices.is_some();
                if (wanted.matrices && !matrices) || (at + turn) % wanted.share.max(1) != 0 {
                    continue;
                }
                pieces.push((Rc::clone(&case), spec));
            }
        }
    }
    Ok(pieces)
}

fn name((case, spec): &Piece) -> String {
    format!("{} {}", spec.label(), case.name())
}

/// Verifies on `family`.
pub fn all(family: &Family, folder: &Path, wanted: &Wanted) -> Result<Summary> {
    let pieces = pieces(wanted)?;
    let outcomes: Vec<Outcome<Verdict>> = child::run(pieces.len(), PATIENCE, |from| {
        let mut command = family.command(folder)?;
        command.arg("child-verify").arg(from.to_string()).arg("--share").arg(wanted.share.to_string());
        for (flag, given) in [("--matrices", wanted.matrices), ("--no-subgroups", wanted.no_subgroups)] {
            if given {
                command.arg(flag);
            }
        }
        if let Some(folder) = &wanted.shaders {
            command.arg("--shaders").arg(folder);
        }
        for stem in &wanted.stems {
            command.arg("--only").arg(stem);
        }
        Ok(command)
    })?;
    let mut summary = Summary::default();
    for (piece, outcome) in pieces.iter().zip(outcomes) {
        match outcome {
            Outcome::Done(Verdict::Right) => summary.right += 1,
            Outcome::Done(Verdict::Lacks(_)) => summary.skipped += 1,
            Outcome::Done(Verdict::Wrong(why)) => summary.failed.push(why),
            Outcome::Died(how) => summary.failed.push(format!("{}: {how}", name(piece))),
        }
    }
    Ok(summary)
}

/// Times every variant that runs here at the bench sizes of `stem`, those with all of the words `only`: lines of the least
/// time in microseconds, the variant and the case. `memory`: MiB of the device that inputs are made for.
pub fn time(stem: &str, only: &[String], (rounds, memory): (usize, u64)) -> Result<()> {
    let gpu = Context::open(&Options::default())?;
    let entry = REGISTRY.iter().find(|entry| entry.stem == stem).context("there is no such kernel")?;
    for case in (entry.benches)(memory << 20) {
        for spec in entry.variants_of(case.as_ref()) {
            let what = format!("{} {}", spec.label(), case.name());
            let words: Vec<&str> = what.split(' ').collect();
            if !only.iter().all(|word| words.contains(&word.as_str()))
                || Reflection::of(&spec)?.runs_on(&gpu).is_err()
            {
                continue;
            }
            let prepared = case.prepare(&gpu, &spec)?;
            prepared.run(&gpu)?;
            let mut least = f64::INFINITY;
            for _ in 0..rounds {
                let begun = Instant::now();
                Recorder::run(&gpu, &prepared.passes)?;
                gpu.wait()?;
                least = least.min(begun.elapsed().as_secs_f64() * 1e6);
            }
            println!("{least:.0} {what}");
        }
    }
    Ok(())
}

/// The process that does it.
pub fn serve(from: usize, wanted: &Wanted) -> Result<()> {
    let no_subgroups = wanted.no_subgroups;
    let gpu = Context::open(&Options {
        guarded: true,
        fold: Some(FOLD),
        cut: Some(CUT),
        no_subgroups,
        ..Options::default()
    })?;
    child::serve(pieces(wanted)?.iter().skip(from), |(case, spec)| {
        if let Err(lack) = Reflection::of(spec)?.runs_on(&gpu) {
            return Ok(Verdict::Lacks(lack));
        }
        Ok(match cases::verify(&gpu, case.as_ref(), spec) {
            Ok(_) => Verdict::Right,
            Err(error) => Verdict::Wrong(error.to_string()),
        })
    })
}
