//! f16: half precision
//! use lib/planes

@group(0) @binding(8) var<storage, read> codes: array<Wide>;      // [rows, pairs*8]

const HAS_OFFSETS: bool = false;

struct Pair { row: u32, pair: u32 }

fn load(row: u32, pair: u32) -> Pair {
    return Pair(row, pair);
}

fn values(pair: Pair, g: u32) -> mat4x4<f32> {
    let a = words(codes[place(pair.row, pair.pair, 8u, 2u * g)]);
    let b = words(codes[place(pair.row, pair.pair, 8u, 2u * g + 1u)]);
    return mat4x4<f32>(
        vec4<f32>(unpack2x16float(a.x), unpack2x16float(a.y)),
        vec4<f32>(unpack2x16float(a.z), unpack2x16float(a.w)),
        vec4<f32>(unpack2x16float(b.x), unpack2x16float(b.y)),
        vec4<f32>(unpack2x16float(b.z), unpack2x16float(b.w)),
    );
}

fn scale_of(pair: Pair, g: u32) -> f32 {
    return 1.0;
}

fn offset_of(pair: Pair, g: u32) -> f32 {
    return 0.0;
}
