// Activations of F32: four channels in a word.
alias Source = vec4<f32>;

fn value_of(word: Source) -> vec4<f32> {
    return word;
}

// Four channels as signed bytes, quantized by the steps in front.
fn bytes_of(word: Source, channel_word: u32, element: u32) -> u32 {
    let x = before(word, channel_word, element);
    return pack4xI8(vec4<i32>(clamp(x, vec4<f32>(-128.0), vec4<f32>(127.0))));
}
