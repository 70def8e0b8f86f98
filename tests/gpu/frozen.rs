//! Centroids that stay where they are: to the bit, in every way to fit the others beside them.

use lowbit::internals::gpu::Context;
use lowbit::internals::io::npy::{self, Matrix};
use lowbit::internals::kmeans::{Empty, Fitted, Init, KMeans, Metric};
use lowbit::internals::oracle;
use lowbit::internals::random::Random;

use crate::cli::{BAD_INPUT, done, lowbit, refused, run};
use crate::harness::{device, predict};
use crate::kmeans::{bits_of, blobs, matrix};

fn fit(gpu: &Context, kmeans: &KMeans, x: &Matrix) -> Fitted {
    kmeans.fit(gpu, x, |_| ()).unwrap()
}

/// Points far from 0, whose mean is taken from them, with values of many digits.
fn cloud() -> Matrix {
    let values = Random::new(31).floats(1200 * 4).iter().map(|x| 1e4 / 3.0 + x).collect();
    Matrix { rows: 1200, cols: 4, values }
}

/// What lies among them, with digits that they do not have.
fn among(rows: usize) -> Matrix {
    let values = Random::new(77).floats(rows * 4).iter().map(|x| 1e4 / 3.0 + x / 3.0).collect();
    Matrix { rows, cols: 4, values }
}

#[test]
fn frozen_centroids_come_back_to_the_bit_in_every_way() {
    let gpu = device();
    let (x, frozen) = (cloud(), among(3));
    let weights: Vec<f32> = (0..1200).map(|i| (i % 5) as f32).collect();
    let given = Init::Centroids(matrix(4, &x.values[..20]));
    for init in [Init::PlusPlus, Init::Parallel, Init::Random, Init::Bisecting, Init::TwoLevel, given] {
        for (metric, weights) in
            [(Metric::Euclidean, None), (Metric::Dot, None), (Metric::Euclidean, Some(&weights[..]))]
        {
            let kmeans = KMeans::new(8).metric(metric).init(init.clone()).frozen(frozen.clone());
            let kmeans = kmeans.seed(5).max_iter(6).tol(0.0).history(true);
            let fitted = kmeans.fit_weighted(&gpu, &x, weights, |_| ()).unwrap();
            assert_eq!(fitted.cluster_centers.values[..12], frozen.values, "{init:?} {metric:?}");
            let predicted = KMeans::new(8).metric(metric).predict(&gpu, &x, &fitted.cluster_centers).unwrap();
            assert_eq!(fitted.labels, predicted.labels);
            let rise = |pair: &[f64]| pair[1] > pair[0] * (1.0 + 1e-6);
            assert!(metric == Metric::Dot || !fitted.history.windows(2).any(rise), "{:?}", fitted.history);
            let cut = kmeans.memory(60_000).chunk_rows(170).fit_weighted(&gpu, &x, weights, |_| ()).unwrap();
            assert_eq!(bits_of(&cut), bits_of(&fitted), "{init:?} {metric:?}");
        }
    }
}

#[test]
fn directions_are_frozen_at_unit_length() {
    let gpu = device();
    let x = Matrix { rows: 700, cols: 4, values: Random::new(3).floats(2800) };
    let frozen = matrix(4, &[3.0, 0.0, 4.0, 0.0, 0.1, -0.7, 0.2, 0.3]);
    for init in [Init::PlusPlus, Init::Parallel, Init::Bisecting] {
        let kmeans = KMeans::new(6).metric(Metric::Cosine).init(init).frozen(frozen.clone());
        let fitted = fit(&gpu, &kmeans, &x);
        assert_eq!(fitted.cluster_centers.values[..4], [0.6, 0.0, 0.8, 0.0]);
        // What was returned once is a direction, which stays to the bit.
        let directions = matrix(4, &fitted.cluster_centers.values[..16]);
        let again = fit(&gpu, &kmeans.clone().frozen(directions.clone()), &x);
        assert_eq!(again.cluster_centers.values[..16], directions.values);
        assert!(again.n_iter > 1);
    }
    let zero =
        KMeans::new(2).metric(Metric::Cosine).frozen(matrix(4, &[1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]));
    let error = zero.fit(&gpu, &x, |_| ()).unwrap_err().to_string();
    assert_eq!(error, "row 1 of frozen is 0 throughout: it has no direction");
}

