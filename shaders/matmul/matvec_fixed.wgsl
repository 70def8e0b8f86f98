//! matvec_fixed: y[row, column] = sum_k weight[row, k] x[column, k] + bias[row], x in fixed point: three digits of int8 each
//! One workgroup = WG / LANES groups of ROWS rows; the LANES lanes of a group share their pairs of 32 weights.
//! Each lane loads a pair of every row of its group, and multiplies its codes with the digits of x.
//!
//! A product of four codes with a digit is one instruction where there are dot products of int8: three of them do what takes four
//! conversions and four multiply-adds of f32.
//!
//! Contract: x is rounded to 2^-23 of the largest of its 32 (activation_fixed); exact integer products of 16 codes; their
//! scaled sums are f32, added in a fixed order.
//! Oracle: src/oracle/matvec_fixed.rs    Needs: no optional feature
//!
//! use lib/grid
//! slot format
//! slot sum

struct Params {
    rows: u32,
    first_row: u32,
    n: u32,         // columns
    columns: u32,   // columns, padded with zeros
    pairs: u32,     // pairs of 32 weights in a row, padded with zeros
    biases: u32,    // all rows, or 0 for none
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Wide>;                   // [columns, pairs*12] digits, as a plane
@group(0) @binding(2) var<storage, read> x_scales: array<Wide>;            // [columns, pairs*2] two scales, then four sums
@group(0) @binding(3) var<storage, read> bias: array<f32>;                 // [biases]
@group(0) @binding(4) var<storage, read_write> y: array<f32>;              // [rows, n]

const WG: u32 = 64u;
const LANES: u32 = 32u;
const ROWS: u32 = 4u;
const ROWS_PER_GROUP: u32 = WG / LANES * ROWS;
// Dot products for one of a code with a value.
const DIGITS: u32 = 3u;

fn dot16(a: vec4<u32>, b: vec4<u32>) -> i32 {
    return (dot4I8Packed(a.x, b.x) + dot4I8Packed(a.y, b.y)) + (dot4I8Packed(a.z, b.z) + dot4I8Packed(a.w, b.w));
}

/// Adds the products of granule `g` of pair `at`. A constant `g` costs no selections: loops that compilers leave as they are do.
fn add_granule(sums: ptr<function, array<f32, ROWS>>, first: u32, column: u32, at: u32, g: u32) {
    let low = words(x[place(column, at, 4u * DIGITS, DIGITS * g)]);
    let middle = words(x[place(column, at, 4u * DIGITS, DIGITS * g + 1u)]);
    let high = words(x[place(column, at, 4u * DIGITS, DIGITS * g + 2u)]);
    let own = (column * params.pairs + at) * 2u;
    let scales = words(x_scales[own]);
    let wholes = bitcast<vec4<f32>>(words(x_scales[own + 1u]));
    let scale = bitcast<f32>(select(scales.x, scales.y, g >= 2u));
    for (var r = 0u; r < ROWS; r++) {
        let pair = load(min(first + r, params.rows - 1u), at);
        let codes = codes_of(pair, g);
        // At most 16 * 128 * 128 * 257: below 2^27.
        let upper = (dot16(codes, high) << 8u) + dot16(codes, middle);
        var sum = scale_of(pair, g) * fma(f32(upper), 256.0, f32(dot16(codes, low)));
        if (HAS_OFFSETS) {
            sum += offset_of(pair, g) * wholes[g];
        }
        (*sums)[r] += scale * sum;
    }
}

@compute @workgroup_size(WG)
fn matvec_fixed(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = flat_group(group, groups) * ROWS_PER_GROUP + lane / LANES * ROWS;
    // No lane leaves before the sums: rows behind the last one are computed again and not written.
    for (var column = 0u; column < params.n; column++) {
        var sums: array<f32, ROWS>;
        for (var at = lane % LANES; at < params.pairs; at += LANES) {
            add_granule(&sums, first, column, at, 0u);
            add_granule(&sums, first, column, at, 1u);
            add_granule(&sums, first, column, at, 2u);
            add_granule(&sums, first, column, at, 3u);
        }
        for (var r = 0u; r < ROWS; r++) {
            var sum = sum_lanes(sums[r], lane);
            let row = first + r;
            if (lane % LANES == 0u && row < params.rows) {
                if (params.biases > 0u) {
                    sum += bias[params.first_row + row];
                }
                y[row * params.n + column] = sum;
            }
        }
    }
}
