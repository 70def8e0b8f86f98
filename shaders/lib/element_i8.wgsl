//! Elements of activations as signed bytes: a word is four of them, the first one lowest.
//! Needs: no optional feature
alias Word = u32;
alias Four = vec4<i32>;
alias Element = i32;

const LEAST: i32 = -128i;

fn four_of(word: Word) -> Four {
    return unpack4xI8(word);
}

fn word_of(four: Four) -> Word {
    return pack4xI8(four);
}
