//! One way to check any kernel: every variant that runs here, at every size, on poisoned and guarded buffers, in grids that fold, whole and in pieces.

use lowbit::internals::Result;
use lowbit::internals::cases::{REGISTRY, Verified, verify};
use lowbit::internals::gpu::Reflection;
use lowbit::internals::gpu::{Context, Options, tune};
use lowbit::internals::io::npy::Matrix;
use lowbit::internals::kmeans::{KMeans, Predicted, Source};

/// Workgroups side by side: so few that small cases fold as those do that have more than a dimension's 65,535.
const FOLD: u32 = 2;

/// Pieces of a window where an end may be asked for, as it may be in the second run of a case.
pub const CUT: u64 = 3;

fn open(fold: Option<u32>) -> Context {
    Context::open(&Options { guarded: true, fold, cut: Some(CUT), ..Options::default() })
        .expect("GPU tests need a device: `make setup`")
}

pub fn device() -> Context {
    open(Some(FOLD))
}

/// Whether a grid is too large for one dimension of any adapter.
fn is_large(verified: &Verified) -> bool {
    u64::from(verified.grid[0]) * u64::from(verified.grid[1]) > 65_535
}

pub fn check(stem: &str) {
    let gpu = device();
    let mut whole = None;
    let entry = REGISTRY.iter().find(|entry| entry.stem == stem).expect("the stem is in the registry");
    let mut ran: Vec<Verified> = Vec::new();
    for (case, variants) in entry.checks() {
        let able = tune::supported(&gpu, &variants).unwrap();
        // An optional feature may be absent, but nothing less may keep every variant from running.
        let missing = |spec| Reflection::of(spec).unwrap().runs_on(&gpu).err();
        let lacking: Vec<_> = entry.variants_of(case.as_ref()).iter().filter_map(missing).collect();
        if lacking.len() == entry.variants.len() {
            let optional = |lack: &String| {
                ["it needs shader_f16", "it needs cooperative"].iter().any(|need| lack.starts_with(need))
            };
            assert!(lacking.iter().all(optional), "no variant of {stem} runs here: {lacking:?}");
            eprintln!("NOT RUN: {stem} on {}: {}", gpu.adapter.name, lacking[0]);
            return;
        }
        for spec in able {
            let passes = verify(&gpu, case.as_ref(), spec).unwrap_or_else(|error| panic!("{error}"));
            if passes.iter().any(is_large) {
                // As every user's device folds it.
                let whole = whole.get_or_insert_with(|| open(None));
                let passes = verify(whole, case.as_ref(), spec).unwrap_or_else(|error| panic!("{error}"));
                assert!(passes.iter().any(|pass| pass.grid[1] == 2), "{stem} {}: no fold", case.name());
            }
            ran.extend(passes);
        }
    }
    assert!(!ran.is_empty(), "no variant of {stem} runs here");
    for spec in tune::supported(&gpu, &entry.specs()).unwrap() {
        let Some(rows) = Reflection::of(spec).unwrap().rows_per_group else { continue };
        let own = || ran.iter().filter(|pass| pass.shader == spec.file);
        assert!(own().any(|pass| pass.grid[1] > 1), "no case of {} folds its grid", spec.file);
        let folds = rows > 1 || own().any(is_large);
        assert!(folds, "{} has a workgroup for each row: it needs a case of more than 65,535", spec.file);
    }
}

/// Labels by euclidean distances.
pub fn predict(gpu: &Context, data: &dyn Source, centroids: &Matrix) -> Result<Predicted> {
    KMeans::new(centroids.rows).predict(gpu, data, centroids)
}
