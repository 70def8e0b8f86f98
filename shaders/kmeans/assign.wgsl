//! assign: label[i] = argmin_c |centroid_c|^2 - 2 x_i . centroid_c: the nearest centroid, the lowest index of equals
//! One workgroup = a tile of 16 POINTS points against every centroid, a tile of 16 CENTROIDS at a time: both tiles go
//! through workgroup memory DEPTH vec4s of the dimension at a time; each invocation keeps POINTS x CENTROIDS products
//! in registers and its own running minimum. Nothing of size rows x k is ever stored (FlashAssign, Flash-KMeans 2025).
//!
//! Contract: products are f32 sums in order of the dimension; a label is the oracle's, or the point, whose scores lie too near
//! to each other, is listed in ties for rerank, and keeps its label. Points of problem p have centroids, and so labels,
//! from p k on.
//! Oracle: src/oracle/assign.rs    Needs: no optional feature
//!
//! use lib/grid
//! use lib/lloyd
//! use lib/metric
//! use lib/near_tie
//! use lib/problems
//! use lib/product
//! slot wide
//! slot points

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

const POINTS: u32 = 4u;
const CENTROIDS: u32 = 4u;
const DEPTH: u32 = 4u;
const SIDE: u32 = 16u;
const WG: u32 = SIDE * SIDE;
const ROWS_PER_GROUP: u32 = SIDE * POINTS;
const CENTROIDS_PER_TILE: u32 = SIDE * CENTROIDS;
// 1: points are decided by their own |x|^2; 0: all by params.square, which costs nothing where it is near to all.
override OWN: u32 = 1u;
const POINT_LOADS: u32 = DEPTH * ROWS_PER_GROUP;
const CENTROID_LOADS: u32 = DEPTH * CENTROIDS_PER_TILE;
const POINT_TURNS: u32 = POINT_LOADS / WG;
const CENTROID_TURNS: u32 = CENTROID_LOADS / WG;
const HUGE: f32 = 3.4028234e38;

// Rows of a side, and a lane's own place in it: in the inner loop nothing else is no constant, so that all loads of a tile share an
// address, and what is left of each is in its instruction.
var<workgroup> point_tile: array<array<array<vec4<f32>, SIDE>, POINTS>, DEPTH>;
var<workgroup> centroid_tile: array<array<array<vec4<f32>, SIDE>, CENTROIDS>, DEPTH>;
var<workgroup> lane_score: array<f32, WG>;
var<workgroup> lane_second: array<f32, WG>;
var<workgroup> lane_label: array<u32, WG>;
var<workgroup> lane_square: array<f32, WG>;

// Load number `load` of the tile of points, whose first is `first`.
fn load_point(load: u32, first: u32, end: u32, depth: u32) {
    let at = depth + load % DEPTH;
    let row = load / DEPTH;
    let value = point(min(first + row, end - 1u), min(at, params.d4 - 1u));
    // Behind the dimension zeros, so that centroids need none there.
    point_tile[load % DEPTH][row / SIDE][row % SIDE] = select(vec4<f32>(), value, at < params.d4);
}

// The same for centroids, of which `tile` come before it in the problem.
fn load_centroid(load: u32, first_centroid: u32, tile: u32, depth: u32) {
    let at = min(depth + load % DEPTH, params.d4 - 1u);
    let row = load / DEPTH;
    let centroid = first_centroid + min(tile + row, params.k - 1u);
    centroid_tile[load % DEPTH][row / SIDE][row % SIDE] = centroids[centroid * params.d4 + at];
}

