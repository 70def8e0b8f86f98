// Sums without rounding. A value becomes LEVELS whole numbers: steps of 1/scale, and what is left in steps of 2^-24 of those, and
// so on. Their sums do not depend on the order, nor on how the values are cut into blocks.

// Two are enough, but for values of very different sizes.
const LEVELS: u32 = 2u;

// |value * scale| is at most 2^24, scale a power of two: 64 of each number fit into an i32.
struct Steps {
    level: array<vec4<i32>, LEVELS>,
}

const FINE: f32 = 16777216.0;

fn steps_of(value: vec4<f32>, scale: f32) -> Steps {
    var steps: Steps;
    var rest = value * scale;
    for (var i = 0u; i < LEVELS; i++) {
        let whole = round(rest);
        steps.level[i] = vec4<i32>(whole);
        // No rounding: a difference of numbers this near to each other is a float.
        rest = (rest - whole) * FINE;
    }
    return steps;
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

// Of a signed number of 128 bits, the lowest word first.
fn number_of(signed: vec4<u32>) -> Number {
    let negative = (signed.w >> 31u) == 1u;
    var words = signed;
    if (negative) {
        words = add_wide(~words, vec4(1u, 0u, 0u, 0u));
    }
    var exponent = 104;
    for (var word = 0u; word < 3u; word++) {
        if (words.w == 0u) {
            words = vec4(0u, words.xyz);
            exponent -= 32;
        }
    }
    let zeros = min(countLeadingZeros(words.w), 31u);
    let behind = 31u - zeros;
    let top = (words.w << zeros) | ((words.z >> 1u) >> behind);
    let next = (words.z << zeros) | ((words.y >> 1u) >> behind);
    let sign = select(1.0, -1.0, negative);
    let low = ((top & 0xffu) << 16u) | (next >> 16u);
    return Number(sign * f32(top >> 8u), sign * f32(low) / FINE, exponent - i32(zeros));
}

fn add_wide(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    var sum = a + b;
    var carry = 0u;
    for (var i = 0u; i < 4u; i++) {
        let carries = select(0u, 1u, sum[i] < a[i]);
        let whole = sum[i] + carry;
        carry = carries | select(0u, 1u, whole < carry);
        sum[i] = whole;
    }
    return sum;
}

fn arithmetic_shift(word: u32, by: u32) -> u32 {
    return bitcast<u32>(bitcast<i32>(word) >> by);
}

// A component of a sum, in steps of 2^-24/scale, from three neighbouring levels (64 bits each), of which `first` is the number
// of the first.
fn number_of_levels(a: vec2<u32>, b: vec2<u32>, c: vec2<u32>, first: u32) -> Number {
    let high = vec4(0u, a.x << 16u, (a.x >> 16u) | (a.y << 16u), arithmetic_shift(a.y, 16u));
    let middle = vec4(b.x << 24u, (b.x >> 8u) | (b.y << 24u), arithmetic_shift(b.y, 8u), arithmetic_shift(b.y, 31u));
    let low = vec4(c, vec2(arithmetic_shift(c.y, 31u)));
    var number = number_of(add_wide(add_wide(high, middle), low));
    number.exponent -= i32(24u * (first + 1u));
    return number;
}

fn quotient(a: Number, b: Number) -> f32 {
    // Division may be off by 2.5 units; the remainder takes it back, so that adapters agree.
    let q = a.high / b.high;
    return ldexp(q + (fma(-q, b.high, a.high) + (a.low - q * b.low)) / b.high, a.exponent - b.exponent);
}
