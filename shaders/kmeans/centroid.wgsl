//! centroid: next[c] = sums[c] / counts[c] with sums[c] += sum of the partial sums of cluster c; shift[c] = |next - old|^2
//! One workgroup = one cluster. `lanes` invocations (a power of two) take the vec4s of the dimension; the others share
//! out the cluster's partial sums, and the shares are added in a fixed order.
//! Points that come in several blocks add up over several dispatches: `first` starts the sums, `last` divides them.
//!
//! Contract: f32 in a fixed order, the same bits every run; counts are exact. An empty cluster keeps its centroid.
//! Oracle: src/oracle/centroid.rs    Needs: no optional feature
//!
//! use lib/grid
//! use lib/reduce

struct Params {
    rows: u32,          // clusters
    d4: u32,
    slots: u32,         // runs + clusters
    run_length: u32,
    lanes: u32,         // invocations side by side along the dimension: a power of two, at most WG
    first: u32,         // 1: sums and counts start at zero
    last: u32,          // 1: next and shift are written
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> start: array<u32>;                    // [rows+1]
@group(0) @binding(2) var<storage, read> partial: array<vec4<f32>>;            // [slots, d4]
@group(0) @binding(3) var<storage, read> centroids: array<vec4<f32>>;          // [rows+0, d4]
@group(0) @binding(4) var<storage, read_write> sums: array<vec4<f32>>;         // [rows+0, d4]
@group(0) @binding(5) var<storage, read_write> counts: array<u32>;             // [rows+0]
@group(0) @binding(6) var<storage, read_write> next: array<vec4<f32>>;         // [rows+0, d4]
@group(0) @binding(7) var<storage, read_write> shift: array<f32>;              // [rows+0]

const WG: u32 = 64u;
const ROWS_PER_GROUP: u32 = 1u;

var<workgroup> shares: array<vec4<f32>, WG>;

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
    let count = end - begin + select(counts[cluster], 0u, params.first == 1u);
    let first_run = begin / params.run_length;
    let runs = select((end - 1u) / params.run_length - first_run + 1u, 0u, begin == end);
    let width = params.lanes;
    let share = lane / width;
    let share_count = WG / width;
    var moved = 0.0;
    for (var block = 0u; block < params.d4; block += width) {
        let column = block + lane % width;
        var sum = vec4<f32>();
        if (column < params.d4) {
            for (var run = share; run < runs; run += share_count) {
                sum += partial[(first_run + run + cluster) * params.d4 + column];
            }
        }
        shares[lane] = sum;
        workgroupBarrier();
        if (share == 0u && column < params.d4) {
            for (var other = 1u; other < share_count; other++) {
                sum += shares[other * width + lane];
            }
            let at = cluster * params.d4 + column;
            if (params.first == 0u) {
                sum += sums[at];
            }
            sums[at] = sum;
            if (params.last == 1u) {
                let old = centroids[at];
                var mean = old;
                if (count > 0u) {
                    // Division may be off by 2.5 units; the remainder takes it back, so that adapters agree.
                    let n = f32(count);
                    mean = sum / n;
                    mean += fma(-mean, vec4(n), sum) / n;
                }
                next[at] = mean;
                moved += dot(mean - old, mean - old);
            }
        }
        workgroupBarrier();
    }
    let total = reduce_add_f32(moved, lane);
    if (lane == 0u) {
        if (params.last == 1u) {
            shift[cluster] = total;
        }
        counts[cluster] = count;
    }
}
