// Results of F32, or of I32: four channels in a word.
@group(0) @binding(7) var<storage, read_write> y: array<vec4<u32>>;    // [sites, out_words]

fn write(site: u32, word: u32, x: vec4<f32>) {
    y[site * params.out_words + word] = bitcast<vec4<u32>>(select(vec4<f32>(0.0), x, real_channels(word)));
}

// A whole sum keeps its bits.
fn write_sum(site: u32, word: u32, x: vec4<i32>) {
    y[site * params.out_words + word] = bitcast<vec4<u32>>(select(vec4<i32>(0), x, real_channels(word)));
}
