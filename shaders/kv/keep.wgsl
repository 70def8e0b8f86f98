//! keep: recent[kv head, slot of p] = fresh[p - base, kv head] of the positions p in first..end
//! One workgroup = WG words, one per invocation.
//!
//! Position p has slot p among the sinks, and else sinks + (p - sinks) % ring. Of positions that share a slot the last one
//! is kept.
//! Contract: exact.
//! Oracle: src/oracle/keep.rs    Needs: no optional feature
//!
//! use lib/grid

struct Params {
    rows: u32,      // positions times kv heads times words of a vector
    kv_heads: u32,
    sinks: u32,
    ring: u32,
    base: u32,      // position of the first fresh token
    tokens: u32,    // fresh ones
    first: u32,
    end: u32,
    words: u32,     // of a vector, two halves each
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> fresh: array<u32>;                // [tokens, kv_heads, words]
@group(0) @binding(2) var<storage, read_write> recent: array<u32>;         // [kv_heads, sinks+ring, words]

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
    let position = params.first + row / params.words / params.kv_heads;
    var slot = position;
    if (position >= params.sinks) {
        if (position + params.ring < params.end) {
            return;
        }
        slot = params.sinks + (position - params.sinks) % params.ring;
    }
    let from_token = (position - params.base) * params.kv_heads + head;
    recent[(head * (params.sinks + params.ring) + slot) * params.words + word] = fresh[from_token * params.words + word];
}
