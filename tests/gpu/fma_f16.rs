//! Chains of f16 multiply-adds, where the adapter has f16.

use lowbit::internals::Error;
use lowbit::internals::cases::verify;
use lowbit::internals::gpu::{Context, Options};
use lowbit::internals::roofs::fma_f16::VARIANTS;

#[test]
fn agrees_with_the_oracle() {
    crate::harness::check("fma_f16");
}

#[test]
fn the_bound_rejects_one_step_too_few() {
    let gpu = Context::open(&Options::default()).unwrap();
    if !gpu.adapter.shader_f16 {
        return;
    }
    let spec = VARIANTS[0].consts(&[("STEPS", 7)]);
    let case = (lowbit::internals::cases::fma_f16::ENTRY.tests)().pop().unwrap();
    assert!(matches!(verify(&gpu, case.as_ref(), &spec), Err(Error::Mismatch { .. })));
}
