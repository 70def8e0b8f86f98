//! assign_subgroup: label[i] = argmin_c |centroid_c|^2 - 2 x_i . centroid_c, as assign, without workgroup memory
//! One workgroup = WG x POINTS points. An invocation keeps POINTS points against 8 BLOCKS centroids in registers. Eight
//! lanes load eight centroids at once and hand each to all by a shuffle: a load serves eight times as many products as
//! when every lane loads every centroid, which is what a driver without scalar loads (lavapipe) is bound by.
//!
//! Contract: as assign, with the same products, added in the same order.
//! Oracle: src/oracle/assign.rs    Needs: subgroups of 8 or more
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
@group(0) @binding(2) var<storage, read> centroids: array<Wide>;               // [clusters, d4] vec4s
@group(0) @binding(3) var<storage, read> norms: array<f32>;                    // [clusters] |centroid|^2
@group(0) @binding(4) var<storage, read> control: array<Control>;              // [problems]
@group(0) @binding(5) var<storage, read_write> labels: array<u32>;             // [n]
@group(0) @binding(6) var<storage, read_write> changed: array<atomic<u32>>;    // [problems] labels that differ from before
@group(0) @binding(7) var<storage, read_write> ties: array<atomic<u32>>;       // [4+n] as lib/near_tie says

const POINTS: u32 = 4u;
const BLOCKS: u32 = 2u;
const WG: u32 = 64u;
const ROWS_PER_GROUP: u32 = WG * POINTS;
// 1: points are decided by their own |x|^2; 0: all by params.square, which costs nothing where it is near to all.
override OWN: u32 = 1u;
const HUGE: f32 = 3.4028234e38;

@compute @workgroup_size(WG)
fn assign_subgroup(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_invocation_id) subgroup_lane: u32,
) {
    let place = place_of(flat_group(group, groups), params.each, ROWS_PER_GROUP);
    let problem = place.problem;
    if (problem >= params.problems || control[problem].state != RUNNING) {
        return;
    }
    let first = problem * params.each + place.first + lane;
    let end = (problem + 1u) * params.each;
    let first_centroid = problem * params.k;
    // No lane leaves before the shuffles: those behind the last row compute it again and do not write.
    var best_score: array<f32, POINTS>;
    var second_score: array<f32, POINTS>;
    var best_label: array<u32, POINTS>;
    for (var i = 0u; i < POINTS; i++) {
        best_score[i] = HUGE;
        second_score[i] = HUGE;
    }
    var most = 0.0;
    var square: array<f32, POINTS>;
    let mine = subgroup_lane % 8u;
    for (var tile = 0u; tile < params.k; tile += 8u * BLOCKS) {
        var source: array<u32, BLOCKS>;
        for (var block = 0u; block < BLOCKS; block++) {
            source[block] = first_centroid + min(tile + block * 8u + mine, params.k - 1u);
        }
        var product: array<array<array<f32, POINTS>, 8>, BLOCKS>;
        for (var i = 0u; i < POINTS; i++) {
            square[i] = select(params.square, 0.0, OWN == 1u);
        }
        for (var at = 0u; at < params.d4; at++) {
            var x: array<vec4<f32>, POINTS>;
            for (var i = 0u; i < POINTS; i++) {
                x[i] = point(min(first + i * WG, end - 1u), at);
            }
            // Again for every tile: loads are what this kernel is bound by, and a branch in this loop would cost more.
            for (var i = 0u; i < POINTS * OWN; i++) {
                square[i] = add_product(square[i], x[i], x[i]);
            }
            for (var block = 0u; block < BLOCKS; block++) {
                let loaded = bitcast<vec4<f32>>(words(centroids[source[block] * params.d4 + at]));
                for (var c = 0u; c < 8u; c++) {
                    let y = subgroupShuffle(loaded, c);
                    for (var i = 0u; i < POINTS; i++) {
                        product[block][c][i] = add_product(product[block][c][i], x[i], y);
                    }
                }
            }
        }
        for (var block = 0u; block < BLOCKS; block++) {
            let of_centroid = norms[source[block]];
            most = max(most, of_centroid);
            // Nothing is nearer to a centroid behind the last.
            let norm_or_0 = select(0.0, of_centroid, params.metric != DOT);
            let loaded = select(HUGE, norm_or_0, tile + block * 8u + mine < params.k);
            for (var c = 0u; c < 8u; c++) {
                let norm = subgroupShuffle(loaded, c);
                for (var i = 0u; i < POINTS; i++) {
                    let score = norm - 2.0 * product[block][c][i];
                    let better = score < best_score[i];
                    let second = select(second_score[i], score, score < second_score[i]);
                    second_score[i] = select(second, best_score[i], better);
                    best_score[i] = select(best_score[i], score, better);
                    best_label[i] = select(best_label[i], tile + block * 8u + c, better);
                }
            }
        }
    }
    // Eight neighbouring lanes have seen all norms between them.
    let own_most = most;
    for (var c = 0u; c < 8u; c++) {
        most = max(most, subgroupShuffle(own_most, c));
    }
    var changes = 0u;
    for (var i = 0u; i < POINTS; i++) {
        let point_of_lane = first + i * WG;
        if (point_of_lane < end) {
            let label = first_centroid + best_label[i];
            if (undecided(relative_error(), best_score[i], second_score[i], norms[label], most, square[i])) {
                list(point_of_lane);
            } else {
                changes += select(0u, 1u, labels[point_of_lane] != label);
                labels[point_of_lane] = label;
            }
        }
    }
    if (changes > 0u) {
        atomicAdd(&changed[problem], changes);
    }
}
