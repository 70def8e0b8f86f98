//! tq1_0: weight = d * (code - 1), a d for 256 codes in base 3, five to a byte
//! use lib/planes
//! use lib/codes

@group(0) @binding(8) var<storage, read> codes: array<u32>;       // [rows, pairs/4*13] 12 bytes a pair, then 4 more
@group(0) @binding(9) var<storage, read> supers: array<u32>;      // [rows, pairs/8] a d as f16 for four pairs

const HAS_OFFSETS: bool = true;
const HAS_SIGNS: bool = false;

/// Three words of a pair's own bytes, and its byte of the block's last word.
struct Pair { a: u32, b: u32, c: u32, last: u32, d: f32 }

fn load(row: u32, pair: u32) -> Pair {
    let block = (row * (params.pairs / 4u) + pair / 4u) * 13u;
    let at = block + pair % 4u * 3u;
    return Pair(
        codes[at],
        codes[at + 1u],
        codes[at + 2u],
        (codes[block + 12u] >> (8u * (pair % 4u))) & 255u,
        half_of(supers[row * ((params.pairs + 7u) / 8u) + pair / 8u], pair / 4u % 2u),
    );
}

/// Digit `digit` of four bytes: a byte is a fraction of 256, and a digit what exceeds 256 when it is tripled.
fn digits(word: u32, digit: u32) -> u32 {
    var even = word & 0x00ff00ffu;
    var odd = (word >> 8u) & 0x00ff00ffu;
    for (var i = 0u; i < digit; i++) {
        even = (even * 3u) & 0x00ff00ffu;
        odd = (odd * 3u) & 0x00ff00ffu;
    }
    return (((even * 3u) >> 8u) & 0x00030003u) | ((odd * 3u) & 0x03000300u);
}

/// Granule `g` has digit `g` of the 12 bytes, then digits of a fifth kind: of the 12 bytes' last digits, three; and one
/// of the four digits of the last byte.
fn codes_of(pair: Pair, g: u32) -> vec4<u32> {
    let fifth = vec3<u32>(digits(pair.a, 4u), digits(pair.b, 4u), digits(pair.c, 4u)) >> vec3<u32>(8u * g);
    let own = fifth & vec3<u32>(3u);
    let last = digits(pair.last, g) & 3u;
    return vec4<u32>(
        digits(pair.a, g),
        digits(pair.b, g),
        digits(pair.c, g),
        own.x | (own.y << 8u) | (own.z << 16u) | (last << 24u),
    );
}

fn scale_of(pair: Pair, g: u32) -> f32 {
    return pair.d;
}

fn offset_of(pair: Pair, g: u32) -> f32 {
    return -pair.d;
}
