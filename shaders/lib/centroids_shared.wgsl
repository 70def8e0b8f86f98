// Centroids of turbo codes in workgroup memory: a load for each value.
var<workgroup> centroids: array<f32, 32>;   // by code, those of keys and from 16 on those of values

// Which of a type's eight sizes, rising, a code stands for: codes count up through as many negative centroids as positive ones.
fn size_of_code(code_type: u32, code: u32) -> u32 {
    let positive = half_count(code_type);
    return select(positive - 1u - code, code - positive, code >= positive);
}

// Before the first use, and before a barrier.
fn set_centroids(lane: u32, key: u32, value: u32) {
    if ((is_turbo(key) || is_turbo(value)) && lane < 32u) {
        let code_type = select(value, key, lane < 16u);
        let code = min(lane % 16u, 2u * half_count(code_type) - 1u);
        let size = sizes[lane / 16u * 8u + size_of_code(code_type, code)];
        centroids[lane] = select(size, -size, code < half_count(code_type));
    }
}

fn centroids_of(codes: u32, code_type: u32, first: u32) -> vec4<f32> {
    let at = unpack4xU8(codes) + vec4(first);
    return vec4(centroids[at.x], centroids[at.y], centroids[at.z], centroids[at.w]);
}
