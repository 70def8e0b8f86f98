//! `lowbit classify`, as its users meet it.

use std::fs;
use std::path::{Path, PathBuf};

use lowbit::internals::audit::telemetry;
use lowbit::internals::calibration::Cache;
use lowbit::internals::io::npy::{self, Matrix};
use lowbit::internals::random::Random;
use serde_json::Value;

use super::cli::{BAD_INPUT, DONE, done, json, lowbit, refused, run};

const GATE: i32 = 1;

/// A file of `assets/classifier`.
fn asset(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("assets/classifier").join(name);
    path.to_str().unwrap().to_owned()
}

/// The model, calibration, test and labels of a real classifier.
fn real(name: &str) -> [String; 4] {
    ["model.onnx", "calibration.npy", "test.npy", "labels.npy"].map(|file| asset(&format!("{name}/{file}")))
}

fn number(document: &Value, key: &str) -> f64 {
    document[key].as_f64().unwrap_or_else(|| panic!("{key}: {document}"))
}

/// Writes random examples.
fn examples(path: &Path, rows: usize, cols: usize) {
    npy::write_matrix(path, rows, cols, &Random::new(rows as u64).floats(rows * cols)).unwrap();
}

#[test]
fn a_real_classifier_is_calibrated_run_and_audited() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    let [model, calibration, test, labels] = &real("breast_cancer");

    let text = done(folder, &["classify", "calibrate", model, calibration, "-o", "c", "--method", "mse"]);
    for word in
        ["scaled", "threshold", "varied", "Gemm_2", "warning: the calibration data has 284 rows", "c.json"]
    {
        assert!(text.contains(word), "{word}: {text}");
    }
    let made = json(folder, &["classify", "calibrate", model, calibration, "-o", "c", "--json"]);
    assert_eq!((&made["method"], &made["rows"]), (&"entropy".into(), &284.into()));
    assert_eq!((made["ranges"].as_array().unwrap().len(), made["weights"].as_array().unwrap().len()), (7, 2));
    assert!(
        fs::read_to_string(folder.join("c")).unwrap().starts_with("TRT-8601-EntropyCalibration2\nfeatures: ")
    );

    done(folder, &["classify", "run", model, test, "-o", "f.npy"]);
    let ran = json(folder, &["classify", "run", model, test, "-o", "i.npy", "--int8", "c", "--json"]);
    assert!(ran["layers"].as_array().unwrap().iter().all(|layer| layer["int8"] == true), "{ran}");
    let read = |name: &str| npy::read_matrix(&folder.join(name)).unwrap();
    let (f32s, int8) = (read("f.npy"), read("i.npy"));
    let known = npy::read_columns(Path::new(&asset("breast_cancer/probability_fp32.npy"))).unwrap().0;
    assert_eq!((f32s.rows, f32s.cols, int8.rows, int8.cols), (285, 1, 285, 1));
    let far = |a: &Matrix, b: &Matrix| {
        a.values.iter().zip(&b.values).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max)
    };
    assert!(far(&f32s, &known) < 1e-5, "{}", far(&f32s, &known));
    assert!((0.001..0.5).contains(&far(&int8, &known)), "{}", far(&int8, &known));

    let judged = |calibration: &[&str]| {
        let rest = ["--test", test, "--labels", labels, "--point", "--json", "--svg", "roc.svg"];
        json(folder, &[&["classify", "audit", model], calibration, &rest].concat())
    };
    let audit = judged(&["--cache", "c"]);
    assert_eq!((&audit["status"], &audit["meets_specification"]), (&"PASS".into(), &true.into()));
    assert_eq!((&audit["method"], &audit["calibration_rows"]), (&"entropy".into(), &284.into()));
    assert!((number(&audit, "auc_fp32_baseline") - 0.98898).abs() < 1e-5, "{audit}");
    assert!(number(&audit, "auc_degradation_gap") < 0.01, "{audit}");
    for (key, count) in [("layers", 2), ("tensors", 2), ("weights", 2), ("flips", 2)] {
        assert_eq!(audit[key].as_array().unwrap().len(), count, "{key}: {audit}");
    }
    assert!(audit["warnings"].to_string().contains("10000 or more are asked for"), "{audit}");
    assert!(fs::read_to_string(folder.join("roc.svg")).unwrap().contains("INT8: AUC 0.98"));
    // The same from the data itself.
    let other = judged(&["--calibration", calibration]);
    assert_eq!(other["auc_int8_quantized"], audit["auc_int8_quantized"]);
    assert_eq!(other["tensors"], audit["tensors"]);
    assert_eq!(other["model_sha256"], audit["model_sha256"]);
}

