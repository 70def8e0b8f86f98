//! fp8: s = largest / 448 as a half, code = the E4M3 nearest to x / s (src/codec/fp8.rs)
//! use lib/half
//! use lib/rounded
//! use lib/encode_group

override SPAN: u32 = DIM;

fn extreme(a: vec2<f32>, b: vec2<f32>) -> vec2<f32> {
    return max(abs(a), abs(b));
}

fn settle(largest: vec2<f32>) -> Scaled {
    let halves = half_bits(largest.x * (1.0 / 448.0));
    if (halves == 0u) {
        return Scaled(0.0, 0.0, 0u);
    }
    return Scaled(quotient(1.0, half_value(halves)), 0.0, halves);
}

fn code_of(group: Scaled, x: f32) -> u32 {
    let scaled_x = x * group.factor;
    let size = min(abs(scaled_x), 448.0);
    // Below the smallest normal value, 2^-6, the steps are those of the first exponent.
    let exponent = max(bitcast<u32>(size) >> 23u, 121u) - 120u;
    let steps = u32(round(size * bitcast<f32>((137u - exponent) << 23u)));
    // Eight steps more are the next exponent, so sixteen carry into it by themselves. No scale, no sign.
    let sign = select(0u, 0x80u, group.halves > 0u && bitcast<u32>(x) >= 0x80000000u);
    return sign | ((exponent << 3u) + steps - 8u);
}

fn scale(token: u32, half: u32) -> u32 {
    return scaled[token].halves;
}
