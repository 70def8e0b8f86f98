//! dense: y[o] = after(bias[o] + sum_(c, i, j) w[o, c, i, j] before(x)[c, y + i, x + j]), padding 0
//! One workgroup = WG tiles; a lane computes a tile of SITES places x COLUMNS words of four channels, in registers.
//!
//! Contract: f32 sums in order of taps and channels. `before` needs POINT: padding is no value.
//! Oracle: src/oracle/dense.rs    Needs: no optional feature
//!
//! use lib/grid
//! use lib/window
//! use lib/steps
//! use lib/source_f32
//! slot weights
//! slot sink

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Source>;                 // [in_total]
@group(0) @binding(3) var<storage, read> bias: array<Wide>;                // [out_words]
@group(0) @binding(4) var<storage, read> constants: array<Wide>;           // [10, slab]

const SITES: u32 = 2u;
const COLUMNS: u32 = 1u;
const WG: u32 = 64u;
const ROWS_PER_GROUP: u32 = WG;

// The places of a tile are so far from each other: neighbouring lanes compute neighbouring places.
const STRIDE: u32 = WG;

fn first_site(tile: u32) -> u32 {
    return tile / STRIDE * STRIDE * SITES + tile % STRIDE;
}

@compute @workgroup_size(WG)
fn dense(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tile = flat_group(group, groups) * ROWS_PER_GROUP + lane;
    if (tile >= params.rows) {
        return;
    }
    let column = tile / params.site_tiles * COLUMNS;
    let site = first_site(tile % params.site_tiles);
    let first = first_word(column);
    let column_weights = params.taps * params.group_words * 4u;
    var sums: array<array<vec4<f32>, COLUMNS>, SITES>;
    for (var tap = 0u; tap < params.taps; tap++) {
        var places: array<u32, SITES>;
        for (var s = 0u; s < SITES; s++) {
            places[s] = source_at(min(site + s * STRIDE, params.sites - 1u), tap);
        }
        for (var word = 0u; word < params.group_words; word++) {
            let element = first + word;
            var values: array<vec4<f32>, SITES>;
            for (var s = 0u; s < SITES; s++) {
                if (POINT == 1u || places[s] != NOWHERE) {
                    values[s] = before(value_of(x[places[s] + element]), element, element);
                }
            }
            for (var c = 0u; c < COLUMNS; c++) {
                let at = min(column + c, params.out_words - 1u) * column_weights
                    + (tap * params.group_words + word) * 4u;
                let block = block_at(at, lane);
                for (var i = 0u; i < 4u; i++) {
                    let weight = weight_of(block, i);
                    for (var s = 0u; s < SITES; s++) {
                        sums[s][c] += values[s][i] * weight;
                    }
                }
            }
        }
    }
    let positions = params.out_height * params.out_width;
    for (var s = 0u; s < SITES; s++) {
        for (var c = 0u; c < COLUMNS; c++) {
            let to = site + s * STRIDE;
            if (to < params.sites && column + c < params.out_words) {
                let element = to % positions * params.out_words + column + c;
                let sum = sums[s][c] + bitcast<vec4<f32>>(words(bias[column + c]));
                write(to, column + c, after(sum, column + c, element));
            }
        }
    }
}
