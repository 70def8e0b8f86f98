//! The command line as its users meet it: the real binary, in a folder of its own, with its exit code and its words.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use half::f16;
use lowbit::internals::gpu::dispatch::Row;
use lowbit::internals::gpu::table;
use lowbit::internals::io::gguf::{self, Array, TensorType, Writer};
use lowbit::internals::io::npy::{self, Matrix};
use lowbit::internals::io::picture::{self, Picture};
use lowbit::internals::random::Random;
use serde_json::Value;
use tempfile::TempDir;

pub const DONE: i32 = 0;
pub const BAD_INPUT: i32 = 2;
const NO_DEVICE: i32 = 3;

/// A place that no driver's description is at: the loader then finds no Vulkan driver at all.
const NO_VULKAN: [(&str, &str); 3] = [
    ("VK_DRIVER_FILES", "/nonexistent/driver.json"),
    ("VK_ICD_FILENAMES", "/nonexistent/driver.json"),
    ("WGPU_BACKEND", "vulkan"),
];

/// What a run left behind.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// The binary, ready to run in `folder`. Its tuning is off and its cache is in the folder: nothing of the user's is
/// used or changed, except the driver's own cache of compiled shaders.
pub fn lowbit(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lowbit"));
    command.args(arguments).current_dir(folder);
    command.env("XDG_CACHE_HOME", folder.join("cache")).env("LOWBIT_TUNE", "off").env("RUST_BACKTRACE", "1");
    // Mesa would look in XDG_CACHE_HOME too.
    if std::env::var_os("MESA_SHADER_CACHE_DIR").is_none() {
        let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
        if let Some(cache) = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home) {
            command.env("MESA_SHADER_CACHE_DIR", cache);
        }
    }
    command
}

/// Runs to the end. Whatever happens, nothing may panic or leave a temporary file.
pub fn run(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let ran = Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) };
    for word in ["panicked", "stack backtrace", "RUST_BACKTRACE"] {
        assert!(!ran.err.contains(word) && !ran.out.contains(word), "{command:?}: {ran:?}");
    }
    let folder = command.get_current_dir().unwrap();
    assert!(
        files(folder).keys().all(|name| !name.starts_with('.')),
        "{command:?}: {:?}",
        files(folder).keys()
    );
    ran
}

/// Runs what must succeed and gives its standard output.
pub fn done(folder: &Path, arguments: &[&str]) -> String {
    let ran = run(&mut lowbit(folder, arguments));
    assert_eq!(ran.code, Some(DONE), "{arguments:?}: {ran:?}");
    assert!(!ran.err.contains("error:"), "{arguments:?}: {ran:?}");
    ran.out
}

/// Runs what must succeed, and parses the one document that it prints.
pub fn json(folder: &Path, arguments: &[&str]) -> Value {
    let out = done(folder, arguments);
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {out}"))
}

/// Runs what must fail: with this exit code, one error of one or two lines that has all of `words`, nothing on
/// standard output, and every file as it was.
pub fn refused(command: &mut Command, code: i32, words: &[&str]) {
    let before = files(command.get_current_dir().unwrap());
    let ran = run(command);
    assert_eq!(ran.code, Some(code), "{command:?}: {ran:?}");
    assert_eq!(ran.out, "", "{command:?}");
    let lines: Vec<&str> = ran.err.lines().filter(|line| !line.starts_with("lowbit: ")).collect();
    assert!(matches!(lines.len(), 1 | 2) && lines[0].starts_with("error: "), "{command:?}: {ran:?}");
    assert_eq!(ran.err.matches("error:").count(), 1, "{command:?}: {ran:?}");
    for word in words {
        assert!(ran.err.contains(word), "{command:?} should say {word:?}: {}", ran.err);
    }
    // Not even a sentence said twice.
    let said: Vec<&str> = lines.iter().flat_map(|line| line.split(": ")).collect();
    assert!(said.windows(2).all(|pair| pair[0] != pair[1]), "{command:?}: {}", ran.err);
    assert!(files(command.get_current_dir().unwrap()) == before, "{command:?} changed the folder");
}

/// The files of a folder by name, without its caches.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.filter(|path| path.is_file());
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    files.map(|path| (name(&path), fs::read(&path).unwrap())).collect()
}

const N: usize = 301;
const D: usize = 5;
const K: usize = 3;

/// Three blobs, far from each other, in turn. Every value is a multiple of 1/8 below 64, which f16 holds too.
fn blobs() -> Matrix {
    let mut random = Random::new(5);
    let value = |i: usize| 24.0 * (i / D % K) as f32 + random.below(64) as f32 / 8.0;
    Matrix { rows: N, cols: D, values: (0..N * D).map(value).collect() }
}

/// A `.npy` file of whatever its header says.
pub fn write_npy(path: &Path, dtype: &str, fortran_order: bool, shape: &str, data: &[u8]) {
    let order = if fortran_order { "True" } else { "False" };
    let mut header = format!("{{'descr': '{dtype}', 'fortran_order': {order}, 'shape': {shape}, }}");
    header = format!("{header:<117}\n");
    let length = u16::try_from(header.len()).unwrap().to_le_bytes();
    fs::write(path, [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), data].concat()).unwrap();
}

/// A folder with the blobs as `x.npy`.
fn folder_with_blobs() -> (TempDir, Matrix) {
    let (folder, points) = (tempfile::tempdir().unwrap(), blobs());
    npy::write_matrix(&folder.path().join("x.npy"), N, D, &points.values).unwrap();
    (folder, points)
}

/// Checks labels against centroids, by distances in f64; gives the inertia.
fn inertia_of(points: &Matrix, labels: &[i32], centroids: &Matrix) -> f64 {
    assert_eq!((labels.len(), centroids.cols), (points.rows, points.cols));
    let mut sum = 0.0;
    for (row, &label) in points.values.chunks(points.cols).zip(labels) {
        let distances: Vec<f64> = centroids
            .values
            .chunks(points.cols)
            .map(|c| row.iter().zip(c).map(|(&x, &c)| (f64::from(x) - f64::from(c)).powi(2)).sum())
            .collect();
        let least = distances.iter().copied().fold(f64::INFINITY, f64::min);
        let taken = distances[usize::try_from(label).unwrap()];
        assert!(taken <= least + 1e-3, "label {label} is {taken} away, the nearest {least}");
        sum += taken;
    }
    sum
}

