//! q3_k: weight = d * (scale - 32) * (code - 4), a scale for 16 codes of 3 bits: 2 and 1
//! use lib/planes
//! use lib/codes

@group(0) @binding(8) var<storage, read> codes: array<Wide>;      // [rows, pairs]
@group(0) @binding(9) var<storage, read> high: array<Narrow>;     // [rows, pairs]
@group(0) @binding(10) var<storage, read> scales: array<u32>;     // [rows, pairs/4*3] for four pairs: see below
@group(0) @binding(11) var<storage, read> supers: array<u32>;     // [rows, pairs/8] a d as f16 for four pairs

const HAS_OFFSETS: bool = true;
const HAS_SIGNS: bool = false;

struct Pair { codes: vec4<u32>, high: vec2<u32>, scale: vec4<f32> }

/// Each of a block's three words of scales has a byte for each of its four pairs: the first three of the pair's scales
/// (6 bits), and on top of each two bits of the fourth.
fn load(row: u32, pair: u32) -> Pair {
    let d = half_of(supers[row * ((params.pairs + 7u) / 8u) + pair / 8u], pair / 4u % 2u);
    let at = (row * (params.pairs / 4u) + pair / 4u) * 3u;
    let bytes = vec3<u32>(scales[at], scales[at + 1u], scales[at + 2u]) >> vec3<u32>(8u * (pair % 4u));
    let six = bytes & vec3<u32>(63u);
    let top = (bytes >> vec3<u32>(6u)) & vec3<u32>(3u);
    let scale = vec4<u32>(six, top.x | (top.y << 2u) | (top.z << 4u));
    return Pair(
        words(codes[row * params.pairs + pair]),
        narrow_words(high[row * params.pairs + pair]),
        d * (vec4<f32>(scale) - vec4<f32>(32.0)),
    );
}

fn codes_of(pair: Pair, g: u32) -> vec4<u32> {
    return crumbs(pair.codes, g) | (bits(pair.high, g) << vec4<u32>(2u));
}

fn scale_of(pair: Pair, g: u32) -> f32 {
    return pick4(pair.scale.x, pair.scale.y, pair.scale.z, pair.scale.w, g);
}

fn offset_of(pair: Pair, g: u32) -> f32 {
    return -4.0 * scale_of(pair, g);
}
