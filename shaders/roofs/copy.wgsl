//! copy: y[r] = x[r]
//! One workgroup = ROWS_PER_GROUP rows, in batches of WG * ITEMS; each invocation holds ITEMS rows of a batch in flight.
//!
//! STRIPE neighbouring invocations take neighbouring rows, and their next ones follow directly: WG suits most GPUs, 8
//! (a line of 128 bytes) devices that run a workgroup piece by piece.
//! Contract: exact.
//! Oracle: src/oracle/copy.rs    Needs: no optional feature
//!
//! use lib/grid
//! slot wide

struct Params {
    rows: u32, // of 16 bytes: the widest load and store there is
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Wide>;          // [rows]
@group(0) @binding(2) var<storage, read_write> y: array<Wide>;    // [rows]

const ITEMS: u32 = 4u;
override WG: u32 = 256;
override STRIPE: u32 = WG; // divides WG
override BATCHES: u32 = 1;
override ROWS_PER_GROUP: u32 = WG * ITEMS * BATCHES;

@compute @workgroup_size(WG)
fn copy(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let start = flat_group(group, groups) * ROWS_PER_GROUP;
    let place = lane / STRIPE * STRIPE * ITEMS + lane % STRIPE;
    for (var batch = 0u; batch < BATCHES; batch += 1u) {
        let first = start + batch * WG * ITEMS;
        if (first + WG * ITEMS <= params.rows) {
            // Every load before the first store: the two buffers might alias for all the compiler knows.
            var held: array<Wide, ITEMS>;
            for (var i = 0u; i < ITEMS; i += 1u) {
                held[i] = x[first + place + i * STRIPE];
            }
            for (var i = 0u; i < ITEMS; i += 1u) {
                y[first + place + i * STRIPE] = held[i];
            }
        } else {
            for (var row = first + lane; row < min(params.rows, first + WG * ITEMS); row += WG) {
                y[row] = x[row];
            }
        }
    }
}
