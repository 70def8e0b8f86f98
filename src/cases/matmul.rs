//! Cases of `matmul`.

use super::matvec::Product;
use super::{Case, Entry};
use crate::format::{ALL, DECODERS, Format};
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

fn tests() -> Vec<Box<dyn Case>> {
    let floats = ["F16", "F32"].into_iter().zip([(70, 200, 300, 1.0), (64, 100, 257, 1e5)]);
    let floats = floats.map(|(name, (rows, cols, n, size))| Product::new(name, rows, cols, n, size));
    shapes(ALL).chain(floats).map(|product| Box::new(product) as Box<dyn Case>).collect()
}

fn benches(bytes: u64) -> Vec<Box<dyn Case>> {
    filled(["Q4_0", "F32"], bytes).map(|product| Box::new(product) as Box<dyn Case>).collect()
}

/// Every format once; sizes around the tiles and splits, columns on both sides of the padding, outliers.
pub(super) fn shapes<'a>(formats: impl IntoIterator<Item = &'a Format>) -> impl Iterator<Item = Product> {
    let names: Vec<&str> = formats.into_iter().map(|format| format.name).collect();
    let mut cases: Vec<_> = names.into_iter().map(|name| (name, 33, 768, 11, 1.0)).collect();
    cases.extend([
        ("Q4_0", 1, 32, 1, 1.0),
        ("Q4_0", 129, 96, 67, 1.0),
        ("Q8_0", 16, 1056, 33, 1e6),
        ("Q4_K", 130, 256, 129, 1.0),
    ]);
    let new = |(name, rows, cols, n, size)| Product::new(name, rows, cols, n, size);
    // Pairs of weights around the splits: one, fewer than splits, not as many in each.
    let split = [
        ("Q4_0", 5, 32, 9, 1.0),
        ("Q8_0", 129, 192, 67, 1.0),
        ("Q4_0", 64, 320, 12, 1e6),
        ("Q4_K", 70, 1280, 33, 1.0),
    ];
    let split = split.into_iter().map(new).map(|product| Product { split: true, ..product });
    cases.into_iter().map(new).chain(split)
}

/// As many operations as bytes allow: a square matrix that would take them in F32, and columns by its side.
pub(super) fn filled<const N: usize>(names: [&'static str; N], bytes: u64) -> impl Iterator<Item = Product> {
    let side = ((bytes as f64 / 4.0).sqrt() as usize / 256 * 256).clamp(256, 4096);
    names.into_iter().map(move |name| Product::new(name, side, side, 256, 1.0))
}
