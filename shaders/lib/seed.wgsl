//! use lib/strict

// Squared distances times a weight; 0 near what an adapter may take for 0.
fn weighted(squares: vec4<f32>, weight: f32, zero: u32) -> vec4<f32> {
    let products = kept_vec4(squares * weight, zero);
    return select(products, vec4<f32>(), products < vec4(0x1p-120));
}

// Where k-means++ stands; src/kmeans/seed.rs mirrors it.
struct Pick {
    step: u32,      // seeds chosen so far
    best: u32,      // the trial that won the last step
}
