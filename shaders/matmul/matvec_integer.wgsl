//! matvec_integer: y[row, column] = sum_k weight[row, k] x[column, k] + bias[row], x as int8 with a scale for 32
//! One workgroup = WG / LANES groups of ROWS rows; the LANES lanes of a group share their pairs of 32 weights.
//! Each lane loads a pair of every row of its group, and multiplies its codes with those of COLUMNS columns at a time.
//!
//! Contract: exact integer products of 16 codes; their scaled sums are f32, added in a fixed order.
//! Oracle: src/oracle/matvec_integer.rs    Needs: no optional feature
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
@group(0) @binding(1) var<storage, read> x: array<Wide>;                   // [columns, pairs*4] int8, as a plane
@group(0) @binding(2) var<storage, read> x_scales: array<Wide>;            // [columns, pairs] two scales, four sums
@group(0) @binding(3) var<storage, read> bias: array<f32>;                 // [biases]
@group(0) @binding(4) var<storage, read_write> y: array<f32>;              // [rows, n]

const WG: u32 = 64u;
const LANES: u32 = 32u;
const ROWS: u32 = 4u;
const COLUMNS: u32 = 1u;
const ROWS_PER_GROUP: u32 = WG / LANES * ROWS;
// Granules of x that a lane holds: all of a pair where many rows use them and there is one column, so that a pair is
// loaded once; otherwise one, which leaves registers for more lanes.
const HELD: u32 = select(1u, 4u, COLUMNS == 1u && ROWS > 4u);
// Rows whose sums are in parts at once.
const PARTS: u32 = select(ROWS, 1u, HELD == 4u);

fn dot16(a: vec4<u32>, b: vec4<u32>) -> f32 {
    return f32((dot4I8Packed(a.x, b.x) + dot4I8Packed(a.y, b.y)) + (dot4I8Packed(a.z, b.z) + dot4I8Packed(a.w, b.w)));
}

@compute @workgroup_size(WG)
fn matvec_integer(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = flat_group(group, groups) * ROWS_PER_GROUP + lane / LANES * ROWS;
    // No lane leaves before the sums: rows behind the last one are computed again and not written.
    for (var column = 0u; column < params.n; column += COLUMNS) {
        var sums: array<array<f32, COLUMNS>, ROWS>;
        for (var at = lane % LANES; at < params.pairs; at += LANES) {
            // Of the half that is being summed, the first granule; of the pair, the first half.
            var granules: array<array<f32, COLUMNS>, PARTS>;
            var halves: array<array<f32, COLUMNS>, PARTS>;
            for (var start = 0u; start < 4u; start += HELD) {
                var factor: array<array<vec4<u32>, HELD>, COLUMNS>;
                var scale: array<array<f32, HELD>, COLUMNS>;
                var whole: array<array<f32, HELD>, COLUMNS>;
                for (var c = 0u; c < COLUMNS; c++) {
                    let scales = words(x_scales[(column + c) * params.pairs + at]);
                    for (var i = 0u; i < HELD; i++) {
                        let g = start + i;
                        factor[c][i] = words(x[place(column + c, at, 4u, g)]);
                        scale[c][i] = bitcast<f32>(select(scales.x, scales.y, g >= 2u));
                        // Two sums of 16 bits in a word, for the granules in turn.
                        let two = select(scales.z, scales.w, g >= 2u);
                        whole[c][i] = f32(bitcast<i32>(two << (16u - 16u * (g % 2u))) >> 16u);
                    }
                }
                for (var r = 0u; r < ROWS; r++) {
                    let pair = load(min(first + r, params.rows - 1u), at);
                    for (var i = 0u; i < HELD; i++) {
                        let g = start + i;
                        let codes = codes_of(pair, g);
                        for (var c = 0u; c < COLUMNS; c++) {
                            var sum = scale_of(pair, g) * dot16(codes, factor[c][i]);
                            if (HAS_OFFSETS) {
                                sum += offset_of(pair, g) * whole[c][i];
                            }
                            if (g % 2u == 0u) {
                                granules[r % PARTS][c] = sum;
                            } else {
                                let half = scale[c][i] * (granules[r % PARTS][c] + sum);
                                if (g == 1u) {
                                    halves[r % PARTS][c] = half;
                                } else {
                                    sums[r][c] += halves[r % PARTS][c] + half;
                                }
                            }
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
