//! Chains of f16 multiply-adds.

use super::fma_f32::{filling, sizes};
use super::{Case, Entry};
use crate::gpu::OpKind;
use crate::oracle;
use crate::roofline::fma_f16::VARIANTS;

/// The kernel's place in the house.
pub const ENTRY: Entry =
    Entry { stem: "fma_f16", variants: VARIANTS, stages: &[], op: OpKind::F16, tests, bench };

fn tests() -> Vec<Box<dyn Case>> {
    sizes(oracle::fma_f16::fma_f16)
}

fn bench(bytes: u64) -> Box<dyn Case> {
    filling(bytes, oracle::fma_f16::fma_f16)
}
