//! Clusters of equal size: exactly equal, near to the least inertia, the same bytes however the points lie.

use lowbit::internals::gpu::Context;
use lowbit::internals::io::npy::Matrix;
use lowbit::internals::kmeans::{Empty, Fitted, Init, KMeans, Metric};
use lowbit::internals::random::Random;

use crate::cli::{BAD_INPUT, DONE, lowbit, run};
use crate::harness::device;
use crate::kmeans::matrix;

/// Blobs of very different sizes.
fn uneven(n: usize, d: usize, seed: u64) -> Matrix {
    let mut random = Random::new(seed);
    let centres = random.floats(8 * d);
    let values = (0..n).flat_map(|_| {
        let blob = (random.unit().powi(3) * 8.0) as usize;
        let noise = random.floats(d);
        (0..d).map(|i| 3.0 * centres[blob * d + i] + 0.5 * noise[i]).collect::<Vec<f32>>()
    });
    matrix(d, &values.collect::<Vec<_>>())
}

fn fit(gpu: &Context, kmeans: &KMeans, data: &Matrix) -> Fitted {
    kmeans.fit(gpu, data, |_| ()).unwrap()
}

/// The points of each cluster.
fn sizes(fitted: &Fitted) -> Vec<usize> {
    let mut sizes = vec![0; fitted.k];
    fitted.labels.iter().for_each(|&label| sizes[label as usize] += 1);
    sizes
}

/// What a point costs a cluster.
fn cost(fitted: &Fitted, data: &Matrix, point: usize, cluster: usize) -> f64 {
    let d = data.cols;
    let (x, c) = (&data.values[point * d..][..d], &fitted.cluster_centers.values[cluster * d..][..d]);
    x.iter().zip(c).map(|(x, c)| (f64::from(*x) - f64::from(*c)).powi(2)).sum()
}

#[test]
fn sizes_differ_by_one_at_most_in_every_metric() {
    let gpu = device();
    for (n, d, k) in [(1, 3, 1), (7, 2, 7), (50, 3, 4), (203, 5, 10), (400, 33, 16)] {
        let data = uneven(n, d, n as u64);
        for metric in [Metric::Euclidean, Metric::Cosine, Metric::Dot] {
            let kmeans = KMeans::new(k).metric(metric).balanced(true).seed(1).n_init(2).max_iter(20);
            let fitted = fit(&gpu, &kmeans, &data);
            let sizes = sizes(&fitted);
            let name = format!("n={n} k={k} {metric:?}: {sizes:?}");
            assert!(sizes.iter().all(|&size| size == n / k || size == n.div_ceil(k)), "{name}");
        }
    }
    // Points that are all the same, and few places for many of them.
    for distinct in [1, 3] {
        let mut data = uneven(120, 3, 9);
        let values = data.values.clone();
        for (row, own) in data.values.chunks_mut(3).enumerate() {
            own.copy_from_slice(&values[row % distinct * 3..][..3]);
        }
        let fitted = fit(&gpu, &KMeans::new(8).balanced(true).max_iter(5), &data);
        assert_eq!(sizes(&fitted), [15; 8]);
    }
}

#[test]
fn no_two_points_would_gain_much_by_changing_places() {
    let gpu = device();
    let (n, k) = (300, 6);
    let data = uneven(n, 4, 3);
    let fitted = fit(&gpu, &KMeans::new(k).balanced(true).n_init(3), &data);
    let own: Vec<usize> = fitted.labels.iter().map(|&label| label as usize).collect();
    let inertia: f64 = (0..n).map(|at| cost(&fitted, &data, at, own[at])).sum();
    assert!((inertia / fitted.inertia - 1.0).abs() < 1e-5, "{inertia} {}", fitted.inertia);
    let mut most = 0.0f64;
    for a in 0..n {
        for b in 0..a {
            let as_is = cost(&fitted, &data, a, own[a]) + cost(&fitted, &data, b, own[b]);
            let swapped = cost(&fitted, &data, a, own[b]) + cost(&fitted, &data, b, own[a]);
            most = most.max(as_is - swapped);
        }
    }
    assert!(most < 0.2 * inertia / n as f64, "{most} of a mean of {}", inertia / n as f64);
    // As many points in each has its price, and the nearest centroid is cheaper.
    let free = fit(&gpu, &KMeans::new(k).n_init(3), &data);
    assert!(free.inertia < fitted.inertia && free.imbalance > 1.1 && fitted.imbalance == 1.0);
}

