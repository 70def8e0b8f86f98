//! Chains of f32 multiply-adds.

#[test]
fn agrees_with_the_oracle() {
    crate::harness::check("fma_f32");
}
