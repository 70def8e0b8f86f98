//! `lowbit matmul` and `lowbit bench matmul`, as their users meet them.

use std::fs;
use std::path::Path;

use lowbit::internals::cases::Random;
use lowbit::internals::format::Format;
use lowbit::internals::io::gguf::{TensorType, Writer};
use lowbit::internals::io::npy;
use lowbit::internals::oracle::matvec::product;

use super::cli::{BAD_INPUT, done, json, lowbit, refused, run};

const ROWS: usize = 6;
const COLS: usize = 256;

/// A file with weights in three formats, and what they are worth.
fn model(folder: &Path) -> Vec<(&'static str, Vec<f32>)> {
    let mut writer = Writer::new();
    let mut random = Random::new(2);
    let mut blocks = Vec::new();
    let mut values = Vec::new();
    for name in ["F32", "Q8_0", "Q4_K"] {
        let format = Format::by_name(name).unwrap();
        let mut bytes = vec![0; ROWS * COLS / format.elements * format.bytes];
        let mut weights = random.floats(ROWS * COLS);
        format.quantize(&weights, &mut bytes).unwrap();
        format.dequantize(&bytes, &mut weights).unwrap();
        if name == "F32" {
            bytes[4 * COLS..][..4].copy_from_slice(&f32::NAN.to_le_bytes());
        }
        writer.tensor(name, &[COLS as u64, ROWS as u64], TensorType::by_name(name).unwrap()).unwrap();
        blocks.push(bytes);
        values.push((name, weights));
    }
    let mut blocks = blocks.iter();
    writer.write(&folder.join("model.gguf"), |_, sink| sink.write(blocks.next().unwrap())).unwrap();
    values
}

/// The largest difference from the product of weights and `n` columns, over the largest value.
fn difference(weights: &[f32], x: &[f32], n: usize, bias: f32, y: &[f32]) -> f64 {
    let (mut most, mut size) = (0f64, 0f64);
    for column in 0..n {
        let x: Vec<f32> = x.iter().skip(column).step_by(n).copied().collect();
        for (row, weights) in weights.chunks(COLS).enumerate() {
            let exact = product(weights, &x, bias);
            most = most.max((f64::from(y[row * n + column]) - exact).abs());
            size = size.max(exact.abs());
        }
    }
    most / size
}

#[test]
fn a_tensor_times_columns_is_their_product() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    let values = model(folder);
    let x = Random::new(7).floats(COLS * 3);
    npy::write_matrix(&folder.join("x.npy"), COLS, 3, &x).unwrap();
    npy::write_vector(&folder.join("one.npy"), &x[..COLS]).unwrap();
    npy::write_vector(&folder.join("bias.npy"), &[2.0; ROWS]).unwrap();
    for (name, weights) in &values[1..] {
        for (path, most) in [("float", 1e-6), ("integer", 0.02)] {
            let document = json(
                folder,
                &["matmul", "model.gguf", name, "x.npy", "-o", "y.npy", "--path", path, "--json"],
            );
            assert_eq!((&document["format"], &document["n"]), (&(*name).into(), &3.into()));
            let y = npy::read_matrix(&folder.join("y.npy")).unwrap();
            assert_eq!((y.rows, y.cols), (ROWS, 3));
            let found = difference(weights, &x, 3, 0.0, &y.values);
            assert!(found < most, "{name} {path}: {found}");
        }
        let biased =
            ["matmul", "model.gguf", name, "one.npy", "-o", "y.npy", "--path", "float", "--bias", "bias.npy"];
        let text = done(folder, &biased);
        assert!(text.contains("[6, 256]") && text.contains("written: y.npy"), "{text}");
        assert_eq!(npy::read_info(&folder.join("y.npy")).unwrap().shape, [ROWS as u64]);
        let (y, one) = npy::read_columns(&folder.join("y.npy")).unwrap();
        assert!(one && difference(weights, &x[..COLS], 1, 2.0, &y.values) < 1e-6, "{name}");
    }
}

