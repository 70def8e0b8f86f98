//! f32: plain floats
//! use lib/planes

@group(0) @binding(8) var<storage, read> codes: array<Wide>;      // [rows, pairs*16]

const HAS_OFFSETS: bool = false;

struct Pair { row: u32, pair: u32 }

fn load(row: u32, pair: u32) -> Pair {
    return Pair(row, pair);
}

fn values(pair: Pair, g: u32) -> mat4x4<f32> {
    return mat4x4<f32>(
        bitcast<vec4<f32>>(words(codes[place(pair.row, pair.pair, 16u, 4u * g)])),
        bitcast<vec4<f32>>(words(codes[place(pair.row, pair.pair, 16u, 4u * g + 1u)])),
        bitcast<vec4<f32>>(words(codes[place(pair.row, pair.pair, 16u, 4u * g + 2u)])),
        bitcast<vec4<f32>>(words(codes[place(pair.row, pair.pair, 16u, 4u * g + 3u)])),
    );
}

fn scale_of(pair: Pair, g: u32) -> f32 {
    return 1.0;
}

fn offset_of(pair: Pair, g: u32) -> f32 {
    return 0.0;
}
