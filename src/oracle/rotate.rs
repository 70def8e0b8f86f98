//! Oracle of `rotate`: the randomised Hadamard rotation by its definition.

/// `y_i = sum_j (-1)^popcount(i & j) s_j x_j / sqrt(block)` in each block of a row, the largest power of two that divides the
/// dimension; bit j of `signs` is 1 where s_j is -1.
pub fn rotate(rows: &[f32], signs: &[u32], dim: usize) -> Vec<f64> {
    let block = 1 << dim.trailing_zeros();
    let minus = |j: usize| signs[j / 32] >> (j % 32) & 1 == 1;
    let value = |row: &[f32], i: usize| {
        let first = i / block * block;
        let term = |j: usize| {
            let x = f64::from(row[first + j]);
            if ((i & j).count_ones() % 2 == 1) == minus(first + j) { x } else { -x }
        };
        (0..block).map(term).sum::<f64>() / (block as f64).sqrt()
    };
    rows.chunks_exact(dim).flat_map(|row| (0..dim).map(move |i| value(row, i))).collect()
}

/// The largest error of any value of a row, in f32: a rounding for each stage, of sums no larger than the row's norm.
pub fn bound(row: &[f32]) -> f64 {
    const UNIT: f64 = 1.0 / 16_777_216.0;
    let norm = row.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
    (f64::from(row.len().ilog2()) + 8.0) * UNIT * norm
}
