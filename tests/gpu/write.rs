//! Patterns, and with them the folding of a large grid into two dimensions.

use lowbit::internals::cases::{verify, write::Write};
use lowbit::internals::gpu::{Context, Options};
use lowbit::internals::roofs::write::VARIANTS;

#[test]
fn agrees_with_the_oracle() {
    crate::harness::check("write");
}

#[test]
fn more_workgroups_than_one_dimension_holds() {
    let gpu = Context::open(&Options { guarded: true, ..Options::default() }).unwrap();
    let spec = VARIANTS.iter().find(|spec| spec.label() == "write ITEMS=1 WG=64").unwrap();
    let rows = 64 * 65_535 + 65;
    verify(&gpu, &Write { rows, part: None }, spec).unwrap();
}
