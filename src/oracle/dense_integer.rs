//! The definition of `dense_integer`: a convolution of integers, in i64.

use super::dense::products;
use crate::network::{Integer, Output, Value};

/// One example: `bias + sum (w - weight_zero) (q - input_zero)`, as the register holds it.
pub fn sums(integer: &Integer, shapes: (&Value, &Value), q: &[i8]) -> Vec<i64> {
    let places: usize = shapes.1.picture().iter().product();
    let out = |at: usize| at / places;
    let mut sums: Vec<i64> = (0..shapes.1.elements()).map(|at| i64::from(integer.bias[out(at)])).collect();
    products(shapes, &integer.window, integer.groups, |to, weight, from| {
        // Padding is the zero point.
        if let Some(from) = from {
            let weight = i64::from(integer.weights[weight]) - i64::from(integer.weight_zero[out(to)]);
            sums[to] += weight * (i64::from(q[from]) - i64::from(integer.input_zero));
        }
    });
    sums.iter_mut().for_each(|sum| *sum = integer.wrap(*sum));
    sums
}

/// What becomes of a sum of output channel `out`: the same value as an f32, whatever its element type.
pub fn output(output: &Output, out: usize, sum: i64) -> f32 {
    match output {
        Output::Sum => sum as f32,
        Output::Scaled { scale } => sum as f32 * scale[out],
        Output::Requantized { scale, zero, low, high } => {
            let code = (sum as f32 * scale[out]).round_ties_even() + *zero as f32;
            code.clamp(*low as f32, *high as f32)
        }
        Output::Fixed { steps, low, high } => steps[out].of(sum).clamp((*low).into(), (*high).into()) as f32,
    }
}
