//! mxfp4: weight = value(code) * 2^(e - 128), an e for 32 codes of 4 bits (E2M1, doubled)
//! use lib/planes
//! use lib/codes

@group(0) @binding(8) var<storage, read> codes: array<Wide>;      // [rows, pairs*2]
@group(0) @binding(9) var<storage, read> scales: array<u32>;      // [rows, pairs/2] two e for each of two pairs

const HAS_OFFSETS: bool = true;
const HAS_SIGNS: bool = false;

struct Pair { a: vec4<u32>, b: vec4<u32>, scale: vec2<f32> }

fn load(row: u32, pair: u32) -> Pair {
    return Pair(
        words(codes[place(row, pair, 2u, 0u)]),
        words(codes[place(row, pair, 2u, 1u)]),
        exponents(scales[row * ((params.pairs + 1u) / 2u) + pair / 2u] >> (16u * (pair % 2u))),
    );
}

/// 2^(e - 128) for the two low bytes; the lowest two are subnormal, which a device may take for 0.
fn exponents(word: u32) -> vec2<f32> {
    let e = vec2<u32>(word & 255u, (word >> 8u) & 255u);
    return bitcast<vec2<f32>>(select((e - vec2<u32>(1u)) << vec2<u32>(23u), vec2<u32>(0x00200000u) << e, e < vec2<u32>(2u)));
}

/// 0, 1, 2, 3, 4, 6, 8 or 12 by the low three bits of each byte: as many as they say, and from 4 on the low two, and 2 more, again.
fn value_of(code: vec4<u32>) -> vec4<u32> {
    let half = code >> vec4<u32>(1u);
    let again = code & ((half & vec4<u32>(0x02020202u)) | ((code >> vec4<u32>(2u)) & vec4<u32>(0x01010101u)));
    let last = code & half & (code << vec4<u32>(1u)) & vec4<u32>(0x02020202u);
    return (code & vec4<u32>(0x07070707u)) + again + last;
}

fn codes_of(pair: Pair, g: u32) -> vec4<u32> {
    let code = nibbles(select(pair.a, pair.b, g >= 2u), g % 2u);
    let size = value_of(code);
    // Twelve more than the signed value, so that no byte borrows.
    let signs = ((code >> vec4<u32>(3u)) & vec4<u32>(0x01010101u)) * 255u;
    return vec4<u32>(0x0c0c0c0cu) + size - 2u * (size & signs);
}

fn scale_of(pair: Pair, g: u32) -> f32 {
    return select(pair.scale.x, pair.scale.y, g >= 2u);
}

fn offset_of(pair: Pair, g: u32) -> f32 {
    return -12.0 * select(pair.scale.x, pair.scale.y, g >= 2u);
}
