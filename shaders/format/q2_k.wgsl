//! q2_k: weight = d * scale * code - dmin * minimum, a scale and a minimum for 16 codes of 2 bits
//! use lib/planes
//! use lib/codes

@group(0) @binding(8) var<storage, read> codes: array<Wide>;      // [rows, pairs]
@group(0) @binding(9) var<storage, read> scales: array<u32>;      // [rows, pairs] four bytes: scale low, minimum high
@group(0) @binding(10) var<storage, read> supers: array<u32>;     // [rows, pairs/4] d and dmin as f16 for four pairs

const HAS_OFFSETS: bool = true;
const HAS_SIGNS: bool = false;

struct Pair { codes: vec4<u32>, scales: u32, d: vec2<f32> }

fn load(row: u32, pair: u32) -> Pair {
    return Pair(
        words(codes[row * params.pairs + pair]),
        scales[row * params.pairs + pair],
        unpack2x16float(supers[row * (params.pairs / 4u) + pair / 4u]),
    );
}

fn codes_of(pair: Pair, g: u32) -> vec4<u32> {
    return crumbs(pair.codes, g);
}

fn scale_of(pair: Pair, g: u32) -> f32 {
    return pair.d.x * f32((pair.scales >> (8u * g)) & 15u);
}

fn offset_of(pair: Pair, g: u32) -> f32 {
    return -pair.d.y * f32((pair.scales >> (8u * g + 4u)) & 15u);
}
