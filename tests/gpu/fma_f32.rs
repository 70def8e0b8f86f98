//! Chains of f32 multiply-adds.

use lowbit::internals::Error;
use lowbit::internals::cases::verify;
use lowbit::internals::gpu::{Context, Options};
use lowbit::internals::roofs::fma_f32::VARIANTS;

#[test]
fn agrees_with_the_oracle() {
    crate::harness::check("fma_f32");
}

#[test]
fn the_bound_rejects_one_step_too_few() {
    let gpu = Context::open(&Options::default()).unwrap();
    let spec = VARIANTS[0].consts(&[("STEPS", 7)]);
    let case = (lowbit::internals::cases::fma_f32::ENTRY.tests)().pop().unwrap();
    assert!(matches!(verify(&gpu, case.as_ref(), &spec), Err(Error::Mismatch { .. })));
}
