//! Several problems of equal shape in one call: each as it would be alone.

use lowbit::internals::gpu::Context;
use lowbit::internals::io::npy::{self, Matrix};
use lowbit::internals::kmeans::{Empty, FittedBatch, Init, KMeans, Metric};
use lowbit::internals::random::Random;

use crate::cli::{BAD_INPUT, DONE, lowbit, run};
use crate::harness::device;

/// `problems` of `n` points around `blobs` centres of their own, each at a place and of a size of its own.
fn blobs(problems: usize, n: usize, d: usize, blobs: usize) -> Matrix {
    let mut random = Random::new((problems * n * d) as u64);
    let mut values = Vec::new();
    for problem in 0..problems {
        let (place, size) = (3.0 * problem as f32, 10f32.powi(problem as i32 % 7 - 3));
        let centres: Vec<f32> = random.floats(blobs * d).iter().map(|x| place + 4.0 * x).collect();
        for point in 0..n {
            let centre = &centres[point % blobs * d..][..d];
            values.extend(centre.iter().zip(random.floats(d)).map(|(c, x)| size * (c + 0.3 * x)));
        }
    }
    Matrix { rows: problems * n, cols: d, values }
}

fn part(of: &Matrix, rows: usize, problem: usize) -> Matrix {
    let width = rows * of.cols;
    Matrix { rows, cols: of.cols, values: of.values[problem * width..][..width].to_vec() }
}

/// Checks every problem of a batch against the fit of that problem alone.
fn as_alone(
    gpu: &Context,
    data: &Matrix,
    problems: usize,
    alone: impl Fn(usize) -> KMeans,
    batch: &FittedBatch,
) {
    as_alone_weighted(gpu, data, (problems, None), alone, batch);
}

fn as_alone_weighted(
    gpu: &Context,
    data: &Matrix,
    (problems, weights): (usize, Option<&[f32]>),
    alone: impl Fn(usize) -> KMeans,
    batch: &FittedBatch,
) {
    let (n, k) = (batch.n, batch.k);
    for problem in 0..problems {
        let own = weights.map(|weights| &weights[problem * n..][..n]);
        let fitted = alone(problem).fit_weighted(gpu, &part(data, n, problem), own, |_| ()).unwrap();
        let name = format!("problem {problem} of {problems}, n={n} k={k} d={}", batch.d);
        assert_eq!(batch.labels[problem * n..][..n], fitted.labels, "{name}");
        assert_eq!(part(&batch.cluster_centers, k, problem).values, fitted.cluster_centers.values, "{name}");
        assert_eq!(batch.inertia[problem], fitted.inertia, "{name}");
        assert_eq!(batch.n_iter[problem], fitted.n_iter, "{name}");
        assert_eq!(batch.converged[problem], fitted.converged, "{name}");
    }
}

#[test]
fn each_problem_is_clustered_as_it_would_be_alone() {
    let gpu = device();
    for (problems, n, d, k) in [(1, 50, 3, 4), (2, 1, 1, 1), (7, 65, 5, 6), (5, 300, 16, 20), (33, 20, 2, 3)]
    {
        let data = blobs(problems, n, d, k.min(n));
        for (metric, init) in [
            (Metric::Euclidean, Init::PlusPlus),
            (Metric::Cosine, Init::PlusPlus),
            (Metric::Dot, Init::Random),
        ] {
            let kmeans = KMeans::new(k).metric(metric).init(init).n_init(2).seed(3).max_iter(40);
            let batch = kmeans.fit_batch(&gpu, &data, problems, |_| ()).unwrap();
            as_alone(&gpu, &data, problems, |_| kmeans.clone(), &batch);
            let predicted = kmeans.predict_batch(&gpu, &data, problems, &batch.cluster_centers).unwrap();
            assert_eq!(predicted.labels, batch.labels, "n={n} k={k} d={d} {metric:?}");
        }
    }
}

