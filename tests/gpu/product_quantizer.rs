//! Product quantization, and fits to samples.

use lowbit::internals::io::npy::{Matrix, read_matrix};
use lowbit::internals::kmeans::product::ProductQuantizer;
use lowbit::internals::kmeans::{Columns, Empty, Init, KMeans, Metric};
use lowbit::internals::random::Random;

use crate::cli::{BAD_INPUT, DONE, lowbit, run};
use crate::harness::{device, predict};

fn matrix(n: usize, d: usize) -> Matrix {
    Matrix { rows: n, cols: d, values: Random::new(d as u64).floats(n * d) }
}

#[test]
fn codes_name_the_nearest_centroids_and_the_error_is_theirs() {
    let (gpu, x) = (device(), matrix(700, 12));
    for (m, bits, per_centroid) in [(3, 4, None), (12, 5, Some(8)), (1, 4, Some(256))] {
        let quantizer = ProductQuantizer::new(m).bits(bits).seed(3).subsample(per_centroid);
        let quantized = quantizer.fit(&gpu, &x, |_, _| ()).unwrap();
        assert_eq!(quantized.codes.len(), 700 * m);
        assert_eq!(quantized.codebooks.values.len(), 12 << bits);
        let back = quantized.codebooks.decode(&quantized.codes).unwrap();
        let square = |x: f32| f64::from(x).powi(2);
        let error: f64 =
            x.values.iter().zip(&back.values).map(|(x, y)| (f64::from(*x) - f64::from(*y)).powi(2)).sum();
        let size: f64 = x.values.iter().map(|&x| square(x)).sum();
        assert!((quantized.relative_squared_error / (error / size) - 1.0).abs() < 1e-5);
        assert!((quantized.mean_squared_error / (error / 8400.0) - 1.0).abs() < 1e-5);
        assert_eq!(quantized.codebooks.encode(&gpu, &x).unwrap(), quantized.codes);
        assert_eq!(quantized.codebooks.encode(&gpu, &back).unwrap(), quantized.codes);
        let again = quantizer.fit(&gpu, &x, |_, _| ()).unwrap();
        assert_eq!((again.codes, again.codebooks), (quantized.codes, quantized.codebooks));
    }
}

#[test]
fn points_that_are_encoded_by_pieces_get_the_codes_of_all_at_once() {
    // More than a piece of 32 MiB; the sample is of 4096 points.
    let (gpu, x) = (device(), matrix(700_001, 12));
    let quantized = ProductQuantizer::new(3).bits(4).fit(&gpu, &x, |_, _| ()).unwrap();
    assert!(quantized.notices[0].contains("sample of 4096 of the 700001 points"), "{:?}", quantized.notices);
    let mut error = 0.0;
    for part in 0..3 {
        let book = quantized.codebooks.values[64 * part..][..64].to_vec();
        let columns = Columns { of: &x, columns: 4 * part..4 * part + 4 };
        let whole = predict(&gpu, &columns, &Matrix { rows: 16, cols: 4, values: book }).unwrap();
        let codes = quantized.codes.iter().skip(part).step_by(3);
        assert!(codes.zip(&whole.labels).all(|(&code, &label)| i32::from(code) == label));
        error += whole.inertia;
    }
    let mean = error / x.values.len() as f64;
    assert!((quantized.mean_squared_error / mean - 1.0).abs() < 1e-6);
    let mut bad = x;
    bad.values[12 * 700_000] = f32::INFINITY;
    let error = quantized.codebooks.encode(&gpu, &bad).unwrap_err().to_string();
    assert!(error.contains("infinity (inf): row 700000, column 0"), "{error}");
}

