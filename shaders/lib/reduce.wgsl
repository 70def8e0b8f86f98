// Reductions over a workgroup of WG invocations (a power of two), in a fixed order: the same bits every time.
// Every invocation must call; every one gets the result.
var<workgroup> reduce_f32: array<f32, WG>;
var<workgroup> reduce_u32: array<u32, WG>;
var<workgroup> reduce_vec4: array<vec4<f32>, WG>;

fn reduce_add_f32(value: f32, lane: u32) -> f32 {
    reduce_f32[lane] = value;
    workgroupBarrier();
    for (var step = WG / 2u; step > 0u; step /= 2u) {
        if (lane < step) {
            reduce_f32[lane] += reduce_f32[lane + step];
        }
        workgroupBarrier();
    }
    let total = reduce_f32[0];
    workgroupBarrier();
    return total;
}

fn reduce_add_u32(value: u32, lane: u32) -> u32 {
    reduce_u32[lane] = value;
    workgroupBarrier();
    for (var step = WG / 2u; step > 0u; step /= 2u) {
        if (lane < step) {
            reduce_u32[lane] += reduce_u32[lane + step];
        }
        workgroupBarrier();
    }
    let total = reduce_u32[0];
    workgroupBarrier();
    return total;
}

fn reduce_add_vec4(value: vec4<f32>, lane: u32) -> vec4<f32> {
    reduce_vec4[lane] = value;
    workgroupBarrier();
    for (var step = WG / 2u; step > 0u; step /= 2u) {
        if (lane < step) {
            reduce_vec4[lane] += reduce_vec4[lane + step];
        }
        workgroupBarrier();
    }
    let total = reduce_vec4[0];
    workgroupBarrier();
    return total;
}
