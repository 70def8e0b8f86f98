//! `lowbit classify watch`, as its users meet it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use lowbit::internals::io::npy;
use serde_json::Value;

use super::cli::{BAD_INPUT, done, json, lowbit, refused, run};

fn asset(name: &str) -> String {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("assets/classifier")
        .join(name)
        .to_str()
        .unwrap()
        .to_owned()
}

/// The rows of a real test set, and how many numbers each has.
fn rows(name: &str) -> (Vec<f32>, usize) {
    let matrix = npy::read_matrix(Path::new(&asset(name))).unwrap();
    (matrix.values, matrix.cols)
}

fn csv(values: &[f32], cols: usize) -> String {
    let line = |row: &[f32]| row.iter().map(f32::to_string).collect::<Vec<_>>().join(",") + "\n";
    values.chunks(cols).map(line).collect()
}

/// Watches what comes through standard input, and gives exit code, standard output and standard error.
fn piped(folder: &Path, arguments: &[&str], input: &[u8]) -> (Option<i32>, String, String) {
    let mut command = lowbit(folder, arguments);
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    let _ = writer.join().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value}"))
}

#[test]
fn every_row_gets_the_answer_that_run_gives() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    let [model, calibration, test] =
        &["model.onnx", "calibration.npy", "test.npy"].map(|file| asset(&format!("breast_cancer/{file}")));
    let (values, cols) = rows("breast_cancer/test.npy");
    fs::write(folder.join("x.csv"), csv(&values, cols)).unwrap();
    done(folder, &["classify", "calibrate", model, calibration, "-o", "c"]);
    for int8 in [&[][..], &["--int8", "c"]] {
        done(folder, &[&["classify", "run", model, test, "-o", "p.npy"][..], int8].concat());
        let expected = npy::read_matrix(&folder.join("p.npy")).unwrap().values;
        let found =
            json(folder, &[&["classify", "watch", model, "--input", "x.csv", "--json"], int8].concat());
        let answers = found["rows"].as_array().unwrap();
        assert_eq!(answers.len(), expected.len());
        let mut levels = [0u64; 3];
        for (at, (answer, &p)) in answers.iter().zip(&expected).enumerate() {
            assert_eq!((number(&answer["row"]) as usize, number(&answer["probability"]) as f32), (at, p));
            let level = if p > 0.85 { 2 } else { usize::from(p > 0.5) };
            assert_eq!(answer["level"], ["NOMINAL", "WARNING", "CRITICAL"][level]);
            levels[level] += 1;
        }
        let summary = &found["summary"];
        let counted = ["nominal", "warnings", "critical"].map(|level| summary[level].as_u64().unwrap());
        assert_eq!((counted, levels.iter().all(|&count| count > 0)), (levels, true));
        assert_eq!(
            (&summary["rows"], &summary["dropped"], &summary["invalid"]),
            (&expected.len().into(), &0.into(), &0.into())
        );
    }
}

#[test]
fn what_is_wrong_with_a_row_is_said_and_does_not_end_the_watch() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    let model = &asset("breast_cancer/model.onnx");
    let (values, cols) = rows("breast_cancer/test.npy");
    let right = csv(&values[..cols], cols);
    let watch = ["classify", "watch", model, "--input", "-"];
    let (code, out, err) = piped(folder, &watch, format!("{right}1,2,3\n{right}").as_bytes());
    assert_eq!(code, Some(BAD_INPUT), "{err}");
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!((lines.len(), lines[0]), (4, "row,probability,level,saturated,latency_us"));
    assert!(lines[2].starts_with("1,,INVALID,,"), "{out}");
    // The same row has the same answer before and behind it.
    let answer = |line: &str| line.split(',').skip(1).take(3).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(answer(lines[1]), answer(lines[3]));
    assert!(
        err.contains("3 rows in")
            && err.contains("1 invalid")
            && err.contains("error: -: 1 rows got no probability; the first: line 2: it has 3 cells"),
        "{err}"
    );
    // Floats as they lie, with half a row at the end.
    let mut bytes: Vec<u8> = values[..2 * cols].iter().flat_map(|x| x.to_le_bytes()).collect();
    bytes.extend([0; 6]);
    let (code, out, err) = piped(folder, &[&watch[..], &["--format", "f32"]].concat(), &bytes);
    assert_eq!((code, out.lines().count()), (Some(BAD_INPUT), 4), "{err}");
    // In a document, what was wrong stands beside it.
    let (_, out, _) = piped(folder, &[&watch[..], &["--json"]].concat(), b"1,2\n");
    let document: Value = serde_json::from_str(&out).unwrap();
    assert!(document["rows"][0]["invalid"].as_str().unwrap().contains("2 cells; 30 are expected"), "{out}");
    // Nothing at all is no row, and no error.
    let (code, out, err) = piped(folder, &watch, b"");
    assert_eq!((code, out.lines().count()), (Some(0), 1), "{err}");
}

