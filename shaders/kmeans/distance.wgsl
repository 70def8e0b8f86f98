//! distance: distance[i] = |x_i - centroid_label(i)|^2, half of it for unit vectors (1 - cosine), or -x_i . centroid_label(i)
//! One workgroup = WG points, one per invocation.
//!
//! Contract: f32, the same bits on every adapter: each difference, product and sum is rounded by itself, those of every fourth column
//! in their order, then the four sums in pairs.
//! Oracle: src/oracle/distance.rs    Needs: no optional feature
//!
//! use lib/grid
//! use lib/metric
//! use lib/strict
//! slot wide
//! slot points

struct Params {
    rows: u32,
    n: u32,         // points, as many
    k: u32,
    d4: u32,
    metric: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> centroids: array<vec4<f32>>;      // [k, d4]
@group(0) @binding(3) var<storage, read> labels: array<u32>;               // [n]
@group(0) @binding(4) var<storage, read_write> distances: array<f32>;      // [n]

const WG: u32 = 64u;
const ROWS_PER_GROUP: u32 = WG;

@compute @workgroup_size(WG)
fn distance(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = flat_group(group, groups) * ROWS_PER_GROUP + lane;
    if (row >= params.rows) {
        return;
    }
    let centroid = labels[row] * params.d4;
    let zero = zero_of(params.d4);
    var sums = vec4<f32>();
    for (var at = 0u; at < params.d4; at++) {
        let x = point(row, at);
        let c = centroids[centroid + at];
        if (params.metric == DOT) {
            sums = strict_add(sums, strict_product(x, c, zero), zero);
        } else {
            let difference = kept_vec4(x - c, zero);
            sums = strict_add(sums, strict_product(difference, difference, zero), zero);
        }
    }
    var sum = strict_total(sums, zero);
    if (params.metric == DOT) {
        sum = -sum;
    } else if (params.metric == COSINE) {
        sum *= 0.5;
    }
    distances[row] = sum;
}
