//! read_xor: y[r, j] = xor of the 64 words in the vec4s x[r, i * 8 + j], i = 0..15
//! One workgroup = WG / 8 rows; each invocation reads 16 vec4s of its row, 8 apart, ITEMS of them in flight.
//!
//! Every word read changes the result, so no load can be dropped; one word is written for 64 read.
//! Contract: exact.
//! Oracle: src/oracle/read_xor.rs    Needs: no optional feature
//!
//! use lib/grid
//! slot wide

struct Params {
    rows: u32, // of 2 KiB
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Wide>;      // [rows, 128]
@group(0) @binding(2) var<storage, read_write> y: array<u32>;      // [rows, 8]

const LANES: u32 = 8u; // that read a line of 128 bytes together
const LOADS: u32 = 16u;
const ITEMS: u32 = 4u; // divides LOADS
override WG: u32 = 256; // a multiple of LANES
override ROWS_PER_GROUP: u32 = WG / LANES;

@compute @workgroup_size(WG)
fn read_xor(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = flat_group(group, groups) * ROWS_PER_GROUP + lane / LANES;
    if (row >= params.rows) {
        return;
    }
    let column = lane % LANES;
    let start = row * LANES * LOADS + column;
    var all = Wide();
    for (var first = 0u; first < LOADS; first += ITEMS) {
        var held: array<Wide, ITEMS>;
        for (var i = 0u; i < ITEMS; i += 1u) {
            held[i] = x[start + (first + i) * LANES];
        }
        for (var i = 0u; i < ITEMS; i += 1u) {
            all ^= held[i];
        }
    }
    let four = words(all);
    y[row * LANES + column] = four.x ^ four.y ^ four.z ^ four.w;
}
