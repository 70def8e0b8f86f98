//! Elements of activations as f32: a word is four of them.
//! Needs: no optional feature
alias Word = vec4<f32>;
alias Four = vec4<f32>;
alias Element = f32;

// What every number but -infinity is larger than or equal to.
const LEAST: f32 = -0x1.fffffep+127f;

fn four_of(word: Word) -> Four {
    return word;
}

fn word_of(four: Four) -> Word {
    return four;
}
