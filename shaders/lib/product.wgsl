// sum + x.y as four multiply-adds in the order of the components: every kernel that adds up products this way rounds
// alike, which dot() does not promise.
fn add_product(sum: f32, x: vec4<f32>, y: vec4<f32>) -> f32 {
    return fma(x.w, y.w, fma(x.z, y.z, fma(x.y, y.y, fma(x.x, y.x, sum))));
}