#[test]
fn chunks_and_types_change_nothing() {
    let gpu = device();
    let data = uneven(900, 6, 5);
    let kmeans = KMeans::new(9).balanced(true).seed(2).history(true);
    let whole = fit(&gpu, &kmeans, &data);
    assert_eq!(whole.history.len(), whole.n_iter as usize);
    for small in [kmeans.clone().memory(8_000), kmeans.clone().chunk_rows(100)] {
        let parts = fit(&gpu, &small, &data);
        assert_eq!(parts.labels, whole.labels);
        assert_eq!(parts.cluster_centers, whole.cluster_centers);
        assert_eq!(parts.inertia, whole.inertia);
    }
    let batch = KMeans::new(9).balanced(true).seed(2).fit_batch(&gpu, &data, 3, |_| ()).unwrap();
    for (at, labels) in batch.labels.chunks(300).enumerate() {
        let own = matrix(6, &data.values[at * 1800..][..1800]);
        assert_eq!(labels, fit(&gpu, &KMeans::new(9).balanced(true).seed(2), &own).labels);
    }
    let frozen = matrix(6, &data.values[..12]);
    let fitted = fit(&gpu, &kmeans.frozen(frozen.clone()), &data);
    assert_eq!(fitted.cluster_centers.values[..12], frozen.values);
    assert_eq!(sizes(&fitted), [100; 9]);
}

#[test]
fn what_cannot_be_balanced_is_said() {
    let gpu = device();
    let (data, kmeans) = (uneven(40, 2, 1), KMeans::new(3).balanced(true));
    let error = |kmeans: &KMeans, weights: Option<&[f32]>| {
        kmeans.fit_weighted(&gpu, &data, weights, |_| ()).unwrap_err().to_string()
    };
    let refused = |what: &str| format!("{what} cannot be had with balanced clusters: leave one out");
    assert_eq!(error(&kmeans, Some(&[1.0; 40])), refused("weights"));
    assert_eq!(error(&kmeans.clone().subsample(Some(5)), None), refused("a subsample"));
    let two = kmeans.fit_on(&[&gpu, &gpu], &data, None, |_| ()).unwrap_err().to_string();
    assert_eq!(two, refused("several adapters"));
    assert!(error(&KMeans::new(41).balanced(true), None).contains("n_samples=40 should be >= n_clusters=41"));
    let given = Init::Centroids(matrix(2, &data.values[..6]));
    let kept = fit(&gpu, &kmeans.init(given).empty(Empty::Keep), &data);
    let mut kept = sizes(&kept);
    kept.sort_unstable();
    assert_eq!(kept, [13, 13, 14]);

    let folder = tempfile::tempdir().unwrap();
    let ran = |arguments: &str| run(&mut lowbit(folder.path(), &arguments.split(' ').collect::<Vec<_>>()));
    lowbit::internals::io::npy::write_tensor(&folder.path().join("x.npy"), &[40, 2], &data.values).unwrap();
    let fitted = ran("kmeans fit x.npy -k 4 --balanced --json");
    assert_eq!(fitted.code, Some(DONE), "{fitted:?}");
    let json: serde_json::Value = serde_json::from_str(&fitted.out).unwrap();
    assert_eq!(json["imbalance"], 1.0);
    let wrong = ran("kmeans fit x.npy -k 4 --balanced --subsample 3");
    assert_eq!(wrong.code, Some(BAD_INPUT), "{wrong:?}");
}
