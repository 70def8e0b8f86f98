// f32 arithmetic that every compiler has to leave as it stands, so that adapters agree to the bit: what was rounded goes through an
// integer operation that none can see through, as `zero` is known only when the program runs. So no product is fused with a sum, no sum
// reordered. Adapters round sums and products to the nearest; numbers below the normal ones they may take for 0 or not, so
// products that are as small, or have such a factor, are 0 here.

// Always 0: nothing that is counted here reaches 2^31.
fn zero_of(count: u32) -> u32 {
    return count >> 31u;
}

fn kept(x: f32, zero: u32) -> f32 {
    return bitcast<f32>(bitcast<u32>(x) ^ zero);
}

fn kept_vec4(x: vec4<f32>, zero: u32) -> vec4<f32> {
    return bitcast<vec4<f32>>(bitcast<vec4<u32>>(x) ^ vec4(zero));
}

const LEAST_FACTOR: vec4<f32> = vec4<f32>(0x1p-126);
// Sums of what is larger are never below the normal numbers, whatever cancels.
const LEAST_PRODUCT: vec4<f32> = vec4<f32>(0x1p-100);

fn strict_product(x: vec4<f32>, y: vec4<f32>, zero: u32) -> vec4<f32> {
    let product = kept_vec4(x * y, zero);
    let tiny = (abs(x) < LEAST_FACTOR) | (abs(y) < LEAST_FACTOR) | (abs(product) < LEAST_PRODUCT);
    return select(product, vec4<f32>(), tiny);
}

fn strict_add(sum: vec4<f32>, x: vec4<f32>, zero: u32) -> vec4<f32> {
    return kept_vec4(sum + x, zero);
}

// Of the four components, in pairs.
fn strict_total(x: vec4<f32>, zero: u32) -> f32 {
    let pairs = bitcast<vec2<f32>>(bitcast<vec2<u32>>(x.xz + x.yw) ^ vec2(zero));
    return kept(pairs.x + pairs.y, zero);
}

// 2^-100, as bits.
const LEAST_SQUARE: u32 = 0x0d800000u;

// sum + |way|^2, without squares below 2^-100: what decides that is not known to compilers, and keeps the squares as `kept` does.
fn add_square(sum: f32, way: vec4<f32>, zero: u32) -> f32 {
    let squares = bitcast<vec4<i32>>(way * way);
    let counted = squares >= vec4(i32(LEAST_SQUARE | zero));
    return kept(sum + strict_total(bitcast<vec4<f32>>(select(vec4<i32>(), squares, counted)), zero), zero);
}
