// sum + x.y, rounded to the sum once: the four products are added up among themselves first, in the order of the
// components. dot() promises no order; this gives the same bits in every kernel of a device, and a quarter of the roundings of a
// chain where the compiler keeps it (AMD's and NVK's make it one: bounds have to count a rounding for each product).
fn add_product(sum: f32, x: vec4<f32>, y: vec4<f32>) -> f32 {
    return sum + fma(x.w, y.w, fma(x.z, y.z, fma(x.y, y.y, x.x * y.x)));
}