/// Weights of each problem: whole ones with zeros, of very different sizes, all equal, in units of their own, one that is
/// light.
fn weights(problems: usize, n: usize, kind: usize) -> Vec<f32> {
    let mut random = Random::new(kind as u64);
    let mut all = Vec::new();
    for problem in 0..problems {
        let unit = 10f32.powi(problem as i32 % 9 - 4);
        let own = random.floats(n);
        all.extend(own.iter().enumerate().map(|(at, x)| match (kind, problem) {
            (0, _) => (3.0 * x).abs().round(),
            (1, _) => unit * (x.abs() + 0.01),
            (2, 1) => unit,
            (2, _) => unit * (1.0 + (at % 3) as f32),
            (_, 2) if at == 0 => 1e-12,
            _ => 1.0 + x.abs(),
        }));
    }
    all
}

#[test]
fn weighted_problems_and_other_starts_are_as_they_would_be_alone() {
    let gpu = device();
    let (problems, n, d, k) = (5, 120, 5, 6);
    let data = blobs(problems, n, d, 4);
    let ways = [
        (Init::PlusPlus, Metric::Euclidean, Empty::Farthest),
        (Init::Random, Metric::Cosine, Empty::SplitLargest),
        (Init::Parallel, Metric::Dot, Empty::Farthest),
        (Init::Bisecting, Metric::Euclidean, Empty::Keep),
    ];
    for (init, metric, empty) in ways {
        let kmeans = KMeans::new(k).metric(metric).init(init).empty(empty).n_init(2).seed(4).max_iter(12);
        let batch = kmeans.fit_batch(&gpu, &data, problems, |_| ()).unwrap();
        as_alone(&gpu, &data, problems, |_| kmeans.clone(), &batch);
        for kind in 0..4 {
            let weights = weights(problems, n, kind);
            let batch = kmeans.fit_batch_weighted(&gpu, &data, problems, Some(&weights), |_| ()).unwrap();
            as_alone_weighted(&gpu, &data, (problems, Some(&weights)), |_| kmeans.clone(), &batch);
        }
    }
    // Groups have their own weights.
    let (weights, small) = (weights(problems, n, 1), KMeans::new(k).memory(40_000));
    let batch = small.fit_batch_weighted(&gpu, &data, problems, Some(&weights), |_| ()).unwrap();
    as_alone_weighted(&gpu, &data, (problems, Some(&weights)), |_| KMeans::new(k), &batch);
}

#[test]
fn problems_end_by_themselves_at_different_iterations() {
    let gpu = device();
    let data = blobs(9, 400, 4, 3);
    let kmeans = KMeans::new(12).tol(0.0).seed(1);
    let batch = kmeans.fit_batch(&gpu, &data, 9, |_| ()).unwrap();
    assert!(batch.n_iter.iter().any(|&n_iter| n_iter != batch.n_iter[0]), "{:?}", batch.n_iter);
    as_alone(&gpu, &data, 9, |_| kmeans.clone(), &batch);
    let kmeans = kmeans.max_iter(batch.n_iter[0]);
    let batch = kmeans.fit_batch(&gpu, &data, 9, |_| ()).unwrap();
    assert!(batch.converged.iter().any(|converged| !converged));
    as_alone(&gpu, &data, 9, |_| kmeans.clone(), &batch);
}

#[test]
fn empty_clusters_are_filled_in_the_problem_that_has_them() {
    let gpu = device();
    let (problems, n, d, k) = (6, 60, 2, 5);
    let data = blobs(problems, n, d, 3);
    // Centroids of which the last are far off, in every second problem.
    let mut centroids = Matrix { rows: problems * k, cols: d, values: Vec::new() };
    for problem in 0..problems {
        let own = part(&data, n, problem);
        centroids.values.extend(&own.values[..k * d]);
        if problem % 2 == 1 {
            let at = centroids.values.len();
            let far = 1e3 * own.values.iter().fold(0.0f32, |most, x| most.max(x.abs()));
            centroids.values[at - 2 * d..].fill(far);
        }
    }
    for empty in [Empty::Farthest, Empty::SplitLargest, Empty::Keep] {
        let kmeans = KMeans::new(k).empty(empty).max_iter(30);
        let given = |of: Matrix| kmeans.clone().init(Init::Centroids(of));
        let batch = given(centroids.clone()).fit_batch(&gpu, &data, problems, |_| ()).unwrap();
        as_alone(&gpu, &data, problems, |problem| given(part(&centroids, k, problem)), &batch);
        let shared = given(part(&centroids, k, 1));
        let batch = shared.fit_batch(&gpu, &data, problems, |_| ()).unwrap();
        as_alone(&gpu, &data, problems, |_| shared.clone(), &batch);
    }
}

