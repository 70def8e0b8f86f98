//! matmul_integer: y[row, column] = sum_k weight[row, k] x[column, k] + bias[row], x as int8 with a scale for 32
//! One workgroup = BM rows times BN columns; each invocation keeps TM x TN sums in registers.
//! Tiles of codes, 16 GRANULES deep, lie in workgroup memory with their scales and are used by all. SPLITS as in matmul.
//!
//! Contract: exact integer products of 16 codes; their scaled sums are f32, added in order, those of a split by themselves.
//! Oracle: src/oracle/matmul_integer.rs    Needs: no optional feature
//!
//! use lib/bias
//! use lib/grid
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
@group(0) @binding(1) var<storage, read> x: array<Wide>;                   // [columns, pairs*4] int8, as a plane
@group(0) @binding(2) var<storage, read> x_scales: array<Wide>;            // [columns, pairs] two scales, four sums
@group(0) @binding(3) var<storage, read> bias: array<f32>;                 // [biases]
@group(0) @binding(4) var<storage, read_write> y: array<f32>;              // [rows, SPLITS, n]

const WG: u32 = 64u;
const TM: u32 = 4u;
const TN: u32 = 4u;
const ACROSS: u32 = 8u;             // invocations side by side over the columns
const GRANULES: u32 = 4u;           // 1, 2 or 4
const DOWN: u32 = WG / ACROSS;
const BM: u32 = DOWN * TM;
const BN: u32 = ACROSS * TN;
const ROWS_PER_GROUP: u32 = BM;
const COLUMNS_PER_GROUP: u32 = BN;
const SPLITS: u32 = 1u;             // workgroups that share the pairs of a tile; split_sum adds their sums
const GROUPS_PER_TILE: u32 = SPLITS;
const WEIGHT_TURNS: u32 = BM * GRANULES / WG;      // no remainder

// A granule of each row, and of each column. Two more than needed, so that stores of neighbouring granules go to different
// banks.
var<workgroup> weight_tile: array<array<vec4<u32>, BM + 2>, GRANULES>;
var<workgroup> weight_scales: array<array<vec2<f32>, BM + 2>, GRANULES>;    // scale and offset
var<workgroup> x_tile: array<array<vec4<u32>, BN + 2>, GRANULES>;
var<workgroup> x_tile_scales: array<array<vec2<f32>, BN + 2>, GRANULES>;    // scale, and sum of the codes times it

fn dot16(a: vec4<u32>, b: vec4<u32>) -> f32 {
    // In a chain: each product takes the sum before it.
    return f32(((dot4I8Packed(a.x, b.x) + dot4I8Packed(a.y, b.y)) + dot4I8Packed(a.z, b.z)) + dot4I8Packed(a.w, b.w));
}

@compute @workgroup_size(WG)
fn matmul_integer(
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
        // As many turns for all lanes, which compilers unroll, without a second copy that would never run.
        for (var turn = 0u; turn < WEIGHT_TURNS; turn++) {
            let at = turn * WG + lane;
            let g = step % 4u + at % GRANULES;
            let pair = load(min(first + at / GRANULES, params.rows - 1u), step / 4u);
            weight_tile[at % GRANULES][at / GRANULES] = codes_of(pair, g);
            weight_scales[at % GRANULES][at / GRANULES] = vec2<f32>(scale_of(pair, g), offset_of(pair, g));
        }
        for (var at = lane; at < BN * GRANULES; at += WG) {
            let g = step % 4u + at % GRANULES;
            let of_column = min(column + at / GRANULES, params.columns - 1u);
            x_tile[at % GRANULES][at / GRANULES] = words(x[place(of_column, step / 4u, 4u, g)]);
            let scales = words(x_scales[of_column * params.pairs + step / 4u]);
            let scale = bitcast<f32>(select(scales.x, scales.y, g >= 2u));
            // Two sums of 16 bits in each word, for the granules in turn.
            let sum = extractBits(bitcast<i32>(select(scales.z, scales.w, g >= 2u)), 16u * (g % 2u), 16u);
            x_tile_scales[at % GRANULES][at / GRANULES] = vec2<f32>(scale, scale * f32(sum));
        }
        workgroupBarrier();
        for (var g = 0u; g < GRANULES; g++) {
            var b: array<vec4<u32>, TN>;
            var b_scale: array<vec2<f32>, TN>;
            for (var j = 0u; j < TN; j++) {
                b[j] = x_tile[g][column_lane + j * ACROSS];
                b_scale[j] = x_tile_scales[g][column_lane + j * ACROSS];
            }
            for (var i = 0u; i < TM; i++) {
                let a = weight_tile[g][row_lane + i * DOWN];
                let a_scale = weight_scales[g][row_lane + i * DOWN];
                for (var j = 0u; j < TN; j++) {
                    var sum = a_scale.x * b_scale[j].x * dot16(a, b[j]);
                    if (HAS_OFFSETS) {
                        sum += a_scale.y * b_scale[j].y;
                    }
                    sums[i][j] += sum;
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
