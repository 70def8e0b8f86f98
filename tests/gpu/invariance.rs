//! What must change nothing: units that are powers of two, the length of rows that count by their direction, the place of
//! the origin, the order of the points. Results are compared to the bit, unless they are sums that follow the order.

use lowbit::internals::gpu::Context;
use lowbit::internals::io::npy::Matrix;
use lowbit::internals::kmeans::product::ProductQuantizer;
use lowbit::internals::kmeans::{Empty, Fitted, Init, KMeans, Metric, MiniBatchKMeans};
use lowbit::internals::random::Random;

use crate::harness::device;
use crate::kmeans::matrix;

const N: usize = 300;
const D: usize = 6;
const K: usize = 5;

/// Numbers with a normal distribution.
fn normal(random: &mut Random) -> f64 {
    (0..12).map(|_| random.unit()).sum::<f64>() - 6.0
}

fn cloud(seed: u64) -> Matrix {
    let mut random = Random::new(seed);
    matrix(D, &(0..N * D).map(|_| normal(&mut random) as f32).collect::<Vec<_>>())
}

/// Each row times a power of two of its own.
fn times(of: &Matrix, power: impl Fn(usize) -> i32) -> Matrix {
    let rows = of.values.chunks(of.cols).enumerate();
    let values = rows.flat_map(|(row, values)| {
        let by = f64::from(power(row)).exp2();
        values.iter().map(move |&x| (f64::from(x) * by) as f32)
    });
    Matrix { values: values.collect(), ..*of }
}

/// All of a result, in units of 2^`power`.
#[derive(Debug, PartialEq)]
struct Result {
    labels: Vec<i32>,
    centres: Vec<f64>,
    inertia: Vec<f64>,
    n_iter: u32,
    converged: bool,
}

fn result(fitted: &Fitted, power: i32) -> Result {
    let unit = f64::from(power).exp2();
    Result {
        labels: fitted.labels.clone(),
        centres: fitted.cluster_centers.values.iter().map(|&x| f64::from(x) / unit).collect(),
        inertia: std::iter::once(&fitted.inertia).chain(&fitted.history).map(|x| x / unit / unit).collect(),
        n_iter: fitted.n_iter,
        converged: fitted.converged,
    }
}

/// What is done with points, in units of 2^`power`; rows of `init` may have another length where directions count.
fn all(gpu: &Context, metric: Metric, x: &Matrix, init: &Matrix, power: i32) -> Vec<(&'static str, Result)> {
    let given = || Init::Centroids(init.clone());
    let kmeans = KMeans::new(K).metric(metric).seed(3).max_iter(60);
    let weights: Vec<f32> = (0..N).map(|i| 0.1 + (i % 7) as f32).collect();
    let fit = |kmeans: KMeans| result(&kmeans.fit(gpu, x, |_| ()).unwrap(), power);
    let mut found = vec![
        ("given", fit(kmeans.clone().init(given()).history(true))),
        ("k-means++", fit(kmeans.clone().n_init(2))),
        ("k-means||", fit(kmeans.clone().init(Init::Parallel))),
        ("bisecting", fit(kmeans.clone().init(Init::Bisecting))),
        ("two levels", fit(kmeans.clone().init(Init::TwoLevel))),
        ("frozen", fit(kmeans.clone().frozen(matrix(D, &init.values[..2 * D])))),
        ("split", fit(kmeans.clone().init(Init::Random).empty(Empty::SplitLargest))),
        ("weights", result(&kmeans.fit_weighted(gpu, x, Some(&weights), |_| ()).unwrap(), power)),
    ];
    let batches = MiniBatchKMeans::new(K).metric(metric).seed(5).max_iter(6).batch_size(64);
    for (name, batches) in [
        ("mini-batch", batches.clone().n_init(2)),
        ("mini-batch with a tolerance", batches.clone().tol(1e-2)),
    ] {
        found.push((name, result(&batches.fit(gpu, x, |_| ()).unwrap(), power)));
    }
    let mut parts = batches.init(given());
    let unit = f64::from(power).exp2();
    let inertia = [0, 1, 2].map(|part| {
        let rows = matrix(D, &x.values[part * 100 * D..][..100 * D]);
        parts.partial_fit(gpu, &rows).unwrap() / unit / unit
    });
    let centres = parts.cluster_centers().unwrap().values.iter().map(|&x| f64::from(x) / unit).collect();
    let none = Result { labels: vec![], centres: vec![], inertia: vec![], n_iter: 0, converged: false };
    found.push(("partial", Result { centres, inertia: inertia.to_vec(), ..none }));

    let fitted = kmeans.fit_batch(gpu, x, 3, |_| ()).unwrap();
    found.push((
        "batch",
        Result {
            labels: [fitted.labels, fitted.n_iter.iter().map(|&n| n as i32).collect()].concat(),
            centres: fitted.cluster_centers.values.iter().map(|&x| f64::from(x) / unit).collect(),
            inertia: fitted.inertia.iter().map(|x| x / unit / unit).collect(),
            n_iter: 0,
            converged: fitted.converged.iter().all(|&x| x),
        },
    ));
    let predicted = kmeans.predict(gpu, x, init).unwrap();
    let distances = kmeans.transform(gpu, x, init).unwrap().values;
    // Euclidean distances are roots.
    let unit = if metric == Metric::Euclidean { unit } else { unit * unit };
    found.push((
        "predict and transform",
        Result {
            labels: predicted.labels,
            centres: distances.iter().map(|&x| f64::from(x) / unit).collect(),
            inertia: vec![predicted.inertia / f64::from(power).exp2().powi(2)],
            n_iter: 0,
            converged: false,
        },
    ));
    found
}

