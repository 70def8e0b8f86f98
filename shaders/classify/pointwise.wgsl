//! pointwise: y = after(before(x) op other), element by element; op is left out where ARITHMETIC is 0
//! One workgroup = WG words of four channels, one per invocation.
//!
//! Contract: each step is one operation of f32. Results of I8 saturate.
//! Oracle: src/oracle/pointwise.rs    Needs: no optional feature
//!
//! use lib/grid
//! use lib/steps
//! slot source
//! slot sink

struct Params {
    rows: u32,          // words of all examples
    words: u32,         // words of an example
    sites: u32,         // places of all examples
    out_words: u32,     // words at one place
    out_channels: u32,
    slab: u32,          // words of constants for a step
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Source>;                 // [1, rows]
@group(0) @binding(2) var<storage, read> other: array<Source>;             // [1, rows]
@group(0) @binding(3) var<storage, read> constants: array<Wide>;           // [10, slab]

const WG: u32 = 64u;
const ROWS_PER_GROUP: u32 = WG;

// 1 +, 2 -, 3 x, 4 /
override ARITHMETIC: u32 = 0u;

@compute @workgroup_size(WG)
fn pointwise(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = flat_group(group, groups) * ROWS_PER_GROUP + lane;
    if (at >= params.rows) {
        return;
    }
    let element = at % params.words;
    let word = element % params.out_words;
    var value = before(value_of(x[at]), word, element);
    if (ARITHMETIC != 0u) {
        let right = value_of(other[at]);
        switch ARITHMETIC {
            case 1u: { value += right; }
            case 2u: { value -= right; }
            case 3u: { value *= right; }
            default: { value /= right; }
        }
    }
    write(at / params.out_words, word, after(value, word, element));
}
