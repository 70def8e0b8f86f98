//! tq2_0: weight = d * (code - 1), a d for 256 codes of 2 bits
//! use lib/planes
//! use lib/codes

@group(0) @binding(8) var<storage, read> codes: array<Wide>;      // [rows, pairs]
@group(0) @binding(9) var<storage, read> supers: array<u32>;      // [rows, pairs/8] a d as f16 for four pairs

const HAS_OFFSETS: bool = true;
const HAS_SIGNS: bool = false;

struct Pair { codes: vec4<u32>, d: f32 }

fn load(row: u32, pair: u32) -> Pair {
    return Pair(
        words(codes[row * params.pairs + pair]),
        half_of(supers[row * ((params.pairs + 7u) / 8u) + pair / 8u], pair / 4u % 2u),
    );
}

fn codes_of(pair: Pair, g: u32) -> vec4<u32> {
    return crumbs(pair.codes, g);
}

fn scale_of(pair: Pair, g: u32) -> f32 {
    return pair.d;
}

fn offset_of(pair: Pair, g: u32) -> f32 {
    return -pair.d;
}
