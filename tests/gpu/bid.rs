#[test]
fn agrees_with_the_oracle() {
    crate::harness::check("bid");
}
