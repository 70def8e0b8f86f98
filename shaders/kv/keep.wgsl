//! keep: recent[slot, kv head, place of p] = fresh[row + p - base, kv head] of each sequence's fresh positions p
//! One workgroup = WG words, one per invocation.
//!
//! Position p has place p among the sinks, and else sinks + (p - sinks) % ring. Of positions that share a place the last one
//! is kept.
//! Contract: exact.
//! Oracle: src/oracle/keep.rs    Needs: no optional feature
//!
//! use lib/grid
//! use lib/piece

struct Params {
    rows: u32,      // sequences times steps times kv heads times words of a vector
    sequences: u32,
    steps: u32,     // most tokens that a sequence keeps
    kv_heads: u32,
    slots: u32,
    sinks: u32,
    ring: u32,
    tokens: u32,    // fresh ones of all sequences
    words: u32,     // of a vector, two halves each
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> pieces: array<Piece>;             // [sequences]
@group(0) @binding(2) var<storage, read> fresh: array<u32>;                // [tokens, kv_heads, words]
@group(0) @binding(3) var<storage, read_write> recent: array<u32>;         // [slots, kv_heads, sinks+ring, words]

const WG: u32 = 64u;
const ROWS_PER_GROUP: u32 = WG;

@compute @workgroup_size(WG)
fn keep(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = flat_group(group, groups) * ROWS_PER_GROUP + lane;
    if (row >= params.rows) {
        return;
    }
    let word = row % params.words;
    let head = row / params.words % params.kv_heads;
    let step = row / params.words / params.kv_heads % params.steps;
    let piece = pieces[row / params.words / params.kv_heads / params.steps];
    // The sinks come first, then the last ones that fit into the ring.
    let sinks = min(params.sinks - min(piece.base, params.sinks), piece.tokens);
    let kept = sinks + min(piece.tokens - sinks, params.ring);
    if (step >= kept) {
        return;
    }
    let token = select(piece.tokens - kept + step, step, step < sinks);
    let from_token = (piece.row + token) * params.kv_heads + head;
    let to = slot_of(piece.slot, head, piece.base + token);
    recent[to * params.words + word] = fresh[from_token * params.words + word];
}
