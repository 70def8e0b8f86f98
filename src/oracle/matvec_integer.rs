//! Oracle of `matvec_integer`: products of weights with the values that int8 codes stand for.

use super::activation::{UNIT, unit};

/// What a column is once it is quantized: each code times its scale.
pub fn rounded(column: &[f32]) -> Vec<f32> {
    let values = column.chunks(UNIT).flat_map(|values| {
        let unit = unit(values);
        let products: Vec<f32> =
            unit.codes.iter().take(values.len()).map(|&code| f32::from(code) * unit.scale).collect();
        products
    });
    values.collect()
}
