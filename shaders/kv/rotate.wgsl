//! rotate: y = H D x: the randomised Hadamard rotation of every row, D its signs, H blocks of a normalised Hadamard matrix
//! One workgroup = one row.
//!
//! Contract: f32; the norm of a row's error is at most oracle::rotate::bound.
//! Oracle: src/oracle/rotate.rs    Needs: no optional feature
//!
//! use lib/grid
//! use lib/rotation

struct Params {
    rows: u32,
    d4: u32,    // dimension in vec4s, at most 64
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<vec4<f32>>;          // [rows, d4]
@group(0) @binding(2) var<storage, read> signs: array<u32, 8>;
@group(0) @binding(3) var<storage, read_write> output: array<vec4<f32>>;   // [rows, d4]

const WG: u32 = 64u;
const ROWS_PER_GROUP: u32 = 1u;

@compute @workgroup_size(WG)
fn rotate(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = flat_group(group, groups) * ROWS_PER_GROUP;
    if (row >= params.rows) {
        return;
    }
    if (lane < params.d4) {
        vector[lane] = input[row * params.d4 + lane];
    }
    workgroupBarrier();
    flip_signs(lane, params.d4);
    hadamard(lane, params.d4);
    if (lane < params.d4) {
        output[row * params.d4 + lane] = vector[lane];
    }
}
