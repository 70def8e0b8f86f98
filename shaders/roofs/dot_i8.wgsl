//! dot_i8: y[r] = x[r] after 8 * batches steps of v = v + dot4I8Packed(v, weight), on each of four words, modulo 2^32
//! One workgroup = WG * CHAINS rows; each invocation advances CHAINS rows at once, WG apart.
//!
//! Each step needs the one before, so nothing can be folded; the chains of an invocation are independent and hide
//! each other's latency.
//! Contract: exact.
//! Oracle: src/oracle/dot_i8.rs    Needs: no optional feature
//!
//! use lib/grid

struct Params {
    rows: u32, // of four words
    batches: u32,
    weight: u32, // four int8 values, lowest byte first
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<u32>>;          // [rows]
@group(0) @binding(2) var<storage, read_write> y: array<vec4<u32>>;    // [rows]

const CHAINS: u32 = 4u;
const STEPS: u32 = 8u; // in a batch: unrolled, so that the loop costs little
override WG: u32 = 256;
override ROWS_PER_GROUP: u32 = WG * CHAINS;

fn dots(value: vec4<u32>, weight: u32) -> vec4<u32> {
    return bitcast<vec4<u32>>(vec4<i32>(
        dot4I8Packed(value.x, weight),
        dot4I8Packed(value.y, weight),
        dot4I8Packed(value.z, weight),
        dot4I8Packed(value.w, weight),
    ));
}

@compute @workgroup_size(WG)
fn dot_i8(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = flat_group(group, groups) * ROWS_PER_GROUP + lane;
    if (first >= params.rows) {
        return;
    }
    let weight = params.weight;
    var value: array<vec4<u32>, CHAINS>;
    for (var c = 0u; c < CHAINS; c += 1u) {
        // A chain past the end repeats the last row and is not written.
        value[c] = x[min(first + c * WG, params.rows - 1u)];
    }
    for (var batch = 0u; batch < params.batches; batch += 1u) {
        for (var step = 0u; step < STEPS; step += 1u) {
            for (var c = 0u; c < CHAINS; c += 1u) {
                value[c] += dots(value[c], weight);
            }
        }
    }
    for (var c = 0u; c < CHAINS; c += 1u) {
        if (first + c * WG < params.rows) {
            y[first + c * WG] = value[c];
        }
    }
}
