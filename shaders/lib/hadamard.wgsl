// The rotation of src/codec/rotation.rs in workgroup memory, in its order, so to the bit.
//
// Whoever includes it declares `const WG: u32`, its invocations, and `var<workgroup> vectors: array<f32, …>`.
// Forward: each value of a vector, `rotated_sign(x, channel)`, is stored in `vectors`; then every invocation calls
// `hadamard`. Back: `hadamard` first, then `rotated_sign` of what is read. Vectors that lie one behind another are rotated
// together, with `dim` the length of all of them. `block` is the largest power of two that divides a head dimension.

// Random signs: that of channel c is bit c % 32 of word c / 32, 1 for a minus; the first 512 of Rotation::sign_words. They are
// picked by selects: compilers put an array that is indexed into private memory.
const SIGNS_0 = vec4<u32>(0x2ce0b71fu, 0x4d9928d9u, 0x1ba17a31u, 0x21323766u);
const SIGNS_128 = vec4<u32>(0xed01d7edu, 0xcd7983a1u, 0x0403084bu, 0x27f63026u);
const SIGNS_256 = vec4<u32>(0x85f35a38u, 0x7d79fcb8u, 0x123c7381u, 0x11c6b76bu);
const SIGNS_384 = vec4<u32>(0x79ebe9f3u, 0x9a79bdaau, 0x3e4cc3f2u, 0x51ba9763u);

fn rotated_sign(x: f32, channel: u32) -> f32 {
    let second = (channel & 128u) > 0u;
    let four = select(
        select(SIGNS_0, SIGNS_128, second),
        select(SIGNS_256, SIGNS_384, second),
        (channel & 256u) > 0u,
    );
    let two = select(four.xy, four.zw, (channel & 64u) > 0u);
    let word = select(two.x, two.y, (channel & 32u) > 0u);
    return select(x, -x, ((word >> (channel % 32u)) & 1u) == 1u);
}

// Multiplies each block of vectors[first .. first + dim] by the Hadamard matrix over sqrt(block). The arguments are the same
// for all invocations, and all call; what they stored before is seen, and what it stores is seen by all.
fn hadamard(lane: u32, first: u32, dim: u32, block: u32) {
    let exponent = firstTrailingBit(block);
    for (var stride = 1u; stride < block; stride *= 4u) {
        workgroupBarrier();
        // Two steps of the butterflies at once, or what is left: one.
        let four = stride * 2u < block;
        let norm = select(1.0, norm_of(exponent), stride * select(2u, 4u, four) == block);
        if (four) {
            for (var i = lane; i < dim / 4u; i += WG) {
                let at = first + i / stride * stride * 4u + i % stride;
                let a = vectors[at];
                let b = vectors[at + stride];
                let c = vectors[at + 2u * stride];
                let d = vectors[at + 3u * stride];
                let sums = vec2<f32>(a + b, c + d);
                let differences = vec2<f32>(a - b, c - d);
                vectors[at] = (sums.x + sums.y) * norm;
                vectors[at + stride] = (differences.x + differences.y) * norm;
                vectors[at + 2u * stride] = (sums.x - sums.y) * norm;
                vectors[at + 3u * stride] = (differences.x - differences.y) * norm;
            }
        } else {
            for (var i = lane; i < dim / 2u; i += WG) {
                let at = first + i / stride * stride * 2u + i % stride;
                let a = vectors[at];
                let b = vectors[at + stride];
                vectors[at] = (a + b) * norm;
                vectors[at + stride] = (a - b) * norm;
            }
        }
    }
    workgroupBarrier();
}

// 1 / sqrt(2^exponent), rounded once.
fn norm_of(exponent: u32) -> f32 {
    let power = bitcast<f32>((127u - exponent / 2u) << 23u);
    return select(power, power * 0.70710678118654752, exponent % 2u == 1u);
}
