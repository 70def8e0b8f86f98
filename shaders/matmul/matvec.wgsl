//! matvec: y[row, column] = sum_k weight[row, k] x[column, k] + bias[row], for few columns
//! One workgroup = WG / LANES groups of ROWS rows; the LANES lanes of a group share their pairs of 32 weights.
//! Each lane loads a pair of every row of its group, and multiplies it with as many x of COLUMNS columns at a time.
//!
//! Contract: f32 products of codes and x, summed by granule, scaled, and summed in a fixed order.
//! Oracle: src/oracle/matvec.rs    Needs: no optional feature
//!
//! use lib/grid
//! slot format
//! slot sum

struct Params {
    rows: u32,
    first_row: u32,
    n: u32,         // columns
    columns: u32,   // columns, padded to a multiple of COLUMNS with zeros
    pairs: u32,     // pairs of 32 weights in a row, padded with zeros
    biases: u32,    // all rows, or 0 for none
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Wide>;                   // [columns, pairs*16] as a plane
@group(0) @binding(2) var<storage, read> bias: array<f32>;                 // [biases]
@group(0) @binding(3) var<storage, read_write> y: array<f32>;              // [rows, n]

const WG: u32 = 64u;
const LANES: u32 = 32u;
const ROWS: u32 = 4u;
const COLUMNS: u32 = 1u;
const ROWS_PER_GROUP: u32 = WG / LANES * ROWS;
// Granules of x that a lane holds: all of a pair where many rows use them and there is one column, so that a pair is
// loaded once; otherwise one, which leaves registers for more lanes.
const HELD: u32 = select(1u, 4u, COLUMNS == 1u && ROWS > 4u);

fn x_of(column: u32, pair: u32, at: u32) -> vec4<f32> {
    return bitcast<vec4<f32>>(words(x[place(column, pair, 16u, at)]));
}

@compute @workgroup_size(WG)
fn matvec(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = flat_group(group, groups) * ROWS_PER_GROUP + lane / LANES * ROWS;
    // No lane leaves before the sums: rows behind the last one are computed again and not written.
    for (var column = 0u; column < params.n; column += COLUMNS) {
        var sums: array<array<f32, COLUMNS>, ROWS>;
        for (var at = lane % LANES; at < params.pairs; at += LANES) {
            for (var start = 0u; start < 4u; start += HELD) {
                var factor: array<array<array<vec4<f32>, 4>, HELD>, COLUMNS>;
                var whole: array<array<f32, HELD>, COLUMNS>;
                for (var c = 0u; c < COLUMNS; c++) {
                    for (var g = 0u; g < HELD; g++) {
                        let a = x_of(column + c, at, 4u * (start + g));
                        let b = x_of(column + c, at, 4u * (start + g) + 1u);
                        let d = x_of(column + c, at, 4u * (start + g) + 2u);
                        let e = x_of(column + c, at, 4u * (start + g) + 3u);
                        factor[c][g] = array<vec4<f32>, 4>(a, b, d, e);
                        whole[c][g] = dot((a + b) + (d + e), vec4<f32>(1.0));
                    }
                }
                for (var r = 0u; r < ROWS; r++) {
                    let pair = load(min(first + r, params.rows - 1u), at);
                    for (var g = 0u; g < HELD; g++) {
                        let value = values(pair, start + g);
                        for (var c = 0u; c < COLUMNS; c++) {
                            let product = (dot(value[0], factor[c][g][0]) + dot(value[1], factor[c][g][1]))
                                + (dot(value[2], factor[c][g][2]) + dot(value[3], factor[c][g][3]));
                            var sum = scale_of(pair, start + g) * product;
                            if (HAS_OFFSETS) {
                                sum += offset_of(pair, start + g) * whole[c][g];
                            }
                            sums[r][c] += sum;
                        }
                    }
                }
            }
        }
        for (var r = 0u; r < ROWS; r++) {
            for (var c = 0u; c < COLUMNS; c++) {
                var sum = sum_lanes(sums[r][c], lane);
                let row = first + r;
                if (lane % LANES == 0u && row < params.rows && column + c < params.n) {
                    if (params.biases > 0u) {
                        sum += bias[params.first_row + row];
                    }
                    y[row * params.n + column + c] = sum;
                }
            }
        }
    }
}
