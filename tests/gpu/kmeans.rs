//! The whole clustering: known answers, scikit-learn's semantics, properties.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lowbit::internals::Error;
use lowbit::internals::gpu::Context;
use lowbit::internals::io::npy::Matrix;
use lowbit::internals::kmeans::frame::Transform;
use lowbit::internals::kmeans::points::{Block, Points, Room};
use lowbit::internals::kmeans::{Fitted, Init, KMeans, Metric, Progress};
use lowbit::internals::oracle;
use lowbit::internals::random::Random;

use crate::harness::{device, predict};

pub fn matrix(cols: usize, values: &[f32]) -> Matrix {
    Matrix { rows: values.len() / cols, cols, values: values.to_vec() }
}

fn fit(gpu: &Context, kmeans: &KMeans, data: &Matrix) -> Fitted {
    kmeans.fit(gpu, data, |_| ()).unwrap()
}

/// All of a result that has to be the same, to the bit.
pub fn bits_of(fitted: &Fitted) -> (Vec<i32>, Vec<u32>, u32, Vec<u64>) {
    let centers = fitted.cluster_centers.values.iter().map(|v| v.to_bits()).collect();
    let inertias = std::iter::once(&fitted.inertia).chain(&fitted.history).map(|v| v.to_bits()).collect();
    (fitted.labels.clone(), centers, fitted.n_iter, inertias)
}

/// `n` points around `k` centres that lie on a line, `spread` apart.
pub fn blobs(n: usize, d: usize, k: usize, spread: f64, seed: u64) -> Matrix {
    let mut random = Random::new(seed);
    let values = (0..n)
        .flat_map(|i| {
            let centre = (i % k) as f64 * spread;
            (0..d).map(|_| (centre + random.unit() - 0.5) as f32).collect::<Vec<_>>()
        })
        .collect();
    Matrix { rows: n, cols: d, values }
}

#[test]
fn a_fit_ends_when_its_own_thread_asked_for_it() {
    let (gpu, data) = (device(), blobs(4000, 8, 40, 0.5, 3));
    let kmeans = KMeans::new(40).init(Init::Random).tol(0.0);
    let (own, other) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(true)));
    let ended = |asked: &Arc<AtomicBool>| {
        let _heeding = gpu.heed(asked);
        // Heard before the loop looks for a stop, so the first iterations are done by then.
        kmeans.fit(&gpu, &data, |progress| {
            if matches!(progress, Progress::Iterating { .. }) {
                own.store(true, Ordering::Relaxed);
            }
        })
    };
    let error = ended(&own).unwrap_err();
    assert!(matches!(&error, Error::Interrupted { reached, .. } if reached.contains("iteration")), "{error}");
    // What another thread asked for is its own, for a thread that asked too; what it has let go counts for nobody.
    std::thread::scope(|scope| {
        let _heeding = scope.spawn(|| gpu.heed(&other)).join().unwrap();
        own.store(false, Ordering::Relaxed);
        let _own = gpu.heed(&Arc::default());
        kmeans.fit(&gpu, &data, |_| ()).unwrap();
    });
    kmeans.fit(&gpu, &data, |_| ()).unwrap();
}

// scikit-learn: test_relocate_empty_clusters / test_kmeans_relocated_clusters.
#[test]
fn an_empty_cluster_takes_the_farthest_point() {
    let gpu = device();
    let x = matrix(2, &[0.0, 0.0, 0.5, 0.0, 0.5, 1.0, 1.0, 1.0]);
    let init = matrix(2, &[0.5, 0.5, 3.0, 3.0]);
    let fitted = fit(&gpu, &KMeans::new(2).init(Init::Centroids(init)), &x);
    assert_eq!(fitted.labels, [0, 0, 1, 1]);
    assert!((fitted.inertia - 0.25).abs() < 1e-6, "{}", fitted.inertia);
    assert_eq!(fitted.cluster_centers.values, [0.25, 0.0, 0.75, 1.0]);
    assert_eq!(fitted.n_iter, 3);
    assert!(fitted.converged);
}

