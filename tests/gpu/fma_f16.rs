//! Chains of f16 multiply-adds, where the adapter has f16.

#[test]
fn agrees_with_the_oracle() {
    crate::harness::check("fma_f16");
}
