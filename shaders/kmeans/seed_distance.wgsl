//! seed_distance: nearest[i, t] = min(nearest before, weight_i |x_i - x_candidate(t)|^2); potential[g, t] = sum over the group
//! One workgroup = WG x ITEMS points against `trials` candidates (greedy k-means++, Arthur and Vassilvitskii 2007, with the
//! several trials per step of their code).
//!
//! Contract: f32, the same bits on every adapter: each operation is rounded by itself, in a fixed order.
//! Oracle: src/oracle/seed.rs    Needs: no optional feature
//!
//! use lib/grid
//! use lib/problems
//! use lib/strict
//! use lib/reduce
//! use lib/seed
//! slot wide
//! slot points

struct Params {
    rows: u32,      // of all workgroups
    n: u32,         // points
    each: u32,      // points of one problem
    problems: u32,
    d4: u32,
    trials: u32,
    groups: u32,    // workgroups
    weighted: u32,  // n with weights, 1 without
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> candidates: array<u32>;               // [problems, trials] points of their problem
@group(0) @binding(3) var<storage, read> pick: array<Pick>;                    // [problems]
@group(0) @binding(4) var<storage, read> nearest: array<f32>;                  // [n, trials] of the step before
@group(0) @binding(5) var<storage, read_write> nearest_next: array<f32>;       // [n, trials]
@group(0) @binding(6) var<storage, read_write> potential: array<f32>;          // [groups, trials]
@group(0) @binding(7) var<storage, read> weights: array<f32>;                  // [weighted]

const WG: u32 = 128u;
const ITEMS: u32 = 4u;
const ROWS_PER_GROUP: u32 = WG * ITEMS;

@compute @workgroup_size(WG)
fn seed_distance(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let block = flat_group(group, groups);
    let place = place_of(block, params.each, ROWS_PER_GROUP);
    let problem = place.problem;
    if (problem >= params.problems) {
        return;
    }
    let first_point = problem * params.each;
    let zero = zero_of(params.d4);
    let first_trial = problem * params.trials;
    let end = first_point + params.each;
    let first = first_point + place.first + lane;
    let last_row = min(first_point + place.first + ROWS_PER_GROUP, end);
    // Four trials share each load of a point.
    for (var trial = 0u; trial < params.trials; trial += 4u) {
        let last = params.trials - 1u;
        let a = first_point + candidates[first_trial + trial];
        let b = first_point + candidates[first_trial + min(trial + 1u, last)];
        let c = first_point + candidates[first_trial + min(trial + 2u, last)];
        let d = first_point + candidates[first_trial + min(trial + 3u, last)];
        var mine = vec4<f32>();
        for (var row = first; row < last_row; row += WG) {
            var least = vec4<f32>();
            for (var at = 0u; at < params.d4; at++) {
                let x = point(row, at);
                let to_a = x - point(a, at);
                let to_b = x - point(b, at);
                let to_c = x - point(c, at);
                let to_d = x - point(d, at);
                least.x = add_square(least.x, to_a, zero);
                least.y = add_square(least.y, to_b, zero);
                least.z = add_square(least.z, to_c, zero);
                least.w = add_square(least.w, to_d, zero);
            }
            least = weighted(least, weights[min(row, params.weighted - 1u)], zero);
            if (pick[problem].step > 0u) {
                least = min(least, vec4(nearest[row * params.trials + pick[problem].best]));
            }
            for (var t = trial; t < min(trial + 4u, params.trials); t++) {
                nearest_next[row * params.trials + t] = least[t % 4u];
            }
            mine = kept_vec4(mine + least, zero);
        }
        let total = reduce_add_vec4(mine, lane, zero);
        if (lane == 0u) {
            for (var t = 0u; t < min(4u, params.trials - trial); t++) {
                potential[block * params.trials + trial + t] = total[t];
            }
        }
    }
}
