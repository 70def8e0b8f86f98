// Activations of I32: four channels in a word.
alias Source = vec4<i32>;

fn value_of(word: Source) -> vec4<f32> {
    return vec4<f32>(word);
}
