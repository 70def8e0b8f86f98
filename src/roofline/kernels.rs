//! Every kernel of the registry: verified, then timed against the roofs. A new kernel needs nothing here.

use std::time::Duration;

use serde::Serialize;

use super::{Effort, Roofs, Share};
use crate::cases::{Case, Entry, Prepared, REGISTRY, verify};
use crate::gpu::{Bound, Context, OpKind, Options, Timing, time, tune};
use crate::{Error, Result};

/// A kernel at its bench size.
#[derive(Debug, Serialize)]
pub struct KernelRow {
    /// The kernel's stem.
    pub kernel: &'static str,
    /// Its size.
    pub case: String,
    /// The variant that is taken for it.
    pub variant: String,
    /// How many cases, over all variants, agreed with the oracle, that which is timed among them.
    pub verified: usize,
    /// Its time.
    #[serde(flatten)]
    pub timing: Timing,
    /// Least bytes moved.
    pub bytes: u64,
    /// Operations done.
    pub ops: u64,
    /// Bytes over time.
    pub gb_s: f64,
    /// Operations over time.
    pub gop_s: f64,
    /// The shortest time that the roofs allow.
    pub floor_us: f64,
    /// Floor over time.
    pub share: Share,
}

/// Workgroups side by side in the grids of small cases, which fold then as those of large ones do.
const FOLD: u32 = 2;

/// Pieces that work is cut into where an end may be asked for.
const CUT: u64 = 3;

/// Bytes that a kernel's inputs take at its bench size, and all copies of them together.
struct Sizes {
    case: u64,
    all: u64,
}

impl Sizes {
    fn of(gpu: &Context, effort: Effort) -> Self {
        match (gpu.adapter.is_software(), effort) {
            (true, Effort::Quick) => Self { case: 4 << 20, all: 16 << 20 },
            (true, Effort::Full) => Self { case: 16 << 20, all: 128 << 20 },
            (false, _) => Self { case: 256 << 20, all: 1 << 30 },
        }
    }
}

/// Verifies and times every kernel; quickly, only what is timed is verified, at its size.
pub fn measure(
    gpu: &Context,
    roofs: &Roofs,
    effort: Effort,
    progress: &mut dyn FnMut(&str),
) -> Result<Vec<KernelRow>> {
    // Poison and guards slow nothing that is timed: they live in a device of their own.
    let options = Options {
        adapter: Some(gpu.adapter.name.clone()),
        guarded: true,
        fold: Some(FOLD),
        cut: Some(CUT),
        ..Options::default()
    };
    let guarded = (effort == Effort::Full).then(|| Context::open(&options)).transpose()?;
    let sizes = Sizes::of(gpu, effort);
    let mut rows = Vec::new();
    // The roofline's own kernels are the roofs: they were verified when those were measured.
    for entry in
        REGISTRY.iter().filter(|entry| !entry.variants.iter().all(|spec| spec.file.starts_with("roofs/")))
    {
        let cases = (entry.benches)(sizes.case);
        if !runs(gpu, entry, &cases)? {
            progress(&format!("{}: this adapter cannot run it", entry.stem));
            continue;
        }
        let mut verified = 0;
        if let Some(guarded) = &guarded {
            progress(&format!("verifying {}", entry.stem));
            verified = verify_all(guarded, entry, &cases)?;
        }
        for case in &cases {
            progress(&format!("timing {} {}", entry.stem, case.name()));
            rows.push(row(gpu, roofs, entry, case.as_ref(), sizes.all, verified)?);
        }
    }
    Ok(rows)
}

/// Whether this adapter can run a variant of `entry`.
fn runs(gpu: &Context, entry: &Entry, cases: &[Box<dyn Case>]) -> Result<bool> {
    for case in cases {
        if tune::supported(gpu, &entry.variants_of(case.as_ref()))?.is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Verifies `entry`, of its decoders those that are timed: a driver takes long to compile them all, as the tests do.
fn verify_all(guarded: &Context, entry: &Entry, timed: &[Box<dyn Case>]) -> Result<usize> {
    let mut verified = 0;
    for (case, variants) in entry.checks() {
        if !timed.iter().any(|timed| timed.decoder() == case.decoder()) {
            continue;
        }
        for spec in tune::supported(guarded, &variants)? {
            verify(guarded, case.as_ref(), spec)?;
            verified += 1;
        }
    }
    Ok(verified)
}

fn row(
    gpu: &Context,
    roofs: &Roofs,
    entry: &Entry,
    case: &dyn Case,
    all_bytes: u64,
    verified: usize,
) -> Result<KernelRow> {
    let variants = entry.variants_of(case);
    let spec = &case.taken(gpu, &variants)?;
    // What is timed is verified: this very pipeline, at this very size.
    let first = case.prepare(gpu, spec)?;
    let what = format!("{} {}", spec.label(), case.name());
    let sample = case.sample(&first.passes);
    let results = first.check(gpu, &what, &sample, &case.expected(&sample))?;
    let work = first.work();
    let copies = (all_bytes / work.bytes.max(1)).clamp(1, 8);
    let mut prepared = vec![first];
    for _ in 1..copies {
        prepared.push(case.prepare(gpu, spec)?);
    }
    for copy in &prepared[1..] {
        if copy.run(gpu)? != results {
            let problem = "the same inputs in other buffers gave other bits".to_owned();
            return Err(Error::Mismatch { case: what, problem });
        }
    }
    let runs: Vec<Vec<&Bound>> = prepared.iter().map(run_of).collect();
    let timing = time(gpu, &runs, Duration::from_millis(300))?;
    Ok(KernelRow {
        kernel: entry.stem,
        case: case.name(),
        variant: spec.label(),
        verified: verified + 1,
        timing,
        bytes: work.bytes,
        ops: work.ops,
        gb_s: timing.gb_s(work),
        gop_s: timing.gop_s(work),
        floor_us: roofs.floor_us(work, spec.arithmetic(entry.op)),
        share: roofs.share(work, spec.arithmetic(entry.op), timing.us),
    })
}

fn run_of(prepared: &Prepared) -> Vec<&Bound> {
    prepared.passes.iter().collect()
}

/// The kind of arithmetic that the kernel with this shader does.
pub fn op_of(shader: &str) -> OpKind {
    let of = |entry: &Entry| {
        entry.specs().iter().find(|spec| spec.file == shader).map(|spec| spec.arithmetic(entry.op))
    };
    REGISTRY.iter().find_map(of).unwrap_or(OpKind::F32)
}
