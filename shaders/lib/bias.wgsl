// The bias of a row of the window, or what changes no sum, not even one of -0. Whoever includes it declares `bias`, and `biases` and
// `first_row` in `params`.
fn bias_of(row: u32) -> f32 {
    var own = -0.0;
    if (params.biases > 0u) {
        own = bias[params.first_row + row];
    }
    return own;
}