#[test]
fn several_empty_clusters_are_relocated_at_once() {
    let gpu = device();
    let x = matrix(1, &[0.0, 1.0, 2.0, 3.0, 100.0, 200.0, 300.0]);
    let init = matrix(1, &[1.5, 1e6, 2e6, 3e6]);
    let fitted = fit(&gpu, &KMeans::new(4).init(Init::Centroids(init.clone())), &x);
    let expected = oracle::lloyd::lloyd(&x.values, &init.values, 1, 300, 0.0);
    assert_eq!(fitted.labels, expected.labels.iter().map(|&l| l as i32).collect::<Vec<_>>());
    assert_eq!(fitted.distinct_clusters, 4);
    assert!((fitted.inertia - expected.inertia).abs() <= 1e-5 * expected.inertia);
}

#[test]
fn agrees_with_the_definition_in_f64() {
    let gpu = device();
    for (n, d, k, seed) in
        [(500, 3, 7, 1), (1013, 17, 16, 2), (300, 384, 5, 3), (97, 1000, 9, 4), (700, 1, 12, 5)]
    {
        let x = Matrix { rows: n, cols: d, values: Random::new(seed).floats(n * d) };
        let init = matrix(d, &x.values[..k * d]);
        let expected = oracle::lloyd::lloyd(&x.values, &init.values, d, 30, 0.0);
        let fitted = fit(&gpu, &KMeans::new(k).init(Init::Centroids(init)).max_iter(30).tol(0.0), &x);
        assert!(fitted.n_iter.abs_diff(expected.n_iter) <= 1, "{} {}", fitted.n_iter, expected.n_iter);
        assert!(
            (fitted.inertia / expected.inertia - 1.0).abs() < 1e-5,
            "{} {}",
            fitted.inertia,
            expected.inertia
        );
        let nearest = oracle::assign::assign(&x.values, &fitted.cluster_centers.values, d);
        assert_eq!(fitted.labels, nearest.iter().map(|&label| label as i32).collect::<Vec<_>>());
    }
}

#[test]
fn the_history_is_what_each_iteration_found_and_never_rises() {
    let gpu = device();
    let x = blobs(3001, 5, 11, 0.6, 8);
    let kmeans = KMeans::new(14).seed(2).history(true);
    for metric in [Metric::Euclidean, Metric::Cosine] {
        let mut told = Vec::new();
        let kmeans = kmeans.clone().metric(metric);
        let fitted = kmeans
            .fit(&gpu, &x, |news| {
                if let Progress::Iterating { inertia, .. } = news {
                    told.push(inertia);
                }
            })
            .unwrap();
        assert_eq!(fitted.history.len(), fitted.n_iter as usize);
        assert!(fitted.history.len() > 3, "{}", fitted.history.len());
        let rise = |pair: &[f64]| pair[1] > pair[0] * (1.0 + 1e-6);
        assert!(!fitted.history.windows(2).any(rise), "{:?}", fitted.history);
        assert!(fitted.inertia <= fitted.history[fitted.history.len() - 1] * (1.0 + 1e-6));
        // An iteration of n finds what a clustering that ended one iteration before ends with.
        for n in [1, 3] {
            let before = kmeans.clone().history(false).max_iter(n).fit(&gpu, &x, |_| ()).unwrap();
            assert_eq!(before.inertia, fitted.history[n as usize], "{metric:?} {n}");
            assert!(before.history.is_empty());
        }
        let streamed = kmeans.memory(60_000).chunk_rows(700).fit(&gpu, &x, |_| ()).unwrap();
        assert_eq!(bits_of(&streamed), bits_of(&fitted));
        // By the new means, so between what this iteration found and what the next one will find.
        for (i, inertia) in told.iter().enumerate().take(fitted.history.len() - 1) {
            let Some(inertia) = inertia else {
                assert_eq!(metric, Metric::Cosine);
                continue;
            };
            let range = fitted.history[i + 1] * (1.0 - 1e-5)..=fitted.history[i] * (1.0 + 1e-5);
            assert!(range.contains(inertia), "{i}: {inertia} {range:?}");
        }
    }
}

