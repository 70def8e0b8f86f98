//! average_pool: y[row, place, c] = the mean of x[row, from, c] over the window at place
//! One workgroup = ROWS_PER_GROUP examples; each invocation takes output words of four channels.
//!
//! Contract: an f32 sum in order of the window, over the elements inside the picture, or over all with padding as 0.
//! Oracle: src/oracle/average_pool.rs    Needs: no optional feature
//!
//! use lib/grid

struct Params {
    rows: u32,
    c4: u32,            // words of four channels, in a position
    height: u32,
    width: u32,
    out_height: u32,
    out_width: u32,
    kernel_y: u32,
    kernel_x: u32,
    stride_y: u32,
    stride_x: u32,
    dilation_y: u32,
    dilation_x: u32,
    pad_y: u32,
    pad_x: u32,
    include_pad: u32,   // 1: padding counts
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;                  // [rows, height, width, c4]
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;            // [rows, out_height, out_width, c4]

const WG: u32 = 64u;
override ROWS_PER_GROUP: u32 = 1u;

@compute @workgroup_size(WG)
fn average_pool(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = flat_group(group, groups) * ROWS_PER_GROUP;
    if (first >= params.rows) {
        return;
    }
    let words = params.out_height * params.out_width * params.c4;
    let count = min(ROWS_PER_GROUP, params.rows - first) * words;
    for (var at = lane; at < count; at += WG) {
        let c = at % params.c4;
        let place = at % words / params.c4;
        // What lies above or left of the picture wraps around, and is behind its end as well.
        let top = place / params.out_width * params.stride_y - params.pad_y;
        let left = place % params.out_width * params.stride_x - params.pad_x;
        let picture = (first + at / words) * params.height;
        var sum = vec4<f32>();
        var inside = 0u;
        for (var i = 0u; i < params.kernel_y; i++) {
            let row = top + i * params.dilation_y;
            if (row >= params.height) {
                continue;
            }
            for (var j = 0u; j < params.kernel_x; j++) {
                let column = left + j * params.dilation_x;
                if (column < params.width) {
                    sum += x[((picture + row) * params.width + column) * params.c4 + c];
                    inside++;
                }
            }
        }
        let elements = select(inside, params.kernel_y * params.kernel_x, params.include_pad == 1u);
        y[first * words + at] = sum / f32(elements);
    }
}
