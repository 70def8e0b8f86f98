//! Reads of whole and of split buffers.

#[test]
fn agrees_with_the_oracle() {
    crate::harness::check("read_xor");
}
