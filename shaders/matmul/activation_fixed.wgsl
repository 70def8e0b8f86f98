//! activation_fixed: q[column, k] = round(x[column, k] / scale), in fixed point: a scale for 32 values, three digits of int8 each
//! One workgroup = one column; each invocation takes units of 32 values.
//!
//! Contract: exact. A scale is a power of two, at most 1.01 * 2^-22 of the unit's largest value, and not below 2^-126: units below
//! 2^-103 have fewer digits. Sizes below 2^-126 are 0.
//! Oracle: src/oracle/matvec_fixed.rs    Needs: no optional feature
//!
//! use lib/grid
//! use lib/planes

struct Params {
    rows: u32,      // columns, padded with columns of zeros
    first_row: u32,
    n: u32,         // columns
    cols: u32,      // values in a column
    pairs: u32,     // pairs of 32 values, padded with zeros
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> values: array<f32>;               // [n, cols]
@group(0) @binding(2) var<storage, read_write> digits: array<u32>;         // [rows, pairs*48] a plane: a granule's lowest digits first
@group(0) @binding(3) var<storage, read_write> scales: array<f32>;         // [rows, pairs*8] two scales, 0, 0, four sums of 16

const WG: u32 = 64u;
const ROWS_PER_GROUP: u32 = 1u;

@compute @workgroup_size(WG)
fn activation_fixed(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let column = flat_group(group, groups);
    if (column >= params.rows) {
        return;
    }
    for (var unit = lane; unit < params.pairs * 2u; unit += WG) {
        // Sizes are in the order of their bits.
        var most = 0u;
        for (var k = unit * 32u; k < unit * 32u + 32u; k++) {
            most = max(most, size_of(value(column, k)));
        }
        // The exponent of 2^e > most, one more where the largest of three signed digits, 2^23 - 32897, would be exceeded. The
        // scale is 2^(e - 23), and neither it nor its inverse is below the smallest normal float.
        let exponent = clamp((most + 0x20000u) >> 23u, 23u, 255u);
        let scale = bitcast<f32>((exponent - 22u) << 23u);
        let inverse = bitcast<f32>((276u - exponent) << 23u);
        var sums = vec2<i32>();
        for (var word = unit * 8u; word < unit * 8u + 8u; word++) {
            let half = word / 4u % 2u;
            var packed = vec3<u32>();
            for (var byte = 0u; byte < 4u; byte++) {
                let x = value(column, word * 4u + byte);
                let q = i32(round(select(0.0, x, size_of(x) >= 0x800000u) * inverse));
                let low = extractBits(q, 0u, 8u);
                let rest = (q - low) >> 8u;
                let middle = extractBits(rest, 0u, 8u);
                let high = (rest - middle) >> 8u;
                sums[half] += q;
                packed |= (vec3<u32>(vec3<i32>(low, middle, high)) & vec3<u32>(255u)) << vec3<u32>(8u * byte);
            }
            let first = 3u * (unit % 2u * 2u + half);
            for (var digit = 0u; digit < 3u; digit++) {
                digits[place(column, unit / 2u, 12u, first + digit) * 4u + word % 4u] = packed[digit];
            }
        }
        let at = (column * params.pairs + unit / 2u) * 8u;
        scales[at + unit % 2u] = scale;
        scales[at + 2u + unit % 2u] = 0.0;
        scales[at + 4u + unit % 2u * 2u] = f32(sums.x);
        scales[at + 5u + unit % 2u * 2u] = f32(sums.y);
    }
}

fn size_of(x: f32) -> u32 {
    return bitcast<u32>(x) & 0x7fffffffu;
}

fn value(in_window: u32, k: u32) -> f32 {
    let column = params.first_row + in_window;
    if (column >= params.n || k >= params.cols) {
        return 0.0;
    }
    return values[column * params.cols + k];
}
