//! Chains of f16 multiply-adds, where the adapter has f16.

use lowbit::Error;
use lowbit::cases::verify;
use lowbit::gpu::{Context, Options};
use lowbit::roofline::fma_f16::VARIANTS;

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
    let case = (lowbit::cases::fma_f16::ENTRY.tests)().pop().unwrap();
    assert!(matches!(verify(&gpu, case.as_ref(), &spec), Err(Error::Mismatch { .. })));
}