fn same(found: &[(&str, Result)], expected: &[(&str, Result)], name: &str) {
    assert_eq!(found.len(), expected.len());
    for ((way, found), (_, expected)) in found.iter().zip(expected) {
        assert!(found == expected, "{name}, {way}:\n{found:?}\n{expected:?}");
    }
}

#[test]
fn scaling_rows_by_powers_of_two_changes_no_bit_of_a_cosine_clustering() {
    let gpu = device();
    let x = cloud(21);
    let init = matrix(D, &x.values[..K * D]);
    let expected = all(&gpu, Metric::Cosine, &x, &init, 0);
    for (name, power) in [
        ("2^10", (|_| 10) as fn(usize) -> i32),
        ("2^-40", |_| -40),
        ("each its own", |row| (row * 37 % 121) as i32 - 60),
    ] {
        let init = times(&init, |row| 20 - 9 * row as i32);
        same(&all(&gpu, Metric::Cosine, &times(&x, power), &init, 0), &expected, name);
    }
}

/// Spherical k-means by its definition, in f64: labels, iterations, and the sum of 1 - cosine.
fn spherical(x: &Matrix, k: usize, tol: f64) -> (Vec<i32>, u32, f64) {
    let unit = |row: &[f64]| {
        let norm = row.iter().map(|x| x * x).sum::<f64>().sqrt();
        row.iter().map(|x| x / norm).collect::<Vec<_>>()
    };
    let rows: Vec<Vec<f64>> = x
        .values
        .chunks(x.cols)
        .map(|row| unit(&row.iter().map(|&x| f64::from(x)).collect::<Vec<_>>()))
        .collect();
    let n = rows.len() as f64;
    let variance = |column: usize| {
        let mean = rows.iter().map(|row| row[column]).sum::<f64>() / n;
        rows.iter().map(|row| (row[column] - mean).powi(2)).sum::<f64>() / n
    };
    let tol = tol * (0..x.cols).map(variance).sum::<f64>() / x.cols as f64;
    let cosine = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let mut centres = rows[..k].to_vec();
    let label = |centres: &[Vec<f64>]| -> Vec<i32> {
        let nearest = |row: &Vec<f64>| {
            (0..k).rev().max_by(|&a, &b| cosine(row, &centres[a]).total_cmp(&cosine(row, &centres[b])))
        };
        rows.iter().map(|row| nearest(row).unwrap() as i32).collect()
    };
    let mut labels = vec![-1; rows.len()];
    for n_iter in 1.. {
        let found = label(&centres);
        let mut shift = 0.0;
        for (cluster, centre) in centres.iter_mut().enumerate() {
            let own =
                rows.iter().zip(&found).filter(|(_, label)| **label == cluster as i32).map(|(row, _)| row);
            let sum =
                own.fold(vec![0.0; x.cols], |sum, row| sum.iter().zip(row).map(|(a, b)| a + b).collect());
            let after = unit(&sum);
            shift += after.iter().zip(&*centre).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
            *centre = after;
        }
        let still = found == labels;
        labels = found;
        if still || shift <= tol {
            let labels = label(&centres);
            let apart = |(row, label): (&Vec<f64>, &i32)| 1.0 - cosine(row, &centres[*label as usize]);
            let inertia = rows.iter().zip(&labels).map(apart).sum();
            return (labels, n_iter, inertia);
        }
    }
    unreachable!()
}