#[test]
fn a_batch_that_does_not_fit_goes_in_groups_and_alone() {
    let gpu = device();
    let data = blobs(8, 200, 8, 4);
    let kmeans = KMeans::new(4).seed(5);
    let whole = kmeans.fit_batch(&gpu, &data, 8, |_| ()).unwrap();
    for small in [kmeans.clone().memory(60_000), kmeans.clone().memory(4_000), kmeans.chunk_rows(64)] {
        let parts = small.fit_batch(&gpu, &data, 8, |_| ()).unwrap();
        assert_eq!(parts.labels, whole.labels);
        assert_eq!(parts.cluster_centers.values, whole.cluster_centers.values);
        assert_eq!(parts.inertia, whole.inertia);
        let predicted = small.predict_batch(&gpu, &data, 8, &whole.cluster_centers).unwrap();
        assert_eq!(predicted.labels, whole.labels);
    }
}

#[test]
fn very_many_small_problems_are_one_call() {
    let gpu = device();
    let (problems, n, d, k) = (100_000, 8, 2, 2);
    let data = blobs(problems, n, d, k);
    let kmeans = KMeans::new(k);
    let batch = kmeans.fit_batch(&gpu, &data, problems, |_| ()).unwrap();
    assert_eq!(batch.labels.len(), problems * n);
    for problem in [0, 1, 777, problems - 1] {
        let fitted = kmeans.fit(&gpu, &part(&data, n, problem), |_| ()).unwrap();
        assert_eq!(batch.labels[problem * n..][..n], fitted.labels);
        assert_eq!(batch.inertia[problem], fitted.inertia);
    }
}

#[test]
fn what_is_wrong_with_a_batch_is_said() {
    let gpu = device();
    let mut data = blobs(3, 10, 2, 2);
    let kmeans = KMeans::new(2);
    let problem = |kmeans: &KMeans, data: &Matrix, problems| {
        kmeans.fit_batch(&gpu, data, problems, |_| ()).unwrap_err().to_string()
    };
    assert_eq!(problem(&kmeans, &data, 4), "30 rows cannot be shared equally by 4 problems");
    assert!(problem(&kmeans, &data, 0).contains("0 problems"));
    assert!(problem(&KMeans::new(11), &data, 3).contains("n_samples=10 should be >= n_clusters=11"));
    let text = problem(&kmeans.clone().history(true), &data, 3);
    assert_eq!(text, "the history cannot be had for several problems in one call: leave it out");
    let weighted = |weights: &[f32]| {
        kmeans.fit_batch_weighted(&gpu, &data, 3, Some(weights), |_| ()).unwrap_err().to_string()
    };
    assert_eq!(weighted(&[1.0; 10]), "there are 10 weights for 30 points");
    let mut weights = [1.0; 30];
    weights[11..20].fill(0.0);
    assert_eq!(
        weighted(&weights),
        "problem 1: 1 points have a weight above 0: there should be at least n_clusters=2"
    );
    weights[25] = -1.0;
    assert_eq!(weighted(&weights), "the weight of row 25 is -1: weights are numbers >= 0");
    let wrong = Init::Centroids(Matrix { rows: 4, cols: 2, values: vec![0.0; 8] });
    assert!(problem(&kmeans.clone().init(wrong), &data, 3).contains("initial centers (4, 2)"));
    data.values[45] = f32::NAN;
    assert_eq!(
        problem(&kmeans, &data, 3),
        "problem 2: Input X contains NaN: row 2, column 1 (from 0): leave such rows out, or fill them"
    );
}

