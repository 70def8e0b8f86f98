// What turns values of a file into those that are clustered; the host does the same to f32, to the bit.

@group(0) @binding(8) var<storage, read> frame: array<vec4<f32>>;              // [d4*OF_COLUMNS+n/4*OF_POINTS]

// The mean of each column; a scale for each point, four to a vec4; or nothing (kmeans::element::Frame).
const MEAN: u32 = 0u;
const SCALE: u32 = 1u;
const PLAIN: u32 = 2u;
override FRAME: u32 = MEAN;
override OF_COLUMNS: u32 = select(0u, 1u, FRAME == MEAN);
override OF_POINTS: u32 = select(0u, 1u, FRAME == SCALE);

fn framed(value: vec4<f32>, row: u32, at: u32) -> vec4<f32> {
    if (OF_COLUMNS == 1u) {
        return value - frame[at];
    }
    if (OF_POINTS == 1u) {
        // Compilers may fuse a product with the sum that it goes into, which would not round it. Values of unit rows are
        // within these bounds.
        return clamp(value * frame[row / 4u][row % 4u], vec4<f32>(-2.0), vec4<f32>(2.0));
    }
    return value;
}
