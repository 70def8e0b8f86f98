//! Points of f16, as they are in their file, in rows of whole words.
//! Needs: no optional feature
//! use lib/points_frame
//! slot wide

@group(0) @binding(1) var<storage, read> points: array<Narrow>;                // [n, d4] four values each

fn point(row: u32, at: u32) -> vec4<f32> {
    let pair = narrow_words(points[row * params.d4 + at]);
    return framed(vec4<f32>(unpack2x16float(pair.x), unpack2x16float(pair.y)), row, at);
}