#[test]
fn the_others_are_the_means_of_what_is_nearest_to_them() {
    let gpu = device();
    for (n, d, k, f, seed) in [(500, 3, 7, 2, 1), (613, 17, 9, 8, 2), (97, 5, 4, 1, 3)] {
        let x = Matrix { rows: n, cols: d, values: Random::new(seed).floats(n * d) };
        let frozen = Matrix { rows: f, cols: d, values: Random::new(seed + 9).floats(f * d) };
        let start = matrix(d, &x.values[..(k - f) * d]);
        let kmeans = KMeans::new(k).frozen(frozen.clone()).init(Init::Centroids(start.clone()));
        let fitted = fit(&gpu, &kmeans.max_iter(30).tol(0.0), &x);
        // The definition, in f64.
        let mut centroids: Vec<f32> = [frozen.values, start.values].concat();
        let mut labels = Vec::new();
        for _ in 0..30 {
            let next = oracle::assign::assign(&x.values, &centroids, d);
            if next == labels {
                break;
            }
            labels = next;
            for (c, row) in centroids.chunks_mut(d).enumerate().skip(f) {
                let own: Vec<&[f32]> = x
                    .values
                    .chunks(d)
                    .zip(&labels)
                    .filter(|(_, l)| **l == c as u32)
                    .map(|(x, _)| x)
                    .collect();
                assert!(!own.is_empty());
                for (j, value) in row.iter_mut().enumerate() {
                    *value = (own.iter().map(|x| f64::from(x[j])).sum::<f64>() / own.len() as f64) as f32;
                }
            }
        }
        let labels = oracle::assign::assign(&x.values, &centroids, d);
        let far = |(x, &c): (&[f32], &u32)| oracle::distance::distance(x, &centroids[c as usize * d..][..d]);
        let inertia: f64 = x.values.chunks(d).zip(&labels).map(far).sum();
        assert!((fitted.inertia / inertia - 1.0).abs() < 1e-5, "{} {inertia}", fitted.inertia);
        let differ = fitted.labels.iter().zip(&labels).filter(|(a, b)| **a != **b as i32).count();
        assert!(differ * 100 < n, "{differ} of {n}");
    }
}

#[test]
fn all_may_be_frozen_and_then_points_are_labelled() {
    let gpu = device();
    let (x, frozen) = (cloud(), among(6));
    for init in [Init::PlusPlus, Init::TwoLevel, Init::Centroids(Matrix { rows: 0, cols: 4, values: vec![] })]
    {
        let fitted = fit(&gpu, &KMeans::new(6).init(init).frozen(frozen.clone()).n_init(3), &x);
        let predicted = predict(&gpu, &x, &frozen).unwrap();
        assert_eq!((&fitted.labels, fitted.inertia), (&predicted.labels, predicted.inertia));
        assert_eq!((fitted.cluster_centers.values, fitted.n_iter), (frozen.values.clone(), 1));
        assert!(fitted.converged);
    }
}

#[test]
fn an_empty_frozen_cluster_stays_empty_and_others_are_filled() {
    let gpu = device();
    let x = blobs(300, 2, 3, 40.0, 6);
    let far = matrix(2, &[900.0, -900.0]);
    let lost = Init::Centroids(matrix(2, &[0.0, 0.0, 1.0, 1.0, -800.0, 800.0]));
    for empty in [Empty::Farthest, Empty::SplitLargest, Empty::Keep] {
        let kmeans = KMeans::new(4).frozen(far.clone()).init(lost.clone()).empty(empty);
        let fitted = fit(&gpu, &kmeans, &x);
        assert_eq!(fitted.cluster_centers.values[..2], far.values);
        let expected = if empty == Empty::Keep { 2 } else { 3 };
        assert_eq!(fitted.distinct_clusters, expected, "{empty:?}");
        assert!(fitted.labels.iter().all(|&label| label != 0));
        assert!(fitted.converged);
    }
    // The largest cluster is frozen: its points may be taken, but it is not moved to split it.
    let all = matrix(2, &[40.0, 40.0]);
    let lost = Init::Centroids(matrix(2, &[-800.0, 800.0, 0.0, 0.0]));
    for empty in [Empty::Farthest, Empty::SplitLargest] {
        let kmeans = KMeans::new(3).frozen(all.clone()).init(lost.clone()).empty(empty);
        let fitted = fit(&gpu, &kmeans, &x);
        assert_eq!(fitted.cluster_centers.values[..2], all.values, "{empty:?}");
        assert_eq!(fitted.distinct_clusters, 3);
    }
}

