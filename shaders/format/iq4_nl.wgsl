//! iq4_nl: weight = d * value(code), a d for 32 codes of 4 bits
//! use lib/planes
//! use lib/codes

@group(0) @binding(8) var<storage, read> codes: array<Wide>;      // [rows, pairs*2]
@group(0) @binding(9) var<storage, read> scales: array<u32>;      // [rows, pairs] two d as f16

const HAS_OFFSETS: bool = false;
const HAS_SIGNS: bool = true;

struct Pair { a: vec4<u32>, b: vec4<u32>, scale: vec2<f32> }

fn load(row: u32, pair: u32) -> Pair {
    return Pair(
        words(codes[place(row, pair, 2u, 0u)]),
        words(codes[place(row, pair, 2u, 1u)]),
        unpack2x16float(scales[row * params.pairs + pair]),
    );
}

fn codes_of(pair: Pair, g: u32) -> vec4<u32> {
    return table(nibbles(select(pair.a, pair.b, g >= 2u), g % 2u));
}

/// The value of each byte's code: four words hold the 16 values, by their place in which a byte is taken.
fn table(codes: vec4<u32>) -> vec4<u32> {
    return vec4<u32>(table_word(codes.x), table_word(codes.y), table_word(codes.z), table_word(codes.w));
}

fn table_word(word: u32) -> u32 {
    let code = (vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(15u);
    let low = select(vec4<u32>(0xbfad9881u), vec4<u32>(0xf6eaddcfu), (code & vec4<u32>(4u)) != vec4<u32>(0u));
    let high = select(vec4<u32>(0x26190d01u), vec4<u32>(0x71594535u), (code & vec4<u32>(4u)) != vec4<u32>(0u));
    let four = select(low, high, code >= vec4<u32>(8u));
    let value = (four >> ((code & vec4<u32>(3u)) * 8u)) & vec4<u32>(255u);
    return value.x | (value.y << 8u) | (value.z << 16u) | (value.w << 24u);
}

fn scale_of(pair: Pair, g: u32) -> f32 {
    return select(pair.scale.x, pair.scale.y, g >= 2u);
}

fn offset_of(pair: Pair, g: u32) -> f32 {
    return 0.0;
}
