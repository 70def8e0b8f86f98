//! transform: distances[i][c] = |x_i - centroid_c|, half its square for unit vectors (1 - cosine), or -x_i . centroid_c
//! One workgroup = a tile of 16 POINTS points against every centroid, a tile of 16 CENTROIDS at a time: both tiles go
//! through workgroup memory DEPTH vec4s of the dimension at a time, each invocation keeps POINTS x CENTROIDS sums.
//!
//! Contract: f32 sums of squared differences in order of the dimension, and not |x|^2 - 2 x.c + |c|^2: the relative error
//! stays small for points that lie on a centroid.
//! Oracle: src/oracle/transform.rs    Needs: no optional feature
//!
//! use lib/grid
//! use lib/metric
//! use lib/product
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
@group(0) @binding(3) var<storage, read_write> distances: array<f32>;      // [n, k]

const POINTS: u32 = 4u;
const CENTROIDS: u32 = 4u;
const DEPTH: u32 = 4u;
const SIDE: u32 = 16u;
const WG: u32 = SIDE * SIDE;
const ROWS_PER_GROUP: u32 = SIDE * POINTS;
const CENTROIDS_PER_TILE: u32 = SIDE * CENTROIDS;

var<workgroup> point_tile: array<vec4<f32>, DEPTH * ROWS_PER_GROUP>;
var<workgroup> centroid_tile: array<vec4<f32>, DEPTH * CENTROIDS_PER_TILE>;

fn finish(sum: f32) -> f32 {
    if (params.metric == DOT) {
        return -sum;
    }
    if (params.metric == COSINE) {
        return 0.5 * sum;
    }
    return sqrt(sum);
}

@compute @workgroup_size(WG)
fn transform(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = flat_group(group, groups) * ROWS_PER_GROUP;
    // Uniform in the workgroup, as the barriers below demand.
    if (first >= params.rows) {
        return;
    }
    let column = lane % SIDE;
    let row = lane / SIDE;
    for (var tile = 0u; tile < params.k; tile += CENTROIDS_PER_TILE) {
        var sum: array<array<f32, POINTS>, CENTROIDS>;
        for (var depth = 0u; depth < params.d4; depth += DEPTH) {
            for (var load = lane; load < DEPTH * ROWS_PER_GROUP; load += WG) {
                let at = depth + load % DEPTH;
                let source = min(first + load / DEPTH, params.rows - 1u);
                let inside = at < params.d4;
                point_tile[(load % DEPTH) * ROWS_PER_GROUP + load / DEPTH] =
                    select(vec4<f32>(), point(source, min(at, params.d4 - 1u)), inside);
            }
            for (var load = lane; load < DEPTH * CENTROIDS_PER_TILE; load += WG) {
                let at = depth + load % DEPTH;
                let centroid = min(tile + load / DEPTH, params.k - 1u);
                let inside = at < params.d4;
                centroid_tile[(load % DEPTH) * CENTROIDS_PER_TILE + load / DEPTH] =
                    select(vec4<f32>(), centroids[centroid * params.d4 + min(at, params.d4 - 1u)], inside);
            }
            workgroupBarrier();
            for (var at = 0u; at < DEPTH; at++) {
                var x: array<vec4<f32>, POINTS>;
                for (var i = 0u; i < POINTS; i++) {
                    x[i] = point_tile[at * ROWS_PER_GROUP + i * SIDE + row];
                }
                for (var c = 0u; c < CENTROIDS; c++) {
                    let y = centroid_tile[at * CENTROIDS_PER_TILE + c * SIDE + column];
                    for (var i = 0u; i < POINTS; i++) {
                        if (params.metric == DOT) {
                            sum[c][i] = add_product(sum[c][i], x[i], y);
                        } else {
                            let difference = x[i] - y;
                            sum[c][i] = add_product(sum[c][i], difference, difference);
                        }
                    }
                }
            }
            workgroupBarrier();
        }
        for (var c = 0u; c < CENTROIDS; c++) {
            let centroid = tile + c * SIDE + column;
            for (var i = 0u; i < POINTS; i++) {
                let point = first + i * SIDE + row;
                if (centroid < params.k && point < params.rows) {
                    distances[point * params.k + centroid] = finish(sum[c][i]);
                }
            }
        }
    }
}
