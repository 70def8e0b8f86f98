//! lloyd: after an iteration, decides whether the loop goes on, and counts it
//! One workgroup = one problem.
//!
//! Contract: shift is an f32 sum in a fixed order, the same bits on every adapter; everything else is exact. A loop that stands still stays as it is.
//! Oracle: src/oracle/lloyd.rs    Needs: no optional feature
//!
//! use lib/grid
//! use lib/lloyd
//! use lib/reduce

struct Params {
    rows: u32,          // problems
    clusters: u32,
    k: u32,             // clusters of one problem
    relocate: u32,      // 1: stop for empty clusters, so that the host can relocate them
    frozen: u32,        // clusters of each problem, the first ones, that may be empty
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> mass: array<f32>;             // [clusters] points of each, or their weights
@group(0) @binding(2) var<storage, read> shift: array<f32>;            // [clusters]
@group(0) @binding(3) var<storage, read> tol: array<f32>;              // [rows+0] the loop ends when squared shifts sum to this or less
@group(0) @binding(4) var<storage, read_write> changed: array<u32>;    // [rows+0] labels changed; back to zero for the next
@group(0) @binding(5) var<storage, read_write> control: array<Control>;    // [rows+0]

const WG: u32 = 256u;
const ROWS_PER_GROUP: u32 = 1u;

@compute @workgroup_size(WG)
fn lloyd(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let problem = flat_group(group, groups) * ROWS_PER_GROUP;
    if (problem >= params.rows) {
        return;
    }
    var empty = 0u;
    let zero = zero_of(params.k);
    var moved = 0.0;
    for (var c = lane; c < params.k; c += WG) {
        let cluster = problem * params.k + c;
        empty += select(0u, 1u, mass[cluster] == 0.0 && c >= params.frozen);
        moved = kept(moved + shift[cluster], zero);
    }
    let all_empty = reduce_add_u32(empty, lane);
    let all_moved = reduce_add_f32(moved, lane, zero);
    if (lane != 0u) {
        return;
    }
    control[problem].accept = 0u;
    if (control[problem].state != RUNNING) {
        return;
    }
    control[problem].empty = all_empty;
    if (all_empty > 0u && params.relocate == 1u) {
        control[problem].state = EMPTY_CLUSTERS;
        return;
    }
    control[problem].accept = 1u;
    control[problem].n_iter += 1u;
    control[problem].shift = all_moved;
    control[problem].changed = changed[problem];
    if (changed[problem] == 0u) {
        control[problem].state = LABELS_UNCHANGED;
    } else if (all_moved <= tol[problem]) {
        control[problem].state = SHIFT_WITHIN_TOL;
    }
    changed[problem] = 0u;
}
