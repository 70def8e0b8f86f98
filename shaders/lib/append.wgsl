//! append: where the tokens of a sequence come from and where their codes go
//! use lib/half
//! use lib/piece

// Bits of the two planes of codes, the second one 0 for most types.
override LOW: u32 = 8u;
override HIGH: u32 = 0u;

// The sequence of the workgroup, and what is added to it.
var<private> sequence: u32;
var<private> piece: Piece;

// Two channels of token `token` behind the sinks, less the mean.
fn channels(head: u32, token: u32, word: u32) -> vec2<f32> {
    let position = params.sinks + token;
    var bits = 0u;
    if (position >= piece.base) {
        bits = fresh[((piece.row + position - piece.base) * params.kv_heads + head) * (DIM / 2u) + word];
    } else {
        bits = recent[slot_of(piece.slot, head, position) * (DIM / 2u) + word];
    }
    var pair = vec2<f32>(half_value(bits & 0xffffu), half_value(bits >> 16u));
    if (params.means > 0u) {
        let at = head * DIM + 2u * word;
        pair -= vec2<f32>(mean[at], mean[at + 1u]);
    }
    return pair;
}

// Where the page of a token begins in the pool.
fn page_of(head: u32, token: u32) -> u32 {
    return (table[sequence * params.entries + token / params.block] * params.kv_heads + head) * params.page;
}

// Where word `word` of a token's codes lies in its page.
fn place_of_word(token: u32, word: u32) -> u32 {
    let at = token % params.block;
    return select(at * params.words + word, word * params.block + at, params.keys > 0u);
}

// Word `word` of a token's codes, in the order of src/codec/pack.rs.
fn packed(token: u32, word: u32) -> u32 {
    let lower = (DIM * LOW + 31u) / 32u;
    if (HIGH > 0u && word >= lower) {
        return plane(token, word - lower, HIGH, LOW);
    }
    return plane(token, word, LOW, 0u);
}

fn plane(token: u32, word: u32, bits: u32, below: u32) -> u32 {
    let each = 32u / bits;
    let first = word * each;
    var result = 0u;
    for (var i = 0u; i < each; i++) {
        if (first + i < DIM) {
            let bit = select(8u * (i % 4u) + bits * (i / 4u), 16u * i, bits == 16u);
            result |= ((code(token, first + i) >> below) & ((1u << bits) - 1u)) << bit;
        }
    }
    return result;
}