/// Checks the JSON of a clustering of the blobs, and its files.
fn check_fit(folder: &Path, points: &Matrix, document: &Value, labels: &str, centroids: &str) -> Vec<i32> {
    for (key, expected) in [("n", N), ("d", D), ("k", K)] {
        assert_eq!(document[key].as_u64(), Some(expected as u64), "{document}");
    }
    assert_eq!(document["converged"], true, "{document}");
    assert!(document["n_iter"].as_u64().is_some_and(|n| (1..=300).contains(&n)), "{document}");
    for key in ["inertia", "ms_per_iteration", "seconds"] {
        assert!(document[key].as_f64().is_some_and(|value| value > 0.0), "{document}");
    }
    let labels = npy::read_labels(&folder.join(labels)).unwrap();
    let centroids = npy::read_matrix(&folder.join(centroids)).unwrap();
    assert_eq!((centroids.rows, centroids.cols), (K, D));
    let (inertia, given) = (inertia_of(points, &labels, &centroids), document["inertia"].as_f64().unwrap());
    assert!((given / inertia - 1.0).abs() <= 1e-5, "{given} is not {inertia}");
    labels
}

#[test]
fn fit_and_predict_agree_for_both_float_types_and_all_inits() {
    let (temporary, points) = folder_with_blobs();
    let folder = temporary.path();
    let halves: Vec<u8> = points.values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect();
    write_npy(&folder.join("h.npy"), "<f2", false, &format!("({N}, {D})"), &halves);

    let fit = ["kmeans", "fit", "x.npy", "-k", "3", "--json", "--labels", "l1.npy", "--centroids", "c1.npy"];
    let labels = check_fit(folder, &points, &json(folder, &fit), "l1.npy", "c1.npy");
    assert_eq!(labels.len(), N);
    assert!((K..N).all(|i| labels[i] == labels[i - K]), "a blob is a cluster");
    assert!(labels[0] != labels[1] && labels[1] != labels[2] && labels[0] != labels[2]);
    // Each centroid is the mean of its blob.
    let centroids = npy::read_matrix(&folder.join("c1.npy")).unwrap();
    for (blob, &label) in labels[..K].iter().enumerate() {
        let members: Vec<&[f32]> = points.values.chunks(D).skip(blob).step_by(K).collect();
        for column in 0..D {
            let mean = members.iter().map(|row| f64::from(row[column])).sum::<f64>() / members.len() as f64;
            let given = f64::from(centroids.values[usize::try_from(label).unwrap() * D + column]);
            assert!((given - mean).abs() < 1e-4, "{given} is not {mean}");
        }
    }

    // The same again, byte for byte, also from halves and with a table for people.
    let fit = ["kmeans", "fit", "x.npy", "-k", "3", "--labels", "l2.npy", "--centroids", "c2.npy"];
    let table = done(folder, &fit);
    for word in ["301 x 5", "converged", "inertia", "ms per iteration"] {
        assert!(table.contains(word), "{table}");
    }
    let fit = ["kmeans", "fit", "h.npy", "-k", "3", "--labels", "l3.npy", "--centroids", "c3.npy"];
    done(folder, &fit);
    let predict = ["kmeans", "predict", "h.npy", "--centroids", "c1.npy", "-o", "l4.npy"];
    assert!(done(folder, &predict).contains("l4.npy"));
    let predict = ["kmeans", "predict", "x.npy", "--centroids", "c1.npy", "-o", "l5.npy", "--json"];
    let predicted = json(folder, &predict);
    assert_eq!((&predicted["n"], &predicted["k"]), (&N.into(), &K.into()), "{predicted}");
    let bytes = |name: &str| fs::read(folder.join(name)).unwrap();
    assert!(["l2.npy", "l3.npy", "l4.npy", "l5.npy"].iter().all(|name| bytes(name) == bytes("l1.npy")));
    assert!(["c2.npy", "c3.npy"].iter().all(|name| bytes(name) == bytes("c1.npy")));

    // Other beginnings. Centroids that are right already need one iteration.
    for (init, seed) in [
        ("random", "3"),
        ("k-means++", "9"),
        ("k-means||", "9"),
        ("bisecting", "1"),
        ("two-level", "1"),
        ("c1.npy", "0"),
    ] {
        let fit =
            ["kmeans", "fit", "x.npy", "-k", "3", "--json", "--labels", "l.npy", "--centroids", "c.npy"];
        let document = json(folder, &[&fit[..], &["--init", init, "--seed", seed]].concat());
        check_fit(folder, &points, &document, "l.npy", "c.npy");
        assert!(init != "c1.npy" || (document["n_iter"] == 1 && bytes("l.npy") == bytes("l1.npy")));
    }
    // Batches, of which the labels are those of all points.
    for (size, notice) in [(None, "batches of 301 points"), (Some("64"), "batches of 64 points")] {
        let fit = ["kmeans", "fit", "x.npy", "-k", "3", "--json", "--centroids", "c.npy", "--mini-batch"];
        let document = json(folder, &[&fit[..], size.as_slice(), &["--labels", "l.npy"]].concat());
        assert!(document["notices"][0].as_str().unwrap().ends_with(notice), "{document}");
        let predict = ["kmeans", "predict", "x.npy", "--centroids", "c.npy", "-o", "l6.npy"];
        done(folder, &predict);
        assert_eq!(bytes("l.npy"), bytes("l6.npy"));
    }
}

