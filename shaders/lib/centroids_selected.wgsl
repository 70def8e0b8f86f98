// Centroids of turbo codes by selections among their sizes: for what has no workgroup memory apart from the other memory, and
// selects eight values at a time (lavapipe).
fn set_centroids(lane: u32, key: u32, value: u32) {}

// The sizes of number `low` and the next one, as the lowest bit of `at` says.
fn size_of(first: u32, at: vec4<u32>, low: u32) -> vec4<f32> {
    let own = first / 2u + low;
    return select(vec4(sizes[own]), vec4(sizes[own + 1u]), (at & vec4(1u)) != vec4(0u));
}

// Codes count up through as many negative centroids as positive ones.
fn centroids_of(codes: u32, code_type: u32, first: u32) -> vec4<f32> {
    let code = unpack4xU8(codes);
    let half = half_count(code_type);
    let positive = code >= vec4(half);
    let at = select(vec4(half - 1u) - code, code - vec4(half), positive);
    var size = size_of(first, at, 0u);
    if (half > 2u) {
        let second = (at & vec4(2u)) != vec4(0u);
        size = select(size, size_of(first, at, 2u), second);
        if (half > 4u) {
            let upper = select(size_of(first, at, 4u), size_of(first, at, 6u), second);
            size = select(size, upper, (at & vec4(4u)) != vec4(0u));
        }
    }
    return select(-size, size, positive);
}