#[test]
fn a_range_twenty_times_too_small_fails_the_audit() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    let [model, calibration, test, labels] = &real("digits_8");
    done(folder, &["classify", "calibrate", model, calibration, "-o", "c", "-q"]);
    let mut cache = Cache::read(&folder.join("c")).unwrap();
    cache.entries.iter_mut().filter(|(name, _)| name == "scaled").for_each(|(_, scale)| *scale /= 20.0);
    cache.write(&folder.join("c")).unwrap();
    let audit = ["classify", "audit", model, "--cache", "c", "--test", test, "--labels", labels];
    // Its manifest says otherwise, and without one it has to be accepted.
    refused(&mut lowbit(folder, &audit), BAD_INPUT, &["tensor 'scaled' has the scale", "calibrate again"]);
    fs::remove_file(folder.join("c.json")).unwrap();
    refused(&mut lowbit(folder, &audit), BAD_INPUT, &["c: ", "no manifest beside it", "--accept-cache"]);
    let ran = run(&mut lowbit(folder, &[&audit[..], &["--accept-cache", "--point", "--json"]].concat()));
    assert_eq!(ran.code, Some(GATE), "{ran:?}");
    assert!(ran.err.contains("error: the audit failed: the AUC drops by 0.02"), "{ran:?}");
    let document: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&document["status"], &document["method"]), (&"FAIL".into(), &Value::Null));
    let (verdict, warnings) = (document["verdict"].to_string(), document["warnings"].to_string());
    assert!(verdict.contains("'scaled' are saturated, more than 5 %"), "{verdict}");
    assert!(warnings.contains("without a manifest"), "{warnings}");
    // The whole one passes, as text.
    let text = done(
        folder,
        &[
            "classify",
            "audit",
            model,
            "--calibration",
            calibration,
            "--test",
            test,
            "--labels",
            labels,
            "--point",
        ],
    );
    assert!(text.starts_with("PASS: ") && text.contains("AUC drop alone"), "{text}");
}

