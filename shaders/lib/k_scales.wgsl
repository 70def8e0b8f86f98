//! The scales and minima of Q4_K and Q5_K. A wide word serves the four pairs of a block: d and dmin as f16, then three
//! words that have a byte for each pair: the first scale, the second scale, the first minimum (6 bits each), and on top
//! of each two bits of the second minimum.

/// Scale of the first and the second 32 weights of pair `pair` of the block, then their minima.
fn k_scales(word: vec4<u32>, pair: u32) -> vec4<f32> {
    let d = unpack2x16float(word.x);
    let bytes = word.yzw >> vec3<u32>(8u * pair);
    let six = bytes & vec3<u32>(63u);
    let top = (bytes >> vec3<u32>(6u)) & vec3<u32>(3u);
    let second = top.x | (top.y << 2u) | (top.z << 4u);
    return vec4<f32>(d.x * f32(six.x), d.x * f32(six.y), d.y * f32(six.z), d.y * f32(second));
}
