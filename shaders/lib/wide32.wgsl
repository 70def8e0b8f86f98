//! Planes as 32-bit words: 16 bytes are one load where hardware loads vectors.
//! Needs: no optional feature
alias Wide = vec4<u32>;
alias Narrow = vec2<u32>;

fn words(wide: Wide) -> vec4<u32> {
    return wide;
}

fn narrow_words(narrow: Narrow) -> vec2<u32> {
    return narrow;
}

fn wide_of(four: vec4<u32>) -> Wide {
    return four;
}