#[test]
fn synthetic_telemetry_is_written_and_passes() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    assert!(done(folder, &["classify", "telemetry", "-o", "t"]).contains("synthetic telemetry"));
    let model = asset("delamination/model.onnx");
    let audit = json(
        folder,
        &[
            "classify",
            "audit",
            &model,
            "--calibration",
            "t/calibration.npy",
            "--test",
            "t/test.npy",
            "--labels",
            "t/labels.npy",
            "--groups",
            "t/groups.npy",
            "--json",
        ],
    );
    assert_eq!((&audit["status"], &audit["calibration_rows"]), (&"PASS".into(), &100_000.into()));
    assert!(audit["bootstrap"]["groups"].as_u64().unwrap() > 30, "{audit}");
    assert_eq!(audit["warnings"].as_array().unwrap().len(), 0, "{audit}");

    // Calibrated in another unit: the AUC rises, and nothing is found any more.
    let rows = npy::read_matrix(&folder.join("t/calibration.npy")).unwrap();
    let small: Vec<f32> = rows.values.iter().map(|x| x * 0.1).collect();
    npy::write_matrix(&folder.join("small.npy"), rows.rows, rows.cols, &small).unwrap();
    done(folder, &["classify", "calibrate", &model, "small.npy", "-o", "dead", "-q"]);
    let test = ["--test", "t/test.npy", "--labels", "t/labels.npy"];
    let dead = |more: &[&str]| {
        let all = [&["classify", "audit", &model, "--cache", "dead"], &test[..], more].concat();
        run(&mut lowbit(folder, &all))
    };
    let ran = dead(&["--json"]);
    assert_eq!(ran.code, Some(GATE), "{ran:?}");
    let found: Value = serde_json::from_str(&ran.out).unwrap();
    assert!(number(&found, "auc_degradation_gap") < 0.0 && found["int8"]["recall"] == 0.0, "{found}");
    let fails = |part: &str| {
        let mut checks = found["checks"].as_array().unwrap().iter();
        checks.any(|check| check["part"] == part && check["pass"] == false && check["gates"] == true)
    };
    assert_eq!(["auc", "f1", "recall", "saturation", "flips"].map(fails), [false, true, true, true, true]);
    let ran = dead(&["--only", "auc"]);
    assert!(ran.code == Some(0) && ran.out.contains("the gate was narrowed to auc"), "{ran:?}");
    let ran = dead(&["--only", "auc,saturation"]);
    assert!(ran.code == Some(GATE) && ran.err.contains("narrowed to auc and saturation"), "{ran:?}");
    let wide = ["--max-f1-drop", "1", "--max-recall-drop", "1", "--max-flipped", "1", "--max-saturated", "1"];
    let ran = dead(&wide);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for (option, value, words) in [
        ("--max-saturated", "0.1", "of the codes of 'input_features' are saturated"),
        ("--max-recall-drop", "0.5", "the recall at 0.5 drops by"),
        ("--max-f1-drop", "0.5", "F1 at 0.5 drops by"),
        ("--max-flipped", "0.05", "flip at 0.5"),
    ] {
        let at = wide.iter().position(|of| *of == option).unwrap();
        let mut limits = wide;
        limits[at + 1] = value;
        let ran = dead(&limits);
        assert!(ran.code == Some(GATE) && ran.err.contains(words), "{ran:?}");
        assert!(ran.err.matches(';').count() <= 1, "{ran:?}");
    }
    let ran = dead(&["--only", "auk"]);
    assert!(
        ran.code == Some(BAD_INPUT) && ran.err.contains("no part of the gate is called 'auk'"),
        "{ran:?}"
    );

    fs::write(folder.join("file"), "").unwrap();
    refused(
        &mut lowbit(folder, &["classify", "telemetry", "-o", "file"]),
        BAD_INPUT,
        &["file: this is a file; -o takes a folder"],
    );
    // Files that are there stay as they are, unless the user says otherwise.
    fs::write(folder.join("t/labels.npy"), "mine").unwrap();
    let again = ["classify", "telemetry", "-o", "t"];
    refused(&mut lowbit(folder, &again), BAD_INPUT, &["t/calibration.npy: it exists already", "--force"]);
    assert_eq!(fs::read(folder.join("t/labels.npy")).unwrap(), b"mine");
    done(folder, &[&again[..], &["--force"]].concat());
    assert_eq!(npy::read_binary_labels(&folder.join("t/labels.npy")).unwrap().len(), telemetry::TEST_ROWS);
}

/// Rows of telemetry as a table, with its columns in this order.
fn table(rows: usize, order: [usize; 4], label: bool) -> String {
    let made = telemetry::generate(rows, 3);
    let mut text: Vec<String> = order.iter().map(|&at| telemetry::FEATURES[at].to_owned()).collect();
    text.extend(label.then(|| "failed,layer".into()));
    let mut lines = vec![text.join(",")];
    for (at, row) in made.features.values.chunks(4).enumerate() {
        let mut cells: Vec<String> = order.iter().map(|&at| row[at].to_string()).collect();
        let truth = if made.labels[at] { "True" } else { "False" };
        cells.extend(label.then(|| format!("{truth},layer {}", made.groups[at])));
        lines.push(cells.join(","));
    }
    lines.join("\n") + "\n"
}

