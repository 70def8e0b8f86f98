//! dequantize: value[row, k] = weight[row, k] as f32
//! One workgroup = one row; each invocation takes granules of 16 weights.
//!
//! Contract: within 1 ulp of the format's definition.
//! Oracle: src/oracle/dequantize.rs    Needs: no optional feature
//!
//! use lib/grid
//! slot format

struct Params {
    rows: u32,
    cols: u32,
    pairs: u32,     // pairs of 32 weights in a row, padded with zeros
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> weights: array<f32>;        // [rows, cols]

const WG: u32 = 64u;
const ROWS_PER_GROUP: u32 = 1u;

@compute @workgroup_size(WG)
fn dequantize(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = flat_group(group, groups);
    if (row >= params.rows) {
        return;
    }
    for (var at = lane; at < params.pairs * 4u; at += WG) {
        let g = at % 4u;
        let pair = load(row, at / 4u);
        let value = values(pair, g);
        let scale = scale_of(pair, g);
        let offset = offset_of(pair, g);
        for (var i = 0u; i < 16u; i++) {
            let col = at * 16u + i;
            if (col < params.cols) {
                weights[row * params.cols + col] = scale * value[i / 4u][i % 4u] + offset;
            }
        }
    }
}
