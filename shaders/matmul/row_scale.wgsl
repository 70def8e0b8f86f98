//! row_scale: scale[row] = 2^e, so that the largest |weight[row, k]| / scale lies between 2^14 and 2^15: within f16
//! One workgroup = one row; each invocation takes granules of 16 weights.
//!
//! Contract: exact, but for a largest weight within rounding of a power of two; from 2^-126 (for zeros) to 2^113.
//! Oracle: src/oracle/row_scale.rs    Needs: no optional feature
//!
//! use lib/grid
//! slot format

struct Params {
    rows: u32,
    pairs: u32,     // pairs of 32 weights in a row, padded with zeros
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> row_scales: array<f32>;     // [rows]

const WG: u32 = 64u;
const ROWS_PER_GROUP: u32 = 1u;

var<workgroup> most_of: array<f32, WG>;

@compute @workgroup_size(WG)
fn row_scale(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = flat_group(group, groups) * ROWS_PER_GROUP;
    var most = 0.0;
    for (var at = lane; at < params.pairs * 4u; at += WG) {
        let g = at % 4u;
        let pair = load(min(row, params.rows - 1u), at / 4u);
        let value = values(pair, g);
        let scale = scale_of(pair, g);
        let offset = vec4<f32>(offset_of(pair, g));
        for (var i = 0u; i < 4u; i++) {
            let four = abs(scale * value[i] + offset);
            most = max(most, max(max(four.x, four.y), max(four.z, four.w)));
        }
    }
    most_of[lane] = most;
    workgroupBarrier();
    for (var step = WG / 2u; step > 0u; step /= 2u) {
        if (lane < step) {
            most_of[lane] = max(most_of[lane], most_of[lane + step]);
        }
        workgroupBarrier();
    }
    if (lane == 0u && row < params.rows) {
        // The bits of a power of two are its exponent's.
        let exponent = clamp(bitcast<u32>(most_of[0]) >> 23u, 15u, 254u) - 14u;
        row_scales[row] = bitcast<f32>(exponent << 23u);
    }
}
