// The randomised Hadamard rotation of one vector of `quads` vec4s in workgroup memory (src/codec/rotation.rs), by WG
// invocations, as many as it has vec4s or more. Forward: flip_signs, then hadamard; back: the other way round. Each ends behind
// a barrier. `signs` are bits, 1 for a minus.
var<workgroup> vector: array<vec4<f32>, 64>;

fn sign_of(channel: u32) -> f32 {
    return select(1.0, -1.0, ((signs[channel / 32u] >> (channel % 32u)) & 1u) == 1u);
}

fn flip_signs(lane: u32, quads: u32) {
    if (lane < quads) {
        let first = lane * 4u;
        vector[lane] *= vec4(sign_of(first), sign_of(first + 1u), sign_of(first + 2u), sign_of(first + 3u));
    }
    workgroupBarrier();
}

// Blocks, the largest power of two that divides the dimension, by a Hadamard matrix, normalised.
fn hadamard(lane: u32, quads: u32) {
    let block = quads & (~quads + 1u);
    if (lane < quads) {
        let x = vector[lane];
        let y = vec4(x.x + x.y, x.x - x.y, x.z + x.w, x.z - x.w);
        vector[lane] = vec4(y.x + y.z, y.y + y.w, y.x - y.z, y.y - y.w);
    }
    workgroupBarrier();
    for (var stride = 1u; stride < block; stride *= 2u) {
        if (lane < quads / 2u) {
            let low = lane / stride * stride * 2u + lane % stride;
            let a = vector[low];
            let b = vector[low + stride];
            vector[low] = a + b;
            vector[low + stride] = a - b;
        }
        workgroupBarrier();
    }
    if (lane < quads) {
        vector[lane] *= inverseSqrt(f32(block * 4u));
    }
    workgroupBarrier();
}
