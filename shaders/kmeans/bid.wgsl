//! bid: labels[i] = argmin_c distance(x_i, centroid_c) + price_c, the lowest of equals; regrets[i] = how much more the next one costs
//! One workgroup = WG points, one per invocation; four centroids share each load of a point.
//!
//! Contract: f32, the same bits on every adapter: each operation is rounded by itself, in a fixed order. With one cluster the regret
//! is the largest f32.
//! Oracle: src/oracle/bid.rs    Needs: no optional feature
//!
//! use lib/grid
//! use lib/metric
//! use lib/strict
//! slot wide
//! slot points

struct Params {
    rows: u32,
    n: u32,         // points, as many
    k: u32,
    d4: u32,
    metric: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> centroids: array<vec4<f32>>;      // [k, d4]
@group(0) @binding(3) var<storage, read> prices: array<f32>;               // [k]
@group(0) @binding(4) var<storage, read_write> labels: array<u32>;         // [n]
@group(0) @binding(5) var<storage, read_write> regrets: array<f32>;        // [n]

const WG: u32 = 64u;
const ROWS_PER_GROUP: u32 = WG;
const LARGEST: f32 = 0x1.fffffep+127;

fn add_four(sum: f32, x: vec4<f32>, c: vec4<f32>, zero: u32) -> f32 {
    if (params.metric == DOT) {
        return kept(sum - strict_total(strict_product(x, c, zero), zero), zero);
    }
    return add_square(sum, x - c, zero);
}

@compute @workgroup_size(WG)
fn bid(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = flat_group(group, groups) * ROWS_PER_GROUP + lane;
    if (row >= params.rows) {
        return;
    }
    let zero = zero_of(params.d4);
    let factor = select(1.0, 0.5, params.metric == COSINE);
    var label = 0u;
    var least = LARGEST;
    var next = LARGEST;
    for (var first = 0u; first < params.k; first += 4u) {
        let last = params.k - 1u;
        let a = first * params.d4;
        let b = min(first + 1u, last) * params.d4;
        let c = min(first + 2u, last) * params.d4;
        let d = min(first + 3u, last) * params.d4;
        var sums = vec4<f32>();
        for (var at = 0u; at < params.d4; at++) {
            let x = point(row, at);
            sums.x = add_four(sums.x, x, centroids[a + at], zero);
            sums.y = add_four(sums.y, x, centroids[b + at], zero);
            sums.z = add_four(sums.z, x, centroids[c + at], zero);
            sums.w = add_four(sums.w, x, centroids[d + at], zero);
        }
        for (var i = 0u; i < min(4u, params.k - first); i++) {
            let cost = kept(kept(sums.x * factor, zero) + prices[first + i], zero);
            if (cost < least) {
                next = least;
                least = cost;
                label = first + i;
            } else if (cost < next) {
                next = cost;
            }
            sums = sums.yzwx;
        }
    }
    labels[row] = label;
    regrets[row] = select(kept(next - least, zero), LARGEST, params.k == 1u);
}
