//! activation: q[column, k] = round(x[column, k] / scale), scale = max |x| / 127 over 32 values
//! One workgroup = one column; each invocation takes units of 32 values.
//!
//! Contract: the nearest code, or its neighbour where x lies half-way within rounding; sums of 16 codes are exact.
//! Oracle: src/oracle/activation.rs    Needs: no optional feature
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
@group(0) @binding(2) var<storage, read_write> codes: array<u32>;          // [rows, pairs*16] a plane of int8
@group(0) @binding(3) var<storage, read_write> scales: array<u32>;         // [rows, pairs*4] two scales, four sums of 16 bits

const WG: u32 = 64u;
const ROWS_PER_GROUP: u32 = 1u;

@compute @workgroup_size(WG)
fn activation(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let column = flat_group(group, groups);
    if (column >= params.rows) {
        return;
    }
    for (var unit = lane; unit < params.pairs * 2u; unit += WG) {
        var most = 0.0;
        for (var k = unit * 32u; k < unit * 32u + 32u; k++) {
            most = max(most, abs(value(column, k)));
        }
        let scale = most / 127.0;
        // 0 for a unit of zeros; scales below the smallest normal float are 0 too, so that nothing overflows.
        let inverse = select(0.0, 127.0 / most, most > 1e-35);
        var sums = vec2<i32>();
        // Four codes to a word, four words to a wide one.
        for (var word = unit * 8u; word < unit * 8u + 8u; word++) {
            let half = word / 4u % 2u;
            var packed = 0u;
            for (var byte = 0u; byte < 4u; byte++) {
                let code = i32(clamp(round(value(column, word * 4u + byte) * inverse), -127.0, 127.0));
                sums[half] += code;
                packed |= (u32(code) & 255u) << (8u * byte);
            }
            codes[place(column, unit / 2u, 4u, unit % 2u * 2u + half) * 4u + word % 4u] = packed;
        }
        let at = (column * params.pairs + unit / 2u) * 4u + unit % 2u;
        scales[at] = bitcast<u32>(select(0.0, scale, most > 1e-35));
        scales[at + 2u] = (u32(sums.x) & 0xffffu) | (u32(sums.y) << 16u);
    }
}

fn value(in_window: u32, k: u32) -> f32 {
    let column = params.first_row + in_window;
    if (column >= params.n || k >= params.cols) {
        return 0.0;
    }
    return values[column * params.cols + k];
}
