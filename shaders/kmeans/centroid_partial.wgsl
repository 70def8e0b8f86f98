//! centroid_partial: partial[run + c] = sum of the points of cluster c among the sorted points [run RUN, (run + 1) RUN)
//! One workgroup = WG lanes: an invocation adds up COLUMNS columns, vec4s of the dimension, over one run of `run_length` sorted
//! points, cluster by cluster, and neighbours share the points' rows. From one sum to the next either the run or the cluster grows, so run + c
//! names each sum once: no atomics, and at most runs + k slots (the sort-inverse update, Flash-KMeans 2025, without its
//! float atomics). With weights, points count by theirs, and a last column adds these up.
//!
//! Contract: sums of whole steps (lib/exact), so without rounding but for that of a weight times a value; slots that
//! belong to no (run, cluster) are not written.
//! Oracle: src/oracle/centroid.rs    Needs: no optional feature
//!
//! use lib/grid
//! use lib/exact
//! use lib/strict
//! slot wide
//! slot points

struct Params {
    rows: u32,          // runs * lanes of a run
    n: u32,             // points
    k: u32,
    d4: u32,
    columns: u32,       // d4, and one for weights
    slots: u32,         // runs + k
    run_length: u32,    // at most 64
    weighted: u32,      // n with weights, 1 without
    scale: f32,
    weight_scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> weights: array<f32>;                  // [weighted]
@group(0) @binding(3) var<storage, read> order: array<u32>;                    // [n] point of each sorted place
@group(0) @binding(4) var<storage, read> sorted_labels: array<u32>;            // [n]
@group(0) @binding(5) var<storage, read> start: array<u32>;                    // [k+1] where each cluster begins
@group(0) @binding(6) var<storage, read_write> partial: array<vec4<i32>>;      // [slots, columns, LEVELS]

const WG: u32 = 64u;
const ROWS_PER_GROUP: u32 = WG;
const COLUMNS: u32 = 1u;

fn value_of(row: u32, column: u32) -> vec4<f32> {
    let value = point(row, min(column, params.d4 - 1u));
    if (params.columns == params.d4) {
        return value;
    }
    let weight = weights[row];
    // Were the product not rounded, adapters would disagree on its steps.
    return select(kept_vec4(weight * value, zero_of(params.d4)), vec4(weight, 0.0, 0.0, 0.0), column == params.d4);
}

@compute @workgroup_size(WG)
fn centroid_partial(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = flat_group(group, groups) * ROWS_PER_GROUP + lane;
    if (row >= params.rows) {
        return;
    }
    // Neighbouring lanes add up neighbouring columns.
    let lanes = (params.columns + COLUMNS - 1u) / COLUMNS;
    let run = row / lanes;
    let column = row % lanes;
    let first = run * params.run_length;
    let last = min(first + params.run_length, params.n);
    for (var at = first; at < last; at++) {
        let label = min(sorted_labels[at], params.k - 1u);
        let end = clamp(start[label + 1u], at + 1u, last);
        var sum: array<array<vec4<i32>, LEVELS>, COLUMNS>;
        for (var member = at; member < end; member++) {
            let source = order[member];
            for (var c = 0u; c < COLUMNS; c++) {
                let own = column + c * lanes;
                let scale = select(params.scale, params.weight_scale, own == params.d4);
                let steps = steps_of(value_of(source, own), scale);
                for (var i = 0u; i < LEVELS; i++) {
                    sum[c][i] += steps.level[i];
                }
            }
        }
        for (var c = 0u; c < COLUMNS; c++) {
            let own = column + c * lanes;
            if (own < params.columns) {
                let to = ((run + label) * params.columns + own) * LEVELS;
                for (var i = 0u; i < LEVELS; i++) {
                    partial[to + i] = sum[c][i];
                }
            }
        }
        at = end - 1u;
    }
}
