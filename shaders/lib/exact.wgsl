// Sums without rounding. A value becomes two whole numbers: steps of 1/scale, and what is left in steps of 2^-24 of those. Their
// sums do not depend on the order, nor on how the values are cut into blocks.

// |value * scale| is at most 2^24, scale a power of two: 64 of either word fit into an i32.
struct Steps {
    coarse: vec4<i32>,
    fine: vec4<i32>,
}

const FINE: f32 = 16777216.0;

fn steps_of(value: vec4<f32>, scale: f32) -> Steps {
    let scaled = value * scale;
    let coarse = round(scaled);
    // No rounding: a difference of numbers this near to each other is a float.
    return Steps(vec4<i32>(coarse), vec4<i32>(round((scaled - coarse) * FINE)));
}

// Signed numbers of 64 bits.
struct Whole {
    low: vec4<u32>,
    high: vec4<u32>,
}

fn add_word(sum: Whole, word: vec4<i32>) -> Whole {
    return add_whole(sum, Whole(bitcast<vec4<u32>>(word), bitcast<vec4<u32>>(word >> vec4(31u))));
}

fn add_whole(a: Whole, b: Whole) -> Whole {
    let low = a.low + b.low;
    return Whole(low, a.high + b.high + select(vec4(0u), vec4(1u), low < a.low));
}

// (high + low) 2^exponent with 24 bits in each part; 0, or high at least 2^23 in size. By integers alone: compilers take
// the errors of float sums for nothing.
struct Number {
    high: f32,
    low: f32,
    exponent: i32,
}

// Of a signed number of 96 bits, the lowest word first.
fn number_of(signed: vec3<u32>) -> Number {
    let negative = (signed.z >> 31u) == 1u;
    var words = signed;
    if (negative) {
        words = ~words;
        words.x += 1u;
        words.y += select(0u, 1u, words.x == 0u);
        words.z += select(0u, 1u, words.x == 0u && words.y == 0u);
    }
    var exponent = 8;
    for (var word = 0u; word < 2u; word++) {
        if (words.z == 0u) {
            words = vec3(0u, words.xy);
            exponent -= 32;
        }
    }
    let zeros = min(countLeadingZeros(words.z), 31u);
    let behind = 31u - zeros;
    let top = (words.z << zeros) | (words.y >> 1u >> behind);
    let next = (words.y << zeros) | (words.x >> 1u >> behind);
    let sign = select(1.0, -1.0, negative);
    let low = ((top & 0xffu) << 16u) | (next >> 16u);
    return Number(sign * f32(top >> 8u), sign * f32(low) / FINE, exponent + 64 - i32(zeros));
}

// A component of a sum, in steps of 2^-24/scale.
fn number_of_steps(coarse: vec2<u32>, fine: vec2<u32>) -> Number {
    let shifted = vec3(coarse.x << 24u, (coarse.x >> 8u) | (coarse.y << 24u), bitcast<u32>(bitcast<i32>(coarse.y) >> 8u));
    let low = shifted.x + fine.x;
    let carry = select(0u, 1u, low < fine.x);
    let middle = shifted.y + fine.y;
    let with_carry = middle + carry;
    let carries = select(0u, 1u, middle < fine.y) + select(0u, 1u, with_carry < carry);
    return number_of(vec3(low, with_carry, shifted.z + bitcast<u32>(bitcast<i32>(fine.y) >> 31u) + carries));
}

fn quotient(a: Number, b: Number) -> f32 {
    // Division may be off by 2.5 units; the remainder takes it back, so that adapters agree.
    let q = a.high / b.high;
    return ldexp(q + (fma(-q, b.high, a.high) + (a.low - q * b.low)) / b.high, a.exponent - b.exponent);
}
