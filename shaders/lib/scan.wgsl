// Exclusive prefix sums over a workgroup of WG invocations (a power of two).
// Every invocation must call; each gets the sum of the values of the lanes before it, in lane order.
var<workgroup> scan_u32: array<u32, WG>;
var<workgroup> scan_f32: array<f32, WG>;

fn scan_exclusive_u32(value: u32, lane: u32) -> u32 {
    scan_u32[lane] = value;
    workgroupBarrier();
    for (var step = 1u; step < WG; step *= 2u) {
        var sum = scan_u32[lane];
        if (lane >= step) {
            sum += scan_u32[lane - step];
        }
        workgroupBarrier();
        scan_u32[lane] = sum;
        workgroupBarrier();
    }
    let inclusive = scan_u32[lane];
    workgroupBarrier();
    return inclusive - value;
}

// Float sums are not taken back by subtraction: the lane before holds the exclusive sum.
fn scan_exclusive_f32(value: f32, lane: u32) -> f32 {
    scan_f32[lane] = value;
    workgroupBarrier();
    for (var step = 1u; step < WG; step *= 2u) {
        var sum = scan_f32[lane];
        if (lane >= step) {
            sum += scan_f32[lane - step];
        }
        workgroupBarrier();
        scan_f32[lane] = sum;
        workgroupBarrier();
    }
    var exclusive = 0.0;
    if (lane > 0u) {
        exclusive = scan_f32[lane - 1u];
    }
    workgroupBarrier();
    return exclusive;
}
