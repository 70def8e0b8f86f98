//! seed: takes the trial with the least potential as the next seed, then draws the next trials by nearest squared distance
//! One workgroup = one problem. Its groups' potentials are cut into WG stretches; a drawn number finds its stretch, then its
//! group, then its point.
//!
//! Contract: the same bits on every adapter: potentials are f32 sums in a fixed order, the lowest trial wins a tie; a drawn point's interval of the
//! cumulated distances holds the drawn number up to the rounding of the sums. A point at distance zero is never drawn
//! while another is not; with all at zero, points are drawn uniformly.
//! Oracle: src/oracle/seed.rs    Needs: no optional feature
//!
//! use lib/grid
//! use lib/random
//! use lib/reduce
//! use lib/scan
//! use lib/seed

struct Params {
    rows: u32,          // problems
    n: u32,             // points
    each: u32,          // points of one problem
    trials: u32,
    groups: u32,        // workgroups of seed_distance
    group_rows: u32,    // points of one of them
    k: u32,
    seed: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> nearest: array<f32>;              // [n, trials]
@group(0) @binding(2) var<storage, read> potential: array<f32>;            // [groups, trials]
@group(0) @binding(3) var<storage, read_write> candidates: array<u32>;     // [rows+0, trials]
@group(0) @binding(4) var<storage, read_write> chosen: array<u32>;         // [rows+0, k] points of their problem
@group(0) @binding(5) var<storage, read_write> pick: array<Pick>;          // [rows+0]

const WG: u32 = 256u;
const ROWS_PER_GROUP: u32 = 1u;

var<workgroup> stretch_start: array<f32, WG>;

@compute @workgroup_size(WG)
fn seed(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let problem = flat_group(group, groups) * ROWS_PER_GROUP;
    if (problem >= params.rows) {
        return;
    }
    let step = pick[problem].step;
    let own_groups = params.groups / params.rows;
    let first_group = problem * own_groups;
    let first_trial = problem * params.trials;
    let first_point = problem * params.each;
    let zero = zero_of(params.trials);
    var best = 0u;
    var least = 0.0;
    for (var trial = 0u; trial < params.trials; trial++) {
        var sum = 0.0;
        for (var block = lane; block < own_groups; block += WG) {
            sum = kept(sum + potential[(first_group + block) * params.trials + trial], zero);
        }
        let total = reduce_add_f32(sum, lane, zero);
        if (trial == 0u || total < least) {
            best = trial;
            least = total;
        }
    }
    // Every lane has the same sums, hence the same best.
    let length = (own_groups + WG - 1u) / WG;
    let begin = min(lane * length, own_groups);
    let end = min(begin + length, own_groups);
    var stretch = 0.0;
    for (var block = begin; block < end; block++) {
        stretch = kept(stretch + potential[(first_group + block) * params.trials + best], zero);
    }
    stretch_start[lane] = scan_exclusive_f32(stretch, lane, zero);
    if (lane == WG - 1u) {
        reduce_f32[0] = kept(stretch_start[lane] + stretch, zero);
    }
    workgroupBarrier();
    let total = reduce_f32[0];
    if (lane == 0u) {
        if (step < params.k) {
            chosen[problem * params.k + step] = candidates[first_trial + best];
        }
        pick[problem].step = step + 1u;
        pick[problem].best = best;
    }
    // The winner must be read before its place among the candidates is drawn anew.
    storageBarrier();
    workgroupBarrier();
    for (var trial = lane; trial < params.trials; trial += WG) {
        let unit = random_unit(params.seed, step, trial);
        if (total <= 0.0) {
            candidates[first_trial + trial] = min(u32(kept(unit * f32(params.each), zero)), params.each - 1u);
            continue;
        }
        let aim = kept(unit * total, zero);
        // The last stretch that begins at or below the aim and holds anything.
        var place = 0u;
        for (var s = 1u; s * length < own_groups; s++) {
            if (stretch_start[s] <= aim && stretch_start[s] < total) {
                place = s;
            }
        }
        // Small weights vanish in a large sum, so what is left of the aim is counted down instead.
        var rest = kept(aim - stretch_start[place], zero);
        var block = place * length;
        let block_end = min(block + length, own_groups);
        for (var b = block; b + 1u < block_end; b++) {
            let next = potential[(first_group + b) * params.trials + best];
            if (next > rest) {
                break;
            }
            rest = kept(rest - next, zero);
            block = b + 1u;
        }
        // The point at which the sum passes what is left; the last with any distance if rounding never lets it.
        let first = block * params.group_rows;
        let last = min(first + params.group_rows, params.each);
        var drawn = first;
        var sum = 0.0;
        for (var row = first; row < last; row++) {
            let weight = nearest[(first_point + row) * params.trials + best];
            sum = kept(sum + weight, zero);
            if (weight > 0.0) {
                drawn = row;
                if (sum > rest) {
                    break;
                }
            }
        }
        candidates[first_trial + trial] = drawn;
    }
}
