//! One way to check any kernel: every variant that runs here, at every size, on poisoned and guarded buffers.

use lowbit::cases::{REGISTRY, verify};
use lowbit::gpu::{Context, Options, tune};

pub fn device() -> Context {
    Context::open(&Options { guarded: true, ..Options::default() })
        .expect("GPU tests need a device: `make setup`")
}

pub fn check(stem: &str) {
    let gpu = device();
    let entry = REGISTRY.iter().find(|entry| entry.stem == stem).expect("the stem is in the registry");
    let variants = tune::supported(&gpu, entry.variants).unwrap();
    assert!(!variants.is_empty(), "no variant of {stem} runs on {}", gpu.adapter.name);
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
