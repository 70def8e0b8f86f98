//! Real inputs with independent answers that are too large for the repository: `make check-shared` runs these.

use std::path::PathBuf;

use lowbit::gpu::{Context, Options};
use lowbit::io::npy::{read_labels, read_matrix};
use lowbit::kmeans::{Init, KMeans};
use lowbit::oracle;

/// The folder that LOWBIT_SHARED names.
fn shared(path: &str) -> PathBuf {
    PathBuf::from(std::env::var_os("LOWBIT_SHARED").expect("LOWBIT_SHARED names the folder"))
        .join("data")
        .join(path)
}

#[test]
#[ignore = "reads LOWBIT_SHARED: make check-shared"]
fn shared_embeddings_cluster_as_the_f64_reference() {
    let gpu = Context::open(&Options::default()).unwrap();
    let points = read_matrix(&shared("kmeans/points.npy")).unwrap();
    let init = read_matrix(&shared("kmeans/init.npy")).unwrap();
    let labels = read_labels(&shared("kmeans/labels.npy")).unwrap();
    let text = std::fs::read_to_string(shared("kmeans/reference.json")).unwrap();
    let reference: serde_json::Value = serde_json::from_str(&text).unwrap();
    let number = |key: &str| reference[key].as_f64().unwrap();

    let kmeans = KMeans::new(64).init(Init::Centroids(init)).max_iter(number("max_iter") as u32).tol(0.0);
    let fitted = kmeans.fit(&gpu, &points, |_| ()).unwrap();
    assert!((f64::from(fitted.n_iter) - number("n_iter")).abs() <= 1.0, "{} iterations", fitted.n_iter);
    let inertia = fitted.inertia / number("inertia") - 1.0;
    assert!(inertia.abs() <= 1e-5, "inertia differs by {inertia:e}");

    // A label may differ only where both centroids are as near as f32 arithmetic can tell.
    let allowed = oracle::assign::allowed(&points.values, &fitted.cluster_centers.values, points.cols);
    let different: Vec<usize> = (0..labels.len()).filter(|&i| labels[i] != fitted.labels[i]).collect();
    for &i in &different {
        assert!(
            allowed[i].contains(&(labels[i] as u32)),
            "point {i} is in {}, not {}",
            fitted.labels[i],
            labels[i]
        );
    }
    println!(
        "{} of {} labels differ, all near ties; inertia differs by {inertia:e}",
        different.len(),
        labels.len()
    );

    let again = kmeans.fit(&gpu, &points, |_| ()).unwrap();
    assert_eq!(again.labels, fitted.labels);
    let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&again.cluster_centers.values), bits(&fitted.cluster_centers.values));
}
