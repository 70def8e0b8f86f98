//! `lowbit kmeans choose`

use std::fs;

use lowbit::internals::io::npy;
use lowbit::internals::random::Random;
use serde_json::Value;
use tempfile::TempDir;

use super::cli::{BAD_INPUT, DONE, done, json, lowbit, refused, run};

const N: usize = 400;
const D: usize = 6;

/// Points around five centres that are equally far from each other in x.npy.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random::new(4);
    let noise = random.floats(N * D);
    let value = |(i, x): (usize, &f32)| if i / D % 5 == i % D { x + 20.0 } else { *x };
    let values: Vec<f32> = noise.iter().enumerate().map(value).collect();
    npy::write_matrix(&folder.path().join("x.npy"), N, D, &values).unwrap();
    let weights: Vec<f32> = (0..N).map(|i| (i % 3) as f32).collect();
    npy::write_matrix(&folder.path().join("w.npy"), N, 1, &weights).unwrap();
    folder
}

#[test]
fn the_clusters_that_are_there_are_found_and_drawn() {
    let temporary = folder();
    let folder = temporary.path();
    let choose = ["kmeans", "choose", "x.npy", "-k", "2..9", "--n-init", "3", "--svg", "k.svg"];
    let ran = run(&mut lowbit(folder, &choose));
    assert_eq!(ran.code, Some(DONE), "{ran:?}");
    assert!(ran.err.contains("written: k.svg"), "{ran:?}");
    assert!(ran.out.lines().all(|line| line.chars().count() <= 80), "{}", ran.out);
    let marked: Vec<&str> = ran.out.lines().filter(|line| line.contains("elbow, best silhouette")).collect();
    assert!(matches!(marked[..], [line] if line.trim_start().starts_with("5 ")), "{}", ran.out);
    assert!(ran.out.contains("elbow of the inertia (Kneedle): k=5"), "{}", ran.out);
    assert!(ran.out.contains("best silhouette: k=5, of all 400 points"), "{}", ran.out);
    let drawn = fs::read_to_string(folder.join("k.svg")).unwrap();
    for words in ["<svg", "elbow: k=5", "best: k=5", "inertia of 400 points of 6 dimensions"] {
        assert!(drawn.contains(words), "{words}");
    }
    // The elbow alone, drawn alone.
    let choose = ["kmeans", "choose", "x.npy", "-k", "2..9", "--no-silhouette", "--svg", "k.svg"];
    assert!(!done(folder, &choose).contains("best silhouette"));
    assert!(!fs::read_to_string(folder.join("k.svg")).unwrap().contains("silhouette"));
}

#[test]
fn rows_are_those_of_fit() {
    let temporary = folder();
    let folder = temporary.path();
    let settings: [&[&str]; 2] = [
        &["--weights", "w.npy", "--init", "random", "--n-init", "2", "--seed", "7", "--tol", "0"],
        &["--metric", "cosine", "--max-iter", "2", "--memory", "1", "--empty", "keep", "--subsample", "20"],
    ];
    for settings in settings {
        let choose =
            [&["kmeans", "choose", "x.npy", "-k", "8,3,8", "--sample", "50", "--json"], settings].concat();
        let found = json(folder, &choose);
        let rows = found["candidates"].as_array().unwrap();
        assert_eq!((rows.len(), &found["sample"]), (2, &50.into()));
        for (row, k) in rows.iter().zip(["3", "8"]) {
            let fit = json(folder, &[&["kmeans", "fit", "x.npy", "-k", k, "--json"], settings].concat());
            let of = |document: &Value| {
                let keys = ["k", "inertia", "n_iter", "converged", "distinct_clusters", "imbalance"];
                keys.map(|key| document[key].clone())
            };
            assert_eq!(of(row), of(&fit));
            let silhouette = row["silhouette"].as_f64().unwrap();
            assert!((-1.0..=1.0).contains(&silhouette), "{silhouette}");
        }
    }
}

#[test]
fn what_cannot_be_chosen_from_is_refused() {
    let temporary = folder();
    let folder = temporary.path();
    npy::write_matrix(&folder.join("nan.npy"), 3, 1, &[0.0, f32::NAN, 1.0]).unwrap();
    let cases: &[(&[&str], &[&str])] = &[
        (&["x.npy", "-k", "2..401"], &["x.npy", "n_samples=400 should be >= n_clusters=401"]),
        (&["x.npy", "-k", "2..4", "--sample", "1"], &["sample=1 should be >= 2"]),
        (&["nan.npy", "-k", "1,2"], &["nan.npy: Input X contains NaN: row 1, column 0"]),
        (&["x.npy", "-k", "2..4", "--svg", "x.npy"], &["x.npy", "would overwrite an input"]),
        (
            &["x.npy", "-k", "2..4", "--weights", "w.npy", "--svg", "w.npy"],
            &["w.npy", "would overwrite an input"],
        ),
        (&["x.npy", "-k", "2..4", "--svg", "k.png"], &["k.png", "a picture of curves is SVG"]),
        (&["x.npy", "-k", "3", "--svg", "k.svg"], &["--svg: one number of clusters has no curve"]),
        (&["x.npy", "-k", "2..4", "--init", "x.npy"], &["--init x.npy", "one number of clusters"]),
        (&["x.npy", "-k", "2..4", "--init", "no.npy"], &["--init no.npy: there is no such file"]),
        (&["x.npy", "-k", "2..4", "--weights", "x.npy"], &["x.npy: it has 6 columns"]),
        (&["x.npy", "-k", "2..4", "--max-iter", "0"], &["max_iter=0 should be >= 1"]),
    ];
    for (arguments, words) in cases {
        refused(&mut lowbit(folder, &[&["kmeans", "choose"], *arguments].concat()), BAD_INPUT, words);
    }
    for (arguments, words) in [
        (&["x.npy"][..], "--k <2..20>"),
        (&["x.npy", "-k", "0..3"], "0..3: numbers of clusters are 1 or more"),
        (&["x.npy", "-k", "9..2"], "9..2 is empty: the smaller end comes first"),
        (&["x.npy", "-k", "2..4", "--no-silhouette", "--sample", "5"], "cannot be used with"),
    ] {
        let ran = run(&mut lowbit(folder, &[&["kmeans", "choose"], arguments].concat()));
        assert_eq!((ran.code, ran.out.as_str()), (Some(BAD_INPUT), ""), "{ran:?}");
        assert!(ran.err.contains(words), "{ran:?}");
    }
    // Duplicates are said.
    let ran = run(&mut lowbit(folder, &["kmeans", "choose", "x.npy", "-k", "4,2,4", "--no-silhouette"]));
    assert!(ran.err.contains("numbers of clusters: 2, 4, rising, each once"), "{ran:?}");
}
