//! slot wide
// Chains of operations on four channels, in front of a kernel's work and behind it. Which ones is said by overrides, so
// that a driver compiles no others. The kernel has `params.slab`, `params.out_channels` and the binding `constants`: a slab for each step, with
// a word for each word of channels, or (codes from BY_POSITION on) for each word of an example.
const BY_POSITION: u32 = 64u;

override BEFORE0: u32 = 0u;
override BEFORE1: u32 = 0u;
override BEFORE2: u32 = 0u;
override BEFORE3: u32 = 0u;
override AFTER0: u32 = 0u;
override AFTER1: u32 = 0u;
override AFTER2: u32 = 0u;
override AFTER3: u32 = 0u;
override AFTER4: u32 = 0u;
override AFTER5: u32 = 0u;

// `word` counts words of channels; `element` words of the example.
fn step_of(code: u32, slab: u32, x: vec4<f32>, word: u32, element: u32) -> vec4<f32> {
    if (code < 16u) {
        switch code {
            case 1u: { return max(x, vec4<f32>(0.0)); }
            case 2u: { return 1.0 / (1.0 + exp(-x)); }
            // Beyond 15 the result is 1 in f32, and some drivers' tanh overflows.
            case 3u: { return tanh(clamp(x, vec4<f32>(-15.0), vec4<f32>(15.0))); }
            case 4u: { return round(x); }
            default: { return x; }
        }
    }
    let place = slab * params.slab + select(word, element, code >= BY_POSITION);
    let c = bitcast<vec4<f32>>(words(constants[place]));
    switch code % BY_POSITION {
        case 16u: { return x + c; }
        case 17u: { return x - c; }
        case 18u: { return x * c; }
        case 19u: { return x / c; }
        case 20u: { return c - x; }
        case 21u: { return c / x; }
        case 22u: { return max(x, c); }
        case 23u: { return min(x, c); }
        default: { return x; }
    }
}

fn before(x: vec4<f32>, word: u32, element: u32) -> vec4<f32> {
    let one = step_of(BEFORE0, 0u, x, word, element);
    let two = step_of(BEFORE1, 1u, one, word, element);
    let three = step_of(BEFORE2, 2u, two, word, element);
    return step_of(BEFORE3, 3u, three, word, element);
}

fn after(x: vec4<f32>, word: u32, element: u32) -> vec4<f32> {
    let one = step_of(AFTER0, 4u, x, word, element);
    let two = step_of(AFTER1, 5u, one, word, element);
    let three = step_of(AFTER2, 6u, two, word, element);
    let four = step_of(AFTER3, 7u, three, word, element);
    let five = step_of(AFTER4, 8u, four, word, element);
    return step_of(AFTER5, 9u, five, word, element);
}

// Which of the four channels of a word of results exist.
fn real_channels(word: u32) -> vec4<bool> {
    return vec4<u32>(word * 4u) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(params.out_channels);
}
