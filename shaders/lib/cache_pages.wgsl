//! use lib/cache_codes
//! use lib/grid
// Pages of a cache, as an attention reads them: what it is told, the types that it is made for, and where words lie. The bindings are the
// kernel's.
struct Params {
    rows: u32,          // groups of queries that share a kv head, times splits
    queries: u32,       // as many spans
    tables: u32,        // one for each query, or for each tile of queries
    kv_heads: u32,
    heads: u32,         // query heads of a kv head
    d4: u32,            // values of a query in vec4s
    splits: u32,
    first_split: u32,   // where this call's splits lie among all
    all_splits: u32,
    split_tokens: u32,
    partials: u32,      // queries * kv heads * all_splits * heads
    width: u32,         // a partial: o, m and l, in vec4s
    block: u32,         // tokens of a page
    table_width: u32,
    key_page: u32,      // words of a page
    value_page: u32,
    key_words: u32,     // words of all pages
    value_words: u32,
    means: u32,         // kv heads, or 0: nothing was subtracted from the keys
    window: u32,
    sinks: u32,
    scale: f32,
    soft_cap: f32,      // none if 0
}

// What a query sees of its sequence. Tokens are numbered as they lie; `sinks` first ones, then a ring of `ring` (or none) that begins at `start`.
struct Span {
    tokens: u32,
    sinks: u32,
    ring: u32,
    start: u32,
    base: u32,      // position of the first token behind the sinks
    length: u32,    // tokens up to the query's own, wherever they lie
    first: u32,     // none before this one is seen
}

const HUGE: f32 = 3.4028234e38;

override KEY: u32 = 0u;
override VALUE: u32 = 0u;
// Of a value, and of what `keys` has.
override DIM: u32 = 128u;
override KEY_DIM: u32 = DIM;
// 1: the words of a key lie together, as those of a value do.
override BY_TOKEN: u32 = 0u;

fn half_at(words: u32, odd: u32) -> f32 {
    return unpack2x16float(words)[odd];
}

// The page that a token lies on, and which token of it it is. The kernel says how many words of a table come before its blocks.
fn place_of(number: u32, kv_head: u32, span: Span, token: u32) -> vec2<u32> {
    var at = token;
    if (span.ring > 0u && token >= span.sinks) {
        at = span.sinks + (span.start + token - span.sinks) % span.ring;
    }
    let block = table[number * params.table_width + TABLE_HEAD + at / params.block];
    return vec2(block * params.kv_heads + kv_head, at % params.block);
}

fn position_of(span: Span, token: u32) -> u32 {
    return select(token, span.base + token - span.sinks, token >= span.sinks);
}

// Whether the newest of `length` tokens sees one of them.
fn is_seen(position: u32, length: u32) -> bool {
    return position < params.sinks || length - position <= params.window;
}

// Which word of a chunk has the first of vec4 number `quad`.
fn word_of_quad(code: u32, quad: u32) -> u32 {
    return quad * words_of_chunk(code) / 4u;
}

// The words of vec4 number `quad` of chunk number `at` of a token's key.
fn key_words(place: vec2<u32>, at: u32, quad: u32) -> vec2<u32> {
    let count = words_of_chunk(KEY);
    let word = word_of_quad(KEY, quad);
    if (BY_TOKEN == 1u) {
        let own = chunk_of(place, params.key_page, KEY, KEY_DIM, at);
        return vec2(keys[own + word], keys[own + word + 1u]);
    }
    let own = place.x * params.key_page + place.y;
    var words = vec2(keys[own + (at * count + word) * params.block], 0u);
    if (KEY == F16) {
        words.y = keys[own + (at * count + word + 1u) * params.block];
    }
    if (KEY == TURBO3) {
        words.y = keys[own + (KEY_DIM / 16u + at / 2u) * params.block];
    }
    return words;
}

// Where the words of a chunk begin that lie together. A page is whole eights of words: that the result is a multiple of those of a
// chunk must be seen, as only then do compilers load them together.
fn chunk_of(place: vec2<u32>, page: u32, code: u32, dim: u32, at: u32) -> u32 {
    let count = words_of_chunk(code);
    return (place.x * (page / count) + place.y * (dim / 16u) + at) * count;
}

// KIVI's keys have a scale and a minimum for each channel of 32 tokens.
fn affine_by_channel(place: vec2<u32>, quad: u32, key: vec4<f32>) -> vec4<f32> {
    let bits = words_of_chunk(KEY) * 2u;
    let page = place.x * (params.key_page / 4u) + params.block / 4u * (KEY_DIM * bits / 32u);
    let first = page + place.y / 32u * (KEY_DIM / 4u) + quad;
    var result: vec4<f32>;
    for (var c = 0u; c < 4u; c++) {
        let affine = unpack2x16float(keys[first * 4u + c]);
        result[c] = key[c] * affine.x + affine.y;
    }
    return result;
}

fn key_scale(place: vec2<u32>, group: u32) -> f32 {
    let at = group * params.block + place.y;
    let page = place.x * params.key_page;
    return half_at(keys[page + row_words(KEY, KEY_DIM) * params.block + at / 2u], at % 2u);
}

// The words of vec4 number `quad` of chunk number `at` of a token's value.
fn value_words(place: vec2<u32>, at: u32, quad: u32) -> vec2<u32> {
    if (VALUE == TURBO3) {
        let own = place.x * params.value_page + place.y * row_words(VALUE, DIM);
        return vec2(values[own + at], values[own + DIM / 16u + at / 2u]);
    }
    let own = chunk_of(place, params.value_page, VALUE, DIM, at) + word_of_quad(VALUE, quad);
    var words = vec2(values[own], 0u);
    if (VALUE == F16) {
        words.y = values[own + 1u];
    }
    return words;
}

// The scale and the offset of a chunk.
fn value_affine(place: vec2<u32>, at: u32) -> vec2<f32> {
    let scales = place.x * params.value_page + params.block * row_words(VALUE, DIM);
    let groups = select(1u, (DIM + 31u) / 32u, has_groups(VALUE));
    if (is_kivi(VALUE)) {
        return unpack2x16float(values[scales + place.y * groups + at / 2u]);
    }
    if (VALUE == F16) {
        return vec2(1.0, 0.0);
    }
    let half = place.y * groups + select(0u, at / 2u, has_groups(VALUE));
    return vec2(half_at(values[scales + half / 2u], half % 2u), 0.0);
}

// Words of the codes of a token of `dim` values.
fn row_words(code: u32, dim: u32) -> u32 {
    var words = dim / 16u * words_of_chunk(code);
    if (code == TURBO3) {
        words += (dim + 31u) / 32u;
    }
    return words;
}