#[test]
fn what_cannot_be_multiplied_is_refused() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    model(folder);
    npy::write_vector(&folder.join("x.npy"), &[1.0; COLS]).unwrap();
    npy::write_vector(&folder.join("short.npy"), &[1.0; 255]).unwrap();
    npy::write_vector(&folder.join("inf.npy"), &[f32::INFINITY; COLS]).unwrap();
    super::cli::write_npy(&folder.join("complex.npy"), "<c8", false, &format!("({COLS},)"), &[0; 8 * COLS]);
    fs::write(folder.join("text.gguf"), "no model").unwrap();
    let cut = fs::read(folder.join("model.gguf")).unwrap();
    fs::write(folder.join("cut.gguf"), &cut[..cut.len() - 9]).unwrap();
    let matmul = |arguments: &[&str], words: &[&str]| {
        let mut all = vec!["matmul"];
        all.extend(arguments);
        refused(&mut lowbit(folder, &all), BAD_INPUT, words);
    };
    let out = ["-o", "y.npy"];
    let with = |arguments: [&'static str; 3]| [&arguments[..], &out].concat();
    matmul(&with(["model.gguf", "Q8_1", "x.npy"]), &["no tensor is called 'Q8_1'", "'Q8_0'"]);
    matmul(&with(["model.gguf", "Q8_0", "short.npy"]), &["short.npy", "X is [255]", "W is [6, 256]"]);
    matmul(&with(["model.gguf", "Q8_0", "complex.npy"]), &["complex.npy", "complex64", "not numbers"]);
    matmul(&["model.gguf", "Q8_0", "x.npy", "-o", "y.txt"], &["y.txt", "written as .npy or .csv"]);
    matmul(&with(["model.gguf", "Q8_0", "none.npy"]), &["none.npy"]);
    matmul(&with(["text.gguf", "Q8_0", "x.npy"]), &["text.gguf"]);
    matmul(&with(["cut.gguf", "Q8_0", "x.npy"]), &["truncated or damaged"]);
    matmul(&with(["model.gguf", "F32", "x.npy"]), &["'F32'", "weight [1, 0] is NaN"]);
    matmul(&[&with(["model.gguf", "Q8_0", "inf.npy"])[..], &["--path", "integer"]].concat(), &["not finite"]);
    matmul(
        &[&with(["model.gguf", "F32", "x.npy"])[..], &["--path", "integer", "--allow-nonfinite"]].concat(),
        &["no integer path"],
    );
    matmul(
        &[&with(["model.gguf", "Q8_0", "x.npy"])[..], &["--bias", "x.npy"]].concat(),
        &["the bias must be [6]"],
    );
    matmul(&["model.gguf", "Q8_0", "x.npy", "-o", "x.npy"], &["overwrite an input"]);
    matmul(&["model.gguf", "Q8_0", "x.npy", "-o", "none/y.npy"], &["none"]);
    done(folder, &["matmul", "model.gguf", "F32", "x.npy", "-o", "y.npy", "--allow-nonfinite"]);
    let (y, _) = npy::read_columns(&folder.join("y.npy")).unwrap();
    let nan: Vec<bool> = y.values.iter().map(|y| y.is_nan()).collect();
    assert_eq!(nan, [false, true, false, false, false, false]);
}

#[test]
fn a_bench_can_be_compared_with_itself() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    let bench =
        ["bench", "matmul", "--format", "q4_0,F16", "--shape", "64,512,1", "--shape", "32,256,9", "--json"];
    let document = json(folder, &bench);
    let rows = document["kernels"].as_array().unwrap();
    assert_eq!(rows.len(), 4);
    for row in rows {
        assert!(row["us"].as_f64().unwrap() > 0.0 && row["nmse"].as_f64().unwrap() < 5e-4, "{row}");
        assert!(row["bytes"].as_u64().unwrap() > 0 && row["variant"].as_str().is_some(), "{row}");
    }
    fs::write(folder.join("old.json"), document.to_string()).unwrap();
    let text = done(folder, &["bench", "compare", "old.json", "old.json"]);
    assert!(text.matches("SAME").count() >= 4, "{text}");
    let wrong = |arguments: [&str; 2], word: &str| {
        let ran = run(&mut lowbit(folder, &[&["bench", "matmul"], &arguments[..]].concat()));
        assert!(ran.code == Some(BAD_INPUT) && ran.err.contains(word), "{ran:?}");
    };
    wrong(["--format", "q4_9"], "there is F32, F16, Q4_0");
    for shape in ["0,1,1", "1,2", "a,b,c", "99999999,1,1"] {
        wrong(["--shape", shape], shape);
    }
}

#[test]
fn a_first_run_times_nothing_and_two_of_them_give_the_same_bytes() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    model(folder);
    npy::write_matrix(&folder.join("x.npy"), COLS, 12, &Random::new(7).floats(COLS * 12)).unwrap();
    let outputs = ["a", "b"].map(|name| {
        let cache = folder.join(name);
        let mut command = lowbit(folder, &["matmul", "model.gguf", "Q8_0", "x.npy", "-o", "y.npy"]);
        // As a first one of a user is: nothing is switched off, and the driver remembers no shader.
        command.env_remove("LOWBIT_TUNE").env("XDG_CACHE_HOME", &cache).env("MESA_SHADER_CACHE_DIR", &cache);
        let ran = run(&mut command);
        assert!(ran.code == Some(0) && !ran.err.contains("measuring"), "{ran:?}");
        assert!(!cache.join("lowbit").join("variants.json").exists());
        fs::read(folder.join("y.npy")).unwrap()
    });
    assert_eq!(outputs[0], outputs[1]);
}
