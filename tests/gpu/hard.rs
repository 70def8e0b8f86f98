//! K-means on data that f32 scores cannot rank: groups far from each other, sentinels, data far from 0.

use lowbit::internals::io::npy::Matrix;
use lowbit::internals::kmeans::{Init, KMeans, Metric, MiniBatchKMeans};
use lowbit::internals::oracle;
use lowbit::internals::random::Random;

use crate::harness::{device, predict};
use crate::kmeans::{blobs, matrix};

fn labels(of: &[u32]) -> Vec<i32> {
    of.iter().map(|&label| label as i32).collect()
}

/// `n` points of four groups: at 0 and `apart`, and as much beyond `far`.
fn far_groups(n: usize, d: usize, apart: f32, far: f32, seed: u64) -> Matrix {
    let mut random = Random::new(seed);
    let row = |i: usize| {
        let at = [0.0, apart, far, far + apart][i % 4];
        random.floats(d).into_iter().map(|value| at + value).collect::<Vec<_>>()
    };
    Matrix { rows: n, cols: d, values: (0..n).flat_map(row).collect() }
}

#[test]
fn far_groups_are_told_apart() {
    let gpu = device();
    for far in [1e3, 1e4, 1e5, 1e6, 1e7] {
        let x = far_groups(600, 3, 2.5, far, 1);
        let init = matrix(3, &x.values[..12]);
        // By given centroids, each of which is off by a little.
        let found = predict(&gpu, &x, &init).unwrap();
        let right = oracle::assign::assign(&x.values, &init.values, 3);
        assert_eq!(found.labels, labels(&right), "{far}");
        let inertia: f64 = x
            .values
            .chunks(3)
            .zip(&right)
            .map(|(x, &label)| oracle::distance::distance(x, &init.values[label as usize * 3..][..3]))
            .sum();
        assert!((found.inertia / inertia - 1.0).abs() < 1e-6, "{} {inertia}", found.inertia);
        let distances = KMeans::new(4).transform(&gpu, &x, &init).unwrap();
        for (x, row) in x.values.chunks(3).zip(distances.values.chunks(4)) {
            for (c, &distance) in init.values.chunks(3).zip(row) {
                let right = oracle::distance::distance(x, c).sqrt();
                assert!((f64::from(distance) - right).abs() <= 1e-6 * right, "{distance} {right}");
            }
        }
        // And from there on.
        let fitted = KMeans::new(4).init(Init::Centroids(init.clone())).fit(&gpu, &x, |_| ()).unwrap();
        let right = oracle::lloyd::lloyd(&x.values, &init.values, 3, 300, 0.0);
        assert_eq!(fitted.labels, labels(&right.labels), "{far}");
        // Means are within two units of the last place of theirs, which is all that they add to the inertia of a mean.
        let off = 600.0 * 3.0 * f64::from(2.0 * far * f32::EPSILON).powi(2);
        let most = off + 1e-6 * right.inertia;
        assert!((fitted.inertia - right.inertia).abs() <= most, "{} {}", fitted.inertia, right.inertia);
        let seeded = KMeans::new(4).n_init(4).fit(&gpu, &x, |_| ()).unwrap();
        assert!(seeded.inertia <= 1.001 * right.inertia + off, "{} {}", seeded.inertia, right.inertia);
    }
}

#[test]
fn a_sentinel_costs_no_label() {
    let gpu = device();
    let (n, d) = (401, 4);
    let plain = far_groups(n, d, 3.0, 12.0, 2);
    for sentinel in [1e6, -1e9, 1e12, -1e15, 1e18, 1e22, -1e30] {
        let mut x = plain.clone();
        x.values[7 * d + 2] = sentinel;
        let mut init = x.values[..4 * d].to_vec();
        init.extend(&x.values[7 * d..][..d]);
        let init = matrix(d, &init);
        let right = oracle::lloyd::lloyd(&x.values, &init.values, d, 300, 0.0);
        let kmeans = KMeans::new(5).init(Init::Centroids(init));
        let fitted = kmeans.fit(&gpu, &x, |_| ()).unwrap();
        assert_eq!(fitted.labels, labels(&right.labels), "{sentinel}");
        let inertia = (fitted.inertia / right.inertia - 1.0).abs();
        assert!(inertia < 1e-5, "{sentinel}: {} {}", fitted.inertia, right.inertia);
        for (found, right) in fitted.cluster_centers.values.iter().zip(&right.centroids) {
            assert!((f64::from(*found) - right).abs() <= 1e-6 * right.abs().max(1.0), "{found} {right}");
        }
        let again = kmeans.predict(&gpu, &x, &fitted.cluster_centers).unwrap();
        assert_eq!(again.labels, fitted.labels);
        // Its column is in no cluster's way, so that seeding finds the groups.
        let seeded = KMeans::new(5).seed(3).n_init(3).fit(&gpu, &x, |_| ()).unwrap();
        assert!(seeded.inertia <= right.inertia * 1.001, "{sentinel}: {} {}", seeded.inertia, right.inertia);
    }
}