#[test]
fn two_runs_give_identical_bytes() {
    let x = blobs(3001, 5, 11, 1.5, 7);
    let kmeans = KMeans::new(11).seed(3);
    let (a, b) = (fit(&device(), &kmeans, &x), fit(&device(), &kmeans, &x));
    assert_eq!(bits_of(&a), bits_of(&b));
}

#[test]
fn labels_are_those_that_predict_gives() {
    let gpu = device();
    let x = blobs(2000, 3, 8, 0.7, 11);
    for max_iter in [1, 2, 300] {
        let fitted = KMeans::new(8).seed(1).max_iter(max_iter).fit(&gpu, &x, |_| ()).unwrap();
        let predicted = predict(&gpu, &x, &fitted.cluster_centers).unwrap();
        assert_eq!(fitted.labels, predicted.labels, "max_iter {max_iter}");
        let of_centres = predict(&gpu, &fitted.cluster_centers, &fitted.cluster_centers).unwrap();
        assert_eq!(of_centres.labels, (0..8).collect::<Vec<_>>());
    }
}

#[test]
fn refitting_from_the_result_changes_nothing() {
    let gpu = device();
    let x = blobs(1000, 2, 6, 0.9, 5);
    let first = fit(&gpu, &KMeans::new(6).tol(0.0), &x);
    let again = fit(&gpu, &KMeans::new(6).init(Init::Centroids(first.cluster_centers.clone())).tol(0.0), &x);
    assert_eq!(first.labels, again.labels);
    assert!(again.n_iter <= 2);
}

#[test]
fn separated_clusters_are_found_by_every_kind_of_start() {
    let gpu = device();
    let x = blobs(1200, 2, 12, 50.0, 9);
    for seed in 0..4 {
        let fitted = KMeans::new(12).seed(seed).fit(&gpu, &x, |_| ()).unwrap();
        // Greedy k-means++ finds every one of clusters this far apart; uniform choice seldom does.
        let mut by_blob: Vec<i32> = fitted.labels[..12].to_vec();
        by_blob.sort_unstable();
        assert_eq!(by_blob, (0..12).collect::<Vec<_>>());
        assert!(fitted.labels.chunks(12).all(|chunk| chunk == &fitted.labels[..12]));
    }
    let random = KMeans::new(12).init(Init::Random).seed(1).fit(&gpu, &x, |_| ()).unwrap();
    assert_eq!(random.distinct_clusters, 12);
}

#[test]
fn fewer_distinct_points_than_clusters_warn_and_do_not_crash() {
    let gpu = device();
    let x = matrix(1, &[0.0, 1.0, 2.0, 3.0, 4.0, 0.0, 1.0, 2.0, 3.0, 4.0, 4.0]);
    let fitted = fit(&gpu, &KMeans::new(10), &x);
    assert!(fitted.inertia < 1e-9);
    assert_eq!(fitted.distinct_clusters, 5);
    assert!(fitted.notices[0].contains("Number of distinct clusters (5) found smaller than n_clusters (10)"));
}

#[test]
fn every_point_its_own_cluster_and_one_cluster_for_all() {
    let gpu = device();
    let x = blobs(40, 3, 40, 3.0, 2);
    assert!(fit(&gpu, &KMeans::new(40), &x).inertia < 1e-9);
    let one = fit(&gpu, &KMeans::new(1), &x);
    assert!(one.labels.iter().all(|&label| label == 0));
    assert!(one.converged);
}