#[test]
fn more_rows_than_can_be_answered_are_answered_later() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    let model = &asset("delamination/model.onnx");
    let count = 20_000;
    let text: String = (0..count).map(|row| format!("{},0.1,0.2,{}\n", row % 7, row % 3)).collect();
    let (code, out, err) =
        piped(folder, &["classify", "watch", model, "--input", "-", "--json"], text.as_bytes());
    assert_eq!(code, Some(0), "{err}");
    let document: Value = serde_json::from_str(&out).unwrap();
    let answers = document["rows"].as_array().unwrap();
    assert_eq!(answers.len(), count);
    assert!(answers.iter().enumerate().all(|(at, answer)| answer["row"] == at));
    let summary = &document["summary"];
    assert_eq!((&summary["rows"], &summary["dropped"]), (&count.into(), &0.into()));
    assert!(
        summary["largest_batch"].as_u64().unwrap() > 1 && summary["held_back"].as_u64().unwrap() > 0,
        "{summary}"
    );
    assert!(err.contains("0 dropped") && err.contains("held back at the source"), "{err}");
}

#[test]
fn values_beyond_what_calibration_saw_are_marked() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    let [model, calibration] =
        &["model.onnx", "calibration.npy"].map(|file| asset(&format!("breast_cancer/{file}")));
    let (values, cols) = rows("breast_cancer/calibration.npy");
    done(folder, &["classify", "calibrate", model, calibration, "-o", "c", "--method", "min-max"]);
    // A row in the middle of its data, and one a thousand times as large.
    let middle: Vec<f32> = (0..cols)
        .map(|column| {
            let mut all: Vec<f32> = values.chunks(cols).map(|row| row[column]).collect();
            all.sort_by(f32::total_cmp);
            all[all.len() / 2]
        })
        .collect();
    let large: Vec<f32> = middle.iter().map(|x| x * 1000.0).collect();
    fs::write(folder.join("x.csv"), csv(&[middle, large].concat(), cols)).unwrap();
    let found = json(folder, &["classify", "watch", model, "--input", "x.csv", "--int8", "c", "--json"]);
    let marks: Vec<bool> =
        found["rows"].as_array().unwrap().iter().map(|row| row["saturated"].as_bool().unwrap()).collect();
    assert_eq!((marks, &found["summary"]["saturated"]), (vec![false, true], &1.into()));
}

#[test]
fn codes_that_mean_zero_are_not_cut_off() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    let model = &asset("small/bytes.onnx");
    // Within, and beyond what a byte holds in steps of 0.05 around 0, on both sides.
    fs::write(folder.join("x.csv"), "0,0\n1,-1\n-3,2\n7,0\n-7,0\n").unwrap();
    let found = json(folder, &["classify", "watch", model, "--input", "x.csv", "--json"]);
    let marks: Vec<bool> =
        found["rows"].as_array().unwrap().iter().map(|row| row["saturated"].as_bool().unwrap()).collect();
    assert_eq!(marks, [false, false, false, true, true]);
}

#[test]
fn what_is_no_probability_gets_no_level() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    let model = &asset("small/wild.onnx");
    let watch = ["classify", "watch", model, "--input", "-", "--json"];
    let (code, out, err) = piped(folder, &watch, b"1,0\n3e38,3e38\n1,0\n");
    assert_eq!(code, Some(BAD_INPUT), "{err}");
    let document: Value = serde_json::from_str(&out).unwrap();
    let rows = document["rows"].as_array().unwrap();
    assert_eq!(
        (rows.len(), &rows[0]["level"], &rows[0]["probability"]),
        (3, &rows[2]["level"], &rows[2]["probability"])
    );
    assert!(rows[1]["invalid"].as_str().unwrap().contains("no probability"), "{out}");
    assert_eq!(document["summary"]["invalid"], 1);
}

