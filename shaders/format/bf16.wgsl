//! bf16: the upper half of an f32
//! use lib/planes

@group(0) @binding(8) var<storage, read> codes: array<Wide>;      // [rows, pairs*8]

const HAS_OFFSETS: bool = false;

struct Pair { row: u32, pair: u32 }

fn load(row: u32, pair: u32) -> Pair {
    return Pair(row, pair);
}

fn upper(two: vec2<u32>) -> vec4<f32> {
    let low = two << vec2<u32>(16u);
    let high = two & vec2<u32>(0xffff0000u);
    return bitcast<vec4<f32>>(vec4<u32>(low.x, high.x, low.y, high.y));
}

fn values(pair: Pair, g: u32) -> mat4x4<f32> {
    let a = words(codes[place(pair.row, pair.pair, 8u, 2u * g)]);
    let b = words(codes[place(pair.row, pair.pair, 8u, 2u * g + 1u)]);
    return mat4x4<f32>(upper(a.xy), upper(a.zw), upper(b.xy), upper(b.zw));
}

fn scale_of(pair: Pair, g: u32) -> f32 {
    return 1.0;
}

fn offset_of(pair: Pair, g: u32) -> f32 {
    return 0.0;
}
