//! q8_0: weight = d * code, a d for 32 codes of 8 bits
//! use lib/planes
//! use lib/codes

@group(0) @binding(8) var<storage, read> codes: array<Wide>;      // [rows, pairs*4]
@group(0) @binding(9) var<storage, read> scales: array<u32>;      // [rows, pairs] two d as f16

const HAS_OFFSETS: bool = false;
const HAS_SIGNS: bool = true;

struct Pair { a: vec4<u32>, b: vec4<u32>, c: vec4<u32>, d: vec4<u32>, scale: vec2<f32> }

fn load(row: u32, pair: u32) -> Pair {
    return Pair(
        words(codes[place(row, pair, 4u, 0u)]),
        words(codes[place(row, pair, 4u, 1u)]),
        words(codes[place(row, pair, 4u, 2u)]),
        words(codes[place(row, pair, 4u, 3u)]),
        unpack2x16float(scales[row * params.pairs + pair]),
    );
}

fn codes_of(pair: Pair, g: u32) -> vec4<u32> {
    return select(select(pair.a, pair.b, g == 1u), select(pair.c, pair.d, g == 3u), g >= 2u);
}

fn scale_of(pair: Pair, g: u32) -> f32 {
    return select(pair.scale.x, pair.scale.y, g >= 2u);
}

fn offset_of(pair: Pair, g: u32) -> f32 {
    return 0.0;
}
