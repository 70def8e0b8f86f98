//! lloyd: after an iteration, decides whether the loop goes on, and counts it
//! One workgroup in all.
//!
//! Contract: shift is an f32 sum in a fixed order; everything else is exact. A loop that stands still stays as it is.
//! Oracle: src/oracle/lloyd.rs    Needs: no optional feature
//!
//! use lib/lloyd
//! use lib/reduce

struct Params {
    k: u32,
    relocate: u32,      // 1: stop for empty clusters, so that the host can relocate them
    tol: f32,           // the loop ends when the centroids' squared shifts sum to this or less
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> mass: array<f32>;             // [k] points of each cluster, or their weights
@group(0) @binding(2) var<storage, read> shift: array<f32>;            // [k]
@group(0) @binding(3) var<storage, read_write> changed: array<u32>;    // [1] labels changed; back to zero for the next
@group(0) @binding(4) var<storage, read_write> control: Control;

const WG: u32 = 256u;

@compute @workgroup_size(WG)
fn lloyd(@builtin(local_invocation_index) lane: u32) {
    var empty = 0u;
    var moved = 0.0;
    for (var c = lane; c < params.k; c += WG) {
        empty += select(0u, 1u, mass[c] == 0.0);
        moved += shift[c];
    }
    let all_empty = reduce_add_u32(empty, lane);
    let all_moved = reduce_add_f32(moved, lane);
    if (lane != 0u) {
        return;
    }
    control.accept = 0u;
    if (control.state != RUNNING) {
        return;
    }
    control.empty = all_empty;
    if (all_empty > 0u && params.relocate == 1u) {
        control.state = EMPTY_CLUSTERS;
        return;
    }
    control.accept = 1u;
    control.n_iter += 1u;
    control.shift = all_moved;
    control.changed = changed[0];
    if (changed[0] == 0u) {
        control.state = LABELS_UNCHANGED;
    } else if (all_moved <= params.tol) {
        control.state = SHIFT_WITHIN_TOL;
    }
    changed[0] = 0u;
}