#[test]
fn far_from_the_origin_the_clusters_are_still_told_apart() {
    let gpu = device();
    let near = blobs(600, 4, 3, 5.0, 4);
    let far = Matrix { values: near.values.iter().map(|v| v + 10_000.0).collect(), ..near.clone() };
    let init = |x: &Matrix| Init::Centroids(matrix(4, &x.values[..12]));
    let (a, b) = (
        fit(&gpu, &KMeans::new(3).init(init(&near)), &near),
        fit(&gpu, &KMeans::new(3).init(init(&far)), &far),
    );
    assert_eq!(a.labels, b.labels);
    assert!((a.inertia / b.inertia - 1.0).abs() < 1e-2);
}

#[test]
fn several_blocks_give_what_one_block_gives() {
    let gpu = device();
    let x = Matrix { rows: 997, cols: 5, values: Random::new(6).floats(997 * 5) };
    let kmeans = KMeans::new(7).init(Init::Centroids(matrix(5, &x.values[..35]))).tol(0.0);
    let whole = kmeans.fit(&gpu, &x, |_| ()).unwrap();
    for block in [64, 333, 500, 996] {
        let cut = kmeans.clone().chunk_rows(block).fit(&gpu, &x, |_| ()).unwrap();
        assert_eq!(bits_of(&cut), bits_of(&whole), "blocks of {block}");
    }
}

#[test]
fn several_blocks_relocate_empty_clusters_and_seed_from_a_sample() {
    let gpu = device();
    let x = matrix(1, &(0..300).map(|i| if i == 217 { 1e3 } else { (i % 3) as f32 }).collect::<Vec<_>>());
    let init = Init::Centroids(matrix(1, &[1.0, 1e5, 2e5, 3e5]));
    let fitted = KMeans::new(4).init(init).chunk_rows(100).fit(&gpu, &x, |_| ()).unwrap();
    assert_eq!(fitted.distinct_clusters, 4);
    assert!(fitted.inertia < 1e-3, "{}", fitted.inertia);
    assert_eq!(fitted.labels.iter().filter(|&&label| label == fitted.labels[217]).count(), 1);

    let sampled = KMeans::new(3).seed_bytes(1600).fit(&gpu, &x, |_| ()).unwrap();
    assert!(
        sampled.notices[0].contains("a uniform sample of 100 of the 300 points"),
        "{:?}",
        sampled.notices
    );
    let error = KMeans::new(150).seed_bytes(1600).fit(&gpu, &x, |_| ()).unwrap_err();
    assert!(error.to_string().contains("`init` random"));
}

#[test]
fn too_many_centroids_for_a_binding_are_refused_by_number() {
    let gpu = device();
    let d = 1 << 16;
    let k = (gpu.adapter.max_binding_bytes / (4 * d as u64)) as usize + 1;
    if k > 1000 {
        eprintln!("NOT RUN: {k} points of {d} dimensions would take too much memory on this adapter");
        return;
    }
    let x = Matrix { rows: k, cols: d, values: vec![1.0; k * d] };
    let error = KMeans::new(k).init(Init::Random).fit(&gpu, &x, |_| ()).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("more than this adapter can bind at once"), "{error}");
}

#[test]
fn wrong_input_is_refused_by_name() {
    let gpu = device();
    let x = matrix(2, &[0.0, 1.0, 2.0, 3.0]);
    let error = |kmeans: KMeans, x: &Matrix| kmeans.fit(&gpu, x, |_| ()).unwrap_err().to_string();
    assert_eq!(error(KMeans::new(3), &x), "n_samples=2 should be >= n_clusters=3.");
    assert!(error(KMeans::new(0), &x).contains("n_clusters=0"));
    let nan = matrix(2, &[0.0, 1.0, f32::NAN, 3.0]);
    assert!(error(KMeans::new(1), &nan).starts_with("Input X contains NaN: row 1, column 0 "));
    let infinite = matrix(2, &[0.0, f32::INFINITY]);
    assert!(error(KMeans::new(1), &infinite).contains("infinity (inf): row 0, column 1"));
    let init = Init::Centroids(matrix(2, &[0.0; 6]));
    assert!(error(KMeans::new(2).init(init), &x).contains("does not match the number of clusters 2"));
    let init = Init::Centroids(matrix(3, &[0.0; 6]));
    assert!(
        error(KMeans::new(2).init(init), &x).contains("does not match the number of features of the data 2")
    );
    let empty = Matrix { rows: 0, cols: 2, values: vec![] };
    assert!(error(KMeans::new(1), &empty).contains("empty"));
    assert!(error(KMeans::new(1).tol(f64::NAN), &x).contains("tol"));
    let torn = Matrix { rows: 3, cols: 2, values: vec![0.0; 5] };
    assert!(error(KMeans::new(1), &torn).contains("5 values, which are not 3 rows of 2"));
    let other = matrix(3, &[0.0; 3]);
    assert!(predict(&gpu, &x, &other).unwrap_err().to_string().contains("2 features"));
}

