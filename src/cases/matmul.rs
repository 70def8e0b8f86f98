//! Cases of `matmul`.

use super::matvec::Product;
use super::{Case, Entry};
use crate::format::{ALL, DECODERS};
use crate::gpu::OpKind;
use crate::matmul::matmul::VARIANTS;

/// The kernel's place in the registry.
pub const ENTRY: Entry = Entry {
    stem: "matmul",
    variants: VARIANTS,
    stages: &[],
    decoders: DECODERS,
    op: OpKind::F32,
    tests,
    benches,
};

/// Every format once; sizes around the tiles, columns on both sides of the padding, outliers.
fn tests() -> Vec<Box<dyn Case>> {
    let mut cases: Vec<_> = ALL.iter().map(|format| (format.name, 33, 768, 11, 1.0)).collect();
    cases.extend([
        ("Q4_0", 1, 32, 1, 1.0),
        ("Q4_0", 129, 96, 67, 1.0),
        ("F16", 70, 200, 300, 1.0),
        ("Q8_0", 16, 1056, 33, 1e6),
        ("Q4_K", 130, 256, 129, 1.0),
        ("F32", 64, 100, 257, 1e5),
    ]);
    let case =
        |(name, rows, cols, n, size)| Box::new(Product::new(name, rows, cols, n, size)) as Box<dyn Case>;
    cases.into_iter().map(case).collect()
}

fn benches(bytes: u64) -> Vec<Box<dyn Case>> {
    // As many operations as bytes allow: a square matrix in F32, and columns by its side.
    let side = ((bytes as f64 / 4.0).sqrt() as usize / 256 * 256).clamp(256, 4096);
    ["Q4_0", "F32"].map(|name| Box::new(Product::new(name, side, side, 256, 1.0)) as Box<dyn Case>).into()
}
