//! softmax: y[row, place, c] = exp(x[row, place, c] - m) / sum_k exp(x[row, place, k] - m), with m = max_k x[row, place, k]
//! One workgroup = ROWS_PER_GROUP examples; each invocation takes positions with all their channels.
//!
//! Contract: f32 sums in a fixed order; finite x.
//! Oracle: src/oracle/softmax.rs    Needs: no optional feature
//!
//! use lib/grid

struct Params {
    rows: u32,
    positions: u32,
    channels: u32,
    c4: u32,            // words of four channels, in a position
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;              // [rows, positions, c4]
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;        // [rows, positions, c4]

const WG: u32 = 64u;
override ROWS_PER_GROUP: u32 = 1u;

// Which channels of word `c` there are; the others are padding.
fn is_channel(c: u32) -> vec4<bool> {
    return 4u * c + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(params.channels);
}

@compute @workgroup_size(WG)
fn softmax(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = flat_group(group, groups) * ROWS_PER_GROUP;
    if (first >= params.rows) {
        return;
    }
    let count = min(ROWS_PER_GROUP, params.rows - first) * params.positions;
    for (var at = lane; at < count; at += WG) {
        let start = (first * params.positions + at) * params.c4;
        var fours = vec4<f32>(x[start].x);
        for (var c = 0u; c < params.c4; c++) {
            fours = max(fours, select(fours, x[start + c], is_channel(c)));
        }
        let most = max(max(fours.x, fours.y), max(fours.z, fours.w));
        var sums = vec4<f32>();
        for (var c = 0u; c < params.c4; c++) {
            sums += select(vec4<f32>(), exp(x[start + c] - most), is_channel(c));
        }
        let sum = sums.x + sums.y + sums.z + sums.w;
        for (var c = 0u; c < params.c4; c++) {
            y[start + c] = select(vec4<f32>(), exp(x[start + c] - most) / sum, is_channel(c));
        }
    }
}
