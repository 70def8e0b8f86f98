//! Mini-batch k-means: scikit-learn's answers for the same batches, quality, determinism, and what is refused.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lowbit::internals::Error;
use lowbit::internals::io::npy::Matrix;
use lowbit::internals::kmeans::{Checkpoints, Init, KMeans, Metric, MiniBatchKMeans, Progress};
use lowbit::internals::random::Random;
use serde::Deserialize;

use crate::harness::device;
use crate::kmeans::{bits_of, blobs, matrix};

#[derive(Deserialize)]
struct Reference {
    k: usize,
    d: usize,
    init: Vec<f32>,
    steps: Vec<ReferenceStep>,
}

#[derive(Deserialize)]
struct ReferenceStep {
    batch: Vec<f32>,
    inertia_before: f64,
    centroids: Vec<f32>,
    counts: Vec<f64>,
}

#[test]
fn batches_move_centroids_as_in_scikit_learn() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/kmeans/mini_batch.json");
    let reference: Reference = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let gpu = device();
    let init = Init::Centroids(matrix(reference.d, &reference.init));
    let mut kmeans = MiniBatchKMeans::new(reference.k).init(init).reassignment_ratio(0.0);
    assert!(kmeans.cluster_centers().is_none());
    for step in &reference.steps {
        let inertia = kmeans.partial_fit(&gpu, &matrix(reference.d, &step.batch)).unwrap();
        assert!((inertia / step.inertia_before - 1.0).abs() < 1e-5, "{inertia} {}", step.inertia_before);
        assert_eq!(kmeans.counts(), step.counts);
        for (own, other) in kmeans.cluster_centers().unwrap().values.iter().zip(&step.centroids) {
            assert!((own / other - 1.0).abs() < 1e-5, "{own} {other}");
        }
    }
}

#[test]
fn comes_near_to_the_whole() {
    let gpu = device();
    for (n, d, k, spread) in [(20_000, 4, 10, 1.5), (5000, 9, 6, 3.0)] {
        let x = blobs(n, d, k, spread, 1);
        let whole = KMeans::new(k).n_init(3).fit(&gpu, &x, |_| ()).unwrap();
        let batches = MiniBatchKMeans::new(k).batch_size(512).fit(&gpu, &x, |_| ()).unwrap();
        println!("{} {} after {:?}", whole.inertia, batches.inertia, batches.notices);
        assert!(batches.inertia <= 1.05 * whole.inertia, "{} {}", batches.inertia, whole.inertia);
        assert!(batches.converged);
        assert_eq!(batches.labels.len(), n);
        let predicted = KMeans::new(k).predict(&gpu, &x, &batches.cluster_centers).unwrap();
        assert!((predicted.inertia / batches.inertia - 1.0).abs() < 1e-5);
    }
}

#[test]
fn two_runs_give_identical_bytes() {
    let gpu = device();
    let x = blobs(3001, 5, 11, 0.7, 7);
    for metric in [Metric::Euclidean, Metric::Cosine, Metric::Dot] {
        let kmeans = MiniBatchKMeans::new(11).metric(metric).batch_size(200).seed(3).max_iter(3).n_init(2);
        let fit = |kmeans: &MiniBatchKMeans| bits_of(&kmeans.fit(&gpu, &x, |_| ()).unwrap());
        let first = fit(&kmeans);
        assert_eq!(fit(&kmeans), first);
        assert_ne!(fit(&kmeans.clone().seed(4)), first);
        let parts = |kmeans: &MiniBatchKMeans| {
            let mut kmeans = kmeans.clone();
            for part in x.values.chunks(500 * 5) {
                kmeans.partial_fit(&gpu, &matrix(5, part)).unwrap();
            }
            kmeans.cluster_centers().unwrap().values
        };
        assert_eq!(parts(&kmeans), parts(&kmeans));
        if metric == Metric::Euclidean {
            assert_eq!(fit(&kmeans.clone().memory(20_000)), first);
        }
    }
}