/// The error that scikit-learn's KMeans (k-means++, one start) gives in each sub-space, the mean over five seeds:
/// assets/kmeans/pq.py.
#[test]
fn embeddings_lose_as_much_as_by_scikit_learn() {
    let (gpu, x) = (device(), read_matrix("assets/kmeans/points.npy".as_ref()).unwrap());
    for (m, bits, theirs) in [(8, 4, 0.244151), (16, 6, 0.174568)] {
        let quantizer = ProductQuantizer::new(m).bits(bits).subsample(None);
        let error = quantizer.fit(&gpu, &x, |_, _| ()).unwrap().relative_squared_error;
        assert!((error / theirs - 1.0).abs() < 0.02, "m={m} bits={bits}: {error} against {theirs}");
    }
}

#[test]
fn a_sample_is_fitted_and_all_points_are_labelled() {
    let (gpu, x) = (device(), matrix(3000, 5));
    let kmeans = KMeans::new(7).seed(5);
    let fitted = kmeans.clone().subsample(Some(40)).fit(&gpu, &x, |_| ()).unwrap();
    assert_eq!((fitted.n, fitted.labels.len()), (3000, 3000));
    assert!(fitted.notices[0].contains("sample of 280 of the 3000 points"), "{:?}", fitted.notices);
    let predicted = kmeans.predict(&gpu, &x, &fitted.cluster_centers).unwrap();
    assert_eq!((&predicted.labels, predicted.inertia), (&fitted.labels, fitted.inertia));
    let whole = kmeans.fit(&gpu, &x, |_| ()).unwrap();
    assert!(whole.inertia < fitted.inertia && fitted.inertia < 1.2 * whole.inertia);
    // A sample that would be all points is no sample.
    let all = kmeans.clone().subsample(Some(1000)).fit(&gpu, &x, |_| ()).unwrap();
    assert_eq!((all.labels, all.inertia), (whole.labels, whole.inertia));

    // Points of no weight are in no sample, but have labels.
    let weights: Vec<f32> = (0..3000).map(|i| if i % 10 == 0 { 2.0 } else { 0.0 }).collect();
    let heavy: Vec<f32> = x.values.chunks(5).step_by(10).flatten().copied().collect();
    let sampled = kmeans.clone().subsample(Some(43));
    let sampled = sampled.fit_weighted(&gpu, &x, Some(&weights), |_| ()).unwrap();
    let few = Matrix { rows: 300, cols: 5, values: heavy };
    let own = kmeans.predict(&gpu, &few, &sampled.cluster_centers).unwrap();
    assert!((sampled.inertia / (2.0 * own.inertia) - 1.0).abs() < 1e-5);
    assert!(sampled.notices[0].contains("sample of 300 of"), "{:?}", sampled.notices);

    let mut bad = x;
    bad.values[5 * 2999] = f32::NAN;
    let error = kmeans.subsample(Some(2)).fit(&gpu, &bad, |_| ()).unwrap_err().to_string();
    assert!(error.contains("contains NaN: row 2999"), "{error}");
}

