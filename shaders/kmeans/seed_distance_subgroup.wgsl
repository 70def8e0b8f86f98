//! seed_distance_subgroup: nearest[i, t] and potential[g, t] as seed_distance, with fewer loads of the candidates
//! One workgroup = WG x ITEMS points against eight trials at a time: eight lanes load eight candidates and hand each to
//! all by a shuffle, as in assign_subgroup.
//!
//! Contract: as seed_distance, to the same bits: the sums are added in the same order.
//! Oracle: src/oracle/seed.rs    Needs: subgroups of 8 or more
//!
//! use lib/grid
//! use lib/problems
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
const HUGE: f32 = 3.4028234e38;

@compute @workgroup_size(WG)
fn seed_distance_subgroup(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_invocation_id) subgroup_lane: u32,
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
    // No lane leaves before the shuffles: those behind the last row compute it again and do not count.
    var row_of: array<u32, ITEMS>;
    for (var i = 0u; i < ITEMS; i++) {
        row_of[i] = min(first + i * WG, end - 1u);
    }
    let mine = subgroup_lane % 8u;
    for (var trial = 0u; trial < params.trials; trial += 8u) {
        let candidate = first_point + candidates[first_trial + min(trial + mine, params.trials - 1u)];
        var sum: array<array<f32, ITEMS>, 8>;
        for (var at = 0u; at < params.d4; at++) {
            var x: array<vec4<f32>, ITEMS>;
            for (var i = 0u; i < ITEMS; i++) {
                x[i] = point(row_of[i], at);
            }
            let loaded = point(candidate, at);
            for (var c = 0u; c < 8u; c++) {
                let y = subgroupShuffle(loaded, c);
                for (var i = 0u; i < ITEMS; i++) {
                    sum[c][i] = add_square(sum[c][i], x[i] - y, zero);
                }
            }
        }
        var low = vec4<f32>();
        var high = vec4<f32>();
        for (var i = 0u; i < ITEMS; i++) {
            let row = first + i * WG;
            if (row < end) {
                let weight = weights[min(row, params.weighted - 1u)];
                var before = HUGE;
                if (pick[problem].step > 0u) {
                    before = nearest[row * params.trials + pick[problem].best];
                }
                let sum_low = vec4<f32>(sum[0][0], sum[1][0], sum[2][0], sum[3][0]);
                let sum_high = vec4<f32>(sum[4][0], sum[5][0], sum[6][0], sum[7][0]);
                var least_low = min(vec4<f32>(before), weighted(sum_low, weight, zero));
                var least_high = min(vec4<f32>(before), weighted(sum_high, weight, zero));
                low = kept_vec4(low + least_low, zero);
                high = kept_vec4(high + least_high, zero);
                for (var t = trial; t < min(trial + 8u, params.trials); t++) {
                    nearest_next[row * params.trials + t] = least_low.x;
                    least_low = vec4<f32>(least_low.yzw, least_high.x);
                    least_high = least_high.yzww;
                }
            }
            // The next comes to the front: this loop is not unrolled, and what it indexed would leave the registers.
            for (var c = 0u; c < 8u; c++) {
                for (var next = 1u; next < ITEMS; next++) {
                    sum[c][next - 1u] = sum[c][next];
                }
            }
        }
        // Four sums at a time.
        for (var part = trial; part < min(trial + 8u, params.trials); part += 4u) {
            let total = reduce_add_vec4(select(high, low, part == trial), lane, zero);
            if (lane < min(4u, params.trials - part)) {
                potential[block * params.trials + part + lane] = total[lane % 4u];
            }
        }
    }
}
