//! lloyd_commit: centroids[c] = next[c] if the iteration was accepted; norms[c] = |centroids[c]|^2
//! One workgroup = one centroid.
//!
//! Contract: norms are f32 sums in a fixed order.
//! Oracle: src/oracle/lloyd.rs    Needs: no optional feature
//!
//! use lib/grid
//! use lib/lloyd
//! use lib/product
//! use lib/reduce

struct Params {
    rows: u32,      // centroids
    problems: u32,
    k: u32,         // centroids of one problem
    d4: u32,
    always: u32,    // 1: next is taken over whatever the control says
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> next: array<vec4<f32>>;               // [rows+0, d4]
@group(0) @binding(2) var<storage, read> control: array<Control>;              // [problems]
@group(0) @binding(3) var<storage, read_write> centroids: array<vec4<f32>>;    // [rows+0, d4]
@group(0) @binding(4) var<storage, read_write> norms: array<f32>;              // [rows+0]

const WG: u32 = 64u;
const ROWS_PER_GROUP: u32 = 1u;

@compute @workgroup_size(WG)
fn lloyd_commit(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = flat_group(group, groups) * ROWS_PER_GROUP;
    if (row >= params.rows || (params.always == 0u && control[row / params.k].accept == 0u)) {
        return;
    }
    var sum = 0.0;
    for (var column = lane; column < params.d4; column += WG) {
        let value = next[row * params.d4 + column];
        centroids[row * params.d4 + column] = value;
        sum = add_product(sum, value, value);
    }
    let norm = reduce_add_f32(sum, lane, zero_of(params.d4));
    if (lane == 0u) {
        norms[row] = norm;
    }
}
