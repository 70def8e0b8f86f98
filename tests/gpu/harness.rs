//! One way to check any kernel: every variant that runs here, at every size, on poisoned and guarded buffers.

use lowbit::cases::{REGISTRY, verify};
use lowbit::gpu::Reflection;
use lowbit::gpu::{Context, Options, tune};

pub fn device() -> Context {
    Context::open(&Options { guarded: true, ..Options::default() })
        .expect("GPU tests need a device: `make setup`")
}

pub fn check(stem: &str) {
    let gpu = device();
    let entry = REGISTRY.iter().find(|entry| entry.stem == stem).expect("the stem is in the registry");
    let mut ran = 0;
    for (case, variants) in entry.checks() {
        let able = tune::supported(&gpu, &variants).unwrap();
        if able.is_empty() && entry.variants.len() <= 2 {
            // An optional feature may be absent, but nothing less may keep every variant from running.
            let missing = Reflection::of(&variants[0]).unwrap().runs_on(&gpu).unwrap_err();
            assert!(missing.starts_with("it needs shader_f16"), "no variant of {stem} runs here: {missing}");
            eprintln!("NOT RUN: {stem} on {}: {missing}", gpu.adapter.name);
            return;
        }
        for spec in able {
            if let Err(error) = verify(&gpu, case.as_ref(), spec) {
                panic!("{error}");
            }
            ran += 1;
        }
    }
    assert!(ran > 0, "no variant of {stem} runs here");
}
