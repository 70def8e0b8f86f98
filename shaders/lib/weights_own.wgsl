//! slot wide
// Blocks of weights, 4 inputs x 4 outputs in 4 words: every lane loads its own.
@group(0) @binding(6) var<storage, read> weights: array<Wide>;     // [out_words, taps, group_words, 4]

alias Block = u32;

fn block_at(at: u32, lane: u32) -> Block {
    return at;
}

// What the block's input `i` gives to the four outputs.
fn weight_of(block: Block, i: u32) -> vec4<f32> {
    return bitcast<vec4<f32>>(words(weights[block + i]));
}
