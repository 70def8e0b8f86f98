//! Arrays in and out of the commands: one table of numbers in many files gives one answer, nothing else is taken for numbers, and
//! outputs are what their names say.

use std::fs;
use std::path::Path;

use lowbit::internals::io::npy;
use lowbit::internals::random::Random;

use super::cli::{BAD_INPUT, DONE, done, json, lowbit, refused, run, write_npy};

const ROWS: usize = 90;
const COLS: usize = 3;

/// Three blobs of whole numbers, [90, 3].
fn points() -> Vec<f32> {
    let mut random = Random::new(12);
    (0..ROWS * COLS).map(|i| (40 * (i / COLS % 3)) as f32 + random.below(20) as f32).collect()
}

fn table(values: &[f32], names: &str) -> String {
    let lines = values.chunks(COLS).map(|row| row.iter().map(f32::to_string).collect::<Vec<_>>().join(","));
    names.to_owned() + &lines.collect::<Vec<_>>().join("\n") + "\n"
}

#[test]
fn one_table_in_many_files_gives_one_answer() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    let points = points();
    let shape = format!("({ROWS}, {COLS})");
    npy::write_matrix(&folder.join("x.npy"), ROWS, COLS, &points).unwrap();
    let columns: Vec<f32> =
        (0..COLS).flat_map(|col| points.iter().skip(col).step_by(COLS).copied()).collect();
    let doubles: Vec<u8> = columns.iter().flat_map(|&x| f64::from(x).to_be_bytes()).collect();
    write_npy(&folder.join("fortran.npy"), ">f8", true, &shape, &doubles);
    let longs: Vec<u8> = points.iter().flat_map(|&x| (x as i64).to_le_bytes()).collect();
    write_npy(&folder.join("long.npy"), "<i8", false, &shape, &longs);
    fs::write(folder.join("t.csv"), table(&points, "")).unwrap();
    fs::write(folder.join("named.csv"), table(&points, "a,b,c\n")).unwrap();
    let raw: Vec<u8> = points.iter().map(|&x| x as u8).collect();
    fs::write(folder.join("raw.bin"), raw).unwrap();
    let fit = |data: &[&str], labels: &str| {
        let all =
            [&["kmeans", "fit"], data, &["-k", "3", "--labels", labels, "--centroids", "c.csv", "--json"]]
                .concat();
        let ran = run(&mut lowbit(folder, &all));
        assert_eq!(ran.code, Some(DONE), "{ran:?}");
        ran.err
    };
    assert!(!fit(&["x.npy"], "l.npy").contains("converted"));
    let (expected, centroids) =
        (fs::read(folder.join("l.npy")).unwrap(), fs::read(folder.join("c.csv")).unwrap());
    fs::copy(folder.join("c.csv"), folder.join("i.csv")).unwrap();
    for (data, words) in [
        (&["fortran.npy"][..], "fortran.npy: float64 is converted to float32"),
        (&["long.npy"], "long.npy: int64 is converted to float32"),
        (&["t.csv"], ""),
        (&["named.csv"], ""),
        (&["raw.bin", "--raw", "u8", "--dim", "3"], ""),
        (&["fortran.npy", "--init", "i.csv"], "converted"),
        (&["x.npy", "--init", "i.csv", "--memory", "1"], ""),
    ] {
        let said = fit(data, "m.npy");
        assert!(said.contains(words) && said.matches("converted").count() <= 1, "{data:?}: {said}");
        assert_eq!(fs::read(folder.join("m.npy")).unwrap(), expected, "{data:?}");
        assert_eq!(fs::read(folder.join("c.csv")).unwrap(), centroids, "{data:?}");
    }
    // Labels as a table are the same labels, and weights may be a column.
    fit(&["x.npy", "--weights", "named.csv:a", "--init", "i.csv"], "w.csv");
    let predict = ["kmeans", "predict", "long.npy", "--centroids", "c.csv", "-o", "p.csv"];
    done(folder, &predict);
    let lines = fs::read_to_string(folder.join("p.csv")).unwrap();
    let labels: Vec<i32> = lines.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(labels.len(), ROWS);
    let transform = ["kmeans", "transform", "t.csv", "--centroids", "c.csv", "-o", "d.csv"];
    done(folder, &transform);
    let distances = npy::read_matrix(&folder.join("d.csv")).unwrap();
    assert_eq!((distances.rows, distances.cols), (ROWS, 3));
    for (row, &label) in distances.values.chunks(3).zip(&labels) {
        assert!(row.iter().all(|&distance| distance >= row[label as usize]), "{row:?} {label}");
    }
}

