//! q6_k: weight = d * scale * (code - 32), a scale for 16 codes of 6 bits: 4 and 2
//! use lib/planes
//! use lib/codes

@group(0) @binding(8) var<storage, read> codes: array<Wide>;      // [rows, pairs*2]
@group(0) @binding(9) var<storage, read> high: array<Wide>;       // [rows, pairs]
@group(0) @binding(10) var<storage, read> scales: array<u32>;     // [rows, pairs] four scales as i8
@group(0) @binding(11) var<storage, read> supers: array<u32>;     // [rows, pairs/8] a d as f16 for four pairs

const HAS_OFFSETS: bool = false;
const HAS_SIGNS: bool = true;

struct Pair { a: vec4<u32>, b: vec4<u32>, high: vec4<u32>, scale: vec4<f32> }

fn load(row: u32, pair: u32) -> Pair {
    let d = half_of(supers[row * ((params.pairs + 7u) / 8u) + pair / 8u], pair / 4u % 2u);
    return Pair(
        words(codes[place(row, pair, 2u, 0u)]),
        words(codes[place(row, pair, 2u, 1u)]),
        words(high[row * params.pairs + pair]),
        d * vec4<f32>(unpack4xI8(scales[row * params.pairs + pair])),
    );
}

fn codes_of(pair: Pair, g: u32) -> vec4<u32> {
    let low = nibbles(select(pair.a, pair.b, g >= 2u), g % 2u);
    return less(low | (crumbs(pair.high, g) << vec4<u32>(4u)), 0x20202020u);
}

fn scale_of(pair: Pair, g: u32) -> f32 {
    return pick4(pair.scale.x, pair.scale.y, pair.scale.z, pair.scale.w, g);
}

fn offset_of(pair: Pair, g: u32) -> f32 {
    return 0.0;
}
