//! dense_integer: y[o] = after(bias[o] + sum_(c, i, j) w[o, c, i, j] (q[c, y + i, x + j] - input_zero) - …), q of int8
//! One workgroup = WG tiles; a lane computes a tile of SITES places x COLUMNS words of four channels, in registers.
//!
//! Contract: sums are exact modulo 2^REGISTER: they wrap around. The bias holds all that does not depend on q; padding is
//! the input's zero point. Sources of F32 are quantized by `before`, which needs POINT. Sums become (sum * multiplier + offset) >> shift
//! where FIXED, in i32, and are converted to f32 for `after`.
//! Oracle: src/oracle/dense_integer.rs    Needs: no optional feature
//!
//! use lib/grid
//! use lib/window
//! use lib/steps
//! slot wide
//! slot source
//! slot sink

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Source>;                 // [in_total]
@group(0) @binding(2) var<storage, read> weights: array<Wide>;             // [planes, out_words, taps, group_words]
@group(0) @binding(3) var<storage, read> integers: array<Wide>;            // [5, out_words] the rows are listed below
@group(0) @binding(4) var<storage, read> constants: array<Wide>;           // [10, slab]

const SITES: u32 = 2u;
const COLUMNS: u32 = 1u;
const WG: u32 = 64u;
const ROWS_PER_GROUP: u32 = WG;

// Whether weights have zero points.
override ZEROS: u32 = 0u;
// Whether the sum itself is the result.
override SUM: u32 = 0u;

// Bits of the register that holds a sum: it does not saturate.
override REGISTER: u32 = 32u;
// Whether sums are brought to another scale by integers.
override FIXED: u32 = 0u;

// The rows of integers: what a sum begins with, zero points of weights, and the way to another scale.
const BIAS: u32 = 0u;
const WEIGHT_ZERO: u32 = 1u;
const MULTIPLIER: u32 = 2u;
const OFFSET: u32 = 3u;
const SHIFT: u32 = 4u;

fn integers_of(row: u32, column: u32) -> vec4<i32> {
    let word = min(column, params.out_words - 1u);
    return bitcast<vec4<i32>>(words(integers[row * params.out_words + word]));
}

// A sum as its register holds it.
fn wrapped(sum: vec4<i32>) -> vec4<i32> {
    let unused = vec4<u32>(32u - REGISTER);
    return (sum << unused) >> unused;
}

fn rescaled(sum: vec4<i32>, column: u32) -> vec4<i32> {
    if (FIXED == 0u) {
        return sum;
    }
    let scaled = sum * integers_of(MULTIPLIER, column) + integers_of(OFFSET, column);
    return scaled >> bitcast<vec4<u32>>(integers_of(SHIFT, column));
}

// Whether the driver's dot4I8Packed is right.
override PACKED: u32 = 1u;

fn product(weight: u32, word: u32) -> i32 {
    if (PACKED == 1u) {
        return dot4I8Packed(weight, word);
    }
    return dot(unpack4xI8(weight), unpack4xI8(word));
}

fn products(weight: vec4<u32>, word: u32) -> vec4<i32> {
    return vec4<i32>(
        product(weight.x, word),
        product(weight.y, word),
        product(weight.z, word),
        product(weight.w, word),
    );
}

// The places of a tile are so far from each other: neighbouring lanes compute neighbouring places.
const STRIDE: u32 = WG;

fn first_site(tile: u32) -> u32 {
    return tile / STRIDE * STRIDE * SITES + tile % STRIDE;
}

@compute @workgroup_size(WG)
fn dense_integer(
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
    let column_weights = params.taps * params.group_words;
    var sums: array<array<vec4<i32>, COLUMNS>, SITES>;
    for (var c = 0u; c < COLUMNS; c++) {
        let bias = integers_of(BIAS, column + c);
        for (var s = 0u; s < SITES; s++) {
            sums[s][c] = bias;
        }
    }
    for (var tap = 0u; tap < params.taps; tap++) {
        var places: array<u32, SITES>;
        for (var s = 0u; s < SITES; s++) {
            places[s] = source_at(min(site + s * STRIDE, params.sites - 1u), tap);
        }
        for (var word = 0u; word < params.group_words; word++) {
            let element = first + word;
            var codes: array<u32, SITES>;
            for (var s = 0u; s < SITES; s++) {
                codes[s] = params.pad_word;
                if (POINT == 1u || places[s] != NOWHERE) {
                    codes[s] = bytes_of(x[places[s] + element], element, element);
                }
            }
            for (var c = 0u; c < COLUMNS; c++) {
                let at = min(column + c, params.out_words - 1u) * column_weights + tap * params.group_words + word;
                let weight = words(weights[at]);
                for (var s = 0u; s < SITES; s++) {
                    sums[s][c] += products(weight, codes[s]);
                }
                if (ZEROS == 1u) {
                    let present = words(weights[params.out_words * column_weights + at]);
                    let zero = integers_of(WEIGHT_ZERO, column + c);
                    for (var s = 0u; s < SITES; s++) {
                        sums[s][c] -= zero * products(present, codes[s]);
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
                let sum = wrapped(sums[s][c]);
                if (SUM == 1u) {
                    write_sum(to, column + c, sum);
                } else {
                    let element = to % positions * params.out_words + column + c;
                    write(to, column + c, after(vec4<f32>(rescaled(sum, column + c)), column + c, element));
                }
            }
        }
    }
}
