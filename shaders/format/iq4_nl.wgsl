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

/// The value of each byte's code: of the 16 values, the halves that each of its bits leaves, the lowest first.
fn table(codes: vec4<u32>) -> vec4<u32> {
    let first = whole(codes);
    let second = whole(codes >> vec4<u32>(1u));
    let third = whole(codes >> vec4<u32>(2u));
    let a = either(second, two(first, 0x81818181u, 0x98989898u), two(first, 0xadadadadu, 0xbfbfbfbfu));
    let b = either(second, two(first, 0xcfcfcfcfu, 0xddddddddu), two(first, 0xeaeaeaeau, 0xf6f6f6f6u));
    let c = either(second, two(first, 0x01010101u, 0x0d0d0d0du), two(first, 0x19191919u, 0x26262626u));
    let d = either(second, two(first, 0x35353535u, 0x45454545u), two(first, 0x59595959u, 0x71717171u));
    return either(whole(codes >> vec4<u32>(3u)), either(third, a, b), either(third, c, d));
}

/// The lowest bit of each byte, in all of its bits.
fn whole(bits: vec4<u32>) -> vec4<u32> {
    return (bits & vec4<u32>(0x01010101u)) * 255u;
}

/// Of two values, that which each bit of the mask says.
fn either(mask: vec4<u32>, zero: vec4<u32>, one: vec4<u32>) -> vec4<u32> {
    return (mask & one) | (~mask & zero);
}

fn two(mask: vec4<u32>, zero: u32, one: u32) -> vec4<u32> {
    return vec4<u32>(zero) ^ (mask & vec4<u32>(zero ^ one));
}

fn scale_of(pair: Pair, g: u32) -> f32 {
    return select(pair.scale.x, pair.scale.y, g >= 2u);
}

fn offset_of(pair: Pair, g: u32) -> f32 {
    return 0.0;
}
