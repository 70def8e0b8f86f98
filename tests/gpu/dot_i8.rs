//! Chains of int8 dot products.

#[test]
fn agrees_with_the_oracle() {
    crate::harness::check("dot_i8");
}
