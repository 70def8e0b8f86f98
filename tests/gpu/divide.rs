//! First centroids that are clusterings themselves: the same choice wherever points lie, and as good as what they are named after.

use lowbit::internals::gpu::Context;
use lowbit::internals::io::npy::{Matrix, read_matrix};
use lowbit::internals::kmeans::{Fitted, Init, KMeans, Metric, MiniBatchKMeans};
use lowbit::internals::random::Random;

use crate::harness::{device, predict};
use crate::kmeans::{bits_of, blobs, matrix};

const WAYS: [Init; 2] = [Init::Bisecting, Init::TwoLevel];

fn fit(gpu: &Context, kmeans: &KMeans, x: &Matrix) -> Fitted {
    kmeans.fit(gpu, x, |_| ()).unwrap()
}

#[test]
fn the_choice_does_not_depend_on_chunks_and_memory() {
    let gpu = device();
    let x = blobs(901, 5, 23, 0.4, 7);
    let weights: Vec<f32> = Random::new(5).integers(901, 3).iter().map(|w| w.abs()).collect();
    for (metric, weights, seed_bytes) in [
        (Metric::Euclidean, None, u64::MAX),
        (Metric::Euclidean, Some(&weights[..]), u64::MAX),
        (Metric::Euclidean, None, 9000),
        (Metric::Cosine, None, u64::MAX),
        (Metric::Dot, None, u64::MAX),
    ] {
        for init in WAYS {
            let kmeans = KMeans::new(13).metric(metric).init(init).seed(3).max_iter(2).seed_bytes(seed_bytes);
            let fit = |kmeans: KMeans| bits_of(&kmeans.fit_weighted(&gpu, &x, weights, |_| ()).unwrap());
            let whole = fit(kmeans.clone());
            assert_eq!(fit(kmeans.clone().chunk_rows(400)), whole);
            assert_eq!(fit(kmeans.clone().memory(30_000).chunk_rows(99)), whole);
            assert_ne!(fit(kmeans.clone().seed(4)), whole);
        }
    }
}

#[test]
fn blobs_are_found_without_a_further_step() {
    let gpu = device();
    // Of a power of two of equal blobs on a line, every best division is into halves.
    let x = blobs(1600, 2, 16, 50.0, 9);
    for init in WAYS {
        for seed in 0..3 {
            let fitted = fit(&gpu, &KMeans::new(16).init(init.clone()).seed(seed).max_iter(1), &x);
            let mut by_blob: Vec<i32> = fitted.labels[..16].to_vec();
            by_blob.sort_unstable();
            assert_eq!(by_blob, (0..16).collect::<Vec<_>>(), "{init:?} {seed}");
            assert!(fitted.labels.chunks(16).all(|chunk| chunk == &fitted.labels[..16]));
        }
    }
}

#[test]
fn the_loop_only_lowers_what_the_division_gave() {
    let gpu = device();
    let mut random = Random::new(12);
    let x = Matrix { rows: 3000, cols: 3, values: random.floats(9000) };
    for (init, k) in [(Init::Bisecting, 40), (Init::TwoLevel, 300)] {
        let mut told = 0;
        let kmeans = KMeans::new(k).init(init.clone()).seed(1).max_iter(20).history(true);
        let fitted = kmeans.fit(&gpu, &x, |_| told += 1).unwrap();
        assert_eq!((fitted.distinct_clusters, fitted.history.len()), (k, fitted.n_iter as usize));
        assert!(fitted.inertia <= fitted.history[0] && told > fitted.n_iter, "{init:?}");
        assert_eq!(predict(&gpu, &x, &fitted.cluster_centers).unwrap().labels, fitted.labels);
        // Points drawn by chance are no clustering.
        let drawn = fit(&gpu, &KMeans::new(k).init(Init::Random).seed(1).max_iter(1).history(true), &x);
        println!("{init:?}: {} of the inertia of drawn points", fitted.history[0] / drawn.history[0]);
        assert!(fitted.history[0] < 0.8 * drawn.history[0], "{} {}", fitted.history[0], drawn.history[0]);
    }
}

#[test]
fn bisecting_is_as_low_as_scikit_learns() {
    let gpu = device();
    let assets = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/kmeans");
    let x = read_matrix(&assets.join("points.npy")).unwrap();
    let text = std::fs::read_to_string(assets.join("bisecting.json")).unwrap();
    let reference: serde_json::Value = serde_json::from_str(&text).unwrap();
    for k in [5, 12] {
        let theirs = reference["inertia"][k.to_string()].as_array().unwrap();
        let theirs =
            theirs.iter().map(|inertia| inertia.as_f64().unwrap()).sum::<f64>() / theirs.len() as f64;
        let (mut first, mut last) = (0.0, 0.0);
        for seed in 0..10 {
            let kmeans = KMeans::new(k).init(Init::Bisecting).seed(seed).history(true);
            let fitted = fit(&gpu, &kmeans, &x);
            first += fitted.history[0] / 10.0;
            last += fitted.inertia / 10.0;
        }
        println!("k {k}: scikit-learn {theirs}, here {first}, and {last} behind the loop");
        assert!(first < 1.01 * theirs && last <= theirs, "{k}: {theirs} {first} {last}");
    }
}

#[test]
fn few_different_points_are_enough() {
    let gpu = device();
    let x = matrix(1, &[0.0, 1.0, 2.0, 3.0, 4.0, 0.0, 1.0, 2.0, 3.0, 4.0, 4.0]);
    let same = matrix(2, &[1.5; 80]);
    let weights = [0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0];
    for init in WAYS {
        let kmeans = |k| KMeans::new(k).init(init.clone());
        for seed in 0..3 {
            for k in [1, 2, 10, 11] {
                let fitted = fit(&gpu, &kmeans(k).seed(seed), &x);
                assert_eq!(fitted.distinct_clusters, k.min(5), "{init:?} {k} {seed}");
                assert!(k < 5 || fitted.inertia < 1e-9);
            }
            let fitted = kmeans(3).seed(seed).fit_weighted(&gpu, &x, Some(&weights), |_| ()).unwrap();
            let mut centers = fitted.cluster_centers.values;
            centers.sort_by(f32::total_cmp);
            assert_eq!(centers, [1.0, 2.0, 3.0]);
        }
        for k in [7, 40] {
            let fitted = fit(&gpu, &kmeans(k), &same);
            assert_eq!((fitted.distinct_clusters, fitted.inertia), (1, 0.0));
            assert!(fitted.notices[0].contains("Number of distinct clusters (1) found smaller than"));
        }
    }
}

#[test]
fn mini_batches_are_refused_by_name() {
    let (gpu, x) = (device(), blobs(100, 2, 4, 1.0, 3));
    let kmeans = MiniBatchKMeans::new(4).init(Init::TwoLevel);
    let error = kmeans.fit(&gpu, &x, |_| ()).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().starts_with("`init` two-level divides all points"), "{error}");
}
