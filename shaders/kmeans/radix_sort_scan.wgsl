//! radix_sort_scan: counts[i] = sum_(j < i) counts[j]
//! One workgroup in all: it walks the list, WG x ITEMS values at a time, carrying the sum. The list is 16 values for
//! each tile of 1,024 keys: few bytes, but only one workgroup to move them, which shows from some 10^8 keys on.
//!
//! Contract: exact, modulo 2^32.
//! Oracle: src/oracle/radix_sort.rs    Needs: no optional feature
//!
//! use lib/scan

struct Params {
    values: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> counts: array<u32>;     // [values]

const WG: u32 = 256u;
const ITEMS: u32 = 4u;

@compute @workgroup_size(WG)
fn radix_sort_scan(@builtin(local_invocation_index) lane: u32) {
    var carry = 0u;
    for (var start = 0u; start < params.values; start += WG * ITEMS) {
        let mine = start + lane * ITEMS;
        let end = min(mine + ITEMS, params.values);
        var sum = 0u;
        for (var at = mine; at < end; at++) {
            sum += counts[at];
        }
        let before = scan_exclusive_u32(sum, lane);
        var running = carry + before;
        for (var at = mine; at < end; at++) {
            let value = counts[at];
            counts[at] = running;
            running += value;
        }
        // The last lane's running sum is the whole block's.
        scan_u32[lane] = running;
        workgroupBarrier();
        carry = scan_u32[WG - 1u];
        workgroupBarrier();
    }
}
