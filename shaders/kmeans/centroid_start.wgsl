//! centroid_start: start[c] = how many sorted labels are below c: where cluster c begins; start[k] = rows
//! One workgroup = WG neighbouring labels. Each invocation writes the clusters that begin between its label and the
//! one before it, so empty clusters get their place too.
//!
//! Contract: exact.
//! Oracle: src/oracle/centroid.rs    Needs: no optional feature
//!
//! use lib/grid

struct Params {
    rows: u32,
    k: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> sorted_labels: array<u32>;    // [1, rows]
@group(0) @binding(2) var<storage, read_write> start: array<u32>;      // [k+1]

const WG: u32 = 64u;
const ROWS_PER_GROUP: u32 = WG;

@compute @workgroup_size(WG)
fn centroid_start(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = flat_group(group, groups) * ROWS_PER_GROUP + lane;
    if (row >= params.rows) {
        return;
    }
    // A label that no cluster has must not make the loops below endless.
    let label = min(sorted_labels[row], params.k - 1u);
    var first = 0u;
    if (row > 0u) {
        first = min(sorted_labels[row - 1u], params.k - 1u) + 1u;
    }
    for (var c = first; c <= label; c++) {
        start[c] = row;
    }
    if (row == params.rows - 1u) {
        for (var c = label + 1u; c <= params.k; c++) {
            start[c] = params.rows;
        }
    }
}
