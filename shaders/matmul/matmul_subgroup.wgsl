//! matmul_subgroup: y[row, column] = sum_k weight[row, k] x[column, k] + bias[row], as matmul, with fewer loads
//! One workgroup = 8 BLOCKS rows times WG POINTS columns; an invocation has POINTS columns of all rows.
//! Rows are decoded into workgroup memory; eight lanes load eight rows and hand each to all by a shuffle, as in
//! assign_subgroup. Columns come from memory once for all rows.
//!
//! Contract: f32; products are added four at a time, in order.
//! Oracle: src/oracle/matmul.rs    Needs: subgroups of 8 or more
//!
//! use lib/grid
//! use lib/product
//! slot format

struct Params {
    rows: u32,
    first_row: u32,
    n: u32,         // columns
    columns: u32,   // columns, padded with zeros
    pairs: u32,     // pairs of 32 weights in a row, padded with zeros
    biases: u32,    // all rows, or 0 for none
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Wide>;                   // [columns, pairs*16] as a plane
@group(0) @binding(2) var<storage, read> bias: array<f32>;                 // [biases]
@group(0) @binding(3) var<storage, read_write> y: array<f32>;              // [rows, n]

const WG: u32 = 64u;
const POINTS: u32 = 4u;
const BLOCKS: u32 = 2u;
const ROWS_PER_GROUP: u32 = 8u * BLOCKS;
const COLUMNS_PER_GROUP: u32 = WG * POINTS;

var<workgroup> tile: array<Wide, ROWS_PER_GROUP * 16>;

@compute @workgroup_size(WG)
fn matmul_subgroup(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_invocation_id) subgroup_lane: u32,
) {
    let tile_at = tile_of(group, groups, params.n, COLUMNS_PER_GROUP);
    let first = tile_at.x * ROWS_PER_GROUP;
    let column = tile_at.y * COLUMNS_PER_GROUP;
    let mine = subgroup_lane % 8u;
    var sums: array<array<array<f32, POINTS>, 8>, BLOCKS>;
    for (var pair_at = 0u; pair_at < params.pairs; pair_at++) {
        for (var at = lane; at < ROWS_PER_GROUP * 4u; at += WG) {
            let g = at % 4u;
            let pair = load(min(first + at / 4u, params.rows - 1u), pair_at);
            let value = values(pair, g);
            let scale = scale_of(pair, g);
            let offset = vec4<f32>(offset_of(pair, g));
            tile[at * 4u] = wide_of(bitcast<vec4<u32>>(scale * value[0] + offset));
            tile[at * 4u + 1u] = wide_of(bitcast<vec4<u32>>(scale * value[1] + offset));
            tile[at * 4u + 2u] = wide_of(bitcast<vec4<u32>>(scale * value[2] + offset));
            tile[at * 4u + 3u] = wide_of(bitcast<vec4<u32>>(scale * value[3] + offset));
        }
        workgroupBarrier();
        var start: array<u32, POINTS>;
        for (var i = 0u; i < POINTS; i++) {
            start[i] = place(min(column + i * WG + lane, params.columns - 1u), pair_at, 16u, 0u);
        }
        let step = place(0u, pair_at, 16u, 1u) - place(0u, pair_at, 16u, 0u);
        for (var at = 0u; at < 16u; at++) {
            var b: array<vec4<f32>, POINTS>;
            for (var i = 0u; i < POINTS; i++) {
                b[i] = bitcast<vec4<f32>>(words(x[start[i] + at * step]));
            }
            for (var block = 0u; block < BLOCKS; block++) {
                let loaded = bitcast<vec4<f32>>(words(tile[(block * 8u + mine) * 16u + at]));
                for (var r = 0u; r < 8u; r++) {
                    let a = subgroupShuffle(loaded, r);
                    for (var i = 0u; i < POINTS; i++) {
                        sums[block][r][i] = add_product(sums[block][r][i], a, b[i]);
                    }
                }
            }
        }
        workgroupBarrier();
    }
    for (var block = 0u; block < BLOCKS; block++) {
        for (var r = 0u; r < 8u; r++) {
            let row = first + block * 8u + r;
            if (row < params.rows) {
                // What changes no sum, not even one of -0.
                var of_row = -0.0;
                if (params.biases > 0u) {
                    of_row = bias[params.first_row + row];
                }
                for (var i = 0u; i < POINTS; i++) {
                    let at = column + i * WG + lane;
                    if (at < params.n) {
                        y[row * params.n + at] = sums[block][r][i] + of_row;
                    }
                }
            }
        }
    }
}