#[test]
fn nothing_is_clustered_that_is_no_table_of_numbers() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    fs::write(folder.join("words.csv"), "a,b,kind\n1,2,rose\n3,4,lily\n5,6,rose\n7,8,lily\n").unwrap();
    fs::write(folder.join("odd.csv"), [0, 1, 2, 3].repeat(64)).unwrap();
    let fit = |arguments: &[&str], words: &[&str]| {
        refused(&mut lowbit(folder, &[&["kmeans", "fit", "-k", "2"], arguments].concat()), BAD_INPUT, words);
    };
    fit(
        &["words.csv", "--dim", "16"],
        &["words.csv: line 2, column 3 ('kind'): 'rose' is no number", "--without NAME"],
    );
    fit(&["words.csv", "--raw", "f32", "--dim", "3"], &["this is text, by its content: leave out --raw f32"]);
    fit(&["odd.csv", "--raw", "f32", "--dim", "3"], &["a table of text, by its name"]);
    fit(&["odd.csv", "--dim", "16"], &["odd.csv", "damaged, or misnamed"]);
    fit(&["words.csv", "--without", "kind", "--dim", "3"], &["its rows have 2 values, not 3"]);
    let found = json(folder, &["kmeans", "fit", "-k", "2", "words.csv", "--without", "kind", "--json"]);
    assert_eq!((&found["n"], &found["d"]), (&4.into(), &2.into()));
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/classifier/delamination/model.onnx");
    let watch = ["classify", "watch", model.to_str().unwrap(), "--input"];
    let more = |input: &'static [&'static str]| [&watch[..], input].concat();
    refused(
        &mut lowbit(folder, &more(&["words.csv", "--format", "f32"])),
        BAD_INPUT,
        &["words.csv: this is text"],
    );
    fs::write(folder.join("x.npz"), b"PK\x05\x06 and so on, but no array is in it").unwrap();
    refused(&mut lowbit(folder, &more(&["x.npz"])), BAD_INPUT, &["x.npz: this is a zip archive"]);
}

#[test]
fn several_files_are_one_table() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    let points = points();
    npy::write_matrix(&folder.join("x.npy"), ROWS, COLS, &points).unwrap();
    fs::create_dir(folder.join("parts")).unwrap();
    let (head, tail) = points.split_at(40 * COLS);
    npy::write_matrix(&folder.join("parts/a.npy"), 40, COLS, head).unwrap();
    fs::write(folder.join("parts/b.csv"), table(tail, "")).unwrap();
    let fit = |data: &[&str], labels: &str| {
        let all = [&["kmeans", "fit"], data, &["-k", "3", "--labels", labels, "--memory", "1"]].concat();
        let ran = run(&mut lowbit(folder, &all));
        assert_eq!(ran.code, Some(DONE), "{ran:?}");
        (ran.err, fs::read(folder.join(labels)).unwrap())
    };
    let (said, expected) = fit(&["x.npy"], "l.npy");
    assert!(!said.contains("files"), "{said}");
    for data in [&["parts"][..], &["parts/*"], &["parts/[a-b].*"], &["parts/a.npy", "parts/b.csv"]] {
        let (said, labels) = fit(data, "l.npy");
        assert!(said.contains("2 files, one behind the other") && labels == expected, "{data:?}: {said}");
    }
    done(folder, &["kmeans", "predict", "parts", "--centroids", "x.npy", "-o", "p.npy"]);
    // What is found in a folder is an input.
    let over = ["kmeans", "fit", "parts", "-k", "3", "--labels", "parts/a.npy"];
    refused(&mut lowbit(folder, &over), BAD_INPUT, &["parts/a.npy: this would overwrite an input"]);
    fs::write(folder.join("parts/c.csv"), "1,2\n3,4\n").unwrap();
    let ragged = ["kmeans", "fit", "parts", "-k", "3"];
    refused(
        &mut lowbit(folder, &ragged),
        BAD_INPUT,
        &["c.csv: its rows have 2 values, and those of", "a.npy 3"],
    );
    let none = ["kmeans", "fit", "parts/*.h5", "-k", "3"];
    refused(&mut lowbit(folder, &none), BAD_INPUT, &["no file whose name fits this pattern"]);
}

