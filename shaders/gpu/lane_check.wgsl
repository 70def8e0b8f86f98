//! lane_check: lanes[r] = the place of invocation r in its subgroup, sizes[r] = the size of that
//! One workgroup = WG rows, one row per invocation.
//!
//! Contract: exact.
//! Oracle: src/gpu/self_test.rs    Needs: subgroups of 1 or more
//!
//! use lib/grid

struct Params {
    rows: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> lanes: array<u32>;      // [rows]
@group(0) @binding(2) var<storage, read_write> sizes: array<u32>;      // [rows]

override WG: u32 = 64;
override ROWS_PER_GROUP: u32 = WG;

@compute @workgroup_size(WG)
fn lane_check(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_invocation_id) subgroup_lane: u32,
    @builtin(subgroup_size) subgroup_size: u32,
) {
    let row = flat_group(group, groups) * ROWS_PER_GROUP + lane;
    if (row < params.rows) {
        lanes[row] = subgroup_lane;
        sizes[row] = subgroup_size;
    }
}
