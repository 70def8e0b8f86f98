//! centroid_partial: partial[run + c] = sum of the points of cluster c among the sorted points [run RUN, (run + 1) RUN)
//! One workgroup = WG sums: an invocation adds up one vec4 of the dimension over one run of `run_length` sorted
//! points, and neighbours share the points' rows. From one sum to the next either the run or the cluster grows, so run + c names each sum once: no atomics, and
//! at most runs + k slots (the sort-inverse update, Flash-KMeans 2025, without its float atomics).
//!
//! Contract: f32 sums in a fixed order; slots that belong to no (run, cluster) are not written.
//! Oracle: src/oracle/centroid.rs    Needs: no optional feature
//!
//! use lib/grid

struct Params {
    rows: u32,          // runs * d4
    n: u32,             // points
    d4: u32,
    slots: u32,         // runs + k
    run_length: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> points: array<vec4<f32>>;             // [n, d4]
@group(0) @binding(2) var<storage, read> order: array<u32>;                    // [n] point of each sorted place
@group(0) @binding(3) var<storage, read> sorted_labels: array<u32>;            // [n]
@group(0) @binding(4) var<storage, read_write> partial: array<vec4<f32>>;      // [slots, d4]

const WG: u32 = 64u;
const ROWS_PER_GROUP: u32 = WG;

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
    let run = row / params.d4;
    let column = row % params.d4;
    let first = run * params.run_length;
    let last = min(first + params.run_length, params.n);
    var label = sorted_labels[first];
    // Sixteen points at a time are added up by themselves, so that a long sum rounds seldom.
    var sum = vec4<f32>();
    var few = vec4<f32>();
    for (var at = first; at < last; at++) {
        let next = sorted_labels[at];
        if (next != label) {
            partial[(run + label) * params.d4 + column] = sum + few;
            label = next;
            sum = vec4<f32>();
            few = vec4<f32>();
        }
        few += points[order[at] * params.d4 + column];
        if (at % 16u == 15u) {
            sum += few;
            few = vec4<f32>();
        }
    }
    partial[(run + label) * params.d4 + column] = sum + few;
}
