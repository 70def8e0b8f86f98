//! rerank: label[i] = argmin_c |x_i - centroid_c|^2, or for products of -x_i . centroid_c, for the points that assign could not decide
//! One workgroup = every rows-th point of the list, one at a time. Its lanes share the centroids: by f32 differences (or
//! products) with their error bounds; where those overlap, by exact sums of the centroids that are left.
//!
//! Contract: exact: the nearest centroid of the stored numbers, the lowest index of equals. Empties the list.
//! Oracle: src/oracle/rerank.rs    Needs: no optional feature
//!
//! use lib/exact_sum
//! use lib/grid
//! use lib/metric
//! use lib/near_tie
//! use lib/product
//! slot wide
//! slot points

struct Params {
    rows: u32,      // workgroups
    n: u32,         // points
    each: u32,      // points of one problem
    problems: u32,
    clusters: u32,  // centroids
    k: u32,         // centroids of one problem
    d4: u32,        // dimension in vec4s, padded with zeros
    metric: u32,
    square: f32,    // of assign
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> centroids: array<vec4<f32>>;          // [clusters, d4]
@group(0) @binding(3) var<storage, read_write> ties: array<atomic<u32>>;       // [4+n] as lib/near_tie says
@group(0) @binding(4) var<storage, read_write> labels: array<u32>;             // [n]
@group(0) @binding(5) var<storage, read_write> changed: array<atomic<u32>>;    // [problems] labels that differ from before

const WG: u32 = 64u;
const ROWS_PER_GROUP: u32 = 1u;
const HUGE: f32 = 3.4028234e38;
const NONE: u32 = 0xffffffffu;

var<workgroup> listed: u32;
var<workgroup> lane_upper: array<f32, WG>;
var<workgroup> lane_lower: array<f32, WG>;
var<workgroup> lane_label: array<u32, WG>;
var<workgroup> least: f32;
var<workgroup> decided: u32;

// Between what bounds the distance of a point to a centroid lies.
struct Bounds {
    lower: f32,
    upper: f32,
}

fn bounds(row: u32, centroid: u32) -> Bounds {
    var sum = 0.0;
    var size = 0.0;
    for (var at = 0u; at < params.d4; at++) {
        let x = point(row, at);
        let c = centroids[centroid * params.d4 + at];
        if (params.metric != DOT) {
            sum = add_product(sum, x - c, x - c);
        } else {
            sum = add_product(sum, -x, c);
            size = add_product(size, abs(x), abs(c));
        }
    }
    let error = 1.01 * relative_error() * max(size, sum) + lost();
    return Bounds(sum - error, sum + error);
}

// Whether the point is nearer to a than to b; of equals, to the lower index.
fn nearer(row: u32, a: u32, b: u32) -> bool {
    var sum: array<u32, LIMBS>;
    for (var at = 0u; at < params.d4; at++) {
        let x = point(row, at);
        let p = centroids[a * params.d4 + at];
        let q = centroids[b * params.d4 + at];
        // Four terms of each of four components, in one loop: p p - q q - 2 x p + 2 x q.
        for (var term = 16u * at; term < 16u * at + 16u; term++) {
            let i = term / 4u % 4u;
            let of_q = term % 2u == 1u;
            let crossed = term / 2u % 2u == 1u;
            let centroid = select(p[i], q[i], of_q);
            if (bitcast<u32>(p[i]) != bitcast<u32>(q[i]) && (crossed || params.metric != DOT)) {
                add_exact(&sum, select(centroid, x[i], crossed), centroid, select(0u, 1u, crossed), crossed != of_q);
            }
        }
    }
    let sign = sign_exact(&sum);
    return sign < 0 || (sign == 0 && a < b);
}

@compute @workgroup_size(WG)
fn rerank(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let own = flat_group(group, groups) * ROWS_PER_GROUP;
    if (own >= params.rows) {
        return;
    }
    if (lane == 0u) {
        listed = min(atomicLoad(&ties[0]), params.n);
    }
    let count = workgroupUniformLoad(&listed);
    for (var tie = own; tie < count; tie += params.rows) {
        let row = atomicLoad(&ties[TIES_HEAD + tie]);
        let problem = row / params.each;
        let first = problem * params.k;
        // The least upper bound, whose it is, and the least lower bound of the others.
        var upper = HUGE;
        var lower = HUGE;
        var others = HUGE;
        var label = NONE;
        for (var c = lane; c < params.k; c += WG) {
            let here = bounds(row, first + c);
            if (label == NONE || here.upper < upper) {
                others = min(others, select(lower, HUGE, label == NONE));
                upper = here.upper;
                lower = here.lower;
                label = c;
            } else {
                others = min(others, here.lower);
            }
        }
        lane_upper[lane] = upper;
        lane_label[lane] = label;
        workgroupBarrier();
        if (lane == 0u) {
            var best = 0u;
            for (var other = 1u; other < WG; other++) {
                if (lane_upper[other] < lane_upper[best]) {
                    best = other;
                }
            }
            least = lane_upper[best];
            decided = best;
        }
        workgroupBarrier();
        let best = workgroupUniformLoad(&decided);
        // A lane's own best does not compete with itself.
        let mine = select(min(lower, others), others, lane == best);
        lane_lower[lane] = mine;
        workgroupBarrier();
        if (lane == 0u) {
            var rivals = HUGE;
            for (var other = 0u; other < WG; other++) {
                rivals = min(rivals, lane_lower[other]);
            }
            // Written so that what is no number is not decided.
            decided = select(NONE, lane_label[best], rivals > least);
        }
        var winner = workgroupUniformLoad(&decided);
        if (winner == NONE) {
            // Each lane finds the nearest of its own, then the first lane that of all lanes: one loop for both, since all of
            // it is compiled as often as it is written.
            var chosen = NONE;
            let rounds = 2u * min(params.k, 1u);
            for (var round = 0u; round < rounds; round++) {
                let last = select(select(0u, WG, lane == 0u), params.k, round == 0u);
                for (var at = lane; at < last; at += select(1u, WG, round == 0u)) {
                    var rival = at;
                    if (round > 0u) {
                        rival = lane_label[at];
                    } else if (bounds(row, first + at).lower > least) {
                        rival = NONE;
                    }
                    if (rival != NONE && rival != chosen) {
                        if (chosen == NONE || nearer(row, first + rival, first + chosen)) {
                            chosen = rival;
                        }
                    }
                }
                if (round == 0u) {
                    lane_label[lane] = chosen;
                }
                workgroupBarrier();
            }
            winner = chosen;
        }
        if (lane == 0u) {
            if (labels[row] != first + winner) {
                labels[row] = first + winner;
                atomicAdd(&changed[problem], 1u);
            }
        }
        workgroupBarrier();
    }
    // The last workgroup empties the list, once all have read its length.
    if (lane == 0u) {
        if (atomicAdd(&ties[1], 1u) == params.rows - 1u) {
            if (atomicAdd(&ties[2], count) > NONE - count) {
                atomicAdd(&ties[3], 1u);
            }
            atomicStore(&ties[0], 0u);
            atomicStore(&ties[1], 0u);
        }
    }
}
