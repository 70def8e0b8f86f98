//! write: y[r] = pattern(r, seed), four words that look random
//! One workgroup = ROWS_PER_GROUP rows; each invocation writes ITEMS of them, STRIPE apart (as in copy).
//!
//! The words look random because some memory systems compress what is regular.
//! Contract: exact.
//! Oracle: src/oracle/write.rs    Needs: no optional feature
//!
//! use lib/grid

struct Params {
    rows: u32, // of 16 bytes
    first_row: u32,
    seed: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<u32>>;    // [rows]

const ITEMS: u32 = 4u;
override WG: u32 = 256;
override STRIPE: u32 = WG; // divides WG
override ROWS_PER_GROUP: u32 = WG * ITEMS;

fn pattern(row: u32) -> vec4<u32> {
    let mixed = (row ^ params.seed) * 0x9e3779b1u;
    return (mixed ^ (mixed >> 15u)) * vec4<u32>(0x85ebca6bu, 0xc2b2ae35u, 0x27d4eb2fu, 0x165667b1u);
}

@compute @workgroup_size(WG)
fn write(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = flat_group(group, groups) * ROWS_PER_GROUP + lane / STRIPE * STRIPE * ITEMS + lane % STRIPE;
    for (var i = 0u; i < ITEMS; i += 1u) {
        let row = first + i * STRIPE;
        if (row < params.rows) {
            y[row] = pattern(params.first_row + row);
        }
    }
}