#[test]
fn quiet_is_silent_and_notices_are_not() {
    let (temporary, _) = folder_with_blobs();
    let folder = temporary.path();
    let quiet = run(&mut lowbit(folder, &["-q", "kmeans", "fit", "x.npy", "-k", "2"]));
    assert_eq!((quiet.code, quiet.err.as_str()), (Some(DONE), ""));
    assert!(quiet.out.contains("inertia"));

    // Fewer distinct points than clusters: an answer, and a warning.
    npy::write_matrix(&folder.join("same.npy"), 40, 2, &[1.5; 80]).unwrap();
    let fit = ["kmeans", "fit", "same.npy", "-k", "4", "--labels", "l.npy"];
    let ran = run(&mut lowbit(folder, &fit));
    assert_eq!(ran.code, Some(DONE), "{ran:?}");
    assert!(ran.err.contains("distinct clusters (1) found smaller than n_clusters (4)"), "{ran:?}");
    assert!(npy::read_labels(&folder.join("l.npy")).unwrap().iter().all(|&label| label == 0));

    // An end before convergence is said too.
    let ran =
        run(&mut lowbit(folder, &["kmeans", "fit", "x.npy", "-k", "30", "--max-iter", "1", "--tol", "0"]));
    assert_eq!(ran.code, Some(DONE), "{ran:?}");
    assert!(ran.err.contains("not converged after 1 iterations (--max-iter)"), "{ran:?}");
}

/// Four flat colours in known shares, half-transparent to the right, and a fully transparent column.
fn flag() -> Picture {
    const COLOURS: [[u8; 3]; 4] = [[200, 30, 40], [250, 250, 245], [20, 60, 160], [5, 5, 5]];
    let pixel = |i: u32| {
        let (x, y) = (i % 41, i / 41);
        // 8 + 4 + 3 + 1 rows of 16.
        let [r, g, b] = COLOURS[if y < 8 { 0 } else { (y >= 12) as usize + (y >= 15) as usize + 1 }];
        match x {
            40 => [1, 255, 1, 0],
            20..40 => [r, g, b, 128],
            _ => [r, g, b, 255],
        }
    };
    Picture { width: 41, height: 16, rgba: (0..41 * 16).map(pixel).collect() }
}

#[test]
fn palette_finds_the_colours_of_a_picture() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    let flag = flag();
    picture::write_png(&folder.join("in.png"), &flag).unwrap();

    let document = json(folder, &["kmeans", "palette", "in.png", "-k", "4", "-o", "out.png", "--json"]);
    let colours = document["colours"].as_array().unwrap();
    let found: Vec<(&str, f64)> =
        colours.iter().map(|c| (c["hex"].as_str().unwrap(), c["share"].as_f64().unwrap())).collect();
    let expected = [("#c81e28", 8.0), ("#fafaf5", 4.0), ("#143ca0", 3.0), ("#050505", 1.0)];
    assert_eq!(found, expected.map(|(hex, rows)| (hex, rows / 16.0)));
    assert_eq!((&document["width"], &document["height"]), (&41.into(), &16.into()));
    assert_eq!(document["output"], "out.png");
    // Four colours in four colours: the same picture. What cannot be seen has no colour any more.
    let mut expected = flag.clone();
    expected.rgba.iter_mut().filter(|pixel| pixel[3] == 0).for_each(|pixel| *pixel = [0; 4]);
    assert!(picture::read(&folder.join("out.png")).unwrap() == expected, "the picture is another one");

    // In two colours, on a picture that does not hold still, from JPEG, as a table without escape codes.
    let noise: Vec<u8> = Random::new(1).words(30 * 20 * 3).iter().map(|&word| word as u8).collect();
    let mut jpeg = Vec::new();
    let encoder = image::codecs::jpeg::JpegEncoder::new(&mut jpeg);
    image::ImageEncoder::write_image(encoder, &noise, 30, 20, image::ExtendedColorType::Rgb8).unwrap();
    fs::write(folder.join("in.jpg"), jpeg).unwrap();
    let table = done(folder, &["kmeans", "palette", "in.jpg", "-k", "7", "-o", "out.png"]);
    assert!(table.contains("30 x 20 pixels in 7 colours") && !table.contains('\x1b'), "{table}");
    let mut drawn = picture::read(&folder.join("out.png")).unwrap().rgba;
    drawn.sort_unstable();
    drawn.dedup();
    assert_eq!(drawn.len(), 7);
    for [r, g, b, alpha] in drawn {
        assert_eq!(alpha, 255);
        assert!(table.contains(&format!("#{r:02x}{g:02x}{b:02x}")), "{table}");
    }
    let document = json(folder, &["kmeans", "palette", "in.jpg", "-k", "7", "-o", "out.png", "--json"]);
    let shares = document["colours"].as_array().unwrap().iter().map(|c| c["share"].as_f64().unwrap());
    assert!((shares.sum::<f64>() - 1.0).abs() < 1e-12, "{document}");

    // One pixel has one colour.
    let dot = Picture { width: 1, height: 1, rgba: vec![[9, 8, 7, 255]] };
    picture::write_png(&folder.join("dot.png"), &dot).unwrap();
    done(folder, &["kmeans", "palette", "dot.png", "-k", "1", "-o", "out.png"]);
    assert_eq!(picture::read(&folder.join("out.png")).unwrap(), dot);
    let palette = ["kmeans", "palette", "dot.png", "-k", "16", "-o", "new.png"];
    refused(
        &mut lowbit(folder, &palette),
        BAD_INPUT,
        &["dot.png: there are fewer visible pixels in it, 1, than the 16 colours"],
    );

    let clear = Picture { width: 3, height: 2, rgba: vec![[9, 8, 7, 0]; 6] };
    picture::write_png(&folder.join("clear.png"), &clear).unwrap();
    let palette = ["kmeans", "palette", "clear.png", "-k", "2", "-o", "new.png"];
    refused(&mut lowbit(folder, &palette), BAD_INPUT, &["no visible pixel", "transparent"]);

    fs::write(folder.join("fake.png"), b"not a picture").unwrap();
    let png = fs::read(folder.join("in.png")).unwrap();
    fs::write(folder.join("half.png"), &png[..png.len() / 2]).unwrap();
    for (arguments, words) in [
        (["in.png", "-o", "new.jpg"], &["new.jpg: ", ".png"][..]),
        (["in.png", "-o", "no/new.png"], &["no/new.png: ", "folder no does not exist"]),
        (["fake.png", "-o", "new.png"], &["fake.png: ", "neither a PNG nor a JPEG"]),
        (["half.png", "-o", "new.png"], &["half.png: ", "PNG"]),
        (["missing.png", "-o", "new.png"], &["missing.png: "]),
        (["in.png", "-k0", "-onew.png"], &["n_clusters=0 should be >= 1"]),
    ] {
        let palette = [&["kmeans", "palette"], &arguments[..]].concat();
        refused(&mut lowbit(folder, &palette), BAD_INPUT, words);
    }
}

