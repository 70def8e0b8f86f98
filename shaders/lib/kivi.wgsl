//! kivi: codes between the least and the largest value of a group (src/codec/kivi.rs)
//! use lib/half

struct Range {
    scale: f32,
    least: f32,
    halves: u32,    // the scale, low, and the least value, as they are kept
}

fn range_of(least: f32, largest: f32) -> Range {
    let scale = half_bits((largest - least) * select(1.0 / 15.0, 1.0 / 3.0, LOW == 2u));
    // A minimum of -0 is kept as 0.
    let bottom = select(half_bits(least), 0u, least == 0.0);
    return Range(half_value(scale), half_value(bottom), scale | (bottom << 16u));
}

// How many k of 1..=top have x - least > (k - 0.5) * scale: an estimate, which is off by one at most, and two tests.
fn code_in(range: Range, x: f32) -> u32 {
    if (range.scale == 0.0) {
        return 0u;
    }
    let top = f32((1u << LOW) - 1u);
    let above = x - range.least;
    let k = floor(clamp(above / range.scale + 0.5, 0.0, top));
    if (k < top && above > (k + 0.5) * range.scale) {
        return u32(k) + 1u;
    }
    if (k > 0.0 && !(above > (k - 0.5) * range.scale)) {
        return u32(k) - 1u;
    }
    return u32(k);
}
