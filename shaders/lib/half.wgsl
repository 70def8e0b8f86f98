// Halves (f16) by whole numbers: pack2x16float and unpack2x16float may round as they like, and lose subnormal numbers.

// The nearest half, of two the even one; beyond 65519 it is an infinity.
fn half_bits(x: f32) -> u32 {
    let bits = bitcast<u32>(x);
    let size = bits & 0x7fffffffu;
    var half = 0x7c00u;
    if (size < 0x38800000u) {
        // Below 2^-14 halves are multiples of 2^-24.
        let shift = 126u - (size >> 23u);
        half = 0u;
        if (shift < 26u) {
            let mantissa = (size & 0x7fffffu) | 0x800000u;
            half = (mantissa + (1u << (shift - 1u)) - 1u + ((mantissa >> shift) & 1u)) >> shift;
        }
    } else if (size < 0x47800000u) {
        half = (size - 0x38000000u + 0xfffu + ((size >> 13u) & 1u)) >> 13u;
    }
    return half | ((bits >> 16u) & 0x8000u);
}

// The value of a half that is finite.
fn half_value(half: u32) -> f32 {
    let size = half & 0x7fffu;
    var value = bitcast<f32>((size << 13u) + 0x38000000u);
    if (size < 0x400u) {
        value = f32(size) * 5.9604644775390625e-8;
    }
    return bitcast<f32>(bitcast<u32>(value) | ((half & 0x8000u) << 16u));
}
