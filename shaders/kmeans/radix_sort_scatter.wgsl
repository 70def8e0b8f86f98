//! radix_sort_scatter: moves each (key, value) to the place of its digit, keeping the order of equals
//! One workgroup = a tile of WG x ITEMS keys; a lane owns ITEMS neighbours, so that lane order is key order.
//!
//! Contract: exact and stable.
//! Oracle: src/oracle/radix_sort.rs    Needs: no optional feature
//!
//! use lib/grid
//! use lib/scan

struct Params {
    rows: u32,
    tiles: u32,     // workgroups: rows / ROWS_PER_GROUP, rounded up
    shift: u32,     // lowest bit of the digit
    number: u32,    // 1: the values are the positions 0, 1, 2, … and `values` is not read
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> keys: array<u32>;                     // [1, rows]
@group(0) @binding(2) var<storage, read> values: array<u32>;                   // [1, rows]
@group(0) @binding(3) var<storage, read> offsets: array<u32>;                  // [DIGITS, tiles] first place of each
@group(0) @binding(4) var<storage, read_write> sorted_keys: array<u32>;        // [1, rows]
@group(0) @binding(5) var<storage, read_write> sorted_values: array<u32>;      // [1, rows]

const DIGITS: u32 = 16u;
const WG: u32 = 128u;
const ITEMS: u32 = 8u;
const ROWS_PER_GROUP: u32 = WG * ITEMS;

// [DIGITS, WG]: first how many keys each lane has of each digit, then how many precede them in the tile.
var<workgroup> place: array<u32, DIGITS * WG>;
var<workgroup> digit_start: array<u32, DIGITS>;

@compute @workgroup_size(WG)
fn radix_sort_scatter(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tile = flat_group(group, groups);
    if (tile >= params.tiles) {
        return;
    }
    let mine = tile * ROWS_PER_GROUP + lane * ITEMS;
    for (var i = lane; i < DIGITS * WG; i += WG) {
        place[i] = 0u;
    }
    let end = min(mine + ITEMS, params.rows);
    for (var at = mine; at < end; at++) {
        place[(keys[at] >> params.shift) % DIGITS * WG + lane] += 1u;
    }
    workgroupBarrier();
    // The exclusive sum over [DIGITS, WG] in memory order: each lane takes DIGITS neighbouring values.
    var sum = 0u;
    let last = (lane + 1u) * DIGITS;
    for (var i = lane * DIGITS; i < last; i++) {
        sum += place[i];
    }
    var running = scan_exclusive_u32(sum, lane);
    for (var i = lane * DIGITS; i < last; i++) {
        let count = place[i];
        place[i] = running;
        running += count;
    }
    workgroupBarrier();
    if (lane < DIGITS) {
        digit_start[lane] = place[lane * WG];
    }
    workgroupBarrier();
    for (var at = mine; at < end; at++) {
        let key = keys[at];
        let digit = (key >> params.shift) % DIGITS;
        let rank = place[digit * WG + lane] - digit_start[digit];
        place[digit * WG + lane] += 1u;
        let to = offsets[digit * params.tiles + tile] + rank;
        sorted_keys[to] = key;
        if (params.number == 1u) {
            sorted_values[to] = at;
        } else {
            sorted_values[to] = values[at];
        }
    }
}
