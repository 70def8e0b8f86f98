//! Planes as 64-bit words: half as many loads where hardware, or a processor that plays one, loads each component by
//! itself.
//! Needs: shader_int64
alias Wide = vec2<u64>;
alias Narrow = u64;

fn words(wide: Wide) -> vec4<u32> {
    return vec4<u32>(u32(wide.x), u32(wide.x >> 32u), u32(wide.y), u32(wide.y >> 32u));
}

fn narrow_words(narrow: Narrow) -> vec2<u32> {
    return vec2<u32>(u32(narrow), u32(narrow >> 32u));
}

fn wide_of(four: vec4<u32>) -> Wide {
    return vec2<u64>(u64(four.x) | (u64(four.y) << 32u), u64(four.z) | (u64(four.w) << 32u));
}
