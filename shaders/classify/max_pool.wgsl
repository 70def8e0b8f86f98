//! max_pool: y[row, place, c] = the largest x[row, from, c] over the window at place; padding is never the largest
//! One workgroup = ROWS_PER_GROUP examples; each invocation takes output words of four channels.
//!
//! Contract: exact; neither NaN nor -infinity is ever the largest.
//! Oracle: src/oracle/max_pool.rs    Needs: no optional feature
//!
//! use lib/grid
//! slot element

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
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Word>;                   // [rows, height, width, c4]
@group(0) @binding(2) var<storage, read_write> y: array<Word>;             // [rows, out_height, out_width, c4]

const WG: u32 = 64u;
override ROWS_PER_GROUP: u32 = 1u;

@compute @workgroup_size(WG)
fn max_pool(
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
        var most = Four(LEAST);
        for (var i = 0u; i < params.kernel_y; i++) {
            let row = top + i * params.dilation_y;
            if (row >= params.height) {
                continue;
            }
            for (var j = 0u; j < params.kernel_x; j++) {
                let column = left + j * params.dilation_x;
                if (column < params.width) {
                    let four = four_of(x[((picture + row) * params.width + column) * params.c4 + c]);
                    most = select(most, four, four > most);
                }
            }
        }
        y[first * words + at] = word_of(most);
    }
}