#[test]
fn real_embeddings_cluster_as_scikit_learn_clusters_them() {
    let gpu = device();
    let assets = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/kmeans");
    let points = lowbit::internals::io::npy::read_matrix(&assets.join("points.npy")).unwrap();
    let init = lowbit::internals::io::npy::read_matrix(&assets.join("init.npy")).unwrap();
    let labels = lowbit::internals::io::npy::read_labels(&assets.join("labels.npy")).unwrap();
    let text = std::fs::read_to_string(assets.join("reference.json")).unwrap();
    let reference: serde_json::Value = serde_json::from_str(&text).unwrap();
    let fitted = fit(&gpu, &KMeans::new(12).init(Init::Centroids(init)).tol(0.0), &points);
    // The smallest gap between two nearest centroids is 1e-4, far above the bound: every label must agree.
    assert_eq!(fitted.labels, labels);
    assert!((fitted.inertia / reference["inertia"].as_f64().unwrap() - 1.0).abs() < 1e-5);
    assert_eq!(u64::from(fitted.n_iter), reference["n_iter"].as_u64().unwrap());
}

#[test]
fn weights_count_as_often() {
    // scikit-learn: the cases whose answers it publishes.
    let x = matrix(2, &[0.0, 0.0, 0.5, 0.0, 0.5, 1.0, 1.0, 1.0]);
    let start = Init::Centroids(matrix(2, &[0.0, 0.0, 1.0, 1.0]));
    let gpu = device();
    let weighted = |kmeans: KMeans, x: &Matrix, weights: &[f32]| {
        kmeans.fit_weighted(&gpu, x, Some(weights), |_| ()).unwrap()
    };
    let fitted = weighted(KMeans::new(2).init(start.clone()), &x, &[3.0, 1.0, 1.0, 3.0]);
    assert_eq!(fitted.labels, [0, 0, 1, 1]);
    assert_eq!(fitted.cluster_centers.values, [0.125, 0.0, 0.875, 1.0]);
    assert!((fitted.inertia - 0.375).abs() < 1e-6, "{}", fitted.inertia);
    assert_eq!(fitted.n_iter, 2);

    let two = matrix(1, &[-1.0, 1.0]);
    let far = Init::Centroids(matrix(1, &[-1.0, 10.0]));
    let fitted = weighted(KMeans::new(2).init(far), &two, &[1.9, 0.1]);
    assert_eq!(fitted.cluster_centers.values, [-1.0, 1.0]);

    // A weight of 1 is none, one of w is w repetitions, and scaling all by a power of two changes nothing.
    let x = blobs(400, 3, 5, 1.0, 21);
    let start = KMeans::new(5).init(Init::Centroids(matrix(3, &x.values[..15]))).tol(0.0);
    let plain = start.fit(&gpu, &x, |_| ()).unwrap();
    assert_eq!(bits_of(&plain), bits_of(&weighted(start.clone(), &x, &[1.0; 400])));
    let mut random = Random::new(22);
    let weights: Vec<f32> = (0..400).map(|_| random.below(4) as f32).collect();
    let found = weighted(start.clone(), &x, &weights);
    let repeated: Vec<f32> =
        x.values.chunks(3).zip(&weights).flat_map(|(row, &weight)| row.repeat(weight as usize)).collect();
    let repeated = start.fit(&gpu, &matrix(3, &repeated), |_| ()).unwrap();
    assert!((found.inertia / repeated.inertia - 1.0).abs() < 1e-5, "{} {}", found.inertia, repeated.inertia);
    let near = |a: &Fitted, b: &Fitted| {
        let pairs = a.cluster_centers.values.iter().zip(&b.cluster_centers.values);
        pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    };
    assert!(near(&found, &repeated) < 1e-5);
    let doubled: Vec<f32> = weights.iter().map(|weight| 8.0 * weight).collect();
    assert_eq!(bits_of(&found).1, bits_of(&weighted(start.clone(), &x, &doubled)).1);

    // A point without weight is never a seed, nor drawn.
    let x = matrix(
        1,
        &(0..100).map(|i| if i % 2 == 0 { 1e4 * i as f32 } else { (i % 3) as f32 }).collect::<Vec<_>>(),
    );
    let weights: Vec<f32> = (0..100).map(|i| (i % 2) as f32).collect();
    for init in [Init::PlusPlus, Init::Random] {
        let found = weighted(KMeans::new(3).init(init.clone()).max_iter(1), &x, &weights);
        assert!(found.cluster_centers.values.iter().all(|c| c.abs() < 3.0), "{init:?} {found:?}");
    }

    let refused = |weights: &[f32]| {
        let x = matrix(1, &[0.0, 1.0, 2.0]);
        KMeans::new(2).fit_weighted(&gpu, &x, Some(weights), |_| ()).unwrap_err().to_string()
    };
    assert!(refused(&[1.0, 1.0]).contains("2 weights for 3 points"));
    assert!(refused(&[1.0, -1.0, 1.0]).contains("row 1 is -1"));
    assert!(refused(&[1.0, f32::NAN, 1.0]).contains("row 1 is NaN"));
    assert!(refused(&[0.0; 3]).contains("0 points have a weight above 0"));
}

