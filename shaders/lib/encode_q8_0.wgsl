//! q8_0: d = largest / 127, code = round(x / d), halves away from zero (src/codec/q8_0.rs)
//! use lib/half
//! use lib/rounded
//! use lib/encode_group

const SPAN: u32 = 32u;

fn extreme(a: vec2<f32>, b: vec2<f32>) -> vec2<f32> {
    return max(abs(a), abs(b));
}

fn settle(largest: vec2<f32>) -> Scaled {
    if (largest.x == 0.0) {
        return Scaled(0.0, 0.0, 0u);
    }
    let d = quotient(largest.x, 127.0);
    return Scaled(quotient(1.0, d), 0.0, half_bits(d));
}

fn code_of(group: Scaled, x: f32) -> u32 {
    // The bound is never reached: it keeps the product from being part of a fused difference.
    let size = min(abs(x * group.factor), 128.0);
    let whole = floor(size);
    let code = u32(whole) + select(0u, 1u, size - whole >= 0.5);
    return select(code, (256u - code) & 255u, x < 0.0);
}

fn scale(token: u32, half: u32) -> u32 {
    return scaled[token * spans() + half].halves;
}
