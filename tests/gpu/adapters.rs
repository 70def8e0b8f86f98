//! K-means on several adapters: one adapter opened several times stands for them.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lowbit::internals::gpu::Context;
use lowbit::internals::io::npy::{self, Matrix};
use lowbit::internals::kmeans::{Checkpoints, Empty, Fitted, Init, KMeans, Metric, Progress};
use lowbit::internals::random::Random;
use lowbit::internals::{Error, Result};

use crate::cli::{BAD_INPUT, done, lowbit, refused, run};
use crate::harness::device;
use crate::kmeans::{bits_of, blobs, matrix};

fn several(count: usize) -> Vec<Context> {
    (0..count).map(|_| device()).collect()
}

fn fit(kmeans: &KMeans, gpus: &[Context], data: &Matrix, weights: Option<&[f32]>) -> Result<Fitted> {
    kmeans.fit_on(&gpus.iter().collect::<Vec<_>>(), data, weights, |_| ())
}

/// On two and three adapters the bits are those of one; streamed too. Gives the result.
fn check(name: &str, gpus: &[Context], kmeans: &KMeans, data: &Matrix, weights: Option<&[f32]>) -> Fitted {
    let one = fit(kmeans, &gpus[..1], data, weights).unwrap();
    for count in 2..=gpus.len() {
        let streamed = kmeans.clone().memory(60_000).chunk_rows(271);
        for (place, kmeans) in [("resident", kmeans), ("streamed", &streamed)] {
            let fitted = fit(kmeans, &gpus[..count], data, weights).unwrap();
            assert_eq!(bits_of(&fitted), bits_of(&one), "{name}, {place}, {count} adapters");
            assert_eq!((fitted.converged, fitted.distinct_clusters), (one.converged, one.distinct_clusters));
        }
    }
    one
}

#[test]
fn several_adapters_give_the_bits_of_one() {
    let gpus = several(3);
    let x = Matrix { rows: 5000, cols: 7, values: Random::new(41).floats(35_000) };
    let weights: Vec<f32> = (0..5000).map(|i| (i % 5) as f32 * 0.37).collect();
    let kmeans = KMeans::new(9).seed(3).max_iter(12).tol(0.0);
    check("euclidean", &gpus, &kmeans, &x, None);
    check("weighted", &gpus, &kmeans, &x, Some(&weights));
    check("cosine", &gpus, &kmeans.clone().metric(Metric::Cosine), &x, None);
    check("dot", &gpus, &kmeans.clone().metric(Metric::Dot), &x, Some(&weights));
    check("random, twice", &gpus, &kmeans.clone().init(Init::Random).n_init(2), &x, Some(&weights));
    check("k-means++, twice", &gpus, &kmeans.clone().n_init(2), &x, None);
    check("bisecting", &gpus, &kmeans.clone().init(Init::Bisecting), &x, Some(&weights));
    let frozen = kmeans.clone().frozen(matrix(7, &x.values[70..84]));
    check("frozen", &gpus, &frozen, &x, None);
    check("two levels beside frozen", &gpus, &frozen.init(Init::TwoLevel), &x, None);
    check("a sample", &gpus, &kmeans.clone().subsample(Some(100)), &x, Some(&weights));
    check("a sample to seed", &gpus, &kmeans.seed_bytes(20_000), &x, None);
    let converging = blobs(3001, 5, 11, 1.5, 7);
    assert!(check("converging", &gpus, &KMeans::new(11), &converging, None).converged);
}

#[test]
fn empty_clusters_are_filled_from_the_points_of_all_adapters() {
    let gpus = several(3);
    let x = Matrix { rows: 5000, cols: 7, values: Random::new(41).floats(35_000) };
    let weights: Vec<f32> = (0..5000).map(|i| (i % 5) as f32).collect();
    let far: Vec<f32> = [50.0, 60.0, 70.0, 80.0].into_iter().flat_map(|at| [at; 7]).collect();
    let start = Init::Centroids(matrix(7, &[&x.values[..14], &far].concat()));
    for empty in [Empty::Farthest, Empty::SplitLargest, Empty::Keep] {
        for weights in [None, Some(weights.as_slice())] {
            let kmeans = KMeans::new(6).init(start.clone()).max_iter(6).empty(empty);
            let fitted = check("empty clusters", &gpus, &kmeans, &x, weights);
            assert_eq!(fitted.distinct_clusters == 6, empty != Empty::Keep, "{empty:?}");
        }
    }
}

#[test]
fn fewer_points_than_adapters_are_shared_out_too() {
    let gpus = several(3);
    for n in 1..4 {
        let x = blobs(n, 3, n, 4.0, 5);
        for k in 1..=n {
            check("few points", &gpus, &KMeans::new(k), &x, None);
        }
        let fitted = fit(&KMeans::new(1), &gpus, &x, None).unwrap();
        let shares = fitted.notices.iter().find(|notice| notice.starts_with("points: 1 on ")).unwrap();
        assert_eq!(shares.matches(", none on ").count(), 3 - n, "{shares}");
    }
    let error = fit(&KMeans::new(2), &[], &blobs(9, 3, 2, 1.0, 5), None).unwrap_err();
    assert!(error.to_string().contains("no adapter"), "{error}");
}

