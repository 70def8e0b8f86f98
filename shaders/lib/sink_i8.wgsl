// Results of I8: four channels in a word. What is no whole number was rounded by a step.
alias Sink = u32;

fn sink_of(x: vec4<f32>, real: vec4<bool>) -> Sink {
    let whole = vec4<i32>(clamp(x, vec4<f32>(-128.0), vec4<f32>(127.0)));
    return pack4xI8(select(vec4<i32>(0), whole, real));
}

fn sum_of(x: vec4<i32>, real: vec4<bool>) -> Sink {
    return sink_of(vec4<f32>(x), real);
}
