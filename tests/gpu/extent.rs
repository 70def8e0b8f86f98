//! The least and the largest activation.

#[test]
fn agrees_with_the_oracle() {
    crate::harness::check("extent");
}
