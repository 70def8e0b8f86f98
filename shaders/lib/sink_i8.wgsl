// Results of I8: four channels in a word. What is no whole number was rounded by a step.
@group(0) @binding(7) var<storage, read_write> y: array<u32>;      // [sites, out_words]

fn write(site: u32, word: u32, x: vec4<f32>) {
    let whole = vec4<i32>(clamp(x, vec4<f32>(-128.0), vec4<f32>(127.0)));
    y[site * params.out_words + word] = pack4xI8(select(vec4<i32>(0), whole, real_channels(word)));
}

fn write_sum(site: u32, word: u32, x: vec4<i32>) {
    write(site, word, vec4<f32>(x));
}
