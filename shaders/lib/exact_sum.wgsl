// Sums of products of f32 without any rounding: signed whole numbers of LIMBS words, the lowest first, in units of 2^-298, the
// least product of two f32. By integers alone, which no compiler reorders to other results.

const LIMBS: u32 = 19u;     // the largest product is below 2^256, and a sum has at most 2^34 of them

// sum += a b 2^double, or the negative of it.
fn add_exact(sum: ptr<function, array<u32, LIMBS>>, a: f32, b: f32, double: u32, negative: bool) {
    let x = bitcast<u32>(a);
    let y = bitcast<u32>(b);
    let x_exponent = (x >> 23u) & 0xffu;
    let y_exponent = (y >> 23u) & 0xffu;
    let x_mantissa = (x & 0x7fffffu) | select(0u, 0x800000u, x_exponent > 0u);
    let y_mantissa = (y & 0x7fffffu) | select(0u, 0x800000u, y_exponent > 0u);
    // 24 bits times 24, in halves of 12.
    let low_low = (x_mantissa & 0xfffu) * (y_mantissa & 0xfffu);
    let middle = (x_mantissa >> 12u) * (y_mantissa & 0xfffu) + (x_mantissa & 0xfffu) * (y_mantissa >> 12u);
    let high_high = (x_mantissa >> 12u) * (y_mantissa >> 12u);
    let partial = low_low + (middle << 12u);
    let low = partial + (high_high << 24u);
    let carries = select(0u, 1u, partial < low_low) + select(0u, 1u, low < partial);
    let high = (high_high >> 8u) + (middle >> 20u) + carries;
    // Numbers below the normal ones have the exponent of the least normal.
    let position = max(x_exponent, 1u) + max(y_exponent, 1u) - 2u + double;
    let first = position / 32u;
    let by = position % 32u;
    let back = 31u - by;
    let words = vec3<u32>(low << by, (high << by) | ((low >> 1u) >> back), (high >> 1u) >> back);
    // A negative number is added as its complement and one.
    let minus = negative != (((x ^ y) >> 31u) == 1u);
    let flip = select(0u, 0xffffffffu, minus);
    var carry = select(0u, 1u, minus);
    // All of them, by indices that are known when this is compiled: so the sum lies in registers.
    for (var i = 0u; i < LIMBS; i++) {
        let of_product = select(select(select(0u, words.z, i == first + 2u), words.y, i == first + 1u), words.x, i == first);
        let word = of_product ^ flip;
        let partial_sum = (*sum)[i] + word;
        let whole = partial_sum + carry;
        carry = select(0u, 1u, partial_sum < word) | select(0u, 1u, whole < partial_sum);
        (*sum)[i] = whole;
    }
}

// -1, 0 or 1.
fn sign_exact(sum: ptr<function, array<u32, LIMBS>>) -> i32 {
    if (((*sum)[LIMBS - 1u] >> 31u) == 1u) {
        return -1;
    }
    var any = 0u;
    for (var i = 0u; i < LIMBS; i++) {
        any |= (*sum)[i];
    }
    return select(0, 1, any != 0u);
}
