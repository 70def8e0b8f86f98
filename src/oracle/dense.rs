//! The definition of `dense`: a convolution, in f64.

use crate::network::{Dense, Value, Window};

/// Calls `f(output element, weight, input element)` for every product of a convolution of one example; there is no input
/// element in the padding.
pub fn products(
    (input, output): (&Value, &Value),
    window: &Window,
    groups: usize,
    mut f: impl FnMut(usize, usize, Option<usize>),
) {
    let ([height, width], [out_height, out_width]) = (input.picture(), output.picture());
    let (group_in, group_out) = (input.channels() / groups, output.channels() / groups);
    for out in 0..output.channels() {
        for (y, x) in (0..out_height).flat_map(|y| (0..out_width).map(move |x| (y, x))) {
            for channel in 0..group_in {
                for tap in 0..window.taps() {
                    let [i, j] = window.tap(tap);
                    let weight = (out * group_in + channel) * window.taps() + tap;
                    let plane = out / group_out * group_in + channel;
                    let from = window.source(0, y, i, height).zip(window.source(1, x, j, width));
                    let from = from.map(|(y, x)| (plane * height + y) * width + x);
                    f((out * out_height + y) * out_width + x, weight, from);
                }
            }
        }
    }
}

/// One example: the sums with their bias, and for each the sum of magnitudes, by which f32's error is bounded.
pub fn dense(dense: &Dense, shapes: (&Value, &Value), x: &[f64]) -> Vec<(f64, f64)> {
    let places: usize = shapes.1.picture().iter().product();
    let mut sums: Vec<(f64, f64)> =
        (0..shapes.1.elements()).map(|at| f64::from(dense.bias[at / places])).map(|b| (b, b.abs())).collect();
    products(shapes, &dense.window, dense.groups, |to, weight, from| {
        if let Some(from) = from {
            let product = f64::from(dense.weights[weight]) * x[from];
            sums[to].0 += product;
            sums[to].1 += product.abs();
        }
    });
    sums
}