#[test]
fn a_cosine_clustering_ends_as_the_f64_one_whatever_the_unit_of_its_rows() {
    let gpu = device();
    let x = cloud(4);
    let init = Init::Centroids(matrix(D, &x.values[..K * D]));
    // The tolerance ends some of these, unchanged labels the others.
    let mut ended = [0, 0];
    for tol in [0.0, 1e-4, 1e-2] {
        let (labels, n_iter, inertia) = spherical(&x, K, tol);
        assert!(n_iter > 3, "{n_iter}");
        for unit in [1.0f32, 1000.0, 0.003] {
            let scaled = Matrix { values: x.values.iter().map(|x| x * unit).collect(), ..x.clone() };
            let kmeans = KMeans::new(K).metric(Metric::Cosine).init(init.clone()).tol(tol);
            let fitted = kmeans.fit(&gpu, &scaled, |_| ()).unwrap();
            assert_eq!((fitted.n_iter, &fitted.labels), (n_iter, &labels), "tol {tol}, times {unit}");
            assert!((fitted.inertia / inertia - 1.0).abs() < 1e-5, "{} {inertia}", fitted.inertia);
        }
        ended[usize::from(n_iter < spherical(&x, K, 0.0).1)] += 1;
    }
    assert!(ended[0] > 0 && ended[1] > 0, "{ended:?}");
}

#[test]
fn scaling_all_data_by_a_power_of_two_scales_the_result() {
    let gpu = device();
    let x = cloud(33);
    let init = matrix(D, &x.values[..K * D]);
    for metric in [Metric::Euclidean, Metric::Dot] {
        let expected = all(&gpu, metric, &x, &init, 0);
        for power in [-34, -3, 11, 50] {
            let (x, init) = (times(&x, |_| power), times(&init, |_| power));
            same(&all(&gpu, metric, &x, &init, power), &expected, &format!("{metric:?} 2^{power}"));
        }
    }
    let quantizer = ProductQuantizer::new(3).bits(4).max_iter(20);
    let own = quantizer.fit(&gpu, &x, |_, _| ()).unwrap();
    for power in [-34, 11, 50] {
        let found = quantizer.fit(&gpu, &times(&x, |_| power), |_, _| ()).unwrap();
        let unit = f64::from(power).exp2();
        assert_eq!(found.codes, own.codes);
        assert_eq!(found.relative_squared_error, own.relative_squared_error);
        let books = found.codebooks.values.iter().map(|&x| (f64::from(x) / unit) as f32);
        assert_eq!(books.collect::<Vec<_>>(), own.codebooks.values);
    }
}

#[test]
fn weights_count_only_beside_each_other() {
    let gpu = device();
    let x = cloud(6);
    let weights: Vec<f32> = (0..N).map(|i| 0.3 + (i % 11) as f32).collect();
    let kmeans = KMeans::new(K).seed(8);
    for init in [Init::PlusPlus, Init::Parallel, Init::Random, Init::Bisecting] {
        let kmeans = kmeans.clone().init(init).history(true);
        let own = kmeans.fit_weighted(&gpu, &x, Some(&weights), |_| ()).unwrap();
        for power in [-140, -90, -7, 40, 120] {
            let unit = f64::from(power).exp2();
            let scaled: Vec<f32> = weights.iter().map(|&w| (f64::from(w) * unit) as f32).collect();
            let exact = scaled.iter().zip(&weights).all(|(&a, &b)| f64::from(a) == f64::from(b) * unit);
            if !exact {
                // Beyond the least normal f32 weights lose digits before they come here.
                assert_eq!(power, -140);
                continue;
            }
            let found = kmeans.fit_weighted(&gpu, &x, Some(&scaled), |_| ()).unwrap();
            let mut expected = result(&own, 0);
            expected.inertia.iter_mut().for_each(|inertia| *inertia *= unit);
            assert_eq!(result(&found, 0), expected, "2^{power}");
        }
    }
}

