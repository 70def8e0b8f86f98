//! Oracle of `max_pool`: the largest element in each window.

use crate::network::Window;

/// Of one channel, `x` of `[height, width]`: `[out_height, out_width]` maxima. A window without an element has none.
pub fn max_pool<T: Copy + PartialOrd>(
    x: &[T],
    size: [usize; 2],
    out: [usize; 2],
    window: &Window,
) -> Vec<Option<T>> {
    let largest = |place| {
        seen(window, size, [place / out[1], place % out[1]])
            .map(|from| x[from])
            .reduce(|a, b| if b > a { b } else { a })
    };
    (0..out[0] * out[1]).map(largest).collect()
}

/// The elements of a picture that `window` sees from place `to` of the output, in order.
pub(super) fn seen(window: &Window, size: [usize; 2], to: [usize; 2]) -> impl Iterator<Item = usize> {
    let rows = (0..window.kernel[0]).filter_map(move |at| window.source(0, to[0], at, size[0]));
    rows.flat_map(move |row| {
        let columns = (0..window.kernel[1]).filter_map(move |at| window.source(1, to[1], at, size[1]));
        columns.map(move |column| row * size[1] + column)
    })
}
