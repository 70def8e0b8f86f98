//! Sums over LANES neighbouring lanes (a power of two) through workgroup memory: every lane of the workgroup must call.
//! Needs: no optional feature
var<workgroup> sum_scratch: array<f32, WG>;

fn sum_lanes(value: f32, lane: u32) -> f32 {
    sum_scratch[lane] = value;
    workgroupBarrier();
    for (var step = LANES / 2u; step > 0u; step /= 2u) {
        if (lane % LANES < step) {
            sum_scratch[lane] += sum_scratch[lane + step];
        }
        workgroupBarrier();
    }
    let total = sum_scratch[lane - lane % LANES];
    workgroupBarrier();
    return total;
}
