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

// (high 2^24 + low) 2^(exponent - 24), negative or not, with 24 bits in each part; 0, or high at least 2^23. What becomes of such numbers
// is computed by integers alone, so that adapters agree to the bit.
struct Number {
    negative: bool,
    high: u32,
    low: u32,
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
    let low = ((top & 0xffu) << 16u) | (next >> 16u);
    return Number(negative, top >> 8u, low, exponent - i32(zeros));
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

// The f32 nearest to bits 2^exponent, or to a little more, of two the even one; 0 below the normal numbers.
fn nearest_float(negative: bool, bits: u32, more: bool, exponent: i32) -> f32 {
    let zeros = countLeadingZeros(bits);
    let biased = exponent + 158 - i32(zeros);
    if (bits == 0u || biased <= 0) {
        return 0.0;
    }
    let whole = bits << zeros;
    let mantissa = whole >> 8u;
    let rest = (whole & 0xffu) | select(0u, 1u, more);
    let up = rest > 0x80u || (rest == 0x80u && mantissa % 2u == 1u);
    // Of the mantissa, the leading one is not kept; what it is rounded up to may reach the exponent.
    let word = (u32(biased) << 23u) + mantissa - 0x800000u + select(0u, 1u, up);
    return bitcast<f32>(word | select(0u, 0x80000000u, negative));
}

// As an f32, times 2^by.
fn float_of(number: Number, by: i32) -> f32 {
    let bits = (number.high << 8u) | (number.low >> 16u);
    return nearest_float(number.negative, bits, (number.low & 0xffffu) != 0u, number.exponent - 8 + by);
}

// a / b as an f32, times 2^by; b is above 0.
fn quotient_of(a: Number, b: Number, by: i32) -> f32 {
    var high = a.high;
    var low = a.low;
    var bits = 0u;
    // One bit after the other, as many as an f32 has and two. It begins at 0, which compilers do not see: they need not unroll it.
    for (var i = a.high >> 24u; i < 26u; i++) {
        bits <<= 1u;
        if (high > b.high || (high == b.high && low >= b.low)) {
            bits |= 1u;
            high -= b.high + select(0u, 1u, low < b.low);
            low = (low - b.low) & 0xffffffu;
        }
        high = (high << 1u) | (low >> 23u);
        low = (low << 1u) & 0xffffffu;
    }
    return nearest_float(a.negative, bits, (high | low) != 0u, a.exponent - b.exponent - 25 + by);
}
