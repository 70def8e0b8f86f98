//! Points of f32, which lie as they are clustered.
//! Needs: no optional feature
//! slot wide

@group(0) @binding(1) var<storage, read> points: array<Wide>;                  // [n, d4] vec4s

// Four neighbouring values of a point.
fn point(row: u32, at: u32) -> vec4<f32> {
    return bitcast<vec4<f32>>(words(points[row * params.d4 + at]));
}
