//! slot wide
// Blocks of weights, 4 inputs x 4 outputs in 4 words: the lanes of a subgroup have the same block, four of them load a word each
// and hand it to all; lanes follow invocations in order (src/gpu/self_test.rs). That pays where loads are what a kernel waits for, and every lane's is its own (lavapipe).
//! Needs: subgroups of 4 or more
@group(0) @binding(6) var<storage, read> weights: array<Wide>;     // [out_words, taps, group_words, 4]

alias Block = vec4<f32>;

fn block_at(at: u32, lane: u32) -> Block {
    return bitcast<vec4<f32>>(words(weights[at + lane % 4u]));
}

// What the block's input `i` gives to the four outputs.
fn weight_of(block: Block, i: u32) -> vec4<f32> {
    return subgroupShuffle(block, i);
}