#[test]
fn the_command_line_writes_what_numpy_reads_and_refuses_what_does_not_fit() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let x = matrix(300, 6);
    lowbit::internals::io::npy::write_matrix(&folder.join("x.npy"), 300, 6, &x.values).unwrap();
    lowbit::internals::io::npy::write_matrix(&folder.join("c.npy"), 4, 6, &x.values[..24]).unwrap();
    let pq = [
        "kmeans",
        "pq",
        "x.npy",
        "-m",
        "3",
        "--bits",
        "4",
        "--codebooks",
        "b.npy",
        "--codes",
        "q.npy",
        "--json",
    ];
    let ran = run(&mut lowbit(folder, &pq));
    assert_eq!(ran.code, Some(DONE), "{ran:?}");
    let document: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert!(document["relative_squared_error"].as_f64().unwrap() < 0.5);
    assert!(document["mean_squared_error"].as_f64().unwrap() > 0.0);
    let info = |name: &str| lowbit::internals::io::npy::read_info(&folder.join(name)).unwrap();
    assert_eq!((info("b.npy").dtype.as_str(), info("b.npy").shape), ("<f4", vec![3, 16, 2]));
    assert_eq!((info("q.npy").dtype.as_str(), info("q.npy").shape), ("|u1", vec![300, 3]));
    let ran =
        run(&mut lowbit(folder, &["kmeans", "transform", "x.npy", "--centroids", "c.npy", "-o", "d.npy"]));
    assert_eq!(ran.code, Some(DONE), "{ran:?}");
    let distances = read_matrix(&folder.join("d.npy")).unwrap();
    assert_eq!((distances.rows, distances.cols, distances.values[0]), (300, 4, 0.0));
    let fit = ["kmeans", "fit", "x.npy", "-k", "2", "--subsample", "50"];
    let ran = run(&mut lowbit(folder, &fit));
    assert!(ran.code == Some(DONE) && ran.err.contains("sample of 100 of the 300"), "{ran:?}");

    let refusals: [(&[&str], &str); 6] = [
        (&["pq", "x.npy", "-m", "4"], "6 columns cannot be cut into m=4 sub-spaces of equal width"),
        (&["pq", "x.npy", "-m", "0"], "m should divide 6"),
        (&["pq", "c.npy", "-m", "2", "--bits", "4"], "4 points are fewer than the 16 centroids of 4 bits"),
        (&["pq", "x.npy", "-m", "2", "--bits", "9"], "--bits"),
        (&["pq", "x.npy", "-m", "2", "--train", "none"], "give 'all', or a number"),
        (&["pq", "x.npy", "-m", "2", "--metric", "dot"], "euclidean distance alone"),
    ];
    for (arguments, words) in refusals {
        let ran = run(&mut lowbit(folder, &[&["kmeans"], arguments].concat()));
        assert!(ran.code == Some(BAD_INPUT) && ran.err.contains(words), "{arguments:?}: {ran:?}");
    }
}

#[test]
fn empty_clusters_follow_their_policy() {
    let gpu = device();
    let x = Matrix { rows: 4, cols: 2, values: vec![1.0, 1.0, 1.5, 1.0, 1.5, 2.0, 2.0, 2.0] };
    let init = Matrix { rows: 2, cols: 2, values: vec![1.5, 1.5, 4.0, 4.0] };
    let kmeans = KMeans::new(2).init(Init::Centroids(init.clone()));
    let kept = kmeans.clone().empty(Empty::Keep).fit(&gpu, &x, |_| ()).unwrap();
    assert_eq!((kept.distinct_clusters, kept.labels), (1, vec![0; 4]));
    assert_eq!(kept.cluster_centers.values, init.values);

    // 600 points of four blobs, and six of eight centroids out of reach.
    let mut x = matrix(600, 3);
    x.values.chunks_mut(3).enumerate().for_each(|(i, row)| row[0] += (i % 4) as f32 * 10.0);
    let mut init = Matrix { rows: 8, cols: 3, values: vec![1e3; 24] };
    init.values[..6].copy_from_slice(&x.values[..6]);
    for metric in [Metric::Euclidean, Metric::Cosine] {
        let kmeans = KMeans::new(8).metric(metric).init(Init::Centroids(init.clone()));
        let split = kmeans.clone().empty(Empty::SplitLargest);
        let fitted = split.fit(&gpu, &x, |_| ()).unwrap();
        if metric == Metric::Euclidean {
            assert_eq!(fitted.distinct_clusters, 8);
        }
        let again = split.chunk_rows(128).fit(&gpu, &x, |_| ()).unwrap();
        assert_eq!((again.labels, again.cluster_centers), (fitted.labels, fitted.cluster_centers));
    }
    // Nothing to tell apart: the loop ends.
    let same = Matrix { rows: 20, cols: 1, values: (0..20).map(|i| (i % 2) as f32).collect() };
    let init = Matrix { rows: 4, cols: 1, values: vec![0.0, 1.0, 9.0, 10.0] };
    let fitted = KMeans::new(4).init(Init::Centroids(init)).empty(Empty::SplitLargest);
    let fitted = fitted.fit(&gpu, &same, |_| ()).unwrap();
    assert!(fitted.n_iter < 20 && fitted.inertia < 1e-6, "{} {}", fitted.n_iter, fitted.inertia);
}
