//! window_check: distance[i] = |x_i - c_label(i)|^2: a kernel with inputs of every kind, for the tests of the GPU core
//! One workgroup = WG rows, one per invocation.
//!
//! Contract: an f32 sum.
//! Oracle: tests/gpu/core.rs    Needs: no optional feature
//!
//! use lib/grid

struct Params {
    rows: u32,
    k: u32,
    d4: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> points: array<vec4<f32>>;         // [rows, d4]
@group(0) @binding(2) var<storage, read> centroids: array<vec4<f32>>;      // [k, d4]
@group(0) @binding(3) var<storage, read> labels: array<u32>;               // [rows]
@group(0) @binding(4) var<storage, read_write> distances: array<f32>;      // [rows]

const WG: u32 = 64u;
const ROWS_PER_GROUP: u32 = WG;

@compute @workgroup_size(WG)
fn window_check(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = flat_group(group, groups) * ROWS_PER_GROUP + lane;
    if (row >= params.rows) {
        return;
    }
    let centroid = labels[row] * params.d4;
    var sum = 0.0;
    for (var at = 0u; at < params.d4; at++) {
        let difference = points[row * params.d4 + at] - centroids[centroid + at];
        sum += dot(difference, difference);
    }
    distances[row] = sum;
}
