//! centroid_mean: next[c] = sums[c] / mass[c], mass the points of c or their weights; shift[c] = |next[c] - centroids[c]|^2
//! One workgroup = one cluster.
//!
//! Contract: the quotient of exact sums (their first 48 bits), rounded once; what follows is f32, each operation rounded by itself in a
//! fixed order: the same bits on every adapter. A cluster without mass keeps its centroid. Spherical means are made unit
//! vectors, but for 0. Frozen centroids stay as they are.
//! Oracle: src/oracle/centroid.rs    Needs: no optional feature
//!
//! use lib/grid
//! use lib/exact
//! use lib/reduce
//! use lib/rounded
//! use lib/strict

struct Params {
    rows: u32,          // clusters
    d4: u32,
    columns: u32,       // d4, and one for weights
    spherical: u32,     // 1: next is a unit vector
    exponent: i32,      // of the steps of the points, over those of the weights if there are any: powers of two
    weight_exponent: i32,
    frozen: u32,        // clusters, the first ones, whose centroids stay
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> sums: array<vec4<u32>>;               // [rows+0, columns, 2*LEVELS]
@group(0) @binding(2) var<storage, read> counts: array<u32>;                   // [rows+0]
@group(0) @binding(3) var<storage, read> centroids: array<vec4<f32>>;          // [rows+0, d4]
@group(0) @binding(4) var<storage, read_write> next: array<vec4<f32>>;         // [rows+0, d4]
@group(0) @binding(5) var<storage, read_write> shift: array<f32>;              // [rows+0]
@group(0) @binding(6) var<storage, read_write> mass: array<f32>;               // [rows+0]

const WG: u32 = 64u;
const ROWS_PER_GROUP: u32 = 1u;

fn level_at(at: u32, level: u32, component: u32) -> vec2<u32> {
    if (level >= LEVELS) {
        return vec2<u32>();
    }
    return vec2(sums[at + 2u * level][component], sums[at + 2u * level + 1u][component]);
}

// Of the first level that is not 0 and the two behind it: what follows is below the last digit.
fn sum_at(column: u32, component: u32) -> Number {
    let at = column * 2u * LEVELS;
    var first = 0u;
    for (var level = 0u; level + 2u < LEVELS; level++) {
        if (first == level && all(level_at(at, level, component) == vec2<u32>())) {
            first = level + 1u;
        }
    }
    return number_of_levels(
        level_at(at, first, component),
        level_at(at, first + 1u, component),
        level_at(at, first + 2u, component),
        first,
    );
}

@compute @workgroup_size(WG)
fn centroid_mean(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let cluster = flat_group(group, groups) * ROWS_PER_GROUP;
    if (cluster >= params.rows) {
        return;
    }
    let first = cluster * params.columns;
    var total = number_of(vec4(counts[cluster], 0u, 0u, 0u));
    if (params.columns > params.d4) {
        total = sum_at(first + params.d4, 0u);
    }
    let moving = cluster >= params.frozen;
    let old_first = cluster * params.d4;
    let zero = zero_of(params.d4);
    var squares = vec4<f32>();
    for (var column = lane; column < params.d4; column += WG) {
        var mean = centroids[old_first + column];
        if (moving && total.high > 0u) {
            for (var at = 4u * column; at < 4u * column + 4u; at++) {
                let c = at % 4u;
                mean[c] = quotient_of(sum_at(first + column, c), total, params.exponent);
            }
        }
        next[old_first + column] = mean;
        squares = strict_add(squares, strict_product(mean, mean, zero), zero);
    }
    var factor = 1.0;
    if (moving && params.spherical == 1u) {
        let square = reduce_add_f32(strict_total(squares, zero), lane, zero);
        if (square > 0.0) {
            factor = quotient(1.0, root(square));
        }
    }
    var moves = vec4<f32>();
    for (var column = lane; column < params.d4; column += WG) {
        let mean = kept_vec4(next[old_first + column] * factor, zero);
        next[old_first + column] = mean;
        let way = kept_vec4(mean - centroids[old_first + column], zero);
        moves = strict_add(moves, strict_product(way, way, zero), zero);
    }
    let all_moved = reduce_add_f32(strict_total(moves, zero), lane, zero);
    if (lane == 0u) {
        shift[cluster] = all_moved;
        mass[cluster] = float_of(total, params.weight_exponent);
    }
}