#[test]
fn a_stream_that_breaks_off_is_closed_all_the_same() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    let model = &asset("delamination/model.onnx");
    let watch = ["classify", "watch", model, "--input", "-", "--json"];
    let endless = [b"1,2,3,4\n1,2,3,4\n".as_slice(), &vec![b'7'; (1 << 20) + 10], b"\n1,2,3,4\n"].concat();
    let (code, out, err) = piped(folder, &watch, &endless);
    assert_eq!(code, Some(BAD_INPUT), "{err}");
    assert!(err.contains("line 3 is longer than") && err.contains("2 rows in"), "{err}");
    let document: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((document["rows"].as_array().unwrap().len(), &document["summary"]["dropped"]), (2, &0.into()));
}

/// Sends a signal to a process.
fn signal(name: &str, process: u32) {
    let sent = std::process::Command::new("kill").args([name, &process.to_string()]).status().unwrap();
    assert!(sent.success());
}

#[test]
fn a_signal_loses_no_row_that_was_read() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    let model = &asset("delamination/model.onnx");
    let mut command = lowbit(folder, &["classify", "watch", model, "--input", "-", "--json"]);
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // More rows than are ever answered, for as long as anybody takes them.
    let writer = std::thread::spawn(move || while stdin.write_all(&b"1,2,3,4\n".repeat(1000)).is_ok() {});
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    for _ in 0..500 {
        std::io::BufRead::read_line(&mut out, &mut text).unwrap();
    }
    signal("-TERM", child.id());
    std::io::Read::read_to_string(&mut out, &mut text).unwrap();
    let mut err = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut err).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{err}");
    writer.join().unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    let (rows, summary) = (document["rows"].as_array().unwrap(), &document["summary"]);
    assert!(rows.iter().enumerate().all(|(at, row)| row["row"] == at));
    assert_eq!((&summary["rows"], &summary["dropped"]), (&rows.len().into(), &0.into()), "{err}");
    assert!(summary["held_back"].as_u64().unwrap() > 0, "{summary}");
}

#[test]
fn a_rate_is_kept_and_a_signal_ends_it_with_the_closing_line() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    let model = &asset("delamination/model.onnx");
    fs::write(folder.join("x.csv"), "1,2,3,4\n".repeat(100)).unwrap();
    let found = json(folder, &["classify", "watch", model, "--input", "x.csv", "--rate", "200", "--json"]);
    let seconds = number(&found["summary"]["seconds"]);
    assert!((0.49..30.0).contains(&seconds), "{seconds}");
    // A pipe that stays open: rows are answered as they come, and Ctrl-C closes the account.
    let mut command = lowbit(folder, &["classify", "watch", model, "--input", "-"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"1,2,3,4\n").unwrap();
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut lines = String::new();
    let begun = Instant::now();
    while lines.lines().count() < 2 && begun.elapsed() < Duration::from_secs(120) {
        std::io::BufRead::read_line(&mut out, &mut lines).unwrap();
    }
    assert!(lines.contains("\n0,"), "{lines}");
    signal("-INT", child.id());
    let status = child.wait().unwrap();
    let mut err = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut err).unwrap();
    assert_eq!(status.code(), Some(0), "{err}");
    assert!(err.contains("1 rows in"), "{err}");
}

#[test]
fn wrong_watches_are_refused() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    let model = &asset("delamination/model.onnx");
    fs::write(folder.join("names.csv"), "a,b,c\n1,2,3\n").unwrap();
    let refuse = |arguments: &[&str], words: &[&str]| {
        let command = [&["classify", "watch"][..], arguments].concat();
        refused(&mut lowbit(folder, &command), BAD_INPUT, words);
    };
    refuse(&[model, "--input", "none.csv"], &["none.csv", "No such file"]);
    refuse(&[model, "--input", "names.csv"], &["names.csv", "names 3 features; the model takes 4"]);
    refuse(&[model, "--input", "names.csv", "--critical", "0.3"], &["between 0 and 1"]);
    refuse(&[model, "--input", "names.csv", "--class", "1"], &["there is no output 1"]);
    refuse(&["names.csv", "--input", "names.csv"], &["names.csv"]);
    refuse(&[model, "--input", "names.csv", "--int8", "none"], &["none"]);
    for wrong in [&["--rate", "0", "--input", "-"][..], &["--format", "text", "--input", "-"], &[]] {
        let ran = run(&mut lowbit(folder, &[&["classify", "watch", model], wrong].concat()));
        assert_eq!((ran.code, ran.out.as_str()), (Some(BAD_INPUT), ""), "{ran:?}");
    }
}
