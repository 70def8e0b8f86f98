//! use lib/strict
// Reductions over a workgroup of WG invocations (a power of two), in a fixed order: the same bits every time, of f32 on every adapter.
// Every invocation must call; every one gets the result.
// In two levels, not in log2(WG): barriers and unrolled loops are what takes a software driver's compiler long. A loop that
// does not begin at a constant is not unrolled; lane / WG is 0.
const SPAN: u32 = 16u;

var<workgroup> reduce_f32: array<f32, WG>;
var<workgroup> reduce_u32: array<u32, WG>;
var<workgroup> reduce_vec4: array<vec4<f32>, WG>;

fn reduce_add_f32(value: f32, lane: u32, zero: u32) -> f32 {
    reduce_f32[lane] = value;
    workgroupBarrier();
    let first = lane * SPAN;
    if (first < WG) {
        var sum = reduce_f32[first];
        for (var i = first + 1u; i < min(first + SPAN, WG); i++) {
            sum = kept(sum + reduce_f32[i], zero);
        }
        reduce_f32[first] = sum;
    }
    workgroupBarrier();
    var total = reduce_f32[0];
    for (var i = SPAN + lane / WG; i < WG; i += SPAN) {
        total = kept(total + reduce_f32[i], zero);
    }
    workgroupBarrier();
    return total;
}

fn reduce_add_u32(value: u32, lane: u32) -> u32 {
    reduce_u32[lane] = value;
    workgroupBarrier();
    let first = lane * SPAN;
    if (first < WG) {
        var sum = reduce_u32[first];
        for (var i = first + 1u; i < min(first + SPAN, WG); i++) {
            sum += reduce_u32[i];
        }
        reduce_u32[first] = sum;
    }
    workgroupBarrier();
    var total = reduce_u32[0];
    for (var i = SPAN + lane / WG; i < WG; i += SPAN) {
        total += reduce_u32[i];
    }
    workgroupBarrier();
    return total;
}

fn reduce_add_vec4(value: vec4<f32>, lane: u32, zero: u32) -> vec4<f32> {
    reduce_vec4[lane] = value;
    workgroupBarrier();
    let first = lane * SPAN;
    if (first < WG) {
        var sum = reduce_vec4[first];
        for (var i = first + 1u; i < min(first + SPAN, WG); i++) {
            sum = kept_vec4(sum + reduce_vec4[i], zero);
        }
        reduce_vec4[first] = sum;
    }
    workgroupBarrier();
    var total = reduce_vec4[0];
    for (var i = SPAN + lane / WG; i < WG; i += SPAN) {
        total = kept_vec4(total + reduce_vec4[i], zero);
    }
    workgroupBarrier();
    return total;
}