@compute @workgroup_size(WG)
fn assign(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let place = place_of(flat_group(group, groups), params.each, ROWS_PER_GROUP);
    let problem = place.problem;
    // Uniform in the workgroup, as the barriers below demand.
    if (problem >= params.problems || control[problem].state != RUNNING) {
        return;
    }
    let first = problem * params.each + place.first;
    let end = (problem + 1u) * params.each;
    let first_centroid = problem * params.k;
    let column = lane % SIDE;
    let row = lane / SIDE;
    var best_score: array<f32, POINTS>;
    var second_score: array<f32, POINTS>;
    var best_label: array<u32, POINTS>;
    for (var i = 0u; i < POINTS; i++) {
        best_score[i] = HUGE;
        second_score[i] = HUGE;
    }
    var most = 0.0;
    for (var tile = 0u; tile < params.k; tile += CENTROIDS_PER_TILE) {
        var product: array<array<f32, POINTS>, CENTROIDS>;
        var depth = 0u;
        // Tested at its end, as there is no point without a dimension: what is the same in every round may be moved before it.
        loop {
            // Where all lanes load as often, a count that compilers know: they make no second copy for a turn that never comes.
            if (POINT_LOADS % WG == 0u) {
                for (var turn = 0u; turn < POINT_TURNS; turn++) {
                    load_point(turn * WG + lane, first, end, depth);
                }
            } else {
                for (var load = lane; load < POINT_LOADS; load += WG) {
                    load_point(load, first, end, depth);
                }
            }
            // Of tiles of two sizes one is left as a loop: lavapipe takes a tenth longer without.
            if (CENTROID_LOADS % WG == 0u && CENTROID_LOADS == POINT_LOADS) {
                for (var turn = 0u; turn < CENTROID_TURNS; turn++) {
                    load_centroid(turn * WG + lane, first_centroid, tile, depth);
                }
            } else {
                for (var load = lane; load < CENTROID_LOADS; load += WG) {
                    load_centroid(load, first_centroid, tile, depth);
                }
            }
            workgroupBarrier();
            for (var at = 0u; at < DEPTH; at++) {
                var x: array<vec4<f32>, POINTS>;
                for (var i = 0u; i < POINTS; i++) {
                    x[i] = point_tile[at][i][row];
                }
                for (var c = 0u; c < CENTROIDS; c++) {
                    let y = centroid_tile[at][c][column];
                    for (var i = 0u; i < POINTS; i++) {
                        product[c][i] = add_product(product[c][i], x[i], y);
                    }
                }
            }
            workgroupBarrier();
            continuing {
                depth += DEPTH;
                break if depth >= params.d4;
            }
        }
        for (var c = 0u; c < CENTROIDS; c++) {
            let centroid = tile + c * SIDE + column;
            let square = norms[first_centroid + min(centroid, params.k - 1u)];
            let norm = select(0.0, square, params.metric != DOT);
            most = max(most, square);
            // Nothing is nearer to a centroid behind the last.
            for (var i = 0u; i < POINTS; i++) {
                product[c][i] = select(HUGE, norm - 2.0 * product[c][i], centroid < params.k);
            }
        }
        // A loop of its own: compilers unroll bodies of this size, and what is indexed in other loops leaves the registers.
        for (var i = 0u; i < POINTS; i++) {
            for (var c = 0u; c < CENTROIDS; c++) {
                let score = product[c][i];
                let better = score < best_score[i];
                let second = select(second_score[i], score, score < second_score[i]);
                second_score[i] = select(second, best_score[i], better);
                best_score[i] = select(best_score[i], score, better);
                best_label[i] = select(best_label[i], tile + c * SIDE + column, better);
            }
        }
    }
    // The lanes of a row have seen all norms between them.
    lane_square[lane] = most;
    workgroupBarrier();
    for (var other = 0u; other < SIDE; other++) {
        most = max(most, lane_square[row * SIDE + other]);
    }
    workgroupBarrier();
    var changes = 0u;
    for (var i = 0u; i < POINTS; i++) {
        let point_of_row = first + i * SIDE + row;
        // The lanes of a row share its square.
        var square = 0.0;
        for (var at = column; at < params.d4 * OWN; at += SIDE) {
            let x = point(min(point_of_row, end - 1u), at);
            square = add_product(square, x, x);
        }
        lane_score[lane] = best_score[0];
        lane_second[lane] = second_score[0];
        lane_label[lane] = best_label[0];
        lane_square[lane] = square;
        // The next comes to the front: this loop is not unrolled, and what it indexed would leave the registers.
        for (var next = 1u; next < POINTS; next++) {
            best_score[next - 1u] = best_score[next];
            second_score[next - 1u] = second_score[next];
            best_label[next - 1u] = best_label[next];
        }
        workgroupBarrier();
        if (column == 0u && point_of_row < end) {
            var score = lane_score[lane];
            var second = lane_second[lane];
            var label = lane_label[lane];
            for (var other = 1u; other < SIDE; other++) {
                let s = lane_score[lane + other];
                let l = lane_label[lane + other];
                second = min(min(second, lane_second[lane + other]), max(score, s));
                square += lane_square[lane + other];
                if (s < score || (s == score && l < label)) {
                    score = s;
                    label = l;
                }
            }
            label += first_centroid;
            square = select(params.square, square, OWN == 1u);
            if (undecided(relative_error(), score, second, norms[label], most, square)) {
                list(point_of_row);
            } else {
                changes += select(0u, 1u, labels[point_of_row] != label);
                labels[point_of_row] = label;
            }
        }
        workgroupBarrier();
    }
    if (changes > 0u) {
        atomicAdd(&changed[problem], changes);
    }
}
