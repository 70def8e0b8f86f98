//! Chains of f16 multiply-adds.

use super::fma_f32::{filling, sizes};
use super::{Case, Entry};
use crate::gpu::OpKind;
use crate::oracle;
use crate::roofs::fma_f16::VARIANTS;

/// The kernel's place in the house.
pub const ENTRY: Entry = Entry {
    stem: "fma_f16",
    variants: VARIANTS,
    stages: &[],
    decoders: &[],
    op: OpKind::F16,
    tests,
    benches,
};

fn tests() -> Vec<Box<dyn Case>> {
    sizes(oracle::fma_f16::fma_f16)
}

fn benches(bytes: u64) -> Vec<Box<dyn Case>> {
    vec![filling(bytes, oracle::fma_f16::fma_f16)]
}
