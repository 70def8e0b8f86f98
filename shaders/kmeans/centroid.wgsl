//! centroid: sums[c] += sum of the partial sums of cluster c; counts[c] += its points
//! One workgroup = one cluster. `lanes` invocations (a power of two) take the columns; the others share out the cluster's
//! partial sums. Points that come in several blocks add up over several dispatches, of which the first starts at zero.
//!
//! Contract: exact.
//! Oracle: src/oracle/centroid.rs    Needs: no optional feature
//!
//! use lib/grid
//! use lib/exact

struct Params {
    rows: u32,          // clusters
    columns: u32,       // vec4s of the dimension, and one for weights
    slots: u32,         // runs + clusters
    run_length: u32,
    lanes: u32,         // invocations side by side along the columns: a power of two, at most WG
    first: u32,         // 1: sums and counts start at zero
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> start: array<u32>;                    // [rows+1]
@group(0) @binding(2) var<storage, read> partial: array<vec4<i32>>;            // [slots, columns, LEVELS]
@group(0) @binding(3) var<storage, read_write> sums: array<vec4<u32>>;         // [rows+0, columns, 2*LEVELS]
@group(0) @binding(4) var<storage, read_write> counts: array<u32>;             // [rows+0]

const WG: u32 = 64u;
const ROWS_PER_GROUP: u32 = 1u;

var<workgroup> shares: array<Whole, WG * LEVELS>;

@compute @workgroup_size(WG)
fn centroid(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let cluster = flat_group(group, groups) * ROWS_PER_GROUP;
    if (cluster >= params.rows) {
        return;
    }
    let begin = start[cluster];
    let end = start[cluster + 1u];
    let first_run = begin / params.run_length;
    let runs = select((end - 1u) / params.run_length - first_run + 1u, 0u, begin == end);
    let width = params.lanes;
    let share = lane / width;
    let share_count = WG / width;
    for (var block = 0u; block < params.columns; block += width) {
        let column = block + lane % width;
        var sum: array<Whole, LEVELS>;
        for (var i = 0u; i < LEVELS; i++) {
            sum[i] = Whole();
        }
        if (column < params.columns) {
            for (var run = share; run < runs; run += share_count) {
                let at = ((first_run + run + cluster) * params.columns + column) * LEVELS;
                for (var i = 0u; i < LEVELS; i++) {
                    sum[i] = add_word(sum[i], partial[at + i]);
                }
            }
        }
        for (var i = 0u; i < LEVELS; i++) {
            shares[i * WG + lane] = sum[i];
        }
        workgroupBarrier();
        if (share == 0u && column < params.columns) {
            let at = (cluster * params.columns + column) * 2u * LEVELS;
            for (var to = at; to < at + 2u * LEVELS; to += 2u) {
                let i = (to - at) / 2u;
                var all = Whole();
                if (params.first == 0u) {
                    all = Whole(sums[to], sums[to + 1u]);
                }
                for (var other = 0u; other < share_count; other++) {
                    all = add_whole(all, shares[i * WG + other * width + lane]);
                }
                sums[to] = all.low;
                sums[to + 1u] = all.high;
            }
        }
        workgroupBarrier();
    }
    if (lane == 0u) {
        counts[cluster] = end - begin + select(counts[cluster], 0u, params.first == 1u);
    }
}
