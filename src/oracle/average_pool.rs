//! Oracle of `average_pool`: the mean of each window.

use super::max_pool::seen;
use crate::network::Window;

/// Unit roundoff of f32.
const UNIT: f64 = 1.0 / 16_777_216.0;

/// Of one channel, `x` of `[height, width]`: `[out_height, out_width]` means.
pub fn means(x: &[f64], size: [usize; 2], out: [usize; 2], window: &Window, include_pad: bool) -> Vec<f64> {
    sums(x, size, out, window, include_pad).map(|sum| sum.sum / sum.elements).collect()
}

/// The same of f32 values, and how far an f32 kernel may be from each.
pub fn average_pool(
    x: &[f32],
    size: [usize; 2],
    out: [usize; 2],
    window: &Window,
    include_pad: bool,
) -> (Vec<f64>, Vec<f64>) {
    let x: Vec<f64> = x.iter().copied().map(f64::from).collect();
    let mean = |Sum { sum, sizes, seen, elements }| {
        // An addition for each element; a division, within 2.5 ulp. Subnormals may be taken for 0.
        let flushed = seen * f64::from(f32::MIN_POSITIVE);
        (sum / elements, (seen + 6.0) * UNIT * sizes / elements + flushed)
    };
    sums(&x, size, out, window, include_pad).map(mean).unzip()
}

/// What one window sees.
struct Sum {
    sum: f64,
    sizes: f64,
    seen: f64,
    elements: f64,
}

fn sums(
    x: &[f64],
    size: [usize; 2],
    out: [usize; 2],
    window: &Window,
    include_pad: bool,
) -> impl Iterator<Item = Sum> {
    (0..out[0] * out[1]).map(move |place| {
        let values: Vec<f64> =
            seen(window, size, [place / out[1], place % out[1]]).map(|from| x[from]).collect();
        let elements = if include_pad { window.kernel[0] * window.kernel[1] } else { values.len() };
        Sum {
            sum: values.iter().sum(),
            sizes: values.iter().map(|value| value.abs()).sum(),
            seen: values.len() as f64,
            elements: elements as f64,
        }
    })
}