#[test]
fn columns_of_tables_are_found_by_the_names_of_the_calibration() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    let model = &asset("delamination/model.onnx");
    fs::write(folder.join("seen.csv"), table(3000, [0, 1, 2, 3], false)).unwrap();
    fs::write(folder.join("test.csv"), table(3000, [2, 0, 3, 1], true)).unwrap();
    fs::write(folder.join("other.csv"), table(100, [0, 1, 2, 3], false).replace("velocity", "speed"))
        .unwrap();
    npy::write_matrix(&folder.join("x.npy"), 3000, 4, &telemetry::generate(3000, 3).features.values).unwrap();
    done(folder, &["classify", "calibrate", model, "seen.csv", "-o", "c", "-q"]);

    done(folder, &["classify", "run", model, "x.npy", "-o", "known.npy", "--int8", "c"]);
    let ran = run(&mut lowbit(folder, &["classify", "run", model, "test.csv", "-o", "p.npy", "--int8", "c"]));
    assert_eq!(ran.code, Some(DONE), "{ran:?}");
    assert!(
        ran.err.contains("model's order") && ran.err.contains("no features: 'failed', 'layer'"),
        "{ran:?}"
    );
    assert_eq!(fs::read(folder.join("p.npy")).unwrap(), fs::read(folder.join("known.npy")).unwrap());

    let audit = json(
        folder,
        &[
            "classify",
            "audit",
            model,
            "--calibration",
            "seen.csv",
            "--test",
            "test.csv",
            "--labels",
            "test.csv:failed",
            "--groups",
            "test.csv:layer",
            "--point",
            "--json",
        ],
    );
    assert!(number(&audit, "auc_fp32_baseline") > 0.8 && audit["bootstrap"].is_object(), "{audit}");
    // Without names the columns are taken as they come, which is said: here they are in a wrong order.
    let plain =
        ["classify", "run", model, "test.csv", "-o", "q.npy", "--without", "layer", "--without", "failed"];
    let ran = run(&mut lowbit(folder, &plain));
    assert!(
        ran.code == Some(DONE) && ran.err.contains("taken in their order, 'current_drop_rate'"),
        "{ran:?}"
    );
    assert!(ran.err.contains("nothing names the model's features"), "{ran:?}");
    // The label is not one of them.
    let run = |table: &str, more: &[&str], words: &[&str]| {
        let all = [&["classify", "run", model, table, "-o", "q.npy"], more].concat();
        refused(&mut lowbit(folder, &all), BAD_INPUT, words);
    };
    run(
        "test.csv",
        &["--without", "layer"],
        &["test.csv: line 2, column 5 ('failed'): 'False' is no number"],
    );
    run("test.csv", &["--int8", "c", "--without", "lable"], &["no column is called so", "'failed', 'layer'"]);
    run(
        "test.csv",
        &["--int8", "c", "--without", "velocity_deviation"],
        &["is a feature", "calibrated with"],
    );
    run("x.npy", &["--without", "failed"], &["x.npy: --without 'failed'", "no names"]);
    run("other.csv", &["--int8", "c"], &["no column is called 'velocity_deviation'", "'speed_deviation'"]);
    run(
        "test.csv",
        &["--without", "layer", "--without", "failed", "--without", "rotational_stress"],
        &["it has 3 features; the model's input 'input_features' takes 4", "--without"],
    );
}

#[test]
fn examples_of_several_axes_are_those_of_the_model() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    let model = &asset("small/picture.onnx");
    let x = Random::new(9).floats(100 * 16);
    let write = |name: &str, shape: &str| {
        super::cli::write_npy(&folder.join(name), "<f4", false, shape, bytemuck::cast_slice(&x));
    };
    write("x.npy", "(100, 1, 4, 4)");
    write("flat.npy", "(100, 16)");
    write("turned.npy", "(100, 4, 4, 1)");
    write("line.npy", "(1600,)");
    done(folder, &["classify", "calibrate", model, "x.npy", "-o", "c"]);
    let text = done(folder, &["classify", "run", model, "x.npy", "-o", "p.npy", "--int8", "c"]);
    // What a Flatten makes of a tensor has the tensor's range.
    assert!(text.contains("edges") && !text.contains("f32"), "{text}");
    done(folder, &["classify", "run", model, "flat.npy", "-o", "q.npy", "--int8", "c"]);
    assert_eq!(fs::read(folder.join("p.npy")).unwrap(), fs::read(folder.join("q.npy")).unwrap());
    assert_eq!(npy::read_info(&folder.join("p.npy")).unwrap().shape, [100, 2]);
    for (name, words) in
        [("turned.npy", ["[4, 4, 1]", "'picture' takes [1, 4, 4]"]), ("line.npy", ["1-D", "(1600,)"])]
    {
        refused(&mut lowbit(folder, &["classify", "run", model, name, "-o", "r.npy"]), BAD_INPUT, &words);
    }
    // Of two outputs the second is the positive's; a cache may stop naming a layer's range.
    let labels: Vec<i32> = (0..100).map(|row| row % 2).collect();
    npy::write_labels(&folder.join("y.npy"), &labels).unwrap();
    let cache = fs::read_to_string(folder.join("c")).unwrap();
    let zero: Vec<&str> =
        cache.lines().map(|line| if line.starts_with("rectified") { "rectified: 0" } else { line }).collect();
    fs::write(folder.join("zero"), zero.join("\n")).unwrap();
    let ran = run(&mut lowbit(
        folder,
        &["classify", "run", model, "x.npy", "-o", "p.npy", "--int8", "zero", "--accept-cache"],
    ));
    assert!(
        ran.err.contains("decide stays in f32: its input") && ran.out.contains("f32: its input"),
        "{ran:?}"
    );
    let audit =
        ["classify", "audit", model, "--cache", "c", "--test", "x.npy", "--labels", "y.npy", "--json"];
    let document: Value = serde_json::from_str(&run(&mut lowbit(folder, &audit)).out).unwrap();
    assert_eq!(document["class"], 1);
}