#[test]
fn moving_the_origin_changes_no_label() {
    let gpu = device();
    // On a grid, of 2^8 points: sums and means have no rounding, here or there.
    let mut random = Random::new(9);
    let grid: Vec<f32> = (0..256 * D).map(|_| ((normal(&mut random) * 64.0).round() / 64.0) as f32).collect();
    let x = matrix(D, &grid);
    let by = [512.0f32, -300.0, 0.0, 17.0, 511.0, -512.0];
    let moved = |of: &Matrix| {
        let values = of.values.iter().zip(by.iter().cycle()).map(|(x, by)| x + by);
        Matrix { values: values.collect(), ..*of }
    };
    let (there, first) = (moved(&x), matrix(D, &x.values[..K * D]));
    let kmeans = KMeans::new(K).seed(2);
    // A way of r that a rounding of a centroid makes longer or shorter by u is 2 r u longer or shorter, squared.
    let unit = 512.0 * f64::from(f32::EPSILON) / 2.0;
    let alike = |(here, there): (&f64, &f64)| {
        (here - there).abs() <= 2.0 * (here.max(*there) * (256 * D) as f64).sqrt() * unit
    };
    let ways = [
        (kmeans.clone(), kmeans.clone()),
        (kmeans.clone().init(Init::Parallel), kmeans.clone().init(Init::Parallel)),
        (
            kmeans.clone().init(Init::Centroids(first.clone())).history(true),
            kmeans.clone().init(Init::Centroids(moved(&first))).history(true),
        ),
    ];
    for (here_by, there_by) in ways {
        let (here, there) =
            (here_by.fit(&gpu, &x, |_| ()).unwrap(), there_by.fit(&gpu, &there, |_| ()).unwrap());
        let (mut expected, mut found) = (result(&here, 0), result(&there, 0));
        // Centroids are rounded where they lie.
        for ((here, there), by) in expected.centres.iter().zip(&found.centres).zip(by.iter().cycle()) {
            assert!(
                (there - here - f64::from(*by)).abs() <= f64::from(f32::EPSILON) * 512.0,
                "{here} {there}"
            );
        }
        // And so is the inertia, which is that of the centroids as they are returned.
        let (here, there) = (expected.inertia.remove(0), found.inertia.remove(0));
        assert!(alike((&here, &there)), "{here} {there}");
        (expected.centres, found.centres) = (vec![], vec![]);
        assert_eq!(found, expected);
    }
    let both = [&x, &there].map(|x| {
        let batch = kmeans.fit_batch(&gpu, x, 4, |_| ()).unwrap();
        let small = MiniBatchKMeans::new(K).batch_size(64).max_iter(4).fit(&gpu, x, |_| ()).unwrap();
        let codes = ProductQuantizer::new(2).bits(4).max_iter(9).fit(&gpu, x, |_, _| ()).unwrap().codes;
        let inertias = [batch.inertia, vec![small.inertia]].concat();
        (inertias, (batch.labels, batch.n_iter, small.labels, codes))
    });
    let [(here, of_here), (there_too, of_there)] = both;
    assert_eq!(of_here, of_there);
    assert!(here.iter().zip(&there_too).all(alike), "{here:?} {there_too:?}");
    let distances = [(&x, first.clone()), (&there, moved(&first))]
        .map(|(x, first)| kmeans.transform(&gpu, x, &first).unwrap().values);
    assert_eq!(distances[0], distances[1]);
}

#[test]
fn the_order_of_the_points_is_that_of_their_labels_and_of_nothing_else() {
    let gpu = device();
    let x = cloud(14);
    let mut order: Vec<usize> = (0..N).collect();
    let mut random = Random::new(1);
    (1..N).rev().for_each(|i| order.swap(i, random.below(i as u64 + 1) as usize));
    let turned = matrix(D, &order.iter().flat_map(|&i| &x.values[i * D..][..D]).copied().collect::<Vec<_>>());
    let weights: Vec<f32> = (0..N).map(|i| 0.5 + (i % 5) as f32).collect();
    let turned_weights: Vec<f32> = order.iter().map(|&i| weights[i]).collect();
    let init = matrix(D, &x.values[..K * D]);
    for (metric, weighted) in
        [(Metric::Euclidean, false), (Metric::Cosine, false), (Metric::Dot, false), (Metric::Euclidean, true)]
    {
        let kmeans = KMeans::new(K).metric(metric).init(Init::Centroids(init.clone()));
        let fit = |x, weights: &Vec<f32>| {
            let weights = weighted.then_some(weights.as_slice());
            kmeans.fit_weighted(&gpu, x, weights, |_| ()).unwrap()
        };
        let (own, found) = (fit(&x, &weights), fit(&turned, &turned_weights));
        assert!(order.iter().zip(&found.labels).all(|(&i, label)| own.labels[i] == *label), "{metric:?}");
        assert_eq!(found.cluster_centers.values, own.cluster_centers.values, "{metric:?}");
        assert_eq!((found.n_iter, found.converged), (own.n_iter, own.converged), "{metric:?}");
        // A sum in the order of the points.
        assert!((found.inertia / own.inertia - 1.0).abs() < 1e-12, "{} {}", found.inertia, own.inertia);

        let mut batches = [&x, &turned].map(|x| {
            let mut batches = MiniBatchKMeans::new(K).metric(metric).init(Init::Centroids(init.clone()));
            batches = batches.reassignment_ratio(0.0);
            batches.partial_fit(&gpu, x).unwrap();
            batches.cluster_centers().unwrap().values
        });
        let [own, found] = &mut batches;
        assert_eq!(found, own, "{metric:?}");
    }
}

