//! Sums over LANES neighbouring lanes (a power of two) of a subgroup.
//! Lanes are taken to follow invocations in order; src/gpu/self_test.rs tests it, and subgroups are not used where not.
//! Needs: subgroups of LANES or more
fn sum_lanes(value: f32, lane: u32) -> f32 {
    var total = value;
    for (var step = LANES / 2u; step > 0u; step /= 2u) {
        total += subgroupShuffleXor(total, step);
    }
    return total;
}