#[test]
fn speed_is_measured() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    let model = &asset("delamination/model.onnx");
    let bench = ["classify", "bench", model, "--quick", "--batch", "1,64"];
    let document = json(folder, &[&bench[..], &["--json"]].concat());
    let engines = document["engines"].as_array().unwrap();
    assert_eq!((engines.len(), &document["made_up_scales"]), (2, &true.into()));
    for engine in engines {
        let latency = &engine["latency"];
        let times = ["p50_us", "p99_us", "p999_us", "max_us"].map(|key| number(latency, key));
        assert!(times[0] > 0.0 && times.is_sorted() && latency["runs"] == 1000, "{latency}");
        assert_eq!(engine["throughput"].as_array().unwrap().len(), 2);
        assert!(number(&engine["throughput"][1], "rows_s") > 0.0, "{engine}");
    }
    let plain = ["classify", "bench", &asset("small/plain.onnx"), "--quick", "--batch", "1"];
    assert!(done(folder, &plain).contains("there is nothing to quantize"));
    for wrong in [["--runs", "999"], ["--batch", "0"], ["--batch", "x"]] {
        let ran = run(&mut lowbit(folder, &[&bench[..3], &wrong].concat()));
        assert!(ran.code == Some(BAD_INPUT) && ran.err.contains(wrong[1]), "{ran:?}");
    }
}

#[test]
fn models_that_do_not_fit_are_refused() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    examples(&folder.join("x.npy"), 70, 4);
    let whole = fs::read(asset("small/three.onnx")).unwrap();
    fs::write(folder.join("cut.onnx"), &whole[..whole.len() - 20]).unwrap();
    fs::write(folder.join("text.onnx"), "no model").unwrap();
    let refuse = |model: &str, more: &[&str], words: &[&str]| {
        let all = [&["classify", "calibrate", model, "x.npy", "-o", "c"], more].concat();
        refused(&mut lowbit(folder, &all), BAD_INPUT, words);
    };
    refuse("cut.onnx", &[], &["cut.onnx", "truncated or damaged"]);
    refuse("text.onnx", &[], &["text.onnx", "not an ONNX model"]);
    refuse("x.npy", &[], &["x.npy", "not an ONNX model"]);
    refuse("none.onnx", &[], &["none.onnx"]);
    refuse(&asset("small/external.onnx"), &[], &["'w'", "external.data"]);
    refuse(&asset("small/plain.onnx"), &[], &["no layer to quantize"]);
    let several = &asset("small/several.onnx");
    refuse(several, &[], &["2 outputs, 'alone', 'both'", "--model-output"]);
    refuse(several, &["--model-output", "both"], &["2 inputs, 'x', 'y'"]);
    refuse(several, &["--model-output", "z"], &["no output 'z'"]);
    refuse(several, &["--model-output", "alone", "--model-input", "y"], &["'y'", "'x'"]);
    done(folder, &["classify", "calibrate", several, "x.npy", "-o", "c", "--model-output", "alone"]);
}

