//! q4_0: d = largest / -8, code = x / d + 8.5 cut to a whole number (src/codec/q4_0.rs)
//! use lib/half
//! use lib/rounded
//! use lib/encode_group

const SPAN: u32 = 32u;

// The first of the largest size.
fn extreme(a: vec2<f32>, b: vec2<f32>) -> vec2<f32> {
    return select(a, b, abs(b.x) > abs(a.x));
}

fn settle(largest: vec2<f32>) -> Scaled {
    if (largest.x == 0.0) {
        // 0 / -8 is -0.
        return Scaled(0.0, 0.0, 0x8000u);
    }
    let d = abs(largest.x) * 0.125;
    let sign = select(0x8000u, 0u, largest.x < 0.0);
    let inverse = quotient(1.0, d);
    return Scaled(select(-inverse, inverse, sign == 0u), 0.0, half_bits(d) | sign);
}

fn code_of(group: Scaled, x: f32) -> u32 {
    // The bounds are never reached: they keep the product from being part of a fused sum.
    return min(u32(clamp(x * group.factor, -8.25, 8.25) + 8.5), 15u);
}

fn scale(token: u32, half: u32) -> u32 {
    return scaled[token * spans() + half].halves;
}
