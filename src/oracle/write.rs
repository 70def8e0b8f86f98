//! A pattern that looks random and follows from the row's number.

/// Row r of the pattern: `y[r, c] = (m ^ (m >> 15)) * k[c]` with `m = (r ^ seed) * 0x9e3779b1`, modulo 2^32, for four columns.
pub fn row(row: u32, seed: u32) -> [u32; 4] {
    let mixed = (row ^ seed).wrapping_mul(0x9e37_79b1);
    [0x85eb_ca6b, 0xc2b2_ae35, 0x27d4_eb2f, 0x1656_67b1].map(|k: u32| (mixed ^ (mixed >> 15)).wrapping_mul(k))
}

/// Its first `rows` rows.
pub fn write(rows: u32, seed: u32) -> Vec<u32> {
    (0..rows).flat_map(|at| row(at, seed)).collect()
}