#[test]
fn the_best_of_several_starts_counts() {
    let gpu = device();
    let x = blobs(600, 2, 12, 2.0, 31);
    let inertia = |n_init| fit(&gpu, &KMeans::new(12).init(Init::Random).n_init(n_init).seed(5), &x).inertia;
    let (one, ten) = (inertia(1), inertia(10));
    assert!(ten <= one, "{ten} {one}");
    let again = fit(&gpu, &KMeans::new(12).init(Init::Random).n_init(10).seed(5), &x);
    assert_eq!(again.inertia.to_bits(), ten.to_bits());
    let predicted = predict(&gpu, &x, &again.cluster_centers).unwrap();
    assert_eq!(predicted.labels, again.labels, "labels and centroids are of the same start");
}

#[test]
fn points_that_do_not_stay_on_the_device_give_the_same_bits() {
    let gpu = device();
    let x = Matrix { rows: 5000, cols: 7, values: Random::new(41).floats(35_000) };
    let weights: Vec<f32> = (0..5000).map(|i| (i % 5) as f32).collect();
    for metric in [Metric::Euclidean, Metric::Cosine, Metric::Dot] {
        let kmeans = KMeans::new(9).metric(metric).seed(3).max_iter(12).tol(0.0);
        for weights in [None, Some(weights.as_slice())] {
            let whole = kmeans.fit_weighted(&gpu, &x, weights, |_| ()).unwrap();
            // Of 5000 points of 56 bytes: some stay, or none; a last chunk that is smaller, or as large as the others.
            for (memory, chunk) in
                [(200_000, 999), (200_000, 1000), (60_000, 250), (60_000, 271), (20_000, 5000)]
            {
                let cut = kmeans.clone().memory(memory).chunk_rows(chunk);
                let cut = cut.fit_weighted(&gpu, &x, weights, |_| ()).unwrap();
                assert_eq!(bits_of(&cut), bits_of(&whole), "{metric:?} {memory} {chunk}");
            }
            let less = KMeans::new(9).metric(metric).memory(60_000).chunk_rows(300);
            let predicted = less.predict(&gpu, &x, &whole.cluster_centers).unwrap();
            assert_eq!(predicted.labels, whole.labels, "{metric:?}");
        }
    }
    // Empty clusters too.
    let start = Init::Centroids(matrix(7, &[&x.values[..14], &[50.0; 7]].concat()));
    let kmeans = KMeans::new(3).init(start).max_iter(6);
    let whole = kmeans.fit(&gpu, &x, |_| ()).unwrap();
    assert_eq!(whole.distinct_clusters, 3);
    let cut = kmeans.memory(60_000).chunk_rows(300).fit(&gpu, &x, |_| ()).unwrap();
    assert_eq!(bits_of(&cut), bits_of(&whole));

    let error = KMeans::new(3).memory(100).fit(&gpu, &x, |_| ()).unwrap_err().to_string();
    assert!(error.contains("at least 248 are needed"), "{error}");
}

