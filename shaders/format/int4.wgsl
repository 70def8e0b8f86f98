//! int4: weight = d * (code - zero), a d and a zero for GROUP codes of 4 bits; a group size includes this
//! use lib/planes
//! use lib/codes

@group(0) @binding(8) var<storage, read> codes: array<Wide>;      // [rows, pairs*2]
@group(0) @binding(9) var<storage, read> scales: array<u32>;      // [rows, pairs/SCALE_PAIRS] two d as f16
@group(0) @binding(10) var<storage, read> zeros: array<u32>;      // [rows, pairs/ZERO_PAIRS] four zeros as u8

const HAS_OFFSETS: bool = true;
const HAS_SIGNS: bool = false;
// Pairs that share a word.
const SCALE_PAIRS: u32 = GROUP / 32u;
const ZERO_PAIRS: u32 = GROUP / 16u;

struct Pair { a: vec4<u32>, b: vec4<u32>, scale: vec2<f32>, offset: vec2<f32> }

/// Scale and offset of unit `unit` of 32 weights of a row.
fn group_of(row: u32, unit: u32) -> vec2<f32> {
    let group = unit * 32u / GROUP;
    let d = half_of(scales[row * ((params.pairs + SCALE_PAIRS - 1u) / SCALE_PAIRS) + group / 2u], group % 2u);
    let word = zeros[row * ((params.pairs + ZERO_PAIRS - 1u) / ZERO_PAIRS) + group / 4u];
    let zero = (word >> (8u * (group % 4u))) & 255u;
    return vec2<f32>(d, d * (0.0 - f32(zero)));
}

fn load(row: u32, pair: u32) -> Pair {
    let first = group_of(row, 2u * pair);
    let second = group_of(row, 2u * pair + 1u);
    return Pair(
        words(codes[place(row, pair, 2u, 0u)]),
        words(codes[place(row, pair, 2u, 1u)]),
        vec2<f32>(first.x, second.x),
        vec2<f32>(first.y, second.y),
    );
}

fn codes_of(pair: Pair, g: u32) -> vec4<u32> {
    return nibbles(select(pair.a, pair.b, g >= 2u), g % 2u);
}

fn scale_of(pair: Pair, g: u32) -> f32 {
    return select(pair.scale.x, pair.scale.y, g >= 2u);
}

fn offset_of(pair: Pair, g: u32) -> f32 {
    return select(pair.offset.x, pair.offset.y, g >= 2u);
}
