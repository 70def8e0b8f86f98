// Results of F32, or of I32: four channels in a word.
alias Sink = vec4<u32>;

fn sink_of(x: vec4<f32>, real: vec4<bool>) -> Sink {
    return bitcast<vec4<u32>>(select(vec4<f32>(0.0), x, real));
}

// A whole sum keeps its bits.
fn sum_of(x: vec4<i32>, real: vec4<bool>) -> Sink {
    return bitcast<vec4<u32>>(select(vec4<i32>(0), x, real));
}