#[test]
fn streamed_points_take_no_more_memory_than_they_are_given() {
    let gpu = device();
    let x = blobs(2000, 5, 3, 4.0, 17);
    // A point in two vec4s, 28 bytes of labels, keys, places, distances and near ties, and one for each vec4.
    let each = 32 + 28 + 2;
    for (bytes, chunk) in [(60_000, 100), (40_000, 64), (20_000, 40), (100_000, 1000), (each * 4, 1)] {
        let room = Room { bytes, chunk };
        let points = Points::new(&gpu, &x, None, &Transform::Plain, room).unwrap();
        let rows: u64 = points.blocks().iter().map(Block::rows).sum();
        assert!(!points.all_resident() && rows * each <= bytes, "{rows} rows for {bytes} bytes");
    }
}

#[test]
fn few_points_for_a_cluster_are_told_of() {
    let gpu = device();
    let advised = |n: usize| {
        let fitted = fit(&gpu, &KMeans::new(2), &blobs(n, 2, 2, 9.0, 3));
        fitted.notices.iter().any(|notice| notice.contains("are advised"))
    };
    assert_eq!([76, 77, 78, 79].map(advised), [true, true, false, false]);
}

#[test]
fn cosine_counts_directions_alone() {
    let gpu = device();
    let mut random = Random::new(51);
    let corners = [[1.0f32, 0.1, 0.0], [0.0, 1.0, 0.2], [0.3, 0.0, 1.0]];
    let values: Vec<f32> = (0..300)
        .flat_map(|i| {
            let length = 0.01 + 100.0 * random.unit() as f32;
            corners[i % 3].map(|x| length * (x + 0.05 * random.unit() as f32))
        })
        .collect();
    let x = matrix(3, &values);
    let fitted = KMeans::new(3).metric(Metric::Cosine).fit(&gpu, &x, |_| ()).unwrap();
    assert!((3..300).all(|i| fitted.labels[i] == fitted.labels[i - 3]));
    for centroid in fitted.cluster_centers.values.chunks(3) {
        let norm: f32 = centroid.iter().map(|x| x * x).sum();
        assert!((norm - 1.0).abs() < 1e-6, "{norm}");
    }
    let cosine = |a: &[f32], b: &[f32]| {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    };
    let expected: f64 = x
        .values
        .chunks(3)
        .zip(&fitted.labels)
        .map(|(row, &label)| 1.0 - cosine(row, &fitted.cluster_centers.values[label as usize * 3..][..3]))
        .sum();
    assert!((fitted.inertia - expected).abs() < 1e-4 * expected + 1e-5, "{} {expected}", fitted.inertia);
    let zero = matrix(2, &[1.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
    let error = KMeans::new(2).metric(Metric::Cosine).fit(&gpu, &zero, |_| ()).unwrap_err().to_string();
    assert!(error.contains("row 1 is 0 throughout"), "{error}");
}
