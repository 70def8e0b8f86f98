//! histogram: counts[min(u32(|x| * scale), BINS - 1)] += 1 for each finite x in `rows` rows
//! One workgroup = ROWS_PER_GROUP rows; each invocation takes every WG-th word. The group counts in its own memory,
//! and adds what it has counted once.
//!
//! Words are 4 channels, and the last word of a position has padding behind the channels, which does not count.
//! Contract: exact; the product is one of f32, so a value on the edge of a bin falls on the same side everywhere.
//! Counts are modulo 2^32.
//! Oracle: src/oracle/histogram.rs    Needs: no optional feature
//!
//! use lib/grid

struct Params {
    rows: u32,
    words: u32,     // of a row: positions * ceil(channels / 4)
    channels: u32,
    scale: f32,     // bins in a unit: BINS / largest |x|
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<u32>>;                      // [rows, words] bits of f32
@group(0) @binding(2) var<storage, read_write> counts: array<atomic<u32>>;         // [BINS]

const BINS: u32 = 2048u;
const WG: u32 = 256u;
override ROWS_PER_GROUP: u32 = 64;

const INFINITY: u32 = 0x7f800000u;

var<workgroup> bins: array<atomic<u32>, BINS>;

@compute @workgroup_size(WG)
fn histogram(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    for (var bin = lane; bin < BINS; bin += WG) {
        atomicStore(&bins[bin], 0u);
    }
    workgroupBarrier();
    let first = min(flat_group(group, groups) * ROWS_PER_GROUP, params.rows);
    let end = min(first + ROWS_PER_GROUP, params.rows) * params.words;
    let c4 = (params.channels + 3u) / 4u;
    let last = vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(params.channels - 4u * (c4 - 1u));
    // Behind a Relu most values are 0: counted here, they do not wait for one another.
    var zeros = 0u;
    for (var at = first * params.words + lane; at < end; at += WG) {
        let magnitude = x[at] & vec4<u32>(0x7fffffffu);
        // Rows are whole positions, so the place in the buffer tells the place in the position.
        let counted = (last | vec4<bool>(at % c4 != c4 - 1u)) & (magnitude < vec4<u32>(INFINITY));
        let size = bitcast<vec4<f32>>(select(vec4<u32>(0u), magnitude, counted));
        let bin = vec4<u32>(min(size * params.scale, vec4<f32>(f32(BINS - 1u))));
        for (var i = 0u; i < 4u; i++) {
            if (bin[i] > 0u) {
                atomicAdd(&bins[bin[i]], 1u);
            }
        }
        let zero = select(vec4<u32>(0u), vec4<u32>(1u), counted & (bin == vec4<u32>(0u)));
        zeros += zero.x + zero.y + zero.z + zero.w;
    }
    atomicAdd(&bins[0], zeros);
    workgroupBarrier();
    for (var bin = lane; bin < BINS; bin += WG) {
        let count = atomicLoad(&bins[bin]);
        if (count > 0u) {
            atomicAdd(&counts[bin], count);
        }
    }
}
