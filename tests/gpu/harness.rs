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
    let variants = tune::supported(&gpu, entry.variants).unwrap();
    if variants.is_empty() {
        // An optional feature may be absent, but nothing less may keep every variant from running.
        let missing = Reflection::of(&entry.variants[0]).unwrap().runs_on(&gpu).unwrap_err();
        assert!(missing.starts_with("it needs F16"), "no variant of {stem} runs here: {missing}");
        eprintln!("NOT RUN: {stem} on {}: {missing}", gpu.adapter.name);
        return;
    }
    let cases = (entry.tests)();
    assert!(!cases.is_empty());
    for case in &cases {
        for spec in &variants {
            if let Err(error) = verify(&gpu, case.as_ref(), spec) {
                panic!("{error}");
            }
        }
    }
}
