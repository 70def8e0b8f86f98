//! matmul_matrix: y[row, column] = sum_k weight[row, k] x[column, k] + bias[row], by cooperative matrices
//! One workgroup = BM rows times BN columns; each subgroup keeps TM x TN matrices of sums.
//! Tiles of weights and x, 16 GRANULES deep, are divided by the scales of their rows and columns, which are powers of
//! two, rounded to f16 and shared in workgroup memory. No size of subgroup is assumed: STRIPS of rows are dealt out.
//! SPLITS as in matmul.
//!
//! Contract: operands are rounded to f16, next to the largest of their row or column; their products are summed in f32.
//! Oracle: src/oracle/matmul_matrix.rs    Needs: shader_f16
//!
//! use lib/grid
//! slot matrix
//! slot format

enable f16;

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
@group(0) @binding(2) var<storage, read> row_scales: array<f32>;           // [rows]
@group(0) @binding(3) var<storage, read> column_scales: array<f32>;        // [columns]
@group(0) @binding(4) var<storage, read> bias: array<f32>;                 // [biases]
@group(0) @binding(5) var<storage, read_write> y: array<f32>;              // [rows, SPLITS, n]

const WG: u32 = 128u;
const TM: u32 = 2u;
const TN: u32 = 4u;
const STRIPS: u32 = 4u;             // of TM * SIDE rows each; best as many as a workgroup has subgroups
const GRANULES: u32 = 2u;           // 1, 2 or 4
const BM: u32 = STRIPS * TM * SIDE;
const BN: u32 = TN * SIDE;
const ROWS_PER_GROUP: u32 = BM;
const COLUMNS_PER_GROUP: u32 = BN;
const SPLITS: u32 = 1u;             // workgroups that share the pairs of a tile; split_sum adds their sums
const GROUPS_PER_TILE: u32 = SPLITS;
// More than needed, so that neighbouring rows lie in different banks; a multiple of the 16 bytes that matrices ask for.
const DEPTH: u32 = 16u * GRANULES + 8u;
const FOURS: u32 = DEPTH / 4u;
const AREA: u32 = SIDE * SIDE;

var<workgroup> weight_tile: array<f16, BM * DEPTH>;
var<workgroup> x_tile: array<f16, BN * DEPTH>;
// A matrix of sums for each strip, and one that is never read, for subgroups without a strip.
var<workgroup> sums_tile: array<f32, (STRIPS + 1) * AREA>;

/// 1 / scale, exactly: scales are powers of two from 2^-126 to 2^126.
fn inverse(scale: f32) -> f32 {
    return bitcast<f32>(0x7f000000u - bitcast<u32>(scale));
}

/// sum * a * b without overflow where the result has none.
fn unscaled(sum: f32, a: f32, b: f32) -> f32 {
    return sum * min(a, b) * max(a, b);
}

// Places of fours. Each is within the tile, and the compiler sees that: its four stores become one.
fn keep_weights(place: u32, four: vec4<f32>) {
    let at = 4u * min(place, BM * FOURS - 1u);
    weight_tile[at] = f16(four.x);
    weight_tile[at + 1u] = f16(four.y);
    weight_tile[at + 2u] = f16(four.z);
    weight_tile[at + 3u] = f16(four.w);
}

fn keep_x(place: u32, four: vec4<f32>) {
    let at = 4u * min(place, BN * FOURS - 1u);
    x_tile[at] = f16(four.x);
    x_tile[at + 1u] = f16(four.y);
    x_tile[at + 2u] = f16(four.z);
    x_tile[at + 3u] = f16(four.w);
}

