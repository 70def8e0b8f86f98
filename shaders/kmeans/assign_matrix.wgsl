//! assign_matrix: label[i] = argmin_c |centroid_c|^2 - 2 x_i . centroid_c, the products by cooperative matrices of f16
//! One workgroup = a tile of BM points against every centroid, a tile of BN at a time; each subgroup keeps TM x TN matrices of
//! products, which then go to a lane for each point. No size of subgroup is assumed: STRIPS of points are dealt out.
//! Points and centroids, each divided by a power of two near its length, are the sum of two numbers of f16 (22 bits): the
//! products of the large parts and those of large with small ones are summed apart, those of two small parts are left out.
//!
//! Contract: as that of assign, with the bound below.
//! Oracle: src/oracle/assign.rs    Needs: shader_f16
//!
//! use lib/grid
//! use lib/lloyd
//! use lib/metric
//! use lib/near_tie
//! use lib/problems
//! use lib/product
//! slot wide
//! slot points
//! slot matrix

enable f16;

struct Params {
    rows: u32,      // of all workgroups
    n: u32,         // points
    each: u32,      // points of one problem
    problems: u32,
    clusters: u32,  // centroids
    k: u32,         // centroids of one problem
    d4: u32,        // dimension in vec4s, padded with zeros
    metric: u32,
    square: f32,    // no point has a larger |x|^2, without OWN
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> centroids: array<vec4<f32>>;          // [clusters, d4]
@group(0) @binding(3) var<storage, read> norms: array<f32>;                    // [clusters] |centroid|^2
@group(0) @binding(4) var<storage, read> control: array<Control>;              // [problems]
@group(0) @binding(5) var<storage, read_write> labels: array<u32>;             // [n]
@group(0) @binding(6) var<storage, read_write> changed: array<atomic<u32>>;    // [problems] labels that differ from before
@group(0) @binding(7) var<storage, read_write> ties: array<atomic<u32>>;       // [4+n] as lib/near_tie says

const WG: u32 = 128u;               // as many lanes as a tile has points, or more
const TM: u32 = 2u;
const TN: u32 = 4u;
const STRIPS: u32 = 4u;             // of TM * SIDE points each; best as many as a workgroup has subgroups
const OF_STRIP: u32 = TM * SIDE;
const BM: u32 = STRIPS * OF_STRIP;
const BN: u32 = TN * SIDE;
const ROWS_PER_GROUP: u32 = BM;
// 1: points are decided by their own |x|^2; 0: all by params.square, which costs nothing where it is near to all.
override OWN: u32 = 1u;
const FOURS: u32 = 4u;              // of the dimension in a tile
// More than needed, so that neighbouring rows lie in different banks; a multiple of the 16 bytes that matrices ask for.
const PITCH: u32 = FOURS + 2u;
const DEPTH: u32 = 4u * PITCH;
// Lanes to a row of a tile, a vec4 each, and how often all lanes have one of points and of centroids.
const ROWS_PER_TURN: u32 = WG / FOURS;
const POINT_TURNS: u32 = BM / ROWS_PER_TURN;
const CENTROID_TURNS: u32 = BN / ROWS_PER_TURN;
const HUGE: f32 = 3.4028234e38;

// Four neighbouring values by constant indices, so that compilers make one store of them.
var<workgroup> point_high: array<array<f16, 4>, BM * PITCH>;
var<workgroup> point_low: array<array<f16, 4>, BM * PITCH>;
var<workgroup> centroid_high: array<array<f16, 4>, BN * PITCH>;
var<workgroup> centroid_low: array<array<f16, 4>, BN * PITCH>;
// A matrix of each strip, columns first, and one that is never read, for subgroups without a strip. A column more brings the next
// matrix to other banks.
var<workgroup> products: array<array<array<f32, SIDE>, SIDE + 1>, (STRIPS + 1) * TM>;
var<workgroup> point_square: array<f32, BM>;
var<workgroup> lane_square: array<f32, WG>;
// What a score is without its product, and what the product is to be multiplied with.
var<workgroup> centroid_score: array<array<vec2<f32>, SIDE>, TN>;
var<workgroup> most: atomic<u32>;
var<workgroup> changes: atomic<u32>;

// Bounds the error of a score relative to |c|^2 + 2 |x| |c|. Matrices may add up in any order and cut off instead of rounding, what they
// align too: 4 UNIT for each product of large parts (those of small ones are 2^-11 of them), 12 for what 22 bits leave. Each number
// of f16 below 2^-14 may count as 0, where lengths are 2^13 or more: less than a UNIT for each dimension.
fn relative_error_of_matrices() -> f32 {
    return f32(20u * params.d4 + 64u) * UNIT;
}

// A power of two that brings a vector with this square to a length from 2^13 to 2^14, as near as sqrt tells.
fn scale_of(square: f32) -> f32 {
    let exponent = bitcast<u32>(sqrt(square + lost())) >> 23u;
    return bitcast<f32>((267u - exponent) << 23u);
}

// 1 / scale, exactly.
fn inverse(scale: f32) -> f32 {
    return bitcast<f32>(0x7f000000u - bitcast<u32>(scale));
}

// The numbers of 11 significant bits that are nearest to these: f16 holds them, whichever way a conversion rounds.
fn large_part(value: vec4<f32>) -> vec4<f32> {
    return bitcast<vec4<f32>>((bitcast<vec4<u32>>(value) + vec4<u32>(0x1000u)) & vec4<u32>(0xffffe000u));
}

fn keep_point(place: u32, value: vec4<f32>) {
    let large = large_part(value);
    let small = large_part(value - large);
    point_high[place][0] = f16(large.x);
    point_high[place][1] = f16(large.y);
    point_high[place][2] = f16(large.z);
    point_high[place][3] = f16(large.w);
    point_low[place][0] = f16(small.x);
    point_low[place][1] = f16(small.y);
    point_low[place][2] = f16(small.z);
    point_low[place][3] = f16(small.w);
}

fn keep_centroid(place: u32, value: vec4<f32>) {
    let large = large_part(value);
    let small = large_part(value - large);
    centroid_high[place][0] = f16(large.x);
    centroid_high[place][1] = f16(large.y);
    centroid_high[place][2] = f16(large.z);
    centroid_high[place][3] = f16(large.w);
    centroid_low[place][0] = f16(small.x);
    centroid_low[place][1] = f16(small.y);
    centroid_low[place][2] = f16(small.z);
    centroid_low[place][3] = f16(small.w);
}

@compute @workgroup_size(WG)
fn assign_matrix(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
) {
    let place = place_of(flat_group(group, groups), params.each, ROWS_PER_GROUP);
    let problem = min(place.problem, params.problems - 1u);
    // Matrices allow no return before them: where nothing is to be done, no strip is.
    let running = place.problem < params.problems && control[problem].state == RUNNING;
    let all_strips = select(0u, STRIPS, running);
    let first = problem * params.each + place.first;
    let end = (problem + 1u) * params.each;
    let first_centroid = problem * params.k;
    if (lane == 0u) {
        atomicStore(&changes, 0u);
        atomicStore(&most, 0u);
    }
    // Four lanes to a point.
    for (var turn = 0u; turn < BM * 4u; turn += WG) {
        let row = (turn + lane) / 4u;
        var square = 0.0;
        for (var at = lane % 4u; at < params.d4 * OWN; at += 4u) {
            let x = point(min(first + row, end - 1u), at);
            square = add_product(square, x, x);
        }
        lane_square[lane] = square;
        workgroupBarrier();
        if (lane % 4u == 0u && row < BM) {
            let own = lane_square[lane] + lane_square[lane + 1u] + lane_square[lane + 2u] + lane_square[lane + 3u];
            point_square[row] = select(params.square, own, OWN == 1u);
        }
        workgroupBarrier();
    }
    let four = lane % FOURS;
    let row_of_turn = lane / FOURS;
    var point_row: array<u32, POINT_TURNS>;
    var point_scale: array<f32, POINT_TURNS>;
    for (var turn = 0u; turn < POINT_TURNS; turn++) {
        let row = turn * ROWS_PER_TURN + row_of_turn;
        point_row[turn] = min(first + row, end - 1u);
        point_scale[turn] = scale_of(point_square[row]);
    }
    var own_most = 0.0;
    for (var strips = 0u; strips < all_strips; strips += subgroups) {
        // Matrices belong to whole subgroups, so one without a strip computes the last one again.
        let strip = min(strips + subgroup, STRIPS - 1u);
        let stored_at = min(strips + subgroup, STRIPS) * TM;
        // A lane's own point, if there is one.
        let row = strips * OF_STRIP + lane;
        let own = row < min(strips + subgroups, STRIPS) * OF_STRIP;
        let square = point_square[min(row, BM - 1u)];
        let of_point = 2.0 * inverse(scale_of(square));
        var best_score = HUGE;
        var second_score = HUGE;
        var best_label = 0u;
        for (var tile = 0u; tile < params.k; tile += BN) {
            var centroid: array<u32, CENTROID_TURNS>;
            var centroid_scale: array<f32, CENTROID_TURNS>;
            for (var turn = 0u; turn < CENTROID_TURNS; turn++) {
                let of_tile = turn * ROWS_PER_TURN + row_of_turn;
                centroid[turn] = first_centroid + min(tile + of_tile, params.k - 1u);
                let norm = norms[centroid[turn]];
                own_most = max(own_most, norm);
                centroid_scale[turn] = scale_of(norm);
                if (four == 0u) {
                    // Nothing is nearer to a centroid behind the last.
                    centroid_score[of_tile / SIDE][of_tile % SIDE] = select(
                        vec2<f32>(HUGE, 0.0),
                        vec2<f32>(select(0.0, norm, params.metric != DOT), inverse(centroid_scale[turn])),
                        tile + of_tile < params.k,
                    );
                }
            }
            for (var at = lane; at < SIDE * SIDE; at += WG) {
                products[0][at / SIDE][at % SIDE] = 0.0;
            }
            workgroupBarrier();
            let zeros = coopLoad<Sums>(&products[0][0][0], SIDE);
            var large: array<array<Sums, TN>, TM>;
            var small: array<array<Sums, TN>, TM>;
            for (var i = 0u; i < TM; i++) {
                for (var j = 0u; j < TN; j++) {
                    large[i][j] = zeros;
                    small[i][j] = zeros;
                }
            }
            for (var depth = 0u; depth < params.d4; depth += FOURS) {
                let at = min(depth + four, params.d4 - 1u);
                // Behind the dimension zeros.
                let inside = select(0.0, 1.0, depth + four < params.d4);
                for (var turn = 0u; turn < POINT_TURNS; turn++) {
                    let value = point(point_row[turn], at);
                    let to = (turn * ROWS_PER_TURN + row_of_turn) * PITCH + four;
                    keep_point(to, inside * point_scale[turn] * value);
                }
                for (var turn = 0u; turn < CENTROID_TURNS; turn++) {
                    let value = centroids[centroid[turn] * params.d4 + at];
                    let to = (turn * ROWS_PER_TURN + row_of_turn) * PITCH + four;
                    keep_centroid(to, inside * centroid_scale[turn] * value);
                }
                workgroupBarrier();
                for (var k = 0u; k < 4u * FOURS; k += SIDE) {
                    var high: array<Right, TN>;
                    var low: array<Right, TN>;
                    for (var j = 0u; j < TN; j++) {
                        // Centroids lie one after the other: column-major.
                        high[j] = coopLoad<Right>(&centroid_high[j * SIDE * PITCH + k / 4u][0], DEPTH);
                        low[j] = coopLoad<Right>(&centroid_low[j * SIDE * PITCH + k / 4u][0], DEPTH);
                    }
                    for (var i = 0u; i < TM; i++) {
                        let of_strip = (strip * TM + i) * SIDE * PITCH + k / 4u;
                        let a = coopLoadT<Left>(&point_high[of_strip][0], DEPTH);
                        let b = coopLoadT<Left>(&point_low[of_strip][0], DEPTH);
                        for (var j = 0u; j < TN; j++) {
                            large[i][j] = coopMultiplyAdd(a, high[j], large[i][j]);
                            small[i][j] = coopMultiplyAdd(a, low[j], small[i][j]);
                            small[i][j] = coopMultiplyAdd(b, high[j], small[i][j]);
                        }
                    }
                }
                workgroupBarrier();
            }
            for (var stored = 0u; stored < TN; stored++) {
                // Matrices lie in registers, which have no index: this loop has barriers, and is not unrolled.
                for (var i = 0u; i < TM; i++) {
                    for (var j = 0u; j < TN; j++) {
                        if (j == stored) {
                            coopStore(large[i][j] + small[i][j], &products[stored_at + i][0][0], SIDE);
                        }
                    }
                }
                workgroupBarrier();
                for (var c = 0u; c < SIDE; c++) {
                    let of_centroid = centroid_score[stored][c];
                    let product = products[row / SIDE][c][row % SIDE];
                    let score = of_centroid.x - of_centroid.y * of_point * product;
                    let better = score < best_score;
                    second_score = select(min(second_score, score), best_score, better);
                    best_score = select(best_score, score, better);
                    best_label = select(best_label, tile + stored * SIDE + c, better);
                }
                workgroupBarrier();
            }
        }
        // Norms are not negative, so that they are in the order of their bits.
        atomicMax(&most, bitcast<u32>(own_most));
        workgroupBarrier();
        if (own && first + row < end) {
            let label = first_centroid + best_label;
            let relative = relative_error_of_matrices();
            let longest = bitcast<f32>(atomicLoad(&most));
            if (undecided(relative, best_score, second_score, norms[label], longest, square)) {
                list(first + row);
            } else if (labels[first + row] != label) {
                labels[first + row] = label;
                atomicAdd(&changes, 1u);
            }
        }
    }
    workgroupBarrier();
    if (lane == 0u) {
        let count = atomicLoad(&changes);
        if (count > 0u) {
            atomicAdd(&changed[problem], count);
        }
    }
}
