//! Points of signed bytes, as they are in their file, in rows of whole words.
//! Needs: no optional feature
//! use lib/points_frame

@group(0) @binding(1) var<storage, read> points: array<u32>;                   // [n, d4] four values each

fn point(row: u32, at: u32) -> vec4<f32> {
    return framed(vec4<f32>(unpack4xI8(points[row * params.d4 + at])), row, at);
}