#[test]
fn a_batch_on_the_command_line_is_an_array_of_three_dimensions() {
    let gpu = device();
    let folder = tempfile::tempdir().unwrap();
    let here = |name: &str| folder.path().join(name);
    let data = blobs(4, 60, 5, 3);
    npy::write_tensor(&here("x.npy"), &[4, 60, 5], &data.values).unwrap();
    let ran = |arguments: &str| run(&mut lowbit(folder.path(), &arguments.split(' ').collect::<Vec<_>>()));
    let fit = "kmeans fit x.npy --batch -k 3 --seed 2 --json --labels l.npy --centroids c.npy";
    let fitted = ran(fit);
    assert_eq!(fitted.code, Some(DONE), "{fitted:?}");
    let alone = KMeans::new(3).seed(2).fit_batch(&gpu, &data, 4, |_| ()).unwrap();
    let json: serde_json::Value = serde_json::from_str(&fitted.out).unwrap();
    let inertia: Vec<f64> = json["inertia"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
    // A number that is read from JSON may differ in its last bit.
    let near = |(read, own): (&f64, &f64)| (read - own).abs() <= 1e-15 * own;
    assert!(inertia.len() == 4 && inertia.iter().zip(&alone.inertia).all(near), "{inertia:?}");
    for (name, shape) in [("l.npy", vec![4, 60]), ("c.npy", vec![4, 3, 5])] {
        assert_eq!(npy::read_info(&here(name)).unwrap().shape, shape);
    }
    let weights: Vec<f32> = (0..240).map(|i| (i % 7) as f32).collect();
    let alone = KMeans::new(3).seed(2).fit_batch_weighted(&gpu, &data, 4, Some(&weights), |_| ()).unwrap();
    let labels: Vec<f32> = alone.labels.iter().map(|&label| label as f32).collect();
    for shape in [vec![4, 60], vec![240]] {
        npy::write_tensor(&here("w.npy"), &shape, &weights).unwrap();
        let fitted = ran("kmeans fit x.npy --batch -k 3 --seed 2 --weights w.npy --labels w-l.npy");
        assert_eq!(fitted.code, Some(DONE), "{fitted:?}");
        assert_eq!(npy::read_columns(&here("w-l.npy")).unwrap().0.values, labels);
    }
    npy::write_tensor(&here("w.npy"), &[60, 4], &weights).unwrap();
    let wrong = ran("kmeans fit x.npy --batch -k 3 --weights w.npy");
    assert_eq!(wrong.code, Some(BAD_INPUT), "{wrong:?}");
    assert!(wrong.err.contains("w.npy: it has 4 columns; weights are one for each point"), "{wrong:?}");
    let predicted = ran("kmeans predict x.npy --batch --centroids c.npy -o p.npy");
    assert_eq!(predicted.code, Some(DONE), "{predicted:?}");
    assert_eq!(std::fs::read(here("p.npy")).unwrap(), std::fs::read(here("l.npy")).unwrap());
    let again = ran("kmeans fit x.npy --batch -k 3 --init c.npy --json");
    let again: serde_json::Value = serde_json::from_str(&again.out).unwrap();
    assert_eq!(again["n_iter"], serde_json::json!([1, 1, 1, 1]));
    for (wrong, says) in [
        ("kmeans fit x.npy -k 3", "3-D with --batch"),
        ("kmeans fit x.npy --batch -k 3 --balanced --weights w.npy", "cannot be used with"),
        ("kmeans fit x.npy --batch -k 61", "n_samples=60 should be >= n_clusters=61"),
        ("kmeans fit x.npy --batch -k 3 --subsample 9", "cannot be used with"),
        ("kmeans predict x.npy --batch --centroids x.npy -o p.npy --dim 4", "not 4 as --dim says"),
    ] {
        let ran = ran(wrong);
        assert_eq!(ran.code, Some(BAD_INPUT), "{wrong}: {ran:?}");
        assert!(ran.err.contains(says), "{wrong}: {ran:?}");
    }
}
