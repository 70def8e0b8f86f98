//! slot wide
// Activations of F32: four channels in a word.
alias Source = Wide;

fn value_of(word: Source) -> vec4<f32> {
    return bitcast<vec4<f32>>(words(word));
}

// Four channels as signed bytes, quantized by the steps in front.
fn bytes_of(word: Source, channel_word: u32, element: u32) -> u32 {
    let x = before(value_of(word), channel_word, element);
    return pack4xI8(vec4<i32>(clamp(x, vec4<f32>(-128.0), vec4<f32>(127.0))));
}