#[test]
fn what_was_learnt_goes_on() {
    let (gpu, k) = (device(), 4);
    let x = blobs(5000, 3, k, 5.0, 8);
    for metric in [Metric::Euclidean, Metric::Cosine] {
        let mut live = MiniBatchKMeans::new(k).metric(metric).seed(1);
        let fitted = live.learn(&gpu, &x, None, |_| ()).unwrap();
        assert_eq!(bits_of(&fitted), bits_of(&live.fit(&gpu, &x, |_| ()).unwrap()));
        assert_eq!(live.cluster_centers().unwrap(), fitted.cluster_centers);
        let counts = live.counts().to_vec();
        assert!(counts.iter().sum::<f64>() >= 1024.0, "{counts:?}");
        let mut resumed = MiniBatchKMeans::new(k).metric(metric);
        resumed.resume(&fitted.cluster_centers, &counts).unwrap();
        // A batch of fewer points than there are clusters, of thousands that each centroid has got.
        let batch = matrix(3, &x.values[..9]);
        let moved = |kmeans: &mut MiniBatchKMeans| {
            kmeans.partial_fit(&gpu, &batch).unwrap();
            kmeans.cluster_centers().unwrap().values
        };
        let (a, b) = (moved(&mut live), moved(&mut resumed));
        assert_eq!(a, b);
        assert_ne!(a, fitted.cluster_centers.values);
        let far =
            a.iter().zip(&fitted.cluster_centers.values).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(far < 0.1, "{metric:?}: {far}");
    }
    let mut wrong = MiniBatchKMeans::new(k);
    let centers = matrix(2, &[0.0; 8]);
    for (counts, text) in [(vec![1.0; 3], "3 counts"), (vec![1.0, 1.0, 1.0, -1.0], "-1 points")] {
        let error = wrong.resume(&centers, &counts).unwrap_err();
        assert!(error.is_input() && error.to_string().contains(text), "{error}");
    }
    assert!(matches!(wrong.resume(&matrix(2, &[f32::NAN; 8]), &[1.0; 4]).unwrap_err(), Error::NotFinite(_)));
    assert!(wrong.cluster_centers().is_none());
}

#[test]
fn centroids_that_get_nothing_start_again() {
    let gpu = device();
    let x = blobs(400, 2, 4, 10.0, 3);
    let far = matrix(2, &[0.0, 0.0, 1e4, 1e4, 2e4, 2e4, 3e4, 3e4]);
    let lost = MiniBatchKMeans::new(4).init(Init::Centroids(far)).reassignment_ratio(0.0);
    let kept = lost.fit(&gpu, &x, |_| ()).unwrap();
    assert_eq!(kept.distinct_clusters, 1);
    assert!(kept.notices.iter().any(|notice| notice.contains("3 of the 4 clusters have no point")));
    let found = lost.reassignment_ratio(0.01).fit(&gpu, &x, |_| ()).unwrap();
    assert!(found.inertia < kept.inertia / 4.0, "{} {}", found.inertia, kept.inertia);
    assert_eq!(found.distinct_clusters, 4);
    assert!(found.cluster_centers.values.iter().all(|value| value.abs() < 100.0));
}

