//! attend_merge: output = sum_s exp(m_s - m) o_s / sum_s exp(m_s - m) l_s over the splits s, m = max m_s
//! One workgroup = one query head of a sequence. The first `rotated` splits are in the basis of rotated values, and their sum
//! is rotated back.
//!
//! Contract: f32, within oracle::attend::bound; zeros where no token is seen.
//! Oracle: src/oracle/attend.rs    Needs: no optional feature
//!
//! use lib/grid
//! use lib/hadamard

struct Params {
    rows: u32,      // sequences * kv heads * heads
    heads: u32,     // query heads of a kv head
    splits: u32,
    rotated: u32,
    partials: u32,  // rows * splits
    d4: u32,        // at most 128
    block: u32,     // the largest power of two that divides the dimension
    width: u32,     // a partial: o, m and l, in vec4s
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partial: array<vec4<f32>>;        // [partials, width]
@group(0) @binding(2) var<storage, read_write> output: array<vec4<f32>>;   // [rows+0, d4]

const WG: u32 = 64u;
const ROWS_PER_GROUP: u32 = 1u;
const HUGE: f32 = 3.4028234e38;

const QUADS: u32 = 2u;

var<workgroup> vectors: array<f32, WG * QUADS * 4>;
// What is not rotated.
var<workgroup> plain: array<vec4<f32>, WG * QUADS>;

@compute @workgroup_size(WG)
fn attend_merge(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = flat_group(group, groups) * ROWS_PER_GROUP;
    if (row >= params.rows) {
        return;
    }
    // The partials of a kv head lie by split, then by query head.
    let first = (row / params.heads * params.splits * params.heads + row % params.heads) * params.width;
    let step = params.heads * params.width;
    var most = -HUGE;
    for (var s = 0u; s < params.splits; s++) {
        most = max(most, partial[first + s * step + params.d4].x);
    }
    var total = 0.0;
    for (var s = 0u; s < params.splits; s++) {
        let one = partial[first + s * step + params.d4];
        total += exp(one.x - most) * one.y;
    }
    for (var i = 0u; i < QUADS; i++) {
        let quad = i * WG + lane;
        let at = min(quad, params.d4 - 1u);
        var rotated = vec4<f32>();
        var own = vec4<f32>();
        for (var s = 0u; s < params.splits; s++) {
            let part = exp(partial[first + s * step + params.d4].x - most) * partial[first + s * step + at];
            if (s < params.rotated) {
                rotated += part;
            } else {
                own += part;
            }
        }
        plain[quad] = own;
        for (var c = 0u; c < 4u; c++) {
            vectors[quad * 4u + c] = rotated[c];
        }
    }
    if (params.rotated > 0u) {
        hadamard(lane, 0u, params.d4 * 4u, params.block);
    }
    for (var quad = lane; quad < params.d4; quad += WG) {
        var all = plain[quad];
        if (params.rotated > 0u) {
            for (var c = 0u; c < 4u; c++) {
                all[c] += rotated_sign(vectors[quad * 4u + c], quad * 4u + c);
            }
        }
        output[row * params.d4 + quad] = select(vec4<f32>(), all / total, total > 0.0);
    }
}
