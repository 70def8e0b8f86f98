//! activation_float: as activation, without quantization: values in the order that matvec reads them in
//! One workgroup = one column; each invocation takes wide words of four values.
//!
//! Contract: exact.
//! Oracle: src/oracle/activation.rs    Needs: no optional feature
//!
//! use lib/grid
//! use lib/planes

struct Params {
    rows: u32,      // columns, padded with columns of zeros
    first_row: u32,
    n: u32,         // columns
    cols: u32,      // values in a column
    pairs: u32,     // pairs of 32 values, padded with zeros
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> values: array<f32>;               // [n, cols]
@group(0) @binding(2) var<storage, read_write> wide: array<vec4<f32>>;     // [rows, pairs*16] a plane

const WG: u32 = 64u;
const ROWS_PER_GROUP: u32 = 1u;

@compute @workgroup_size(WG)
fn activation_float(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let column = flat_group(group, groups);
    if (column >= params.rows) {
        return;
    }
    for (var at = lane; at < params.pairs * 16u; at += WG) {
        var four = vec4<f32>(0.0);
        for (var i = 0u; i < 4u; i++) {
            let k = at * 4u + i;
            if (params.first_row + column < params.n && k < params.cols) {
                four[i] = values[(params.first_row + column) * params.cols + k];
            }
        }
        wide[place(column, at / 16u, 16u, at % 16u)] = four;
    }
}
