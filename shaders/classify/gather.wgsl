//! gather: y[row, i] = a[row, index[i]], or b[row, index[i] - elements of a] behind the end of a, or 0 behind that of b
//! One workgroup = ROWS_PER_GROUP examples; each invocation takes output words of four channels.
//!
//! Elements are numbered as they lie on the device, with padding.
//!
//! Contract: exact.
//! Oracle: src/oracle/gather.rs    Needs: no optional feature
//!
//! use lib/grid
//! slot element

struct Params {
    rows: u32,
    a_words: u32,       // in an example
    b_words: u32,
    words: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<Word>;                   // [rows, a_words]
@group(0) @binding(2) var<storage, read> b: array<Word>;                   // [rows, b_words]
@group(0) @binding(3) var<storage, read> index: array<vec4<u32>>;          // [words]
@group(0) @binding(4) var<storage, read_write> y: array<Word>;             // [rows, words]

const WG: u32 = 64u;
override ROWS_PER_GROUP: u32 = 1u;

fn element(row: u32, number: u32) -> Element {
    let word = number / 4u;
    if (word < params.a_words) {
        let four = four_of(a[row * params.a_words + word]);
        return four[number % 4u];
    }
    if (word - params.a_words < params.b_words) {
        let four = four_of(b[row * params.b_words + word - params.a_words]);
        return four[number % 4u];
    }
    return Element();
}

@compute @workgroup_size(WG)
fn gather(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = flat_group(group, groups) * ROWS_PER_GROUP;
    if (first >= params.rows) {
        return;
    }
    let count = min(ROWS_PER_GROUP, params.rows - first) * params.words;
    for (var at = lane; at < count; at += WG) {
        let row = first + at / params.words;
        let four = index[at % params.words];
        let chosen = Four(element(row, four.x), element(row, four.y), element(row, four.z), element(row, four.w));
        y[first * params.words + at] = word_of(chosen);
    }
}
