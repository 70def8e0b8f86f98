//! The whole clustering: known answers, scikit-learn's semantics, properties.

use lowbit::io::npy::Matrix;
use lowbit::kmeans::{Fitted, Init, KMeans, predict};
use lowbit::oracle;
use lowbit::random::Random;

use crate::harness::device;

fn matrix(cols: usize, values: &[f32]) -> Matrix {
    Matrix { rows: values.len() / cols, cols, values: values.to_vec() }
}

fn fit(kmeans: &KMeans, data: &Matrix) -> Fitted {
    kmeans.fit(&device(), data, |_| ()).unwrap()
}

/// All of a result that has to be the same, to the bit.
fn bits_of(fitted: &Fitted) -> (Vec<i32>, Vec<u32>, u32, u64) {
    let centers = fitted.cluster_centers.values.iter().map(|v| v.to_bits()).collect();
    (fitted.labels.clone(), centers, fitted.n_iter, fitted.inertia.to_bits())
}

/// `n` points around `k` centres that lie on a line, `spread` apart.
fn blobs(n: usize, d: usize, k: usize, spread: f64, seed: u64) -> Matrix {
    let mut random = Random::new(seed);
    let values = (0..n)
        .flat_map(|i| {
            let centre = (i % k) as f64 * spread;
            (0..d).map(|_| (centre + random.unit() - 0.5) as f32).collect::<Vec<_>>()
        })
        .collect();
    Matrix { rows: n, cols: d, values }
}

// scikit-learn: test_relocate_empty_clusters / test_kmeans_relocated_clusters.
#[test]
fn an_empty_cluster_takes_the_farthest_point() {
    let x = matrix(2, &[0.0, 0.0, 0.5, 0.0, 0.5, 1.0, 1.0, 1.0]);
    let init = matrix(2, &[0.5, 0.5, 3.0, 3.0]);
    let fitted = fit(&KMeans::new(2).init(Init::Centroids(init)), &x);
    assert_eq!(fitted.labels, [0, 0, 1, 1]);
    assert!((fitted.inertia - 0.25).abs() < 1e-6, "{}", fitted.inertia);
    assert_eq!(fitted.cluster_centers.values, [0.25, 0.0, 0.75, 1.0]);
    assert_eq!(fitted.n_iter, 3);
    assert!(fitted.converged);
}

#[test]
fn several_empty_clusters_are_relocated_at_once() {
    let x = matrix(1, &[0.0, 1.0, 2.0, 3.0, 100.0, 200.0, 300.0]);
    let init = matrix(1, &[1.5, 1e6, 2e6, 3e6]);
    let fitted = fit(&KMeans::new(4).init(Init::Centroids(init.clone())), &x);
    let expected = oracle::lloyd::lloyd(&x.values, &init.values, 1, 300, 0.0);
    assert_eq!(fitted.labels, expected.labels.iter().map(|&l| l as i32).collect::<Vec<_>>());
    assert_eq!(fitted.distinct_clusters, 4);
    assert!((fitted.inertia - expected.inertia).abs() <= 1e-5 * expected.inertia);
}

#[test]
fn agrees_with_the_definition_in_f64() {
    for (n, d, k, seed) in
        [(500, 3, 7, 1), (1013, 17, 16, 2), (300, 384, 5, 3), (97, 1000, 9, 4), (700, 1, 12, 5)]
    {
        let x = Matrix { rows: n, cols: d, values: Random::new(seed).floats(n * d) };
        let init = matrix(d, &x.values[..k * d]);
        let expected = oracle::lloyd::lloyd(&x.values, &init.values, d, 30, 0.0);
        let fitted = fit(&KMeans::new(k).init(Init::Centroids(init)).max_iter(30).tol(0.0), &x);
        assert!(fitted.n_iter.abs_diff(expected.n_iter) <= 1, "{} {}", fitted.n_iter, expected.n_iter);
        assert!(
            (fitted.inertia / expected.inertia - 1.0).abs() < 1e-5,
            "{} {}",
            fitted.inertia,
            expected.inertia
        );
        let allowed = oracle::assign::allowed(&x.values, &fitted.cluster_centers.values, d);
        // Centring adds a rounding of each value, hence a little room beyond the bound for uncentred data.
        let outside = fitted
            .labels
            .iter()
            .zip(&allowed)
            .filter(|(label, set)| !set.contains(&(**label as u32)))
            .count();
        assert!(outside * 500 <= n, "{outside} labels of {n} are not the nearest");
    }
}

