//! split_sum: y[row, column] = sum_s sums[row, s, column], over the SPLITS workgroups that shared the pairs of a product's tile
//! One workgroup = ROWS_PER_GROUP rows; an invocation takes one column of one of them at a time.
//!
//! Contract: f32, added in the order of the splits.
//! Oracle: src/oracle/split_sum.rs    Needs: no optional feature
//!
//! use lib/grid

struct Params {
    rows: u32,
    n: u32,         // columns
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> sums: array<f32>;                 // [rows, SPLITS, n]
@group(0) @binding(2) var<storage, read_write> y: array<f32>;              // [rows, n]

const WG: u32 = 64u;
const SPLITS: u32 = 4u;
const ROWS_PER_GROUP: u32 = 4u;

@compute @workgroup_size(WG)
fn split_sum(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = flat_group(group, groups) * ROWS_PER_GROUP;
    let rows = min(ROWS_PER_GROUP, params.rows - min(first, params.rows));
    for (var at = lane; at < rows * params.n; at += WG) {
        let start = (first + at / params.n) * SPLITS * params.n + at % params.n;
        var sum = sums[start];
        for (var s = 1u; s < SPLITS; s++) {
            sum += sums[start + s * params.n];
        }
        y[first * params.n + at] = sum;
    }
}