#[cfg(all(feature = "hdf5", feature = "parquet"))]
#[test]
fn tables_of_other_programs_are_points() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/kmeans");
    let temporary = tempfile::tempdir().unwrap();
    let fit = |data: &str, labels: &str| {
        let labels = temporary.path().join(labels);
        let all = ["kmeans", "fit", data, "-k", "2", "--labels", labels.to_str().unwrap()];
        let ran = run(&mut lowbit(&folder, &all));
        assert_eq!(ran.code, Some(DONE), "{ran:?}");
        (ran.err, fs::read(labels).unwrap())
    };
    let (_, expected) = fit("vecs/int8.npy", "l.npy");
    for (data, words) in [
        ("parquet/int8-delta.parquet", "the rows are the lists of column 'embedding', without 'id', 'text'"),
        ("parquet/int8-list.parquet:embedding", ""),
        ("hdf5/int8-int8-gzip.h5", ""),
        ("hdf5/int8-int8.h5:x", ""),
    ] {
        let (said, labels) = fit(data, "m.npy");
        assert!(said.contains(words) && labels == expected, "{data}: {said}");
    }
    let refuse = |data: &str, words: &[&str]| {
        refused(&mut lowbit(&folder, &["kmeans", "fit", data, "-k", "2"]), BAD_INPUT, words);
    };
    refuse("parquet/bad-null-value.parquet", &["row 5 (from 0) of column 'x' has a null in its list"]);
    refuse("parquet/bad-text.parquet", &["column 'name'", "--without NAME leaves it out"]);
    refuse("hdf5/bad-several.h5", &["several datasets of numbers: 'x', 'y'"]);
}

#[test]
fn an_output_is_what_its_name_says_or_nothing_begins() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    npy::write_matrix(&folder.join("x.npy"), ROWS, COLS, &points()).unwrap();
    let fit = ["kmeans", "fit", "x.npy", "-k", "2"];
    let predict = ["kmeans", "predict", "x.npy", "--centroids", "x.npy"];
    let pq = ["kmeans", "pq", "x.npy", "-m", "3", "--bits", "4"];
    for (command, more, words) in [
        (&fit[..], ["--labels", "l.txt"], "written as .npy or .csv"),
        (&fit, ["--centroids", "c"], "written as .npy or .csv"),
        (&fit, ["--centroids", "c.npz"], "written as .npy or .csv"),
        (&fit, ["--checkpoint", "state.npy"], "ends in .safetensors"),
        (&fit, ["--trace", "t.html"], "ends in .json"),
        (&predict, ["-o", "l.parquet"], "written as .npy or .csv"),
        (&pq, ["--codebooks", "b.csv"], "an array of 3 dimensions is no table"),
        (&["roofline", "--quick"], ["--svg", "roofs.png"], "ends in .svg"),
    ] {
        refused(&mut lowbit(folder, &[command, &more].concat()), BAD_INPUT, &[more[1], words]);
    }
    let calibrate = ["classify", "calibrate", "m.onnx", "x.npy", "-o", "cache.npy"];
    refused(&mut lowbit(folder, &calibrate), BAD_INPUT, &["cache.npy", "which is text"]);
    done(folder, &[&pq[..], &["--codes", "q.csv"]].concat());
    let codes = npy::read_matrix(&folder.join("q.csv")).unwrap();
    assert_eq!((codes.rows, codes.cols), (ROWS, 3));
    assert!(codes.values.iter().all(|&code| code < 16.0 && code.fract() == 0.0));
}

#[test]
fn a_fit_says_what_did_the_work() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    // More than a MiB, as they lie on the device.
    let rows = 1000 * ROWS;
    npy::write_matrix(&folder.join("x.npy"), rows, COLS, &points().repeat(1000)).unwrap();
    let fit = ["kmeans", "fit", "x.npy", "-k", "3", "--json"];
    let told = json(folder, &fit);
    let of = |told: &serde_json::Value, name: &str| told[name].as_f64().unwrap();
    let iteration = &told["iteration"];
    assert!(["f32", "f16 pairs"].contains(&iteration["precision"].as_str().unwrap()), "{told}");
    assert!(iteration["kernel"].as_str().unwrap().starts_with("assign"), "{told}");
    // Points are read twice, at least, by the assignment and by the update.
    assert!(of(iteration, "bytes") >= (2 * 4 * rows * COLS) as f64, "{told}");
    assert!(of(iteration, "ops") >= (2 * 3 * rows * COLS) as f64, "{told}");
    let ms = of(&told, "ms_per_iteration");
    assert!((of(&told, "gb_s") - of(iteration, "bytes") / ms / 1e6).abs() < 1e-6, "{told}");
    assert!(told.get("share").is_none() && of(&told["reranked"], "of") >= rows as f64, "{told}");
    // What is read again in each iteration is the same work, but for what each block has of its own.
    let streamed = json(folder, &[&fit[..], &["--memory", "1"]].concat());
    let ratio = of(&streamed["iteration"], "bytes") / of(iteration, "bytes");
    assert!((0.5..2.0).contains(&ratio), "{streamed}");
    let share = json(folder, &[&fit[..], &["--roofs"]].concat());
    assert!(of(&share["share"], "value") > 0.0, "{share}");
    let ran = run(&mut lowbit(folder, &[&fit[..], &["--roofs", "--batch"]].concat()));
    assert!(ran.code == Some(BAD_INPUT) && ran.err.contains("cannot be used with '--batch'"), "{ran:?}");
}