#[test]
fn bad_input_is_refused() {
    let gpu = device();
    let x = blobs(50, 2, 2, 5.0, 1);
    let two = MiniBatchKMeans::new(2);
    let nan = matrix(2, &[0.0, 1.0, f32::NAN, 2.0]);
    let cases: [(MiniBatchKMeans, &Matrix, &str); 9] = [
        (MiniBatchKMeans::new(0), &x, "n_clusters=0"),
        (MiniBatchKMeans::new(51), &x, "n_samples=50 should be >= n_clusters=51"),
        (two.clone().batch_size(0), &x, "batch_size=0"),
        (two.clone().reassignment_ratio(2.0), &x, "reassignment_ratio=2"),
        (two.clone().reassignment_ratio(f64::NAN), &x, "reassignment_ratio=NaN"),
        (two.clone().init_size(Some(1)), &x, "init_size=1 should be >= n_clusters=2"),
        (two.clone().n_init(0), &x, "n_init=0"),
        (two.clone().tol(-1.0), &x, "tol=-1"),
        (two.clone(), &nan, "row 1, column 0"),
    ];
    for (mut kmeans, x, expected) in cases {
        let error = kmeans.fit(&gpu, x, |_| ()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        let error = kmeans.partial_fit(&gpu, x).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let mut kmeans = two;
    kmeans.partial_fit(&gpu, &x).unwrap();
    let before = kmeans.cluster_centers().unwrap();
    let error = kmeans.partial_fit(&gpu, &matrix(3, &[0.0; 6])).unwrap_err().to_string();
    assert!(error.contains("X has 3 features, but the batches before had 2"), "{error}");
    assert!(kmeans.partial_fit(&gpu, &nan).is_err());
    assert_eq!(kmeans.cluster_centers().unwrap().values, before.values);
    // Later batches may be smaller than k, and far from the first.
    kmeans.partial_fit(&gpu, &matrix(2, &[1e6, -1e6])).unwrap();
    assert_eq!(kmeans.counts().iter().sum::<f64>(), 51.0);
}

#[test]
fn weights_count_as_repetitions() {
    let gpu = device();
    let mut random = Random::new(11);
    for metric in [Metric::Euclidean, Metric::Cosine, Metric::Dot] {
        let (n, d, k) = (300, 5, 4);
        let x = blobs(n, d, k, 2.0, 3);
        let weights: Vec<f32> = (0..n).map(|_| random.below(4) as f32 * 0.25).collect();
        let rows = (0..n).flat_map(|i| std::iter::repeat_n(i, (weights[i] * 4.0) as usize));
        let values: Vec<f32> = rows.flat_map(|i| x.values[i * d..][..d].iter().copied()).collect();
        let init = Init::Centroids(matrix(d, &x.values[..k * d]));
        let new = || MiniBatchKMeans::new(k).metric(metric).init(init.clone()).reassignment_ratio(0.0);
        let (mut weighed, mut repeated) = (new(), new());
        let inertia = weighed.partial_fit_weighted(&gpu, &x, Some(&weights)).unwrap();
        let other = repeated.partial_fit(&gpu, &matrix(d, &values)).unwrap();
        assert!((4.0 * inertia / other - 1.0).abs() < 1e-6, "{inertia} {other}");
        let counts: Vec<f64> = weighed.counts().iter().map(|count| 4.0 * count).collect();
        assert_eq!(counts, repeated.counts());
        let (own, others) = (weighed.cluster_centers().unwrap(), repeated.cluster_centers().unwrap());
        for (own, other) in own.values.iter().zip(&others.values) {
            assert!((own - other).abs() <= 1e-6 * (1.0 + other.abs()), "{own} {other}");
        }
    }
}

#[test]
fn weights_are_checked_and_heeded_by_a_fit() {
    let gpu = device();
    let (n, d, k) = (4000, 6, 8);
    let x = blobs(n, d, k, 0.5, 1);
    let kmeans = MiniBatchKMeans::new(4).batch_size(256).n_init(3);
    // Half of the clusters weigh nothing.
    let weights: Vec<f32> = (0..n).map(|i| [0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 1e-3, 5.0][i % k]).collect();
    let fitted = kmeans.fit_weighted(&gpu, &x, Some(&weights), |_| ()).unwrap();
    let whole = KMeans::new(4).n_init(4).fit_weighted(&gpu, &x, Some(&weights), |_| ()).unwrap();
    assert!(fitted.inertia <= 1.05 * whole.inertia, "{} {}", fitted.inertia, whole.inertia);
    let predicted =
        KMeans::new(4).predict_weighted(&gpu, &x, Some(&weights), &fitted.cluster_centers).unwrap();
    assert_eq!(predicted.inertia, fitted.inertia);
    assert_eq!(predicted.labels, fitted.labels);
    let plain = kmeans.fit(&gpu, &x, |_| ()).unwrap();
    let equal = kmeans.fit_weighted(&gpu, &x, Some(&vec![3.0; n]), |_| ()).unwrap();
    assert_eq!(plain.cluster_centers.values, equal.cluster_centers.values);
    assert_eq!(3.0 * plain.inertia, equal.inertia);
    for (weights, expected) in [
        (vec![1.0; 9], "there are 9 weights for 4000 points"),
        (vec![0.0; n], "0 points have a weight above 0"),
        (vec![f32::NAN; n], "the weight of row 0 is NaN"),
        (vec![-1.0; n], "the weight of row 0 is -1"),
    ] {
        for result in [
            kmeans.fit_weighted(&gpu, &x, Some(&weights), |_| ()).map(drop),
            kmeans.clone().partial_fit_weighted(&gpu, &x, Some(&weights)).map(drop),
        ] {
            let error = result.unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}

#[test]
fn what_was_interrupted_goes_on_to_the_same_bits() {
    let gpu = device();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.safetensors");
    let plain = blobs(700, 5, 4, 2.0, 3);
    // Squared distances of these overflow, so that they are scaled.
    let huge = Matrix { values: plain.values.iter().map(|value| 1e25 * value).collect(), ..plain.clone() };
    let weights: Vec<f32> = Random::new(5).floats(700).iter().map(|weight| weight.abs()).collect();
    let kmeans = MiniBatchKMeans::new(4).batch_size(100).max_iter(2).max_no_improvement(Some(6)).seed(9);
    let problems = [
        (&plain, None, kmeans.clone()),
        (&huge, Some(&weights[..]), kmeans.clone().n_init(2)),
        (&plain, Some(&weights[..]), kmeans.clone().metric(Metric::Cosine).reassignment_ratio(0.5)),
    ];
    for (x, weights, kmeans) in problems {
        let whole = bits_of(&kmeans.fit_weighted(&gpu, x, weights, |_| ()).unwrap());
        let every = |resume, at: u32| {
            let stop = Arc::new(AtomicBool::new(false));
            let kept =
                Checkpoints { path: path.clone(), every: Duration::ZERO, stop: Arc::clone(&stop), resume };
            let mut seen = 0;
            kmeans.clone().checkpoints(kept).fit_weighted(&gpu, x, weights, |news| {
                if let Progress::Iterating { .. } = news {
                    seen += 1;
                    stop.store(seen == at, Ordering::Relaxed);
                }
            })
        };
        let mut interrupted = 0;
        for at in 1.. {
            match every(false, at) {
                Err(Error::Interrupted { path: Some(written), reached }) => {
                    assert_eq!(written, path);
                    assert!(!reached.is_empty());
                }
                whole_again => {
                    assert_eq!(bits_of(&whole_again.unwrap()), whole);
                    break;
                }
            }
            interrupted += 1;
            assert_eq!(bits_of(&every(true, 0).unwrap()), whole, "after {at} batches");
        }
        assert!(interrupted > 3, "{interrupted}");
        let other =
            Checkpoints { path: path.clone(), every: Duration::ZERO, stop: Arc::default(), resume: true };
        let refused = |kmeans: MiniBatchKMeans, words: &[&str]| {
            let found = kmeans.checkpoints(other.clone()).fit_weighted(&gpu, x, weights, |_| ());
            let text = found.unwrap_err().to_string();
            assert!(words.iter().all(|word| text.contains(word)), "{text}");
        };
        refused(kmeans.clone().batch_size(99), &["of another clustering", "batch_size"]);
        refused(kmeans.clone().seed(10), &["of another clustering", "seed"]);
        let full = KMeans::new(4).checkpoints(other.clone()).fit(&gpu, x, |_| ());
        let text = full.unwrap_err().to_string();
        assert!(text.contains("mini-batch k-means checkpoint"), "{text}");
    }
}