#[test]
fn data_that_cannot_be_clustered_is_refused_by_name() {
    let (temporary, points) = folder_with_blobs();
    let folder = temporary.path();
    let write = |name: &str, dtype: &str, fortran_order: bool, shape: &str, data: &[u8]| {
        write_npy(&folder.join(name), dtype, fortran_order, shape, data);
    };
    write("complex.npy", "<c8", true, "(4, 2)", &[0; 64]);
    write("f64.npy", "<f8", false, "(2, 1)", [1.0f64, 1e39].map(f64::to_le_bytes).as_flattened());
    write("int.npy", "<i8", false, "(2, 1)", [1i64, (1 << 24) + 1].map(i64::to_le_bytes).as_flattened());
    write("line.npy", "<f4", false, "(8,)", &[0; 32]);
    write("cube.npy", "<f4", false, "(2, 2, 2)", &[0; 32]);
    write("no_rows.npy", "<f4", false, "(0, 2)", &[]);
    write("no_columns.npy", "<f4", false, "(4, 0)", &[]);
    write("huge.npy", "<f4", false, "(18446744073709551615, 18446744073709551615)", &[0; 32]);
    let whole = fs::read(folder.join("x.npy")).unwrap();
    fs::write(folder.join("short.npy"), &whole[..whole.len() - 1]).unwrap();
    fs::write(folder.join("header.npy"), &whole[..40]).unwrap();
    fs::write(folder.join("fake.npy"), "1.0, 2.0\n3.0, four\n").unwrap();
    fs::write(folder.join("empty.npy"), "").unwrap();
    fs::create_dir(folder.join("folder.npy")).unwrap();
    for (name, value) in [("nan.npy", f32::NAN), ("infinity.npy", f32::NEG_INFINITY)] {
        let mut values = points.values.clone();
        values[200 * D + 3] = value;
        values[250 * D] = value;
        npy::write_matrix(&folder.join(name), N, D, &values).unwrap();
    }

    let cases: &[(&str, &[&str])] = &[
        ("missing.npy", &["No such file"]),
        ("folder.npy", &["no file of this folder has points"]),
        ("empty.npy", &["empty"]),
        ("fake.npy", &["line 2, column 2: 'four' is no number"]),
        ("header.npy", &["truncated"]),
        ("short.npy", &["truncated"]),
        ("huge.npy", &["18446744073709551615"]),
        ("complex.npy", &["complex64", ".real"]),
        ("f64.npy", &["row 1, column 0 (from 0) is 1e39", "beyond f32"]),
        ("int.npy", &["row 1, column 0 (from 0) is 16777217", "2^24"]),
        ("line.npy", &["1-D", "(8,)", "2-D"]),
        ("cube.npy", &["3-D", "(2, 2, 2)", "2-D"]),
        ("no_rows.npy", &["empty", "(0, 2)"]),
        ("no_columns.npy", &["empty", "(4, 0)"]),
        ("nan.npy", &["row 200, column 3", "NaN"]),
        ("infinity.npy", &["row 200, column 3", "-inf"]),
    ];
    for (name, words) in cases {
        let words = [&[*name], *words].concat();
        let fit = ["kmeans", "fit", name, "-k", "2", "--labels", "l.npy", "--centroids", "c.npy"];
        refused(&mut lowbit(folder, &fit), BAD_INPUT, &words);
    }
    // The same reader serves the others.
    let predict = ["kmeans", "predict", "x.npy", "--centroids", "nan.npy", "-o", "l.npy"];
    refused(&mut lowbit(folder, &predict), BAD_INPUT, &["nan.npy: row 200"]);
    let predict = ["kmeans", "predict", "complex.npy", "--centroids", "x.npy", "-o", "l.npy"];
    refused(&mut lowbit(folder, &predict), BAD_INPUT, &["complex.npy: ", "complex64"]);
}