#[test]
fn empty_clusters_of_inner_products_and_of_a_centroid_at_the_origin_are_filled() {
    let gpu = device();
    // Each inner product is above 0, and none goes to the second centroid.
    let x = matrix(2, &[1.0, 0.1, 2.0, 0.3, 1.5, 0.2, 0.1, 1.0, 0.2, 1.4]);
    let lost = matrix(2, &[1.0, 1.0, -9.0, -9.0]);
    let fitted =
        KMeans::new(2).metric(Metric::Dot).init(Init::Centroids(lost)).fit(&gpu, &x, |_| ()).unwrap();
    assert_eq!(fitted.distinct_clusters, 2, "{fitted:?}");
    // One centroid has all points, and lies at their mean; or has directions that cancel out.
    let line = matrix(1, &[-3.0, -1.0, 1.0, 3.0]);
    let far = Init::Centroids(matrix(1, &[0.0, 50.0]));
    let fitted = KMeans::new(2).empty(Empty::SplitLargest).init(far).fit(&gpu, &line, |_| ()).unwrap();
    assert_eq!((fitted.distinct_clusters, fitted.inertia), (2, 4.0), "{fitted:?}");
    let axes = matrix(2, &[1.0, 0.0, -1.0, 0.0, 1.0, 0.0, -1.0, 0.0]);
    let off = Init::Centroids(matrix(2, &[0.0, 1.0, 0.0, -1.0]));
    let kmeans = KMeans::new(2).metric(Metric::Cosine).empty(Empty::SplitLargest);
    let fitted = kmeans.init(off).fit(&gpu, &axes, |_| ()).unwrap();
    assert!(fitted.cluster_centers.values.iter().all(|x| x.is_finite()), "{fitted:?}");
    assert_eq!(fitted.distinct_clusters, 2, "{fitted:?}");
}

#[test]
fn data_of_any_size_has_the_labels_of_the_same_data_near_1() {
    let gpu = device();
    let (whole, n) = (cloud(2), D * K);
    let first = matrix(D, &whole.values[..n]);
    for metric in [Metric::Euclidean, Metric::Dot] {
        let kmeans = KMeans::new(K).metric(metric);
        let mini = MiniBatchKMeans::new(K).metric(metric);
        let (fitted, learnt) =
            (kmeans.fit(&gpu, &whole, |_| ()).unwrap(), mini.fit(&gpu, &whole, |_| ()).unwrap());
        let distances = kmeans.transform(&gpu, &whole, &first).unwrap();
        let batch = kmeans.fit_batch(&gpu, &whole, 2, |_| ()).unwrap();
        // Squares of these would vanish in f32, or overflow it.
        for power in [-80, 100] {
            let x = times(&whole, |_| power);
            let scaled = |values: &[f32], power: i32| -> Vec<f32> {
                values.iter().map(|value| (f64::from(*value) * f64::from(power).exp2()) as f32).collect()
            };
            let small = kmeans.fit(&gpu, &x, |_| ()).unwrap();
            assert_eq!((&small.labels, small.n_iter), (&fitted.labels, fitted.n_iter));
            assert_eq!(small.cluster_centers.values, scaled(&fitted.cluster_centers.values, power));
            let inertia = fitted.inertia * f64::from(2 * power).exp2();
            assert!((small.inertia / inertia - 1.0).abs() < 1e-12, "{} {inertia}", small.inertia);
            let centers = matrix(D, &scaled(&first.values, power));
            let power_of_distance = if metric == Metric::Dot { 2 * power } else { power };
            let found = kmeans.transform(&gpu, &x, &centers).unwrap();
            if power_of_distance > -126 && power_of_distance < 120 {
                assert_eq!(found.values, scaled(&distances.values, power_of_distance));
            }
            let small = mini.fit(&gpu, &x, |_| ()).unwrap();
            assert_eq!(small.labels, learnt.labels);
            let small = kmeans.fit_batch(&gpu, &x, 2, |_| ()).unwrap();
            assert_eq!((&small.labels, &small.n_iter), (&batch.labels, &batch.n_iter));
        }
    }
    // Directions have a size of their own, and points that are all equal have none to lose.
    let x = times(&whole, |_| -80);
    KMeans::new(K).metric(Metric::Cosine).fit(&gpu, &x, |_| ()).unwrap();
    KMeans::new(1).fit(&gpu, &matrix(2, &[1e-30; 8]), |_| ()).unwrap();
}
