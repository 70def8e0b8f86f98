//! Work that somebody may ask to end: it is cut into pieces, which compute what the whole does (the harness has every kernel run so),
//! and ends soon.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lowbit::internals::Error;
use lowbit::internals::cases::Random;
use lowbit::internals::format::Format;
use lowbit::internals::gpu::{Context, Options};
use lowbit::internals::io::npy::Matrix;
use lowbit::internals::kmeans::KMeans;
use lowbit::internals::kv::{Capacity, KvCache, Layout};
use lowbit::internals::matmul::{Activations, Order, Path, Weights};

/// A device on which windows of more rows than a workgroup's are cut.
fn cutting() -> Context {
    Context::open(&Options { guarded: true, cut: Some(crate::harness::CUT), ..Options::default() }).unwrap()
}

#[test]
fn products_in_pieces_have_the_same_bits() {
    let (gpu, whole) = (cutting(), Context::open(&Options::default()).unwrap());
    let (rows, cols, n) = (1000u64, 256u64, 33usize);
    let mut random = Random::new(1);
    let (weights, x) = (random.floats((rows * cols) as usize), random.floats(n * cols as usize));
    let bias = random.floats(rows as usize);
    for (name, path) in [("Q4_0", Path::Float), ("Q6_K", Path::Integer), ("F16", Path::Float)] {
        let format = Format::by_name(name).unwrap();
        let product = |gpu: &Context| {
            let weights = Weights::from_values(gpu, format, &weights, cols, Order::RowMajor).unwrap();
            let x = Activations::upload(gpu, &x, cols as usize).unwrap();
            weights.times(gpu, &x, &bias, path).unwrap().values
        };
        let expected = product(&whole);
        let _heeding = gpu.heed(&Arc::default());
        assert!(product(&gpu).iter().map(|y| y.to_bits()).eq(expected.iter().map(|y| y.to_bits())), "{name}");
    }
}

#[test]
fn labels_in_pieces_are_the_same() {
    let (gpu, d, k) = (Context::open(&Options::default()).unwrap(), 32, 256);
    let points = Matrix { rows: 30_000, cols: d, values: Random::new(2).floats(30_000 * d) };
    let centroids = Matrix { rows: k, cols: d, values: points.values[..k * d].to_vec() };
    let kmeans = KMeans::new(k).max_iter(3);
    let ask = || {
        let predicted = kmeans.predict(&gpu, &points, &centroids).unwrap();
        let fitted = kmeans.fit(&gpu, &points, |_| ()).unwrap();
        let distances = kmeans.transform(&gpu, &points, &centroids).unwrap();
        let found = [predicted.inertia, fitted.inertia].map(f64::to_bits);
        (found, predicted.labels, fitted.labels, fitted.cluster_centers.values, distances.values)
    };
    let expected = ask();
    let _heeding = gpu.heed(&Arc::default());
    assert!(ask() == expected);
}

#[test]
fn a_long_product_ends_soon() {
    let gpu = Context::open(&Options::default()).unwrap();
    let format = Format::by_name("Q4_0").unwrap();
    let (rows, cols, n) = (2048u64, 2048u64, 2048usize);
    let blocks: Vec<u8> = (0..16u8).cycle().take((rows * cols / 32 * 18) as usize).collect();
    let weights = Weights::from_blocks(&gpu, format, cols, &blocks).unwrap();
    let x = Activations::upload(&gpu, &vec![1.0; n * cols as usize], cols as usize).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let ended = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(300));
            stop.store(true, Ordering::Relaxed);
        });
        let _heeding = gpu.heed(&stop);
        loop {
            if let Err(error) = weights.times(&gpu, &x, &[], Path::Float) {
                assert!(matches!(error, Error::Interrupted { path: None, .. }), "{error}");
                return Instant::now();
            }
        }
    });
    // What was let go is of no more effect.
    let begun = Instant::now();
    weights
        .times(&gpu, &Activations::upload(&gpu, &vec![1.0; 2048], 2048).unwrap(), &[], Path::Float)
        .unwrap();
    eprintln!("ended; {:?} for another", begun.elapsed());
    assert!(ended.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_layer_that_was_appended_to_half_way_is_taken_back() {
    let gpu = Context::open(&Options::default()).unwrap();
    let layout = Layout {
        layers: 1,
        heads: 2,
        kv_heads: 2,
        head_dim: 64,
        rope: None,
        block: 64,
        sinks: 4,
        recent: 32,
        rotate: false,
    };
    let room = Capacity { tokens: 1024, sequences: 1 };
    let mut cache = KvCache::new(&gpu, &layout, "q8_0".parse().unwrap(), room).unwrap();
    let sequence = cache.create().unwrap();
    let values = vec![1.0; 200 * 2 * 64];
    let append = |cache: &mut KvCache, tokens: u64| {
        let mut step = cache.begin(&gpu, &[(sequence, tokens)]).unwrap();
        let values = &values[..tokens as usize * 128];
        let done = cache.append(&gpu, &mut step, 0, values, values);
        (step, done)
    };
    append(&mut cache, 100).1.unwrap();
    let (mut step, done) = {
        let _heeding = gpu.heed(&Arc::new(AtomicBool::new(true)));
        append(&mut cache, 20)
    };
    assert!(matches!(done, Err(Error::Interrupted { .. })));
    let again = cache.append(&gpu, &mut step, 0, &values[..20 * 128], &values[..20 * 128]).unwrap_err();
    assert!(again.to_string().contains("abandon the step"), "{again}");
    assert_eq!(cache.abandon(step).unwrap(), []);
    assert_eq!(cache.length(sequence).unwrap(), 100);
    append(&mut cache, 20).1.unwrap();
    assert_eq!(cache.length(sequence).unwrap(), 120);
}