#[test]
fn arguments_that_do_not_fit_are_refused() {
    let (temporary, points) = folder_with_blobs();
    let folder = temporary.path();
    npy::write_matrix(&folder.join("narrow.npy"), K, D - 1, &points.values[..K * (D - 1)]).unwrap();
    let cases: &[(&[&str], &[&str])] = &[
        (&["-k", "0"], &["n_clusters=0 should be >= 1"]),
        (&["-k", "302"], &["n_samples=301 should be >= n_clusters=302"]),
        (&["-k", "18446744073709551615"], &["n_samples=301 should be >= n_clusters=18446744073709551615"]),
        (&["-k", "3", "--tol", "-1"], &["tol=-1"]),
        (&["-k", "3", "--tol", "nan"], &["tol=NaN"]),
        (&["-k", "3", "--max-iter", "0"], &["max_iter=0 should be >= 1"]),
        (&["-k", "302", "--mini-batch"], &["n_samples=301 should be >= n_clusters=302"]),
        (
            &["-k", "3", "--init", "kmeans++"],
            &["--init kmeans++", "k-means++", "random", "there is no such file"],
        ),
        (&["-k", "4", "--init", "narrow.npy"], &["initial centers (3, 4)", "number of clusters 4"]),
        (
            &["-k", "3", "--init", "narrow.npy"],
            &["initial centers (3, 4)", "number of features of the data 5"],
        ),
        (&["-k", "3", "--labels", "l.npy", "--centroids", "l.npy"], &["l.npy", "two outputs"]),
        (&["-k", "3", "--adapter", "no such thing"], &["\"no such thing\"", "there is: "]),
    ];
    for (arguments, words) in cases {
        let fit = [&["kmeans", "fit", "x.npy"], *arguments].concat();
        refused(&mut lowbit(folder, &fit), BAD_INPUT, words);
    }
    let predict = ["kmeans", "predict", "x.npy", "--centroids", "narrow.npy", "-o", "l.npy"];
    refused(&mut lowbit(folder, &predict), BAD_INPUT, &["5 features", "centroids have 4"]);

    // The refusal of a name lists the adapters, and so does `devices` if it is asked for that one.
    let names: Vec<String> = json(folder, &["devices", "--json"])
        .as_array()
        .unwrap()
        .iter()
        .map(|adapter| adapter["name"].as_str().unwrap().to_owned())
        .collect();
    let words: Vec<&str> = names.iter().map(String::as_str).collect();
    refused(&mut lowbit(folder, &["roofline", "--adapter", "no such thing"]), BAD_INPUT, &words);
    refused(&mut lowbit(folder, &["devices", "--adapter", "no such thing"]), BAD_INPUT, &words);
    let mut by_variable = lowbit(folder, &["kmeans", "fit", "x.npy", "-k", "3"]);
    refused(by_variable.env("WGPU_ADAPTER_NAME", "no such thing"), BAD_INPUT, &words);

    // Usage errors are clap's: longer, but as clear.
    for (arguments, word) in [
        (&[][..], "Usage:"),
        (&["fly"], "unrecognized subcommand 'fly'"),
        (&["kmeans"], "Usage:"),
        (&["kmeans", "fit", "x.npy"], "--k <K>"),
        (&["kmeans", "fit", "x.npy", "-k", "many"], "invalid value 'many' for '--k <K>'"),
        (&["kmeans", "fit", "x.npy", "-k", "-1"], "invalid value '-1' for '--k <K>'"),
        (&["kmeans", "fit", "x.npy", "-k", "3", "--labels"], "'--labels <OUT.npy>'"),
        (&["kmeans", "fit", "x.npy", "-k", "3", "--seed", "-1"], "invalid value '-1' for '--seed <SEED>'"),
        (&["report", "--peak-gbs", "0"], "a number above 0"),
        (&["roofline", "--peak-gbs", "nan"], "a number above 0"),
        (&["roofline", "--wings"], "unexpected argument '--wings'"),
    ] {
        let ran = run(&mut lowbit(folder, arguments));
        assert_eq!((ran.code, ran.out.as_str()), (Some(BAD_INPUT), ""), "{arguments:?}: {ran:?}");
        assert!(ran.err.contains(word), "{arguments:?}: {ran:?}");
    }
    assert!(done(folder, &["--help"]).contains("Usage:"));
    assert!(done(folder, &["--version"]).starts_with("lowbit "));
}

#[test]
fn outputs_that_cannot_be_written_are_refused() {
    let (temporary, _) = folder_with_blobs();
    let folder = temporary.path();
    fs::create_dir(folder.join("folder")).unwrap();
    let locked = folder.join("locked.npy");
    fs::write(&locked, "precious").unwrap();
    let mut permissions = fs::metadata(&locked).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&locked, permissions).unwrap();
    for (path, words) in [
        ("no/such/out.npy", &["no/such/out.npy: the folder no/such does not exist"][..]),
        ("folder", &["folder: this is a folder", "give the name of a file"]),
        ("x.npy/out.npy", &["x.npy/out.npy: x.npy is not a folder"]),
        ("locked.npy", &["locked.npy: ", "read-only"]),
    ] {
        // The centroids come first, and must not be written either.
        let fit = ["kmeans", "fit", "x.npy", "-k", "3", "--centroids", "c.npy", "--labels", path];
        refused(&mut lowbit(folder, &fit), BAD_INPUT, words);
        let fit = ["kmeans", "fit", "x.npy", "-k", "3", "--centroids", "c.npy", "--trace", path];
        refused(&mut lowbit(folder, &fit), BAD_INPUT, words);
        let predict = ["kmeans", "predict", "x.npy", "--centroids", "x.npy", "-o", path];
        refused(&mut lowbit(folder, &predict), BAD_INPUT, words);
        refused(&mut lowbit(folder, &["roofline", "--quick", "--svg", path]), BAD_INPUT, words);
    }
    // The report makes its folder, but not out of a file.
    let report = ["report", "--quick", "--out", "x.npy"];
    refused(&mut lowbit(folder, &report), BAD_INPUT, &["x.npy", "this is a file"]);

    // A bad input leaves the old output alone; `refused` looks at every file.
    fs::write(folder.join("old.npy"), "precious").unwrap();
    let fit = ["kmeans", "fit", "x.npy", "-k", "302", "--labels", "old.npy"];
    refused(&mut lowbit(folder, &fit), BAD_INPUT, &["n_samples=301"]);

    if cfg!(target_os = "linux") {
        let fit = ["kmeans", "fit", "x.npy", "-k", "3", "--labels", "/dev/full"];
        refused(&mut lowbit(folder, &fit), BAD_INPUT, &["/dev/full: No space left"]);
        let full = || fs::File::options().write(true).open("/dev/full").unwrap();
        let mut devices = lowbit(folder, &["devices"]);
        let child = devices.stdout(full()).stderr(Stdio::piped()).spawn().unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(BAD_INPUT), "{said}");
        assert!(said.starts_with("error: standard output: No space left"), "{said}");
    }
}

#[test]
fn without_vulkan_it_says_what_to_do() {
    let (temporary, _) = folder_with_blobs();
    let folder = temporary.path();
    let fit = ["kmeans", "fit", "x.npy", "-k", "3", "--labels", "l.npy"];
    let advice = ["no usable GPU", "install a driver", "WGPU_BACKEND=vulkan"];
    for arguments in [&fit[..], &["devices"], &["devices", "--json"], &["roofline"], &["report"]] {
        refused(lowbit(folder, arguments).envs(NO_VULKAN), NO_DEVICE, &advice);
    }
    // Nothing there is another matter than a wrong name.
    let named = [&fit[..], &["--adapter", "any"]].concat();
    refused(lowbit(folder, &named).envs(NO_VULKAN), NO_DEVICE, &advice);
    let mut typing_error = lowbit(folder, &fit);
    refused(typing_error.env("WGPU_BACKEND", "vulcan"), NO_DEVICE, &["unset WGPU_BACKEND=vulcan"]);
}

