// Activations of I8: four channels in a word.
alias Source = u32;

fn value_of(word: Source) -> vec4<f32> {
    return vec4<f32>(unpack4xI8(word));
}

fn bytes_of(word: Source, channel_word: u32, element: u32) -> u32 {
    return word;
}
