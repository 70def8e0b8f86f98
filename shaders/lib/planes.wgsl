//! How rows of weights and activations lie on the device (src/format/planes.rs): in pairs of 32 values, of which each
//! has four granules of 16. A plane gives each pair some wide words (16 bytes). Of eight neighbouring pairs, the first
//! wide words lie side by side, then the second ones, and so on: neighbouring lanes read neighbouring memory.
//! slot wide
const TILE: u32 = 8u;

/// The place of wide word `at` of `per_pair` that pair `pair` of row `row` has.
fn place(row: u32, pair: u32, per_pair: u32, at: u32) -> u32 {
    let first = pair - pair % TILE;
    let tile = min(TILE, params.pairs - first);
    return (row * params.pairs + first) * per_pair + at * tile + (pair - first);
}

/// `a`, `b`, `c` or `d` by `at`.
fn pick4(a: f32, b: f32, c: f32, d: f32, at: u32) -> f32 {
    return select(select(a, b, at == 1u), select(c, d, at == 3u), at >= 2u);
}

/// 16 codes of 4 bits: of the 32 in a wide word, the first (0) or the second (1).
fn nibbles(wide: vec4<u32>, second: u32) -> vec4<u32> {
    return (wide >> vec4<u32>(4u * second)) & vec4<u32>(0x0f0f0f0fu);
}

/// 16 codes of 2 bits: granule `g` of the 64 in a wide word.
fn crumbs(wide: vec4<u32>, g: u32) -> vec4<u32> {
    return (wide >> vec4<u32>(2u * g)) & vec4<u32>(0x03030303u);
}

/// 16 codes of 1 bit: granule `g` of the 64 in a narrow word.
fn bits(narrow: vec2<u32>, g: u32) -> vec4<u32> {
    let word = select(narrow.x, narrow.y, g >= 2u);
    return (vec4<u32>(word) >> (vec4<u32>(0u, 1u, 2u, 3u) + vec4<u32>(4u * (g % 2u)))) & vec4<u32>(0x01010101u);
}

/// The low (0) or high (1) half of a word, as f16.
fn half_of(word: u32, high: u32) -> f32 {
    return unpack2x16float(word >> (16u * high)).x;
}

/// Each of the 16 bytes less `amount`, which is in all bytes of its words; no byte may fall below -128.
fn less(bytes: vec4<u32>, amount: u32) -> vec4<u32> {
    let top = vec4<u32>(0x80808080u);
    return ((bytes | top) - vec4<u32>(amount)) ^ top;
}