#[test]
fn devices_as_table_and_json() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    let found = json(folder, &["devices", "--json"]);
    let adapters = found.as_array().unwrap();
    assert!(!adapters.is_empty());
    let table = done(folder, &["devices"]);
    for adapter in adapters {
        let name = adapter["name"].as_str().unwrap();
        assert!(table.contains(name) && table.contains(adapter["kind"].as_str().unwrap()), "{table}");
        for key in
            ["max_buffer_bytes", "max_binding_bytes", "max_workgroup_invocations", "max_workgroup_bytes"]
        {
            assert!(adapter[key].as_u64().is_some_and(|value| value > 0), "{key}: {adapter}");
        }
        assert!(adapter["shader_f16"].is_boolean() && adapter["timestamps"].is_boolean(), "{adapter}");
        assert!(adapter["cooperative_matrix"].is_array(), "{adapter}");
        // Part of the name in any case is enough.
        let part = name.split(' ').next().unwrap().to_uppercase();
        assert!(done(folder, &["devices", "--adapter", &part]).contains(name));
    }
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let (temporary, _) = folder_with_blobs();
    let folder = temporary.path();
    let spawn = |arguments: &[&str]| {
        lowbit(folder, arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let fit = ["kmeans", "fit", "x.npy", "-k", "3", "--labels", "l.npy"];
    for arguments in [&["devices"][..], &["devices", "--json"], &["--help"], &fit] {
        let mut child = spawn(arguments);
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(DONE), "{arguments:?}: {said}");
        assert!(!said.contains("panicked") && !said.contains("error:"), "{arguments:?}: {said}");
    }
    // Nobody reads standard error either, where the notice of a software device or the error goes.
    for (arguments, code) in [(&fit[..], DONE), (&["kmeans", "fit", "missing.npy", "-k", "3"], BAD_INPUT)] {
        let mut child = spawn(arguments);
        drop((child.stdout.take(), child.stderr.take()));
        assert_eq!(child.wait().unwrap().code(), Some(code), "{arguments:?}");
    }
    assert_eq!(npy::read_labels(&folder.join("l.npy")).unwrap().len(), N);
}

#[test]
fn a_table_of_variants_is_used_where_it_is_whole() {
    let (temporary, _) = folder_with_blobs();
    let folder = temporary.path();
    let cache = folder.join("cache").join("lowbit").join("variants.json");
    fs::create_dir_all(cache.parent().unwrap()).unwrap();
    let fit = |tune: Option<&str>| {
        let mut command = lowbit(folder, &["kmeans", "fit", "x.npy", "-k", "3", "--labels", "l.npy"]);
        match tune {
            Some(value) => command.env("LOWBIT_TUNE", value),
            None => command.env_remove("LOWBIT_TUNE"),
        };
        run(&mut command)
    };
    let done = |tune: Option<&str>| {
        let ran = fit(tune);
        assert_eq!(ran.code, Some(DONE), "{ran:?}");
        (ran.err, fs::read(folder.join("l.npy")).unwrap())
    };
    let (said, labels) = done(None);
    assert!(!said.contains("variants"), "{said}");

    // Broken: a notice in the cache folder, an error where it was asked for by name; off, it is not even read.
    fs::write(&cache, "{ broken").unwrap();
    let (said, same) = done(None);
    assert!(said.contains("variants.json: it is no table of variants") && labels == same, "{said}");
    let (said, same) = done(Some("off"));
    assert!(!said.contains("variants.json") && labels == same, "{said}");
    let ran = fit(Some(cache.to_str().unwrap()));
    assert!(ran.code == Some(BAD_INPUT) && ran.err.contains("it is no table of variants"), "{ran:?}");
    let ran = fit(Some("missing.json"));
    assert!(ran.code == Some(BAD_INPUT) && ran.err.contains("missing.json: No such file"), "{ran:?}");

    // Another variant takes another time, and gives the same answer; one that is no more does not count.
    let row = |variant: &str| Row {
        on: "software".into(),
        kernel: "kmeans/assign".into(),
        of: Vec::new(),
        sizes: [("k".to_owned(), 16), ("d".to_owned(), 4)].into(),
        variant: variant.into(),
    };
    for variant in ["assign CENTROIDS=1 DEPTH=1", "gone"] {
        table::write(&cache, &[row(variant)]).unwrap();
        let (said, same) = done(None);
        assert!(!said.contains("variants.json") && labels == same, "{said}");
    }
    let other = fs::read_to_string(&cache).unwrap().replacen("\"shaders\": \"", "\"shaders\": \"0", 1);
    fs::write(&cache, other).unwrap();
    let (said, same) = done(None);
    assert!(said.contains("measured with other shaders") && labels == same, "{said}");
}

/// Runs where no device is, because looking at a file needs none.
fn inspect(folder: &Path, arguments: &[&str]) -> String {
    let ran = run(lowbit(folder, &[&["inspect"], arguments].concat()).envs(NO_VULKAN));
    assert_eq!((ran.code, ran.err.as_str()), (Some(DONE), ""), "{ran:?}");
    ran.out
}

