//! rotate: y = H D x: the randomised Hadamard rotation of every row, D its signs, H blocks of a normalised Hadamard matrix
//! One workgroup = one row, of which what lies behind the first `d` values is copied.
//!
//! Contract: f32; the norm of a row's error is at most oracle::rotate::bound.
//! Oracle: src/oracle/rotate.rs    Needs: no optional feature
//!
//! use lib/grid
//! use lib/hadamard

struct Params {
    rows: u32,
    d: u32,         // at most 512
    block: u32,     // the largest power of two that divides it
    width: u32,     // of a row, at least d
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<f32>;            // [rows, width]
@group(0) @binding(2) var<storage, read_write> output: array<f32>;     // [rows, width]

const WG: u32 = 64u;
const ROWS_PER_GROUP: u32 = 1u;

var<workgroup> vectors: array<f32, 512>;

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
    for (var channel = lane; channel < params.d; channel += WG) {
        vectors[channel] = rotated_sign(input[row * params.width + channel], channel);
    }
    hadamard(lane, 0u, params.d, params.block);
    for (var channel = lane; channel < params.d; channel += WG) {
        output[row * params.width + channel] = vectors[channel];
    }
    for (var channel = params.d + lane; channel < params.width; channel += WG) {
        output[row * params.width + channel] = input[row * params.width + channel];
    }
}
