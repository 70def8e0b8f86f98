//! Every kernel against the roofs, for people.

use crate::roofline::kernels::KernelRow;
use crate::table;

/// The rows as a table.
pub fn text(rows: &[KernelRow]) -> String {
    let row = |row: &KernelRow| {
        vec![
            row.kernel.to_owned(),
            row.case.clone(),
            row.variant.clone(),
            row.verified.to_string(),
            format!("{:.1}", row.timing.us),
            format!("{:.2}", row.gb_s),
            format!("{:.2}", row.gop_s),
            row.share.bound.to_owned(),
            if row.share.valid { format!("{:.1} %", row.share.value * 100.0) } else { "invalid".into() },
        ]
    };
    table::render(
        &["kernel", "size", "variant", "verified", "us", "GB/s", "Gop/s", "bound by", "share of roof"],
        rows.iter().map(row).collect(),
    )
}
