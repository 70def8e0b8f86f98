//! Values of formats whose codes fit int8: as f32, before scale and offset.
fn values(pair: Pair, g: u32) -> mat4x4<f32> {
    let codes = codes_of(pair, g);
    return mat4x4<f32>(floats(codes.x), floats(codes.y), floats(codes.z), floats(codes.w));
}

/// Four codes. Without a sign, hardware has one instruction that converts a byte of a word.
fn floats(four: u32) -> vec4<f32> {
    if (HAS_SIGNS) {
        return vec4<f32>(unpack4xI8(four));
    }
    return vec4<f32>(unpack4xU8(four));
}
