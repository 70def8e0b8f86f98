//! radix_sort_count: counts[digit, tile] = how many keys of the tile have that digit at `shift`
//! One workgroup = a tile of WG x ITEMS keys.
//!
//! Contract: exact.
//! Oracle: src/oracle/radix_sort.rs    Needs: no optional feature
//!
//! use lib/grid

struct Params {
    rows: u32,
    tiles: u32,     // workgroups: rows / ROWS_PER_GROUP, rounded up
    shift: u32,     // lowest bit of the digit
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> keys: array<u32>;             // [1, rows]
@group(0) @binding(2) var<storage, read_write> counts: array<u32>;     // [DIGITS, tiles]

const DIGITS: u32 = 16u;
const WG: u32 = 128u;
const ITEMS: u32 = 8u;
const ROWS_PER_GROUP: u32 = WG * ITEMS;

var<workgroup> histogram: array<atomic<u32>, DIGITS>;

@compute @workgroup_size(WG)
fn radix_sort_count(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tile = flat_group(group, groups);
    if (tile >= params.tiles) {
        return;
    }
    for (var digit = lane; digit < DIGITS; digit += WG) {
        atomicStore(&histogram[digit], 0u);
    }
    workgroupBarrier();
    let end = min((tile + 1u) * ROWS_PER_GROUP, params.rows);
    for (var at = tile * ROWS_PER_GROUP + lane; at < end; at += WG) {
        atomicAdd(&histogram[(keys[at] >> params.shift) % DIGITS], 1u);
    }
    workgroupBarrier();
    for (var digit = lane; digit < DIGITS; digit += WG) {
        counts[digit * params.tiles + tile] = atomicLoad(&histogram[digit]);
    }
}
