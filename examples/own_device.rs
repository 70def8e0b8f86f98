//! A program that has a wgpu device of its own, and clusters, multiplies and keeps a KV cache on it.

use lowbit::format::Format;
use lowbit::gpu::Context;
use lowbit::io::npy::read_matrix;
use lowbit::kmeans::{KMeans, Metric};
use lowbit::kv::{Capacity, KvCache, Layout, Rule};
use lowbit::matmul::{Activations, Order, Path, Weights};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The program's own: what it has requested, lowbit uses.
    let instance = wgpu::Instance::default();
    let adapter = pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default()))?;
    let (device, queue) = pollster::block_on(adapter.request_device(&Context::descriptor(&adapter)))?;
    let gpu = Context::from_device(&adapter, device.clone(), queue.clone())?;
    gpu.notices().iter().for_each(|notice| println!("{notice}"));

    // Clusters of embeddings, by direction.
    let points = read_matrix("assets/kmeans/points.npy".as_ref())?;
    let fitted = KMeans::new(8).metric(Metric::Cosine).seed(7).fit(&gpu, &points, |_| ())?;
    println!("{} points in {} clusters, inertia {:.4}", fitted.n, fitted.k, fitted.inertia);
    assert_eq!(fitted.predict(&gpu, &points)?.labels, fitted.labels);

    // W x with 4-bit weights, [64, 256], and two columns of x.
    let (rows, cols) = (64, 256);
    let format = Format::by_name("Q4_0").ok_or("no such format")?;
    let values: Vec<f32> = (0..rows * cols).map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0).collect();
    let weights = Weights::from_values(&gpu, format, &values, cols as u64, Order::RowMajor)?;
    let x = Activations::upload(&gpu, &vec![0.5; 2 * cols], cols)?;
    let product = weights.times(&gpu, &x, &[], Path::Auto)?;
    println!("{} by {}: y[0] = {:.3}", format.name, product.variant, product.values[0]);

    // A prompt of 64 tokens in a cache of 8 and 4 bits, and one query.
    let layout = Layout::new(1, 4, 2, 64);
    let room = Capacity { tokens: 256, sequences: 1 };
    let mut cache = KvCache::new(&gpu, &layout, "q8_0:q4_0".parse()?, room)?;
    let sequence = cache.create()?;
    let mut step = cache.begin(&gpu, &[(sequence, 64)])?;
    let (keys, values) = (vec![0.5; 64 * 2 * 64], vec![0.25; 64 * 2 * 64]);
    cache.append(&gpu, &mut step, 0, &keys, &values)?;
    let output = cache.attend(&gpu, &mut step, 0, &vec![1.0; 4 * 64], &Rule::plain(64))?;
    println!("{} tokens attended to: {:.3}", cache.length(sequence)?, output[0]);
    assert!(output.iter().all(|x| (x - 0.25f32).abs() < 0.02));

    // The device is still the program's.
    let own = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("own"),
        size: 16,
        usage: wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    queue.write_buffer(&own, 0, &[1; 16]);
    queue.submit([]);
    device.poll(wgpu::PollType::wait_indefinitely())?;
    Ok(())
}
