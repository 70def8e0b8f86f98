//! use lib/strict
// Exclusive prefix sums over a workgroup of WG invocations (a power of two).
// Every invocation must call; each gets the sum of the values of the lanes before it, in lane order.
// In two levels, not in log2(WG): see lib/reduce.
const STRETCH: u32 = 16u;
const STRETCHES: u32 = (WG + STRETCH - 1u) / STRETCH;

var<workgroup> scan_u32: array<u32, WG>;
var<workgroup> scan_f32: array<f32, WG>;
var<workgroup> scan_u32_of: array<u32, STRETCHES>;
var<workgroup> scan_f32_of: array<f32, STRETCHES>;

fn scan_exclusive_u32(value: u32, lane: u32) -> u32 {
    scan_u32[lane] = value;
    workgroupBarrier();
    let first = lane * STRETCH;
    if (first < WG) {
        var sum = 0u;
        for (var i = first; i < min(first + STRETCH, WG); i++) {
            let own = scan_u32[i];
            scan_u32[i] = sum;
            sum += own;
        }
        scan_u32_of[lane] = sum;
    }
    workgroupBarrier();
    var before = 0u;
    for (var i = 0u; i < lane / STRETCH; i++) {
        before += scan_u32_of[i];
    }
    let exclusive = before + scan_u32[lane];
    workgroupBarrier();
    return exclusive;
}

fn scan_exclusive_f32(value: f32, lane: u32, zero: u32) -> f32 {
    scan_f32[lane] = value;
    workgroupBarrier();
    let first = lane * STRETCH;
    if (first < WG) {
        var sum = 0.0;
        for (var i = first; i < min(first + STRETCH, WG); i++) {
            let own = scan_f32[i];
            scan_f32[i] = sum;
            sum = kept(sum + own, zero);
        }
        scan_f32_of[lane] = sum;
    }
    workgroupBarrier();
    var before = 0.0;
    for (var i = 0u; i < lane / STRETCH; i++) {
        before = kept(before + scan_f32_of[i], zero);
    }
    let exclusive = kept(before + scan_f32[lane], zero);
    workgroupBarrier();
    return exclusive;
}
