//! slot centroids
// Codes of a cache as numbers, before their scales. A chunk is 16 neighbouring values of a token; `code` is the number of the
// codec::CacheType, known when the pipeline is made. src/codec says what codes mean, src/codec/pack.rs how
// they lie in words.
const F16: u32 = 0u;
const Q8_0: u32 = 1u;
const Q4_0: u32 = 2u;
const FP8: u32 = 3u;
const KIVI4: u32 = 4u;
const KIVI2: u32 = 5u;
const TURBO4: u32 = 6u;
const TURBO3: u32 = 7u;
const TURBO2: u32 = 8u;

// Words of a chunk, the second plane of 3 bits not counted.
fn words_of_chunk(code: u32) -> u32 {
    switch (code) {
        case F16: { return 8u; }
        case Q8_0, FP8: { return 4u; }
        case Q4_0, KIVI4, TURBO4: { return 2u; }
        default: { return 1u; }
    }
}

// Whether scales belong to 32 neighbouring channels; otherwise they belong to the whole token, or by channel to 32 tokens.
fn has_groups(code: u32) -> bool {
    return code == Q8_0 || code == Q4_0 || code == KIVI4 || code == KIVI2;
}

fn is_kivi(code: u32) -> bool {
    return code == KIVI4 || code == KIVI2;
}

fn is_turbo(code: u32) -> bool {
    return code >= TURBO4;
}

// E4M3: exponents and mantissas moved to where f32 has them, and the exponents' bases brought together.
fn fp8_values(word: u32) -> vec4<f32> {
    let code = unpack4xU8(word);
    let size = bitcast<vec4<f32>>((code & vec4(0x7fu)) << vec4(20u)) * 0x1p120;
    return select(size, -size, code >= vec4(0x80u));
}

fn half_count(code: u32) -> u32 {
    return select(select(2u, 4u, code == TURBO3), 8u, code == TURBO4);
}

// The values of vec4 number `quad` of chunk number `at` of a token. Halves take two words; the second word of three bits is that
// of their second plane. `first` is where the centroids of the type's side
// begin.
fn values_of(code: u32, at: u32, quad: u32, words: vec2<u32>, first: u32) -> vec4<f32> {
    let four_bits = (words.x >> (4u * (quad % 2u))) & 0x0f0f0f0fu;
    let two_bits = (words.x >> (2u * quad)) & 0x03030303u;
    switch (code) {
        case F16: { return vec4(unpack2x16float(words.x), unpack2x16float(words.y)); }
        case Q8_0: { return vec4<f32>(unpack4xI8(words.x)); }
        case FP8: { return fp8_values(words.x); }
        case Q4_0: { return vec4<f32>(unpack4xU8(four_bits)) - 8.0; }
        case KIVI4: { return vec4<f32>(unpack4xU8(four_bits)); }
        case KIVI2: { return vec4<f32>(unpack4xU8(two_bits)); }
        case TURBO4: { return centroids_of(four_bits, code, first); }
        case TURBO3: {
            let high = (words.y >> (4u * (at % 2u) + quad)) & 0x01010101u;
            return centroids_of(two_bits | (high << 2u), code, first);
        }
        default: { return centroids_of(two_bits, code, first); }
    }
}
