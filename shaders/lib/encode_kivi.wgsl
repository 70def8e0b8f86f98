//! kivi: a scale and the least value for 32 channels of a token (src/codec/kivi.rs)
//! use lib/kivi
//! use lib/encode_group

const SPAN: u32 = 32u;

fn extreme(a: vec2<f32>, b: vec2<f32>) -> vec2<f32> {
    return vec2<f32>(min(a.x, b.x), max(a.y, b.y));
}

fn settle(ends: vec2<f32>) -> Scaled {
    let range = range_of(ends.x, ends.y);
    return Scaled(range.scale, range.least, range.halves);
}

fn code_of(group: Scaled, x: f32) -> u32 {
    return code_in(Range(group.factor, group.offset, group.halves), x);
}

fn scale(token: u32, half: u32) -> u32 {
    return (scaled[token * spans() + half / 2u].halves >> (half % 2u * 16u)) & 0xffffu;
}