#[test]
fn data_that_does_not_fit_is_refused() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    let model = &asset("small/three.onnx");
    examples(&folder.join("x.npy"), 100, 4);
    examples(&folder.join("few.npy"), 63, 4);
    examples(&folder.join("five.npy"), 100, 5);
    npy::write_matrix(&folder.join("constant.npy"), 100, 4, &[2.5; 400]).unwrap();
    for (name, value) in [("nan.npy", f32::NAN), ("inf.npy", f32::INFINITY)] {
        let mut x = vec![0.0; 400];
        x[42] = value;
        npy::write_matrix(&folder.join(name), 100, 4, &x).unwrap();
    }
    let calibrate = |data: &str, words: &[&str]| {
        let all = ["classify", "calibrate", model, data, "-o", "c"];
        refused(&mut lowbit(folder, &all), BAD_INPUT, words);
    };
    calibrate("nan.npy", &["nan.npy: row 10, column 2", "is NaN"]);
    calibrate("inf.npy", &["inf.npy: row 10, column 2", "is inf"]);
    calibrate("five.npy", &["five.npy: it has 5 features; the model's input 'x' takes 4"]);
    calibrate("few.npy", &["few.npy: 63 rows are too few"]);
    calibrate("constant.npy", &["constant.npy: the calibration data is 2.5 throughout"]);
    refused(
        &mut lowbit(folder, &["classify", "calibrate", model, "x.npy", "-o", "x.npy"]),
        BAD_INPUT,
        &["overwrite an input"],
    );
    let ran =
        run(&mut lowbit(folder, &["classify", "calibrate", model, "x.npy", "-o", "c", "--method", "kl"]));
    assert!(ran.code == Some(BAD_INPUT) && ran.err.contains("there are entropy, min-max"), "{ran:?}");

    let labels = |name: &str, labels: &[i32]| npy::write_labels(&folder.join(name), labels).unwrap();
    let mixed: Vec<i32> = (0..100).map(|row| row % 2).collect();
    labels("y.npy", &mixed);
    labels("one.npy", &[1; 100]);
    labels("three.npy", &(0..100).map(|row| row % 3).collect::<Vec<_>>());
    labels("seven.npy", &[7; 100]);
    labels("short.npy", &mixed[..99]);
    fs::write(folder.join("words.csv"), "label\n0\nx\nyes\n").unwrap();
    fs::write(
        folder.join("numbers.csv"),
        (0..100).map(|row| format!("{}\n", [-1, 1][row % 2])).collect::<String>(),
    )
    .unwrap();
    let audit = |labels: &str, more: &[&str], words: &[&str]| {
        let all =
            ["classify", "audit", model, "--calibration", "x.npy", "--test", "x.npy", "--labels", labels];
        refused(&mut lowbit(folder, &[&all[..], more].concat()), BAD_INPUT, words);
    };
    let class = ["--class", "0"];
    audit("one.npy", &class, &["one.npy: the labels have 100 positives and 0 negatives"]);
    audit("three.npy", &class, &["three.npy: it has 3 different labels, 0, 1, 2"]);
    audit("seven.npy", &class, &["seven.npy: all 100 labels are 7"]);
    audit("words.csv", &class, &["words.csv: it has 3 different labels, '0', 'x', 'yes'"]);
    audit(
        "numbers.csv",
        &["--class", "0", "--positive", "0"],
        &["numbers.csv: --positive '0': no label is that; there are -1 and 1"],
    );
    audit("short.npy", &class, &["x.npy: it has 100 rows, but there are 99 labels"]);
    audit("y.npy", &["--class", "0", "--groups", "short.npy"], &["there are 99 groups"]);
    labels("same.npy", &[7; 100]);
    audit("y.npy", &["--class", "0", "--groups", "same.npy"], &["same.npy: all rows are of one group"]);
    let ran = run(&mut lowbit(folder, &["classify", "audit", model, "--test", "x.npy", "--labels", "y.npy"]));
    assert!(
        ran.code == Some(BAD_INPUT) && ran.err.contains("--calibration <DATA>|--cache <CACHE>"),
        "{ran:?}"
    );
    // A model that ends in logits: a Flatten, which does nothing there, in the place of its Sigmoid.
    let mut logits = fs::read(asset("delamination/model.onnx")).unwrap();
    let at = logits.windows(9).position(|bytes| bytes == b"\x22\x07Sigmoid").unwrap() + 2;
    logits[at..at + 7].copy_from_slice(b"Flatten");
    fs::write(folder.join("logits.onnx"), logits).unwrap();
    let logits = ["classify", "audit", "logits.onnx", "--calibration", "x.npy"];
    let data = ["--test", "x.npy", "--labels", "y.npy"];
    refused(
        &mut lowbit(folder, &[&logits[..], &data].concat()),
        BAD_INPUT,
        &["logits.onnx: row ", "has to be between 0 and 1", "a Sigmoid"],
    );
    audit("y.npy", &[], &["'probabilities' has 3 outputs", "--class"]);
    audit("y.npy", &["--class", "3"], &["no output 3", "has 3, counted from 0"]);
    audit("y.npy", &["--class", "0", "--confidence", "1"], &["the confidence is 1"]);
    audit("y.npy", &["--class", "0", "--max-drop", "-1"], &["the largest drop is -1"]);
    audit("y.npy", &["--class", "0", "--threshold", "1"], &["the threshold is 1"]);
    audit("y.npy", &["--class", "0", "--max-flipped", "2"], &["the largest share of flipped decisions is 2"]);
    // One class is audited against the rest, and the flips are those of all of them too.
    let all = ["classify", "audit", model, "--calibration", "x.npy", "--test", "x.npy", "--labels", "y.npy"];
    let ran = run(&mut lowbit(folder, &[&all[..], &["--class", "0", "--json"]].concat()));
    let found: Value = serde_json::from_str(&ran.out).unwrap();
    let mut checks = found["checks"].as_array().unwrap().iter();
    assert!(checks.any(|check| check["name"] == "another class" && check["part"] == "flips"), "{found}");
}

