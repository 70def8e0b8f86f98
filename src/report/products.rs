//! Products with quantized weights, for people.

use crate::roofline::products::ProductRow;
use crate::table;

/// The rows for people.
pub fn text(rows: &[ProductRow]) -> String {
    let row = |row: &ProductRow| {
        vec![
            row.format.to_owned(),
            format!("{} x {} x {}", row.shape.m, row.shape.k, row.shape.n),
            format!("{:.1}", row.timing.us),
            format!("{:.2}", row.gb_s),
            format!("{:.0}", row.of_read_roof * 100.0),
            format!("{:.1}", row.gflop_s),
            format!("{:.1e}", row.nmse),
            row.variant.clone(),
        ]
    };
    let header = ["format", "m x k x n", "us", "GB/s", "% of read roof", "GFLOP/s", "NMSE", "variant"];
    table::render(&header, rows.iter().map(row).collect())
}
