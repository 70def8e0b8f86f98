//! rank: counts[i] = #{j: sorted[j] < keys[i]} + #{j: sorted[j] <= keys[i]}
//! One workgroup = WG keys, one per invocation: two binary searches.
//!
//! Contract: exact, where `sorted` is in order and has fewer than 2^31 keys.
//! Oracle: src/oracle/rank.rs    Needs: no optional feature
//!
//! use lib/grid

struct Params {
    rows: u32,
    others: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> keys: array<u32>;              // [rows]
@group(0) @binding(2) var<storage, read> sorted: array<u32>;            // [others]
@group(0) @binding(3) var<storage, read_write> counts: array<u32>;      // [rows]

const WG: u32 = 64u;
const ROWS_PER_GROUP: u32 = WG;

// How many of the sorted keys are less than `key`, or, with `equal`, no more than it.
fn before(key: u32, equal: bool) -> u32 {
    var low = 0u;
    var high = params.others;
    // Each step leaves less than half of the places.
    let steps = 32u - countLeadingZeros(params.others);
    for (var step = 0u; step < steps; step++) {
        if (low < high) {
            let middle = low + (high - low) / 2u;
            let other = sorted[middle];
            if (other < key || (equal && other == key)) {
                low = middle + 1u;
            } else {
                high = middle;
            }
        }
    }
    return low;
}

@compute @workgroup_size(WG)
fn rank(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = flat_group(group, groups) * ROWS_PER_GROUP + lane;
    if (row >= params.rows) {
        return;
    }
    let key = keys[row];
    counts[row] = before(key, false) + before(key, true);
}
