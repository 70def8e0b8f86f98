//! matmul: y[row, column] = sum_k weight[row, k] x[column, k] + bias[row], for many columns
//! One workgroup = BM rows times BN columns; each invocation keeps TM x TN sums in registers.
//! Tiles of BM rows and BN columns, 16 GRANULES deep, are decoded into workgroup memory and used by all. Where there are few, SPLITS
//! workgroups share the pairs of each, and split_sum adds up what they leave: y[row, split, column].
//!
//! Contract: f32; products are added four at a time, in order, those of a split by themselves.
//! Oracle: src/oracle/matmul.rs    Needs: no optional feature
//!
//! use lib/bias
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
@group(0) @binding(3) var<storage, read_write> y: array<f32>;              // [rows, SPLITS, n]

const WG: u32 = 64u;
const TM: u32 = 4u;
const TN: u32 = 4u;
const ACROSS: u32 = 8u;             // invocations side by side over the columns
const GRANULES: u32 = 2u;           // 1, 2 or 4
const DOWN: u32 = WG / ACROSS;
const BM: u32 = DOWN * TM;
const BN: u32 = ACROSS * TN;
const ROWS_PER_GROUP: u32 = BM;
const COLUMNS_PER_GROUP: u32 = BN;
const SPLITS: u32 = 1u;             // workgroups that share the pairs of a tile; split_sum adds their sums
const GROUPS_PER_TILE: u32 = SPLITS;
const DEPTH: u32 = 4u * GRANULES;
const WEIGHT_TURNS: u32 = (BM * GRANULES + WG - 1u) / WG;

// Four neighbouring values of each row, and of each column, by the lanes that take them: in the inner loop a lane's own place is all
// that is no constant, so that all loads of a tile share an address. Without padding: it would cost subgroups in flight.
var<workgroup> weight_tile: array<array<array<vec4<f32>, DOWN>, TM>, DEPTH>;
var<workgroup> x_tile: array<array<array<vec4<f32>, ACROSS>, TN>, DEPTH>;

@compute @workgroup_size(WG)
fn matmul(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tile = tile_of(group, groups, params.n, COLUMNS_PER_GROUP);
    let first = tile.x / GROUPS_PER_TILE * ROWS_PER_GROUP;
    let split = tile.x % GROUPS_PER_TILE;
    let share = part_of(params.pairs, split, SPLITS) * 4u;
    let column = tile.y * COLUMNS_PER_GROUP;
    let row_lane = lane / ACROSS;
    let column_lane = lane % ACROSS;
    var sums: array<array<f32, TN>, TM>;
    for (var step = share.x; step < share.y; step += GRANULES) {
        // As many turns for all lanes, which compilers unroll: decoding is long, and a second copy of it would never run.
        for (var turn = 0u; turn < WEIGHT_TURNS; turn++) {
            let at = turn * WG + lane;
            if (BM * GRANULES % WG == 0u || at < BM * GRANULES) {
                let g = step % 4u + at % GRANULES;
                let row = at / GRANULES;
                let pair = load(min(first + row, params.rows - 1u), step / 4u);
                let value = values(pair, g);
                let scale = scale_of(pair, g);
                let offset = vec4<f32>(offset_of(pair, g));
                let four = at % GRANULES * 4u;
                weight_tile[four][row / DOWN][row % DOWN] = scale * value[0] + offset;
                weight_tile[four + 1u][row / DOWN][row % DOWN] = scale * value[1] + offset;
                weight_tile[four + 2u][row / DOWN][row % DOWN] = scale * value[2] + offset;
                weight_tile[four + 3u][row / DOWN][row % DOWN] = scale * value[3] + offset;
            }
        }
        for (var at = lane; at < BN * DEPTH; at += WG) {
            let of_column = min(column + at / DEPTH, params.columns - 1u);
            let four = step % 4u * 4u + at % DEPTH;
            x_tile[at % DEPTH][at / DEPTH / ACROSS][at / DEPTH % ACROSS] =
                bitcast<vec4<f32>>(words(x[place(of_column, step / 4u, 16u, four)]));
        }
        workgroupBarrier();
        for (var at = 0u; at < DEPTH; at++) {
            var b: array<vec4<f32>, TN>;
            for (var j = 0u; j < TN; j++) {
                b[j] = x_tile[at][j][column_lane];
            }
            for (var i = 0u; i < TM; i++) {
                let a = weight_tile[at][i][row_lane];
                for (var j = 0u; j < TN; j++) {
                    sums[i][j] = add_product(sums[i][j], a, b[j]);
                }
            }
        }
        workgroupBarrier();
    }
    for (var i = 0u; i < TM; i++) {
        let row = first + row_lane + i * DOWN;
        if (row < params.rows) {
            let of_row = select(-0.0, bias_of(row), split == 0u);
            for (var j = 0u; j < TN; j++) {
                let at = column + column_lane + j * ACROSS;
                if (at < params.n) {
                    y[(row * SPLITS + split) * params.n + at] = sums[i][j] + of_row;
                }
            }
        }
    }
}
