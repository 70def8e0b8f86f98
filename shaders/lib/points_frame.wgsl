// What turns values of a file into those that are clustered; the host does the same to f32, to the bit.

@group(0) @binding(8) var<storage, read> frame: array<vec4<f32>>;              // [1] or more, as FRAME says

// 0: frame is the mean, d4 vec4s; 1: a scale for each point, four to a vec4; 2: nothing is done.
override FRAME: u32 = 0u;

fn framed(value: vec4<f32>, row: u32, at: u32) -> vec4<f32> {
    if (FRAME == 0u) {
        return value - frame[at];
    }
    if (FRAME == 1u) {
        // Compilers may fuse a product with the sum that it goes into, which would not round it. Values of unit rows are
        // within these bounds.
        return clamp(value * frame[row / 4u][row % 4u], vec4<f32>(-2.0), vec4<f32>(2.0));
    }
    return value;
}
