//! q5_k: weight = d * scale * code - dmin * minimum, a scale and a minimum for 32 codes of 5 bits: 4 and 1
//! use lib/k_scales
//! use lib/planes
//! use lib/codes

@group(0) @binding(8) var<storage, read> codes: array<Wide>;      // [rows, pairs*2]
@group(0) @binding(9) var<storage, read> high: array<Narrow>;     // [rows, pairs]
@group(0) @binding(10) var<storage, read> scales: array<Wide>;     // [rows, pairs/4] d and dmin, then see lib/k_scales

const HAS_OFFSETS: bool = true;
const HAS_SIGNS: bool = false;

struct Pair { a: vec4<u32>, b: vec4<u32>, high: vec2<u32>, scale: vec4<f32> }

fn load(row: u32, pair: u32) -> Pair {
    return Pair(
        words(codes[place(row, pair, 2u, 0u)]),
        words(codes[place(row, pair, 2u, 1u)]),
        narrow_words(high[row * params.pairs + pair]),
        k_scales(words(scales[row * (params.pairs / 4u) + pair / 4u]), pair % 4u),
    );
}

fn codes_of(pair: Pair, g: u32) -> vec4<u32> {
    return nibbles(select(pair.a, pair.b, g >= 2u), g % 2u) | (bits(pair.high, g) << vec4<u32>(4u));
}

fn scale_of(pair: Pair, g: u32) -> f32 {
    return select(pair.scale.x, pair.scale.y, g >= 2u);
}

fn offset_of(pair: Pair, g: u32) -> f32 {
    return -select(pair.scale.z, pair.scale.w, g >= 2u);
}