#[test]
fn two_runs_give_identical_bytes() {
    let x = blobs(3001, 5, 11, 1.5, 7);
    let kmeans = KMeans::new(11).seed(3);
    let (a, b) = (fit(&kmeans, &x), fit(&kmeans, &x));
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
    let x = blobs(1000, 2, 6, 0.9, 5);
    let first = fit(&KMeans::new(6).tol(0.0), &x);
    let again = fit(&KMeans::new(6).init(Init::Centroids(first.cluster_centers.clone())).tol(0.0), &x);
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
    let x = matrix(1, &[0.0, 1.0, 2.0, 3.0, 4.0, 0.0, 1.0, 2.0, 3.0, 4.0, 4.0]);
    let fitted = fit(&KMeans::new(10), &x);
    assert!(fitted.inertia < 1e-9);
    assert_eq!(fitted.distinct_clusters, 5);
    assert!(fitted.notices[0].contains("Number of distinct clusters (5) found smaller than n_clusters (10)"));
}

#[test]
fn every_point_its_own_cluster_and_one_cluster_for_all() {
    let x = blobs(40, 3, 40, 3.0, 2);
    assert!(fit(&KMeans::new(40), &x).inertia < 1e-9);
    let one = fit(&KMeans::new(1), &x);
    assert!(one.labels.iter().all(|&label| label == 0));
    assert!(one.converged);
}

#[test]
fn far_from_the_origin_the_clusters_are_still_told_apart() {
    let near = blobs(600, 4, 3, 5.0, 4);
    let far = Matrix { values: near.values.iter().map(|v| v + 10_000.0).collect(), ..near.clone() };
    let init = |x: &Matrix| Init::Centroids(matrix(4, &x.values[..12]));
    let (a, b) = (fit(&KMeans::new(3).init(init(&near)), &near), fit(&KMeans::new(3).init(init(&far)), &far));
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
    assert!(error.to_string().contains("--init random"));
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
    assert_eq!(error(KMeans::new(1), &nan), "Input X contains NaN: row 1, column 0.");
    let infinite = matrix(2, &[0.0, f32::INFINITY]);
    assert!(error(KMeans::new(1), &infinite).contains("infinity: row 0, column 1"));
    let huge = matrix(1, &[0.0, 1.0, 1e30]);
    assert!(error(KMeans::new(1), &huge).contains("overflow"));
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
    let assets = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/kmeans");
    let points = lowbit::io::npy::read_matrix(&assets.join("points.npy")).unwrap();
    let init = lowbit::io::npy::read_matrix(&assets.join("init.npy")).unwrap();
    let labels = lowbit::io::npy::read_labels(&assets.join("labels.npy")).unwrap();
    let text = std::fs::read_to_string(assets.join("reference.json")).unwrap();
    let reference: serde_json::Value = serde_json::from_str(&text).unwrap();
    let fitted = fit(&KMeans::new(12).init(Init::Centroids(init)).tol(0.0), &points);
    // The smallest gap between two nearest centroids is 1e-4, far above the bound: every label must agree.
    assert_eq!(fitted.labels, labels);
    assert!((fitted.inertia / reference["inertia"].as_f64().unwrap() - 1.0).abs() < 1e-5);
    assert_eq!(u64::from(fitted.n_iter), reference["n_iter"].as_u64().unwrap());
}