#[test]
fn an_interrupted_fit_goes_on_on_another_number_of_adapters() {
    let (gpus, folder) = (several(2), tempfile::tempdir().unwrap());
    let path = folder.path().join("state.safetensors");
    let x = Matrix { rows: 1500, cols: 7, values: Random::new(41).floats(10_500) };
    let kmeans = KMeans::new(9).seed(3).n_init(2).max_iter(5).tol(0.0);
    let whole = fit(&kmeans, &gpus[..1], &x, None).unwrap();
    for (before, after) in [(2, 2), (1, 2), (2, 1)] {
        for at in [1, 3, 7] {
            let stop = Arc::new(AtomicBool::new(false));
            let checkpoints = |resume| Checkpoints {
                path: path.clone(),
                every: Duration::ZERO,
                stop: Arc::clone(&stop),
                resume,
            };
            let refs = |count: usize| gpus[..count].iter().collect::<Vec<_>>();
            let mut seen = 0;
            let interrupted =
                kmeans.clone().checkpoints(checkpoints(false)).fit_on(&refs(before), &x, None, |news| {
                    seen += usize::from(matches!(news, Progress::Iterating { .. }));
                    stop.store(seen >= at, Ordering::Relaxed);
                });
            assert!(matches!(interrupted, Err(Error::Interrupted { .. })));
            stop.store(false, Ordering::Relaxed);
            let resumed = kmeans.clone().checkpoints(checkpoints(true));
            let resumed = resumed.fit_on(&refs(after), &x, None, |_| ()).unwrap();
            assert_eq!(bits_of(&resumed), bits_of(&whole), "{before}, {after}, {at}");
        }
    }
}

#[test]
fn the_command_line_shares_points_out() {
    let folder = tempfile::tempdir().unwrap();
    let folder: &Path = folder.path();
    let x = blobs(1000, 3, 4, 2.0, 3);
    npy::write_matrix(&folder.join("x.npy"), x.rows, x.cols, &x.values).unwrap();
    let whole = device().adapter.name.clone();
    let name = whole.chars().take(5).collect::<String>();
    let fit = |labels: &str, adapters: &[&str]| {
        let fit = ["kmeans", "fit", "x.npy", "-k", "4", "--labels", labels];
        lowbit(folder, &[&fit[..], adapters].concat())
    };
    done(folder, &["kmeans", "fit", "x.npy", "-k", "4", "--labels", "one.npy"]);
    let bytes = |file: &str| std::fs::read(folder.join(file)).unwrap();
    // Names of adapters have commas: that of lavapipe does.
    for adapters in [
        &["--adapters", &format!("{name},{name}")][..],
        &["--adapters", &format!("{whole},{whole}")],
        &["--adapters", &whole, "--adapters", &name],
    ] {
        let twice = run(&mut fit("two.npy", adapters));
        assert_eq!(twice.code, Some(0), "{twice:?}");
        assert_eq!(twice.err.matches("500 on ").count(), 2, "{adapters:?}: {twice:?}");
        assert_eq!(bytes("two.npy"), bytes("one.npy"));
    }
    let all = run(&mut fit("all.npy", &["--adapters", "all"]));
    assert_eq!(all.code, Some(0), "{all:?}");
    for (adapters, words) in [
        (&["--adapters", "no such thing"][..], &["\"no such thing\"", "there is: "][..]),
        (&["--adapters", &format!("{name},no such thing")], &["\"no such thing\"", "there is: "]),
        (&["--adapters", &format!("{name},")], &["--adapters", "empty name"]),
        (&["--adapters", &name, "--adapter", &name], &["--adapters", "--adapter"]),
        (&["--adapters", &name, "--trace", "t.json"], &["--adapters", "--trace"]),
    ] {
        refused(&mut fit("bad.npy", adapters), BAD_INPUT, words);
        assert!(!folder.join("bad.npy").exists());
    }
}

#[test]
#[ignore = "times: cargo test --test gpu adapters -- --ignored --nocapture"]
fn an_iteration_on_one_adapter_and_on_two() {
    let gpus: Vec<Context> =
        (0..2).map(|_| Context::open(&lowbit::internals::gpu::Options::default()).unwrap()).collect();
    let x = Matrix { rows: 65_536, cols: 64, values: Random::new(1).floats(65_536 * 64) };
    let kmeans = KMeans::new(256).init(Init::Random).max_iter(12).tol(0.0);
    for count in [1, 2, 1, 2] {
        let fitted = fit(&kmeans, &gpus[..count], &x, None).unwrap();
        println!("{count}: {:.1} ms per iteration, inertia {}", fitted.ms_per_iteration, fitted.inertia);
    }
}
