//! fma_f16: y[r] = x[r] after 8 * batches steps of v = v * factor + addend, in f16
//! One workgroup = WG * CHAINS rows; each invocation advances CHAINS rows at once, WG apart.
//!
//! Each step needs the one before, so nothing can be folded; the chains of an invocation are independent and hide
//! each other's latency. |factor| < 1 keeps every value finite.
//! Contract: one or two f16 roundings a step, subnormals may be flushed: a bound for each element.
//! Oracle: src/oracle/fma_f16.rs    Needs: shader_f16
//!
//! use lib/grid

enable f16;

struct Params {
    rows: u32, // of four f32 whose values fit f16, as factor and addend do
    batches: u32,
    factor: f32,
    addend: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;          // [rows]
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;    // [rows]

const CHAINS: u32 = 4u;
const STEPS: u32 = 8u; // in a batch: unrolled, so that the loop costs little
override WG: u32 = 256;
override ROWS_PER_GROUP: u32 = WG * CHAINS;

@compute @workgroup_size(WG)
fn fma_f16(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = flat_group(group, groups) * ROWS_PER_GROUP + lane;
    if (first >= params.rows) {
        return;
    }
    let factor = vec4<f16>(f16(params.factor));
    let addend = vec4<f16>(f16(params.addend));
    var value: array<vec4<f16>, CHAINS>;
    for (var c = 0u; c < CHAINS; c += 1u) {
        // A chain past the end repeats the last row and is not written.
        value[c] = vec4<f16>(x[min(first + c * WG, params.rows - 1u)]);
    }
    for (var batch = 0u; batch < params.batches; batch += 1u) {
        for (var step = 0u; step < STEPS; step += 1u) {
            for (var c = 0u; c < CHAINS; c += 1u) {
                value[c] = fma(value[c], factor, addend);
            }
        }
    }
    for (var c = 0u; c < CHAINS; c += 1u) {
        if (first + c * WG < params.rows) {
            y[first + c * WG] = vec4<f32>(value[c]);
        }
    }
}
