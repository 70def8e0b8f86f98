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
            if let Err(error) = verify(&gpu, case.as_ref(), spec) {
                panic!("{error}");
            }
            ran += 1;
        }
    }
    assert!(ran > 0, "no variant of {stem} runs here");
}
