//! append_channel: pages = encode(x - mean) of each sequence's keys of tokens first..end, by channel of 32 tokens, as KIVI does it
//! One workgroup = 32 tokens of a kv head of a sequence. `first` and `end` are multiples of 32.
//!
//! Contract: codes and scales of the codec to the bit, where no value is so small that f32 has it subnormal.
//! Oracle: src/oracle/append.rs    Needs: no optional feature
//!
//! use lib/grid
//! use lib/kivi
//! use lib/append

struct Params {
    rows: u32,      // sequences times steps times kv heads
    sequences: u32,
    steps: u32,     // most groups of 32 tokens that a sequence encodes
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
    halves: u32,
    keys: u32,      // 1
    means: u32,     // kv heads, or 0: nothing is subtracted
    rotated: u32,
    unbiased: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> pieces: array<Piece>;             // [sequences]
@group(0) @binding(2) var<storage, read> recent: array<u32>;               // [slots, kv_heads, sinks+ring, DIM/2]
@group(0) @binding(3) var<storage, read> fresh: array<u32>;                // [tokens, kv_heads, DIM/2]
@group(0) @binding(4) var<storage, read> mean: array<f32>;                 // [means, DIM]
@group(0) @binding(5) var<storage, read> table: array<u32>;                // [sequences, entries]
@group(0) @binding(6) var<storage, read_write> pool: array<u32>;           // [blocks, kv_heads, page]

override DIM: u32 = 128u;
const WG: u32 = 64u;
const ROWS_PER_GROUP: u32 = 1u;
const GROUP: u32 = 32u;

var<workgroup> ranges: array<Range, 256>;
var<private> head_of_group: u32;

fn code(token: u32, channel: u32) -> u32 {
    let x = channels(head_of_group, token, channel / 2u);
    return code_in(ranges[channel], select(x.x, x.y, channel % 2u == 1u));
}

@compute @workgroup_size(WG)
fn append_channel(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = flat_group(group, groups) * ROWS_PER_GROUP;
    if (row >= params.rows) {
        return;
    }
    let head = row % params.kv_heads;
    head_of_group = head;
    let own = pieces[row / params.kv_heads / params.steps];
    let first = own.first + row / params.kv_heads % params.steps * GROUP;
    if (first >= own.end) {
        return;
    }
    sequence = row / params.kv_heads / params.steps;
    piece = own;
    let page = page_of(head, first);
    let scales = page + params.block * params.words + first % params.block / GROUP * DIM;
    for (var word = lane; word < DIM / 2u; word += WG) {
        var least = channels(head, first, word);
        var largest = least;
        for (var i = 1u; i < GROUP; i++) {
            let x = channels(head, first + i, word);
            least = min(least, x);
            largest = max(largest, x);
        }
        let even = range_of(least.x, largest.x);
        let odd = range_of(least.y, largest.y);
        ranges[2u * word] = even;
        ranges[2u * word + 1u] = odd;
        pool[scales + 2u * word] = even.halves;
        pool[scales + 2u * word + 1u] = odd.halves;
    }
    workgroupBarrier();
    for (var i = lane; i < GROUP * params.words; i += WG) {
        let token = first + i % GROUP;
        pool[page + place_of_word(token, i / GROUP)] = packed(token, i / GROUP);
    }
}
