//! dot_check: y[r] = sum_b a[r].byte(b) * b[r].byte(b), signed
//! One workgroup = WG rows, one row per invocation.
//!
//! Contract: exact.
//! Oracle: src/gpu/self_test.rs    Needs: no optional feature
//!
//! use lib/grid

struct Params {
    rows: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<u32>;            // [rows]
@group(0) @binding(2) var<storage, read> b: array<u32>;            // [rows]
@group(0) @binding(3) var<storage, read_write> y: array<i32>;      // [rows]

override WG: u32 = 64;
override ROWS_PER_GROUP: u32 = WG;

@compute @workgroup_size(WG)
fn dot_check(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = flat_group(group, groups) * ROWS_PER_GROUP + lane;
    if (row < params.rows) {
        y[row] = dot4I8Packed(a[row], b[row]);
    }
}