#[test]
fn caches_that_do_not_fit_are_refused() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    fs::copy(asset("small/three.onnx"), folder.join("m.onnx")).unwrap();
    fs::copy(asset("small/picture.onnx"), folder.join("other.onnx")).unwrap();
    examples(&folder.join("x.npy"), 100, 4);
    done(folder, &["classify", "calibrate", "m.onnx", "x.npy", "-o", "c", "-q"]);
    // The manifest is an input too.
    npy::write_labels(&folder.join("y.npy"), &(0..100).map(|row| row % 2).collect::<Vec<_>>()).unwrap();
    let data = ["--test", "x.npy", "--labels", "y.npy", "--class", "0", "--cache", "c"];
    for command in [
        &["run", "m.onnx", "x.npy", "--int8", "c", "-o", "c.json"][..],
        &["bench", "m.onnx", "--int8", "c", "--trace", "c.json"],
        &[&["audit", "m.onnx", "--svg", "c.json"], &data[..]].concat(),
    ] {
        let all = [&["classify"], command].concat();
        refused(&mut lowbit(folder, &all), BAD_INPUT, &["c.json: this would overwrite an input"]);
    }
    // A test set that calibration has seen is warned of, with and without a cache.
    let seen = |scales: &[&str]| {
        let all = [&["classify", "audit", "m.onnx", "--json"], &data[..6], scales].concat();
        let document: Value = serde_json::from_str(&run(&mut lowbit(folder, &all)).out).unwrap();
        document["warnings"].to_string().contains("the test set is the calibration data")
    };
    examples(&folder.join("other.npy"), 101, 4);
    assert!(
        seen(&["--cache", "c"])
            && seen(&["--calibration", "x.npy"])
            && !seen(&["--calibration", "other.npy"])
    );
    let refuse = |cache: &str, more: &[&str], words: &[&str]| {
        let all = [&["classify", "run", "m.onnx", "x.npy", "-o", "p.npy", "--int8", cache], more].concat();
        refused(&mut lowbit(folder, &all), BAD_INPUT, words);
    };
    fs::copy(folder.join("c"), folder.join("alone")).unwrap();
    refuse("alone", &[], &["alone: ", "no manifest", "--accept-cache"]);
    refuse("none", &[], &["none"]);
    refuse("x.npy", &[], &["x.npy"]);
    let accept = ["--accept-cache"];
    fs::write(folder.join("more"), fs::read_to_string(folder.join("c")).unwrap() + "conv1: 3c000000\n")
        .unwrap();
    refuse("more", &accept, &["more: ", "a tensor 'conv1', which the model has not"]);
    fs::write(folder.join("less"), "TRT-8601-EntropyCalibration2\nlogits: 3c000000\n").unwrap();
    refuse("less", &accept, &["less: ", "tensor 'x' is not in it"]);
    // Only what quantization needs, and a name of the file that the network has no use for.
    fs::write(folder.join("least"), "TRT-8601-EntropyCalibration2\nx: 3c000000\nlogits: 0\n").unwrap();
    done(folder, &["classify", "run", "m.onnx", "x.npy", "-o", "p.npy", "--int8", "least", "--accept-cache"]);
    // The same model with another weight.
    let mut changed = fs::read(folder.join("m.onnx")).unwrap();
    let at = changed.windows(2).position(|bytes| bytes == b"J0").unwrap() + 2;
    changed[at] ^= 1;
    fs::write(folder.join("m.onnx"), changed).unwrap();
    refuse("c", &[], &["c: ", "SHA-256", "'m.onnx'", "calibrate again"]);
    refuse("c", &accept, &["SHA-256"]);
}