#[test]
fn inspect_shows_a_gguf_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::new();
    let tokens = (0..100).map(|i| format!("token {i}").as_str().into()).collect();
    writer.metadata("general.architecture", "llama".into()).unwrap();
    writer.metadata("some.epsilon", gguf::Value::F32(1e-5)).unwrap();
    writer.metadata("some.template", format!("{{\u{1b}[2J\n{}", "x".repeat(500)).as_str().into()).unwrap();
    writer.metadata("some.tokens", gguf::Value::Array(Array::String(tokens))).unwrap();
    writer.tensor("blk.0.ffn_down.weight", &[512, 3], TensorType::by_name("Q4_K").unwrap()).unwrap();
    writer.tensor("norm.weight", &[512], TensorType::by_name("F32").unwrap()).unwrap();
    // The name does not matter.
    let path = folder.path().join("model.bin");
    writer.write(&path, |tensor, out| out.write(&vec![0; tensor.bytes as usize])).unwrap();

    let text = inspect(folder.path(), &["model.bin"]);
    assert!(!text.contains('\u{1b}') && text.lines().all(|line| line.chars().count() < 130), "{text}");
    for line in [
        "GGUF version 3, tensors aligned to 32 bytes",
        "general.architecture llama",
        "some.epsilon 1e-5",
        "some.template {\\u{1b}[2J\\nxxx",
        "some.tokens 100 x string [token 0, token 1,",
        "blk.0.ffn_down.weight Q4_K [3, 512] 864 4.500",
        "norm.weight F32 [512] 2048 32.000",
        "2 tensors, 2048 weights, 2912 bytes, 11.375 bits per weight",
    ] {
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.lines().any(|found| words(found).starts_with(line)), "{line:?} is not in\n{text}");
    }

    let document: Value = serde_json::from_str(&inspect(folder.path(), &["model.bin", "--json"])).unwrap();
    assert_eq!(document["metadata"]["some.epsilon"], 1e-5);
    assert_eq!(document["metadata"]["some.template"].as_str().unwrap().len(), 506);
    assert_eq!(document["metadata"]["some.tokens"]["length"], 100);
    assert_eq!(document["metadata"]["some.tokens"]["first"][1], "token 1");
    assert_eq!(document["tensors"][0]["shape"], serde_json::json!([3, 512]));
    assert_eq!(document["tensors"][0]["bits_per_weight"], 4.5);
    assert_eq!(document["bits_per_weight"], 11.375);
}

#[test]
fn inspect_shows_a_safetensors_file() {
    let folder = tempfile::tempdir().unwrap();
    let header = serde_json::json!({
        "__metadata__": {"format": "pt", "note": format!("{{\u{1b}[2J\n{}", "x".repeat(500))},
        "norm.weight": {"dtype": "F32", "shape": [512], "data_offsets": [3072, 5120]},
        "model.layers.0.mlp.down_proj.weight": {"dtype": "BF16", "shape": [3, 512], "data_offsets": [0, 3072]},
        "steps": {"dtype": "I64", "shape": [], "data_offsets": [5120, 5128]},
    });
    let header = header.to_string();
    let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &[0; 5128]].concat();
    // The name does not matter.
    fs::write(folder.path().join("model.bin"), bytes).unwrap();

    let text = inspect(folder.path(), &["model.bin"]);
    assert!(!text.contains('\u{1b}') && text.lines().all(|line| line.chars().count() < 130), "{text}");
    for line in [
        "safetensors",
        "format pt",
        "note {\\u{1b}[2J\\nxxx",
        "model.layers.0.mlp.down_proj.weight BF16 [3, 512] 3072 16.000",
        "norm.weight F32 [512] 2048 32.000",
        "steps I64 [] 8 64.000",
        "3 tensors, 2049 weights, 5128 bytes, 20.021 bits per weight",
    ] {
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.lines().any(|found| words(found).starts_with(line)), "{line:?} is not in\n{text}");
    }

    let document: Value = serde_json::from_str(&inspect(folder.path(), &["model.bin", "--json"])).unwrap();
    assert_eq!((&document["format"], &document["metadata"]["format"]), (&"safetensors".into(), &"pt".into()));
    assert_eq!(document["metadata"]["note"].as_str().unwrap().len(), 506);
    let [down, norm, steps] = document["tensors"].as_array().unwrap().as_slice() else {
        panic!("{document}")
    };
    assert_eq!((&down["type"], &down["shape"]), (&"BF16".into(), &serde_json::json!([3, 512])));
    assert_eq!(down["offset"], header.len() + 8);
    assert_eq!((&norm["name"], &norm["bytes"]), (&"norm.weight".into(), &2048.into()));
    assert_eq!((&steps["shape"], &steps["bits_per_weight"]), (&serde_json::json!([]), &64.0.into()));
    assert_eq!((&document["weights"], &document["bytes"]), (&2049.into(), &5128.into()));
}

#[test]
fn inspect_shows_a_npy_file() {
    let (folder, _) = folder_with_blobs();
    let text = inspect(folder.path(), &["x.npy"]);
    for words in ["float32 (<f4)", &format!("[{N}, {D}]"), &format!("{}", N * D * 4)] {
        assert!(text.contains(words), "{words:?} is not in\n{text}");
    }
    let document: Value = serde_json::from_str(&inspect(folder.path(), &["x.npy", "--json"])).unwrap();
    assert_eq!(document["shape"], serde_json::json!([N, D]));
    assert_eq!((&document["type"], &document["dtype"]), (&"float32".into(), &"<f4".into()));
}