#[test]
fn seeds_are_chosen_away_from_what_is_frozen() {
    let gpu = device();
    // Two far blobs, the first of a thousand points, and centroids at it already.
    let values = (0..1010).flat_map(|i| [if i < 1000 { 0.0 } else { 90.0 } + (i % 7) as f32 * 0.01, 0.5]);
    let x = matrix(2, &values.collect::<Vec<_>>());
    let weights: Vec<f32> = (0..1010).map(|i| 1.0 + (i % 3) as f32).collect();
    let frozen = matrix(2, &[0.02, 0.5, 0.05, 0.5]);
    for weights in [None, Some(&weights[..])] {
        for (init, seed_bytes) in
            [(Init::PlusPlus, u64::MAX), (Init::PlusPlus, 12_800), (Init::Parallel, u64::MAX)]
        {
            for seed in 0..8 {
                let kmeans = KMeans::new(3).init(init.clone()).frozen(frozen.clone()).seed(seed);
                let kmeans = kmeans.seed_bytes(seed_bytes).max_iter(1);
                let fitted = kmeans.fit_weighted(&gpu, &x, weights, |_| ()).unwrap();
                assert!((fitted.cluster_centers.values[4] - 90.0).abs() < 1.0, "{init:?} {seed}");
                assert!(fitted.labels[1000..].iter().all(|&label| label == 2));
            }
        }
    }
    // All points at frozen ones leave nothing to draw by.
    let same = matrix(2, &[0.02, 0.5].repeat(20));
    for init in [Init::PlusPlus, Init::Parallel, Init::Bisecting] {
        let fitted = fit(&gpu, &KMeans::new(5).init(init).frozen(frozen.clone()), &same);
        assert_eq!((fitted.inertia, fitted.distinct_clusters), (0.0, 1));
    }
}

#[test]
fn what_cannot_be_frozen_is_refused() {
    let (gpu, x) = (device(), cloud());
    let error = |kmeans: KMeans| kmeans.fit(&gpu, &x, |_| ()).unwrap_err();
    for (kmeans, text) in [
        (KMeans::new(2).frozen(among(3)), "3 frozen centroids are more than n_clusters=2"),
        (
            KMeans::new(2).frozen(matrix(3, &[0.0; 3])),
            "The shape of the frozen centers (1, 3) does not match the number of features of the data 4.",
        ),
        (
            KMeans::new(2).frozen(Matrix { rows: 0, cols: 4, values: vec![] }),
            "frozen is empty: 0 rows of 4 values",
        ),
        (
            KMeans::new(3).frozen(among(1)).init(Init::Centroids(among(3))),
            "The shape of the initial centers (3, 4) does not match the number of clusters 3, 1 of them frozen.",
        ),
    ] {
        let error = error(kmeans);
        assert_eq!((error.to_string().as_str(), error.exit_code()), (text, 2));
    }
    let nan = error(KMeans::new(2).frozen(matrix(4, &[f32::NAN; 4]))).to_string();
    assert!(nan.starts_with("Input frozen contains NaN: row 0, column 0"), "{nan}");
    let error = KMeans::new(2).frozen(among(1)).fit_batch(&gpu, &x, 3, |_| ()).unwrap_err().to_string();
    assert_eq!(error, "frozen centroids cannot be had for several problems in one call: leave it out");
}

#[test]
fn the_command_line_freezes_a_file() {
    let temporary = tempfile::tempdir().unwrap();
    let (folder, x, frozen) = (temporary.path(), cloud(), among(2));
    npy::write_matrix(&folder.join("x.npy"), x.rows, x.cols, &x.values).unwrap();
    npy::write_matrix(&folder.join("f.npy"), frozen.rows, frozen.cols, &frozen.values).unwrap();
    let fit = ["kmeans", "fit", "x.npy", "-k", "5", "--seed", "3", "--frozen", "f.npy"];
    for init in ["k-means++", "bisecting", "two-level"] {
        done(folder, &[&fit[..], &["--init", init, "--centroids", "c.npy", "--labels", "l.npy"]].concat());
        let centroids = npy::read_matrix(&folder.join("c.npy")).unwrap();
        assert_eq!(centroids.values[..8], frozen.values);
        done(folder, &["kmeans", "predict", "x.npy", "--centroids", "c.npy", "-o", "p.npy"]);
        let bytes = |name: &str| std::fs::read(folder.join(name)).unwrap();
        assert_eq!(bytes("l.npy"), bytes("p.npy"));
    }
    for (more, text) in
        [("--batch", "--batch"), ("--mini-batch", "--mini-batch"), ("--centroids f.npy", "f.npy")]
    {
        let ran = run(&mut lowbit(folder, &[&fit[..], &more.split(' ').collect::<Vec<_>>()].concat()));
        assert_eq!(ran.code, Some(BAD_INPUT), "{ran:?}");
        assert!(ran.err.contains(text), "{ran:?}");
    }
    for (line, text) in [
        ("-k 1 --frozen f.npy", "2 frozen centroids are more than n_clusters=1"),
        ("-k 3 --frozen none.npy", "none.npy"),
        ("-k 3 --mini-batch --init bisecting", "bisecting divides all points"),
    ] {
        let arguments: Vec<&str> = ["kmeans", "fit", "x.npy"].into_iter().chain(line.split(' ')).collect();
        refused(&mut lowbit(folder, &arguments), BAD_INPUT, &[text]);
    }
}
