//! Distances of all points to all centroids.

use lowbit::internals::io::npy::{Matrix, read_matrix};
use lowbit::internals::kmeans::{KMeans, Metric};
use lowbit::internals::oracle::distance;
use lowbit::internals::random::Random;

use crate::harness::device;

#[test]
fn agrees_with_the_oracle() {
    crate::harness::check("transform");
}

/// Points far from 0, where the cancellation of centring and of squares would show.
fn points(n: usize, d: usize) -> Matrix {
    let values = Random::new(n as u64).floats(n * d).iter().map(|x| x + 50.0).collect();
    Matrix { rows: n, cols: d, values }
}

#[test]
fn distances_are_those_of_the_definition_however_points_are_kept() {
    let gpu = device();
    let (x, c) = (points(533, 7), points(19, 7));
    for metric in [Metric::Euclidean, Metric::Cosine, Metric::Dot] {
        let kmeans = KMeans::new(19).metric(metric);
        let whole = kmeans.transform(&gpu, &x, &c).unwrap();
        assert_eq!((whole.rows, whole.cols), (533, 19));
        for (row, found) in x.values.chunks(7).zip(whole.values.chunks(19)) {
            for (centroid, &found) in c.values.chunks(7).zip(found) {
                let dot = distance::product(row, centroid);
                let sizes = (distance::product(row, row) * distance::product(centroid, centroid)).sqrt();
                let (want, most) = match metric {
                    Metric::Euclidean => (distance::distance(row, centroid).sqrt(), 2e-6),
                    Metric::Cosine => (1.0 - dot / sizes, 1e-7),
                    Metric::Dot => (-dot, 1e-6 * sizes),
                    other => panic!("{other:?} has no definition here"),
                };
                assert!((f64::from(found) - want).abs() <= most, "{metric:?}: {found} {want}");
            }
        }
        // The nearest centroid is the label.
        if metric != Metric::Dot {
            let labels = kmeans.predict(&gpu, &x, &c).unwrap().labels;
            for (row, label) in whole.values.chunks(19).zip(labels) {
                let least = row.iter().copied().fold(f32::INFINITY, f32::min);
                assert!(row[label as usize] <= least + 2e-6);
            }
        }
        for kmeans in [kmeans.clone().chunk_rows(64), kmeans.clone().memory(16 << 10)] {
            assert_eq!(kmeans.transform(&gpu, &x, &c).unwrap(), whole);
        }
        let predicted = kmeans.predict(&gpu, &x, &c).unwrap();
        assert_eq!(kmeans.score(&gpu, &x, &c).unwrap(), -predicted.inertia);
        assert_eq!(predicted.score, -predicted.inertia);
    }
}

// scikit-learn: KMeans.transform is the euclidean distance to each of the given centres.
#[test]
fn embeddings_have_the_distances_of_the_definition() {
    let x = read_matrix("assets/kmeans/points.npy".as_ref()).unwrap();
    let c = read_matrix("assets/kmeans/init.npy".as_ref()).unwrap();
    let found = KMeans::new(c.rows).transform(&device(), &x, &c).unwrap();
    for (row, found) in x.values.chunks(x.cols).zip(found.values.chunks(c.rows)).step_by(37) {
        for (centroid, &found) in c.values.chunks(c.cols).zip(found) {
            let want = distance::distance(row, centroid).sqrt();
            assert!((f64::from(found) - want).abs() <= 1e-6, "{found} {want}");
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let gpu = device();
    let (x, c) = (points(5, 3), points(2, 4));
    let error = KMeans::new(2).transform(&gpu, &x, &c).unwrap_err().to_string();
    assert!(error.contains("X has 3 features, but the centroids have 4"), "{error}");
    let x = Matrix { rows: 2, cols: 4, values: vec![f32::NAN; 8] };
    let error = KMeans::new(2).transform(&gpu, &x, &c).unwrap_err().to_string();
    assert!(error.contains("contains NaN"), "{error}");
}
