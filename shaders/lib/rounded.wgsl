// Quotients and roots rounded once, to the nearest, of two the even one: WGSL's own may be several ulps off. Theirs are
// corrected by the remainder, which is small, so that 32 bits hold it although its terms take 48. Arguments and results
// are positive normal numbers.

const CORRECTIONS: u32 = 8u;

fn quotient(a: f32, b: f32) -> f32 {
    let x = bitcast<u32>(a);
    let y = bitcast<u32>(b);
    let dividend = (x & 0x7fffffu) | 0x800000u;
    let divisor = (y & 0x7fffffu) | 0x800000u;
    let below_one = select(0u, 1u, dividend < divisor);
    // The bits of the quotient are those of its exponent plus its mantissa of 24 bits less the leading one.
    let exponent = ((x >> 23u) + 126u - (y >> 23u) - below_one) << 23u;
    var mantissa = bitcast<u32>(a / b) - exponent;
    var rest = bitcast<i32>((dividend << (23u + below_one)) - mantissa * divisor);
    for (var i = 0u; i < CORRECTIONS; i++) {
        if (rest < 0) {
            mantissa -= 1u;
            rest += i32(divisor);
        } else if (rest >= i32(divisor)) {
            mantissa += 1u;
            rest -= i32(divisor);
        }
    }
    let twice = 2 * rest;
    let up = twice > i32(divisor) || (twice == i32(divisor) && mantissa % 2u == 1u);
    return bitcast<f32>(exponent + mantissa + select(0u, 1u, up));
}

fn root(a: f32) -> f32 {
    let x = bitcast<u32>(a);
    let biased = (x >> 23u) + 127u;
    // a = mantissa * 2^-23 * 4^k, or twice that.
    let odd = biased % 2u;
    let exponent = (biased / 2u - 1u) << 23u;
    var mantissa = bitcast<u32>(sqrt(a)) - exponent;
    var rest = bitcast<i32>((((x & 0x7fffffu) | 0x800000u) << (23u + odd)) - mantissa * mantissa);
    for (var i = 0u; i < CORRECTIONS; i++) {
        if (rest < 0) {
            mantissa -= 1u;
            rest += i32(2u * mantissa + 1u);
        } else if (rest > i32(2u * mantissa)) {
            rest -= i32(2u * mantissa + 1u);
            mantissa += 1u;
        }
    }
    return bitcast<f32>(exponent + mantissa + select(0u, 1u, rest > i32(mantissa)));
}
