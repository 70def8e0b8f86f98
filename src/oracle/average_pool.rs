//! Oracle of `average_pool`: the mean of each window.

use super::max_pool::seen;
use crate::network::Window;

/// Unit roundoff of f32.
const UNIT: f64 = 1.0 / 16_777_216.0;

/// Of one channel, `x` of `[height, width]`: `[out_height, out_width]` means, and how far an f32 kernel may be from each.
pub fn average_pool(
    x: &[f32],
    size: [usize; 2],
    out: [usize; 2],
    window: &Window,
    include_pad: bool,
) -> (Vec<f64>, Vec<f64>) {
    let mean = |place| {
        let values: Vec<f64> =
            seen(window, size, [place / out[1], place % out[1]]).map(|from| f64::from(x[from])).collect();
        let elements = if include_pad { window.kernel[0] * window.kernel[1] } else { values.len() } as f64;
        // An addition for each element; a division, within 2.5 ulp. Subnormals may be taken for 0.
        let (steps, flushed) =
            (values.len() as f64 + 6.0, values.len() as f64 * f64::from(f32::MIN_POSITIVE));
        let sizes: f64 = values.iter().map(|value| value.abs()).sum();
        (values.iter().sum::<f64>() / elements, steps * UNIT * sizes / elements + flushed)
    };
    (0..out[0] * out[1]).map(mean).unzip()
}
