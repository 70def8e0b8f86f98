// A random word for each (seed, step, stream): PCG-RXS-M-XS (O'Neill 2014), applied as a hash to each in turn.
fn random_word(seed: u32, step: u32, stream: u32) -> u32 {
    return pcg(pcg(pcg(seed) + step) + stream);
}

fn pcg(input: u32) -> u32 {
    let state = input * 747796405u + 2891336453u;
    let word = ((state >> ((state >> 28u) + 4u)) ^ state) * 277803737u;
    return (word >> 22u) ^ word;
}

// Uniform in [0, 1): 24 bits, so that every value is an f32.
fn random_unit(seed: u32, step: u32, stream: u32) -> f32 {
    return f32(random_word(seed, step, stream) >> 8u) * 0x1p-24;
}
