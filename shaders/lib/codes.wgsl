//! Values of formats whose codes fit int8: as f32, before scale and offset.
fn values(pair: Pair, g: u32) -> mat4x4<f32> {
    let codes = codes_of(pair, g);
    return mat4x4<f32>(
        vec4<f32>(unpack4xI8(codes.x)),
        vec4<f32>(unpack4xI8(codes.y)),
        vec4<f32>(unpack4xI8(codes.z)),
        vec4<f32>(unpack4xI8(codes.w)),
    );
}