@compute @workgroup_size(WG)
fn matmul_matrix(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
) {
    let tile = tile_of(group, groups, params.n, COLUMNS_PER_GROUP);
    let first = tile.x / GROUPS_PER_TILE * ROWS_PER_GROUP;
    let split = tile.x % GROUPS_PER_TILE;
    let share = part_of(params.pairs, split, SPLITS) * 4u;
    let column = tile.y * COLUMNS_PER_GROUP;
    for (var strips = 0u; strips < STRIPS; strips += subgroups) {
        // Matrices belong to whole subgroups, so one without a strip computes the last one again.
        let strip = min(strips + subgroup, STRIPS - 1u);
        let sums_at = min(strips + subgroup, STRIPS) * AREA;
        for (var at = lane; at < AREA; at += WG) {
            sums_tile[at] = 0.0;
        }
        workgroupBarrier();
        let zeros = coopLoadT<Sums>(&sums_tile[0], SIDE);
        var sums: array<array<Sums, TN>, TM>;
        for (var i = 0u; i < TM; i++) {
            for (var j = 0u; j < TN; j++) {
                sums[i][j] = zeros;
            }
        }
        for (var step = share.x; step < share.y; step += GRANULES) {
            for (var at = lane; at < BM * GRANULES; at += WG) {
                let g = step % 4u + at % GRANULES;
                let row = min(first + at / GRANULES, params.rows - 1u);
                let pair = load(row, step / 4u);
                let value = values(pair, g);
                let scale = scale_of(pair, g);
                let offset = vec4<f32>(offset_of(pair, g));
                let shrink = inverse(row_scales[row]);
                let to = at / GRANULES * FOURS + at % GRANULES * 4u;
                for (var i = 0u; i < 4u; i++) {
                    keep_weights(to + i, shrink * (scale * value[i] + offset));
                }
            }
            for (var at = lane; at < BN * GRANULES * 4u; at += WG) {
                let of_column = min(column + at / (4u * GRANULES), params.columns - 1u);
                let four = step % 4u * 4u + at % (4u * GRANULES);
                keep_x(
                    at / (4u * GRANULES) * FOURS + at % (4u * GRANULES),
                    inverse(column_scales[of_column])
                        * bitcast<vec4<f32>>(words(x[place(of_column, step / 4u, 16u, four)])),
                );
            }
            workgroupBarrier();
            for (var k = 0u; k < 16u * GRANULES; k += SIDE) {
                var b: array<Right, TN>;
                for (var j = 0u; j < TN; j++) {
                    // Columns lie one after the other: column-major.
                    b[j] = coopLoad<Right>(&x_tile[j * SIDE * DEPTH + k], DEPTH);
                }
                for (var i = 0u; i < TM; i++) {
                    let a = coopLoadT<Left>(&weight_tile[(strip * TM + i) * SIDE * DEPTH + k], DEPTH);
                    for (var j = 0u; j < TN; j++) {
                        sums[i][j] = coopMultiplyAdd(a, b[j], sums[i][j]);
                    }
                }
            }
            workgroupBarrier();
        }
        // Matrices are stored whole, and rows and columns end anywhere: by way of workgroup memory.
        for (var stored = 0u; stored < TM * TN; stored++) {
            // Matrices lie in registers, which have no index: this loop has barriers, and is not unrolled.
            for (var i = 0u; i < TM; i++) {
                for (var j = 0u; j < TN; j++) {
                    if (i * TN + j == stored) {
                        coopStoreT(sums[i][j], &sums_tile[sums_at], SIDE);
                    }
                }
            }
            workgroupBarrier();
            for (var at = strips * AREA + lane; at < min(strips + subgroups, STRIPS) * AREA; at += WG) {
                let row = first + (at / AREA * TM + stored / TN) * SIDE + at % AREA / SIDE;
                let of_column = column + stored % TN * SIDE + at % SIDE;
                if (row < params.rows && of_column < params.n) {
                    var sum = unscaled(sums_tile[at], row_scales[row], column_scales[of_column]);
                    if (params.biases > 0u && split == 0u) {
                        sum += bias[params.first_row + row];
                    }
                    y[(row * SPLITS + split) * params.n + of_column] = sum;
                }
            }
            workgroupBarrier();
        }
    }
}