#[test]
fn a_sentinel_costs_no_label_of_batches_and_mini_batches() {
    let gpu = device();
    let (n, d) = (200, 2);
    let parts: Vec<Matrix> =
        (0..3).map(|i| far_groups(n, d, 3.0, 10f32.powi(2 + 2 * i), 4 + i as u64)).collect();
    let mut all: Vec<f32> = parts.iter().flat_map(|part| part.values.clone()).collect();
    all[n * d] = 1e13;
    let x = Matrix { rows: 3 * n, cols: d, values: all };
    let kmeans = KMeans::new(5).seed(1);
    let together = kmeans.fit_batch(&gpu, &x, 3, |_| ()).unwrap();
    let again = kmeans.predict_batch(&gpu, &x, 3, &together.cluster_centers).unwrap();
    assert_eq!(again.labels, together.labels);
    for i in 0..3 {
        let own = matrix(d, &x.values[i * n * d..][..n * d]);
        let fitted = kmeans.fit(&gpu, &own, |_| ()).unwrap();
        assert_eq!(together.labels[i * n..][..n], fitted.labels, "problem {i}");
        let centers = &together.cluster_centers.values[i * 5 * d..][..5 * d];
        assert_eq!(labels(&oracle::assign::assign(&own.values, centers, d)), fitted.labels);
    }
    let mini = MiniBatchKMeans::new(5).fit(&gpu, &x, |_| ()).unwrap();
    let nearest = oracle::assign::assign(&x.values, &mini.cluster_centers.values, d);
    assert_eq!(mini.labels, labels(&nearest));
}

#[test]
fn labels_are_the_nearest_of_the_centroids_that_are_returned() {
    let gpu = device();
    let offset = |by: f32, x: &Matrix| Matrix { values: x.values.iter().map(|v| v + by).collect(), ..*x };
    let x = blobs(900, 3, 9, 0.7, 5);
    let whole = Matrix { values: x.values.iter().map(|v| (v * 40.0).round()).collect(), ..x };
    for x in [offset(0.0, &x), offset(3e4, &x), offset(-7e6, &x), offset(1e3, &whole), whole.clone()] {
        for metric in [Metric::Euclidean, Metric::Dot] {
            let kmeans = KMeans::new(9).metric(metric).seed(2).max_iter(4);
            let fitted = kmeans.fit(&gpu, &x, |_| ()).unwrap();
            let centers = &fitted.cluster_centers;
            let nearest = oracle::assign::nearest(&x.values, &centers.values, 3, metric == Metric::Dot);
            assert_eq!(fitted.labels, labels(&nearest));
            assert_eq!(kmeans.predict(&gpu, &x, centers).unwrap().labels, fitted.labels);
        }
    }
}

#[test]
fn a_translation_without_rounding_changes_no_label() {
    let gpu = device();
    // Multiples of 2^-10 below 8, so that sums with whole numbers below 2^13 are floats.
    let grid = |v: &f32| (v * 1024.0).round() / 1024.0;
    let x = blobs(700, 2, 6, 0.9, 6);
    let x = Matrix { values: x.values.iter().map(grid).collect(), ..x };
    let init = matrix(2, &x.values[..12]);
    let fit = |by: f32| {
        let moved = |m: &Matrix| Matrix { values: m.values.iter().map(|v| v + by).collect(), ..*m };
        KMeans::new(6).init(Init::Centroids(moved(&init))).fit(&gpu, &moved(&x), |_| ()).unwrap()
    };
    let first = fit(0.0);
    for by in [1.0, -77.0, 4096.0] {
        let other = fit(by);
        assert_eq!((other.n_iter, &other.labels), (first.n_iter, &first.labels), "{by}");
    }
}

#[test]
fn scores_decide_nearly_all_of_ordinary_data() {
    let gpu = device();
    let x = Matrix { rows: 4000, cols: 32, values: Random::new(8).floats(4000 * 32) };
    let fitted = KMeans::new(20).max_iter(5).fit(&gpu, &x, |_| ()).unwrap();
    let told = fitted.reranked;
    assert_eq!(told.of, 4000 * u64::from(fitted.n_iter + 1));
    assert!(told.points * 1000 < told.of, "{told:?}");
    // Where all centroids are the same, none is decided by its score.
    let found = predict(&gpu, &x, &matrix(32, &[0.0; 64])).unwrap();
    assert_eq!((found.reranked.points, found.reranked.of), (4000, 4000));
    assert!(found.labels.iter().all(|&label| label == 0));
}

#[test]
fn narrow_cones_are_told_apart_and_predicted_as_they_were_fitted() {
    let gpu = device();
    let mut random = Random::new(12);
    let shifted = |values: Vec<f32>, by: f32| values.into_iter().map(|value| value + by).collect::<Vec<_>>();
    for by in [0.0, 1e2, 1e3] {
        let x = matrix(6, &shifted(random.floats(6 * 150), by));
        let centroids = matrix(6, &shifted(random.floats(6 * 8), by));
        let kmeans = KMeans::new(8).metric(Metric::Cosine);
        let found = kmeans.predict(&gpu, &x, &centroids).unwrap();
        // 1 - cosine as differences of f64 directions.
        let unit = |row: &[f32]| -> Vec<f64> {
            let norm = row.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
            row.iter().map(|&value| f64::from(value) / norm).collect()
        };
        let far = |x: &[f64], c: &[f64]| x.iter().zip(c).map(|(x, c)| (x - c).powi(2)).sum::<f64>();
        for (row, &label) in x.values.chunks(6).zip(&found.labels) {
            let row = unit(row);
            let distances: Vec<f64> =
                centroids.values.chunks(6).map(|c| far(&row, &unit(c)).sqrt()).collect();
            let least = distances.iter().copied().fold(f64::INFINITY, f64::min);
            // Directions of f32 are off by half a unit of the last place in each of six values.
            assert!(distances[label as usize] - least <= 4.0 * 3f64.sqrt() * f64::from(f32::EPSILON), "{by}");
        }
        let fitted = kmeans.seed(1).fit(&gpu, &x, |_| ()).unwrap();
        let again = KMeans::new(8).metric(Metric::Cosine).predict(&gpu, &x, &fitted.cluster_centers).unwrap();
        assert_eq!(again.labels, fitted.labels, "{by}");
    }
}
