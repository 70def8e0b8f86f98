//! append: pages = encode(rotate(x - mean)) of each sequence's tokens first..end behind the sinks, as a cache type's codec does it
//! One workgroup = two neighbouring tokens of a kv head of a sequence, whose scales share words.
//!
//! Tokens are counted from the first one behind the sinks. Those at positions below the piece's `base` come from the ring, the
//! others from `fresh`. Two sequences never have a page that is written in common. Halves lie two to a word. A page is as src/kv/layout.rs says; of a word of scales the half of a token that is
//! not among them stays.
//! Contract: codes and scales of the codec to the bit, where no value is so small that f32 has it subnormal.
//! Oracle: src/oracle/append.rs    Needs: no optional feature
//!
//! use lib/grid
//! use lib/hadamard
//! use lib/append
//! slot encode

struct Params {
    rows: u32,      // sequences times steps times kv heads
    sequences: u32,
    steps: u32,     // most pairs of tokens that a sequence encodes
    kv_heads: u32,
    slots: u32,
    sinks: u32,
    ring: u32,
    tokens: u32,    // fresh ones of all sequences
    block: u32,     // tokens of a page
    entries: u32,   // most blocks of a sequence
    blocks: u32,    // blocks of the pool
    page: u32,      // words
    words: u32,     // of the codes of a token
    halves: u32,    // of the scales of a token
    keys: u32,      // 1 for the order of keys, 0 for that of values
    means: u32,     // kv heads, or 0: nothing is subtracted
    rotated: u32,   // values that are rotated together, or 0
    unbiased: u32,  // 1 for the scale without a bias (TurboQuant)
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> pieces: array<Piece>;             // [sequences]
@group(0) @binding(2) var<storage, read> recent: array<u32>;               // [slots, kv_heads, sinks+ring, DIM/2]
@group(0) @binding(3) var<storage, read> fresh: array<u32>;                // [tokens, kv_heads, DIM/2]
@group(0) @binding(4) var<storage, read> mean: array<f32>;                 // [means, DIM]
@group(0) @binding(5) var<storage, read> table: array<u32>;                // [sequences, entries]
@group(0) @binding(6) var<storage, read_write> pool: array<u32>;           // [blocks, kv_heads, page]

override DIM: u32 = 128u;
// The largest dimension that workgroup memory has room for.
const MOST: u32 = 256u;
const WG: u32 = 64u;
const ROWS_PER_GROUP: u32 = 1u;

// The two tokens, one behind the other.
var<workgroup> vectors: array<f32, 2 * MOST>;

fn among(token: u32) -> bool {
    return token >= piece.first && token < piece.end;
}

@compute @workgroup_size(WG)
fn append(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = flat_group(group, groups) * ROWS_PER_GROUP;
    if (row >= params.rows) {
        return;
    }
    let head = row % params.kv_heads;
    let own = pieces[row / params.kv_heads / params.steps];
    let pair = (own.first / 2u + row / params.kv_heads % params.steps) * 2u;
    if (pair >= own.end) {
        return;
    }
    sequence = row / params.kv_heads / params.steps;
    piece = own;
    for (var i = lane; i < DIM; i += WG) {
        let token = pair + i / (DIM / 2u);
        let channel = i % (DIM / 2u) * 2u;
        var x = vec2<f32>(0.0);
        if (among(token)) {
            x = channels(head, token, channel / 2u);
        }
        if (params.rotated > 0u) {
            x = vec2<f32>(rotated_sign(x.x, channel), rotated_sign(x.y, channel + 1u));
        }
        vectors[2u * i] = x.x;
        vectors[2u * i + 1u] = x.y;
    }
    if (params.rotated > 0u) {
        hadamard(lane, 0u, 2u * DIM, params.rotated);
    }
    measure(lane);

    let page = page_of(head, pair);
    for (var i = lane; i < 2u * params.words; i += WG) {
        // In this order lanes write neighbouring words.
        let keys = params.keys > 0u;
        let second = select(i / params.words, i % 2u, keys);
        let word = select(i % params.words, i / 2u, keys);
        if (among(pair + second)) {
            pool[page + place_of_word(pair + second, word)] = packed(second, word);
        }
    }
    let scales = page + params.block * params.words;
    for (var i = lane; i < params.halves; i += WG) {
        // Both tokens' halves fill as many words as each has halves.
        var tokens = vec2<u32>(0u, 1u);
        var halves = vec2<u32>(i);
        var at = scales + (i * params.block + pair % params.block) / 2u;
        if (params.keys == 0u) {
            let each = 2u * i + vec2<u32>(0u, 1u);
            tokens = each / params.halves;
            halves = each % params.halves;
            at = scales + pair % params.block / 2u * params.halves + i;
        }
        let low = among(pair + tokens.x);
        let high = among(pair + tokens.y);
        var word = 0u;
        if (!low || !high) {
            word = pool[at];
        }
        if (low) {
            word = (word & 0xffff0000u) | scale(tokens.x, halves.x);
        }
        if (high) {
            word = (word & 0xffffu) | (scale(tokens.y, halves.y) << 16u);
        }
        if (low || high) {
            pool[at] = word;
        }
    }
}
