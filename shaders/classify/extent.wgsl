//! extent: the least and the largest of the values in `rows` rows, and how many are NaN or infinite
//! One workgroup = ROWS_PER_GROUP rows; each invocation takes every WG-th word.
//!
//! Words are 4 channels, and the last word of a position has padding behind the channels, which does not count.
//! Contract: exact, in the order of f32's bits (-0 is below 0). What `state` holds already counts too, so that
//! batches add up.
//! Oracle: src/oracle/extent.rs    Needs: no optional feature
//!
//! use lib/grid

struct Params {
    rows: u32,
    words: u32,     // of a row: positions * ceil(channels / 4)
    channels: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<u32>>;                      // [rows, words] bits of f32
@group(0) @binding(2) var<storage, read_write> state: array<atomic<u32>>;          // [3] least and largest key, not finite

const WG: u32 = 256u;
override ROWS_PER_GROUP: u32 = 64;

const INFINITY: u32 = 0x7f800000u;

var<workgroup> group_state: array<atomic<u32>, 3>;

@compute @workgroup_size(WG)
fn extent(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    if (lane == 0u) {
        atomicStore(&group_state[0], 0xffffffffu);
        atomicStore(&group_state[1], 0u);
        atomicStore(&group_state[2], 0u);
    }
    workgroupBarrier();
    let first = min(flat_group(group, groups) * ROWS_PER_GROUP, params.rows);
    let end = min(first + ROWS_PER_GROUP, params.rows) * params.words;
    let c4 = (params.channels + 3u) / 4u;
    let last = vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(params.channels - 4u * (c4 - 1u));
    var least = vec4<u32>(0xffffffffu);
    var largest = vec4<u32>(0u);
    var strange = vec4<u32>(0u);
    for (var at = first * params.words + lane; at < end; at += WG) {
        let bits = x[at];
        // Rows are whole positions, so the place in the buffer tells the place in the position.
        let counts = last | vec4<bool>(at % c4 != c4 - 1u);
        let finite = (bits & vec4<u32>(0x7fffffffu)) < vec4<u32>(INFINITY);
        // Keys order like the values: positive ones above negative ones, and those turned around.
        let key = bits ^ select(vec4<u32>(0x80000000u), vec4<u32>(0xffffffffu), bits >= vec4<u32>(0x80000000u));
        least = min(least, select(vec4<u32>(0xffffffffu), key, counts & finite));
        largest = max(largest, select(vec4<u32>(0u), key, counts & finite));
        strange += select(vec4<u32>(0u), vec4<u32>(1u), counts & !finite);
    }
    atomicMin(&group_state[0], min(min(least.x, least.y), min(least.z, least.w)));
    atomicMax(&group_state[1], max(max(largest.x, largest.y), max(largest.z, largest.w)));
    atomicAdd(&group_state[2], strange.x + strange.y + strange.z + strange.w);
    workgroupBarrier();
    if (lane == 0u) {
        atomicMin(&state[0], atomicLoad(&group_state[0]));
        atomicMax(&state[1], atomicLoad(&group_state[1]));
        atomicAdd(&state[2], atomicLoad(&group_state[2]));
    }
}