#[test]
fn inspect_refuses_what_it_does_not_know() {
    let folder = tempfile::tempdir().unwrap();
    let files: [(&str, &[u8], &str); 6] = [
        ("notes.gguf", b"some text", "neither a GGUF, a safetensors nor a .npy file"),
        ("short.npy", b"\x93NU", "neither a GGUF, a safetensors nor a .npy file"),
        ("empty.gguf", b"", "the file is empty"),
        ("cut.gguf", b"GGUF\x03\0\0\0\x01", "truncated"),
        ("cut.npy", b"\x93NUMPY\x01\0", "truncated"),
        ("cut.safetensors", b"\x40\0\0\0\0\0\0\0{\"w\":", "truncated"),
    ];
    for (name, bytes, _) in files {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    for (name, _, words) in files {
        refused(&mut lowbit(folder.path(), &["inspect", name]), BAD_INPUT, &[name, words]);
    }
    // A folder stands for the model in it.
    refused(&mut lowbit(folder.path(), &["inspect", "."]), BAD_INPUT, &["cut.safetensors", "truncated"]);
    fs::create_dir(folder.path().join("empty")).unwrap();
    refused(&mut lowbit(folder.path(), &["inspect", "empty"]), BAD_INPUT, &["empty: this folder has no"]);
    refused(&mut lowbit(folder.path(), &["inspect", "none.gguf"]), BAD_INPUT, &["none.gguf"]);
}

#[test]
fn roofline_prints_numbers_and_draws_them() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    let roofs = json(folder, &["roofline", "--quick", "--json", "--svg", "roofs.svg"]);
    check_roofs(&roofs);
    let svg = fs::read_to_string(folder.join("roofs.svg")).unwrap();
    assert!(svg.trim_start().starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{svg}");
}

fn check_roofs(roofs: &Value) {
    for name in ["copy", "read", "write", "fma_f32", "fma_f16", "dot_i8"] {
        let roof = &roofs[name];
        if roof.is_null() && ["fma_f16", "dot_i8"].contains(&name) {
            continue;
        }
        for key in ["value", "low", "high", "us"] {
            assert!(roof[key].as_f64().is_some_and(|value| value > 0.0), "{name}.{key}: {roof}");
        }
        assert!(
            roof["unit"].is_string() && roof["formula"].is_string() && roof["valid"].is_boolean(),
            "{roof}"
        );
    }
    let f16 = roofs["adapter"]["shader_f16"].as_bool().unwrap();
    assert_eq!(roofs["fma_f16"].is_object(), f16, "null where shaders have no f16");
    let launch = &roofs["launch"];
    assert!(launch["us"].is_number() || launch["us"].is_null(), "{launch}");
    assert!(launch["round_trip_us"].is_number(), "{launch}");
    let sweep = roofs["sweep"].as_array().unwrap();
    assert!(!sweep.is_empty() && sweep.iter().all(|point| point["gb_s"].is_number()), "{sweep:?}");
}

#[test]
fn a_trace_has_every_pass_with_its_rate_and_share() {
    let (temporary, _) = folder_with_blobs();
    let folder = temporary.path();
    let fit = ["kmeans", "fit", "x.npy", "-k", "3", "--json", "--trace", "trace.json"];
    // The document on standard output stays alone there.
    assert_eq!(json(folder, &fit)["k"], 3);
    let trace: Value = serde_json::from_slice(&fs::read(folder.join("trace.json")).unwrap()).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let passes: Vec<&Value> = events.iter().filter(|event| event["ph"] == "X").collect();
    for pass in &passes {
        assert!(pass["ts"].is_number() && pass["dur"].is_number(), "{pass}");
        for key in ["GB/s", "share of roof", "bytes", "operations"] {
            assert!(pass["args"][key].is_number(), "{key}: {pass}");
        }
    }
    for stem in ["assign", "centroid", "lloyd", "radix_sort", "seed"] {
        let named = |pass: &&Value| pass["name"].as_str().is_some_and(|name| name.contains(stem));
        assert!(passes.iter().any(named), "no pass of {stem}");
    }
}

#[test]
fn report_writes_one_page_and_one_document() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    fs::create_dir(folder.join("out")).unwrap();
    let printed = json(folder, &["report", "--quick", "--json", "--out", "out"]);
    let written = files(&folder.join("out"));
    assert_eq!(written.keys().collect::<Vec<_>>(), ["report.html", "report.json"]);
    let report: Value = serde_json::from_slice(&written["report.json"]).unwrap();
    assert_eq!(report, printed);
    check_roofs(&report["roofs"]);
    let kernels = report["kernels"].as_array().unwrap();
    for stem in ["assign", "centroid", "distance", "lloyd", "radix_sort", "seed"] {
        assert!(kernels.iter().any(|row| row["kernel"] == stem), "no row for {stem}");
    }
    for row in kernels {
        assert!(row["share"]["value"].is_number() && row["verified"].as_u64() > Some(0), "{row}");
    }
    let classifiers = report["classifiers"].as_array().unwrap();
    let names: Vec<&str> = classifiers.iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["breast cancer", "digits, is it an 8", "delamination"]);
    for row in classifiers {
        assert_eq!(row["status"], "PASS", "{row}");
        // Only the real test sets are too small for a bound.
        assert_eq!(row["point"], row["data"] == "real", "{row}");
        assert_eq!(row["engines"].as_array().unwrap().len(), 2, "{row}");
        assert!(row["engines"][1]["latency"]["p99_us"].as_f64().unwrap() > 0.0, "{row}");
    }
    let starnets = report["starnets"].as_array().unwrap();
    assert_eq!(starnets.iter().map(|row| row["worst"].as_u64().unwrap()).collect::<Vec<_>>(), [96, 112, 72]);
    for row in starnets {
        assert!(row["proofs"].as_array().unwrap().iter().all(|proof| proof["overflow"].is_null()), "{row}");
    }
    let photos = report["photos"].as_array().unwrap();
    assert!(!photos.is_empty() && photos.iter().all(|photo| photo["colours"].is_array()));

    let page = std::str::from_utf8(&written["report.html"]).unwrap();
    for word in
        ["<svg", "data:image/png;base64,", "lowbit report", "delamination (synthetic data)", "</html>"]
    {
        assert!(page.contains(word), "{word}");
    }
    // Nothing is fetched: what is left of addresses are names of XML namespaces.
    let page = page.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
    assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("<script src"));
}

#[test]
fn an_output_never_takes_the_place_of_an_input_or_of_another_output() {
    let (temporary, _) = folder_with_blobs();
    let folder = temporary.path();
    let fit = |more: &[&str]| {
        let mut command = lowbit(folder, &["kmeans", "fit", "x.npy", "-k", "3"]);
        command.args(more);
        command
    };
    refused(&mut fit(&["--centroids", "x.npy"]), BAD_INPUT, &["x.npy", "overwrite an input"]);
    refused(&mut fit(&["--labels", "./x.npy"]), BAD_INPUT, &["overwrite an input"]);
    refused(&mut fit(&["--labels", "a.npy", "--centroids", "./a.npy"]), BAD_INPUT, &["two outputs"]);
    let roofline = ["roofline", "--quick", "--svg", "a.svg", "--trace", "./a.svg"];
    refused(&mut lowbit(folder, &roofline), BAD_INPUT, &["two outputs"]);
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(folder.join("a.npy"), folder.join("link.npy")).unwrap();
        fs::write(folder.join("a.npy"), "").unwrap();
        refused(&mut fit(&["--labels", "a.npy", "--centroids", "link.npy"]), BAD_INPUT, &["two outputs"]);
    }
}
