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

alias ChunkWords = array<u32, 8>;
alias QuadWords = array<vec2<u32>, 4>;
// The sizes of a type's centroids, rising.
alias Sizes = array<f32, 8>;

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

// The centroid of a code: codes count up through `half_count` negative ones, then as many positive ones.
fn centroids(code: vec4<u32>, half_count: u32, sizes: Sizes) -> vec4<f32> {
    let positive = code >= vec4(half_count);
    let at = select(vec4(half_count - 1u) - code, code - vec4(half_count), positive);
    let first = (at & vec4(1u)) == vec4(0u);
    var size = select(vec4(sizes[1]), vec4(sizes[0]), first);
    if (half_count > 2u) {
        let second = (at & vec4(2u)) == vec4(0u);
        size = select(select(vec4(sizes[3]), vec4(sizes[2]), first), size, second);
        if (half_count > 4u) {
            let low = select(vec4(sizes[5]), vec4(sizes[4]), first);
            let high = select(vec4(sizes[7]), vec4(sizes[6]), first);
            size = select(select(high, low, second), size, (at & vec4(4u)) == vec4(0u));
        }
    }
    return select(-size, size, positive);
}

// The words that each vec4 of a chunk is made of: two of halves, else one, and that of the second plane of 3 bits. That is the
// last of `words`.
fn words_of_quads(code: u32, words: ChunkWords) -> QuadWords {
    switch (words_of_chunk(code)) {
        case 8u: {
            return QuadWords(
                vec2(words[0], words[1]), vec2(words[2], words[3]), vec2(words[4], words[5]), vec2(words[6], words[7]),
            );
        }
        case 4u: {
            return QuadWords(vec2(words[0], 0u), vec2(words[1], 0u), vec2(words[2], 0u), vec2(words[3], 0u));
        }
        case 2u: {
            return QuadWords(vec2(words[0], 0u), vec2(words[0], 0u), vec2(words[1], 0u), vec2(words[1], 0u));
        }
        default: {
            let both = vec2(words[0], words[7]);
            return QuadWords(both, both, both, both);
        }
    }
}

// The values of vec4 number `quad` of chunk number `at` of a token.
fn values_of(code: u32, at: u32, quad: u32, words: vec2<u32>, sizes: Sizes) -> vec4<f32> {
    let four_bits = (words.x >> (4u * (quad % 2u))) & 0x0f0f0f0fu;
    let two_bits = (words.x >> (2u * quad)) & 0x03030303u;
    switch (code) {
        case F16: { return vec4(unpack2x16float(words.x), unpack2x16float(words.y)); }
        case Q8_0: { return vec4<f32>(unpack4xI8(words.x)); }
        case FP8: { return fp8_values(words.x); }
        case Q4_0: { return vec4<f32>(unpack4xU8(four_bits)) - 8.0; }
        case KIVI4: { return vec4<f32>(unpack4xU8(four_bits)); }
        case KIVI2: { return vec4<f32>(unpack4xU8(two_bits)); }
        case TURBO4: { return centroids(unpack4xU8(four_bits), 8u, sizes); }
        case TURBO3: {
            let high = (words.y >> (4u * (at % 2u) + quad)) & 0x01010101u;
            return centroids(unpack4xU8(two_bits | (high << 2u)), 4u, sizes);
        }
        default: { return centroids(unpack4xU8(two_bits), 2u, sizes); }
    }
}
