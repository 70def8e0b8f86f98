//! Cases of `matmul_integer`.

use super::matmul::{filled, shapes};
use super::matvec_integer::Rounded;
use super::{Case, Entry};
use crate::format::{ALL, INTEGER_DECODERS};
use crate::gpu::OpKind;
use crate::matmul::matmul_integer::VARIANTS;

/// The kernel's place in the registry.
pub const ENTRY: Entry = Entry {
    stem: "matmul_integer",
    variants: VARIANTS,
    stages: &[],
    decoders: INTEGER_DECODERS,
    op: OpKind::I8,
    tests,
    benches,
};

fn tests() -> Vec<Box<dyn Case>> {
    let formats = ALL.iter().filter(|format| format.integer);
    shapes(formats).map(|product| Box::new(Rounded(product)) as Box<dyn Case>).collect()
}

fn benches(bytes: u64) -> Vec<Box<dyn Case>> {
    filled(["Q4_0", "Q8_0"], bytes).map(|product| Box::new(Rounded(product)) as Box<dyn Case>).collect()
}
