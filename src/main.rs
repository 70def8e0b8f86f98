fn main() {
    let g = lowbit::gpu::Context::open(&Default::default()).unwrap();
    println!("{:?} {}", g.adapter, g.integer_dot);
}
