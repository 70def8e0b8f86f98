//! fp8_128: weight = scale * value(code), a scale for 128 codes in E4M3
//! use lib/planes

@group(0) @binding(8) var<storage, read> codes: array<Wide>;      // [rows, pairs*4]
@group(0) @binding(9) var<storage, read> scales: array<f32>;      // [rows, pairs/2]

const HAS_OFFSETS: bool = false;

struct Pair { row: u32, pair: u32, scale: f32 }

fn load(row: u32, pair: u32) -> Pair {
    return Pair(row, pair, scales[row * ((params.pairs + 1u) / 2u) + pair / 2u]);
}

fn values(pair: Pair, g: u32) -> mat4x4<f32> {
    let code = words(codes[place(pair.row, pair.pair, 4u, g)]);
    return mat4x4<f32>(e4m3(code.x), e4m3(code.y), e4m3(code.z), e4m3(code.w));
}

/// Four values: eighths and an exponent, by whole numbers, so that no subnormal float is needed.
fn e4m3(word: u32) -> vec4<f32> {
    let code = (vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u);
    let exponent = (code >> vec4<u32>(3u)) & vec4<u32>(15u);
    let eighths = (code & vec4<u32>(7u)) + select(vec4<u32>(8u), vec4<u32>(0u), exponent == vec4<u32>(0u));
    let unit = bitcast<vec4<f32>>((max(exponent, vec4<u32>(1u)) + vec4<u32>(117u)) << vec4<u32>(23u));
    let size = bitcast<vec4<u32>>(vec4<f32>(eighths) * unit) | ((code & vec4<u32>(128u)) << vec4<u32>(24u));
    return bitcast<vec4<f32>>(select(size, vec4<u32>(0x7fc00000u), (code & vec4<u32>(127u)) == vec4<u32>(127u)));
}

fn scale_of(pair: Pair, g: u32) -> f32 {
    return pair.scale;
}

fn offset_of(pair: Pair, g: u32) -> f32 {
    return 0.0;
}
