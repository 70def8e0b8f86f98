//! Thresholds against a plain implementation and numpy's; the cache and its manifest.

use std::fs;
use std::path::{Path, PathBuf};

use lowbit::internals::calibration::{
    BINS, Cache, Contents, Data, Header, Histogram, Manifest, Method, Model, Range, channels, manifest_path,
};
use lowbit::internals::io::hash::{sha256, sha256_file};
use lowbit::internals::oracle;
use lowbit::internals::random::Random;
use tempfile::TempDir;

const METHODS: [Method; 4] = [Method::Entropy, Method::MinMax, Method::Percentile(99.99), Method::Mse];

/// A histogram of sizes alone, with values on both sides.
fn histogram(bins: Vec<u64>, amax: f32) -> Histogram {
    let count = bins.iter().sum();
    Histogram { bins, amax, min: -amax, max: amax, count }
}

fn bins(counts: &[(usize, u64)]) -> Vec<u64> {
    let mut bins = vec![0; BINS];
    for &(bin, count) in counts {
        bins[bin] = count;
    }
    bins
}

/// The threshold of entropy calibration in bins, less the half; none where it is amax.
fn chosen(bins: &[u64]) -> Option<usize> {
    let threshold = Method::Entropy.range(&histogram(bins.to_vec(), BINS as f32)).unwrap();
    (threshold < BINS as f64).then(|| {
        assert_eq!(threshold.fract(), 0.5);
        threshold as usize
    })
}

#[test]
fn entropy_equals_numpy_and_the_oracle_in_every_bin_chosen() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cpu/calibration/entropy.json");
    let fixture: serde_json::Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let mut seen = 0;
    for tensor in fixture.as_array().unwrap() {
        let name = tensor["name"].as_str().unwrap();
        let bins: Vec<u64> = serde_json::from_value(tensor["bins"].clone()).unwrap();
        let best = tensor["best"].as_u64().map(|best| best as usize);
        assert_eq!(chosen(&bins), best, "{name}");
        assert_eq!(oracle::entropy::entropy(&bins), best, "{name}");
        seen += 1;
    }
    assert_eq!(seen, 11);
}

#[test]
fn an_outlier_behind_a_relu_is_cut_off() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cpu/calibration/entropy.json");
    let fixture: serde_json::Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let relu = &fixture[0];
    let bins: Vec<u64> = serde_json::from_value(relu["bins"].clone()).unwrap();
    let made = Histogram { min: 0.0, ..histogram(bins, 40.0) };
    let range = Range::of("relu", &made, Method::Entropy).unwrap();
    assert!((f64::from(range.threshold) - 4.07).abs() <= 40.0 / 2048.0, "{range:?}");
    assert_eq!(range.scale, range.threshold / 127.0);
    assert!(range.clipped > 0.0 && range.clipped < 1e-4, "{range:?}");
    assert_eq!(Range::of("relu", &made, Method::MinMax).unwrap().threshold, 40.0);
}

#[test]
fn entropy_equals_the_oracle_on_histograms_of_every_kind() {
    let mut random = Random::new(3);
    for round in 0..40 {
        // From almost empty to full, with falling tails of several lengths.
        let share = [0.003, 0.02, 0.3, 1.0][round % 4];
        let tail = [30.0, 200.0, 1000.0, 1e9][round / 4 % 4];
        let height = [2.0, 50.0, 1e6][round % 3];
        let mut bins: Vec<u64> = (0..BINS)
            .map(|bin| {
                let occupied = random.unit() < share;
                let count = height * random.unit() * (-(bin as f64) / tail).exp();
                if occupied { count.ceil() as u64 } else { 0 }
            })
            .collect();
        bins[BINS - 1] = 1;
        assert_eq!(chosen(&bins), oracle::entropy::entropy(&bins), "round {round}");
    }
}

#[test]
fn entropy_where_there_is_little_to_choose() {
    // Two sizes: a candidate has one of them, or nothing where P has all.
    assert_eq!(chosen(&bins(&[(0, 500), (2047, 500)])), None);
    assert_eq!(chosen(&bins(&[(128, 500), (2047, 500)])), None);
    // Only candidates that end in a bin with values have Q > 0 wherever P is.
    assert_eq!(chosen(&bins(&[(100, 5), (700, 5), (2047, 1)])), Some(701));
    // Nothing is lost from 600 on: all divergences are 0, the lowest threshold counts.
    let flat: Vec<(usize, u64)> = (0..600).map(|bin| (bin, 7)).collect();
    assert_eq!(
        oracle::entropy::divergence(&bins(&flat), 640),
        oracle::entropy::divergence(&bins(&flat), 1280)
    );
    assert_eq!(chosen(&bins(&flat)), oracle::entropy::entropy(&bins(&flat)));
    let sparse: Vec<(usize, u64)> = (0..16).map(|step| (step * 30, 1 + step as u64)).collect();
    assert_eq!(oracle::entropy::divergence(&bins(&sparse), 2047), 0.0);
    assert_eq!(chosen(&bins(&sparse)), oracle::entropy::entropy(&bins(&sparse)));
    assert_eq!(chosen(&bins(&sparse)), Some(451), "the first that holds all 16 values");
}

#[test]
fn tensors_of_zeros_and_constants() {
    for method in METHODS {
        let zeros = Range::of("x", &Histogram::of(&[0.0, -0.0, 1e-40]).unwrap(), method).unwrap();
        assert_eq!((zeros.contents, zeros.threshold, zeros.scale), (Contents::Zero, 0.0, 0.0));
        assert_eq!(zeros.clipped, 0.0);
        let constant = Range::of("x", &Histogram::of(&[-3.0; 100]).unwrap(), method).unwrap();
        assert_eq!((constant.contents, constant.threshold, constant.clipped), (Contents::Constant, 3.0, 0.0));
        let empty = Range::of("x", &Histogram::default(), method).unwrap_err().to_string();
        assert_eq!(empty, "tensor 'x': there are no values; calibration needs at least one row");
    }
    assert!(Histogram::of(&[]).is_err());
    assert!(Histogram::of(&[1.0, f32::NAN]).unwrap_err().to_string().contains("1 values are NaN"));
    let wrong = Histogram { count: 7, ..Histogram::of(&[1.0, 2.0]).unwrap() };
    assert!(Method::Mse.range(&wrong).is_err());
    assert!(Method::Mse.range(&Histogram { bins: vec![2], ..wrong }).is_err());
}

#[test]
fn percentiles_are_linear_within_a_bin() {
    let made = histogram(bins(&[(0, 500), (10, 400), (2047, 100)]), BINS as f32);
    let at = |percent| Method::Percentile(percent).range(&made).unwrap();
    assert_eq!(at(90.0), 11.0);
    assert_eq!(at(70.0), 10.5);
    assert_eq!(at(95.0), 2047.5);
    assert_eq!(at(100.0), 2048.0);
    assert_eq!(at(0.1), 1.0, "at least a bin");
    assert!((made.clipped(at(95.0)) - 0.05).abs() < 1e-12);
    assert!((made.clipped(at(70.0)) - 0.3).abs() < 1e-12);
    assert_eq!((made.clipped(2048.0), made.clipped(1e9)), (0.0, 0.0));
    for wrong in [0.0, -1.0, 100.1, f64::NAN] {
        assert!(Method::Percentile(wrong).range(&made).is_err());
    }
}

#[test]
fn the_least_squared_error_against_a_search_over_values() {
    // Normal values (a sum of uniform ones) with outliers: the threshold by values themselves is close.
    let mut random = Random::new(4);
    let mut values: Vec<f32> =
        (0..60_000).map(|_| (0..12).map(|_| random.unit()).sum::<f64>() as f32 - 6.0).collect();
    values.extend([12.0, -14.0]);
    let made = Histogram::of(&values).unwrap();
    let error = |threshold: f64| -> f64 {
        let scale = threshold / 127.0;
        let lost = |&x: &f32| {
            let x = f64::from(x);
            (x - (x / scale).round_ties_even().clamp(-127.0, 127.0) * scale).powi(2)
        };
        values.iter().map(lost).sum()
    };
    let found = Method::Mse.range(&made).unwrap();
    let best = (128..=2048).step_by(8).map(|i| error(i as f64 * 14.0 / 2048.0)).fold(f64::INFINITY, f64::min);
    assert!(error(found) <= 1.01 * best, "{found}: {} for {best}", error(found));
    assert!(error(found) < 0.9 * error(14.0));
}

#[test]
fn methods_as_text() {
    for (text, method) in [
        ("entropy", Method::Entropy),
        ("min-max", Method::MinMax),
        ("percentile:99.999", Method::Percentile(99.999)),
        ("mse", Method::Mse),
    ] {
        assert_eq!(text.parse::<Method>().unwrap(), method);
        assert_eq!(method.to_string(), text);
    }
    assert_eq!("percentile".parse::<Method>().unwrap(), Method::Percentile(99.99));
    assert_eq!("minmax".parse::<Method>().unwrap(), Method::MinMax);
    for wrong in ["", "kl", "percentile:", "percentile:0", "percentile:nan", "entropy:1"] {
        assert!(wrong.parse::<Method>().is_err(), "{wrong}");
    }
}

#[test]
fn weights_have_a_scale_for_each_output_channel() {
    let weights = [1.0, -2.54, 0.0, 0.0, 1e-44, 0.0, 127.0, 5.0];
    let found = channels("w", &weights, 4).unwrap();
    assert_eq!(found.scales, [2.54 / 127.0, 1.0, f32::MIN_POSITIVE, 1.0]);
    assert_eq!((found.min, found.max, found.zero), (-2.54, 127.0, 1));
    for (weights, outputs) in [(&weights[..7], 2), (&weights[..], 0), (&[][..], 1)] {
        assert!(channels("w", weights, outputs).is_err());
    }
    let error = channels("w", &[0.0, 1.0, 2.0, f32::NAN], 2).unwrap_err().to_string();
    assert_eq!(error, "weights 'w': a value of output channel 1 is NaN");
}

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    fn cache(&self, text: &str) -> lowbit::internals::Result<Cache> {
        Cache::read(&self.file("cache", text))
    }

    /// What is said about a bad cache, without its path.
    fn problem(&self, text: impl AsRef<[u8]>) -> String {
        let path = self.file("cache", text);
        let said = Cache::read(&path).unwrap_err().to_string();
        said.strip_prefix(&format!("{}: ", path.display())).expect(&said).to_owned()
    }
}

const CACHE: &str = "TRT-8510-EntropyCalibration2
input_features: 3caa54fc
(Unnamed Layer* 1) [Fully Connected]_output: 4000889d
model::block:0 : relu: 0
 trailing : 3f800000
";

#[test]
fn a_cache_is_read_and_written_as_it_was() {
    let folder = Folder::new();
    let cache = folder.cache(CACHE).unwrap();
    assert_eq!(cache.header, Header { version: "8510".into(), algorithm: "EntropyCalibration2".into() });
    let range = |name| f64::from(cache.scale(name).unwrap()) * 127.0;
    assert!((range("input_features") - 2.6406).abs() < 5e-5);
    assert!((cache.scale("input_features").unwrap() - 0.020_792_5).abs() < 5e-8);
    assert!((range("(Unnamed Layer* 1) [Fully Connected]_output") - 255.06).abs() < 0.01);
    assert_eq!(cache.scale("model::block:0 : relu"), Some(0.0));
    assert_eq!(cache.scale(" trailing "), Some(1.0));
    assert_eq!(cache.scale("none"), None);
    let path = folder.0.path().join("written");
    cache.write(&path).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), CACHE);
    // Line ends of Windows, empty lines, no end of line at the end.
    let other = format!("{}\r\n\n", CACHE.trim_end().replace('\n', "\r\n"));
    assert_eq!(folder.cache(&other).unwrap(), cache);
    assert_eq!(folder.cache(CACHE.trim_end()).unwrap(), cache);
}

#[test]
fn what_is_no_cache_is_refused_with_its_line() {
    let folder = Folder::new();
    let line = |line: &str| folder.problem(format!("TRT-1-EntropyCalibration2\nx: 1\n{line}\ny: 2\n"));
    assert!(line("nothing").starts_with("line 3 is 'nothing'; `name: bits` is expected"));
    assert!(line(": 3c000000").starts_with("line 3: tensor '' is empty or has control characters"));
    assert!(line("a\rb: 3c000000").starts_with("line 3: tensor 'a\\rb' is empty or has control characters"));
    for bits in ["", "xyz", "+1", "-1", "0x1", "123456789", "1 2"] {
        assert!(
            line(&format!("z: {bits}")).starts_with(&format!("line 3: '{bits}' is not the bits")),
            "{bits}"
        );
    }
    for (bits, scale) in [("7f800000", "inf"), ("7fc00000", "NaN"), ("80000000", "-0"), ("bf800000", "-1")] {
        assert_eq!(
            line(&format!("z: {bits}")),
            format!("line 3: tensor 'z' has the scale {scale}; a finite one, 0 or more, is expected")
        );
    }
    assert_eq!(line("x: 3"), "line 3: tensor 'x' is in line 2 already");
    for header in
        ["x: 1", "TRT-", "TRT-8510", "TRT--MinMaxCalibration", "TRT-1-", "trt-1-EntropyCalibration2", "{}"]
    {
        assert!(folder.problem(header).starts_with("line 1 is"), "{header}");
    }
    assert_eq!(folder.problem(b"TRT-1-A\nx: 1\n\xff: 2\n"), "line 3 is not UTF-8 text");
    assert_eq!(folder.problem(""), "the file is empty");
    assert!(Cache::read(&folder.0.path().join("none")).is_err());
    for name in ["", " ", "a\nb", "a\r"] {
        let cache = Cache { entries: vec![(name.into(), 1.0)], header: Header::new(Method::Entropy) };
        assert!(cache.write(&folder.0.path().join("bad")).is_err(), "{name:?}");
    }
    let mut cache = Cache { entries: vec![("x".into(), -1.0)], header: Header::new(Method::Mse) };
    assert!(cache.write(&folder.0.path().join("bad")).is_err());
    cache.entries = vec![("x".into(), 1.0), ("x".into(), 1.0)];
    assert!(cache.write(&folder.0.path().join("bad")).is_err());
    assert!(!folder.0.path().join("bad").exists());
}

fn ranges() -> Vec<Range> {
    let mut random = Random::new(5);
    let mut range =
        |name| Range::of(name, &Histogram::of(&random.floats(500)).unwrap(), Method::Mse).unwrap();
    vec![range("input"), range("hidden: 1"), range("output")]
}

#[test]
fn a_manifest_binds_a_cache_to_its_model() {
    let folder = Folder::new();
    let (model, data) = (folder.file("model.onnx", "a model"), folder.file("data.npy", "data"));
    let path = folder.0.path().join("model.cache");
    assert_eq!(Manifest::beside(&path).unwrap(), None);
    Cache::new(Method::Mse, &ranges()).write(&path).unwrap();
    let hash = sha256_file(&model).unwrap();
    let features = Some(vec!["heat".to_owned(), "speed".to_owned()]);
    let (of, made) = (Model::of(&model, &hash), Data::of(&data, 500, features.clone()).unwrap());
    Manifest::new(Method::Mse, of, made, ranges()).write(&manifest_path(&path)).unwrap();

    let cache = Cache::read(&path).unwrap();
    let manifest = Manifest::beside(&path).unwrap().unwrap();
    assert_eq!(manifest_path(&path), folder.0.path().join("model.cache.json"));
    assert_eq!(manifest.model, Model { file: "model.onnx".into(), sha256: sha256(b"a model") });
    assert_eq!(manifest.data, Data { sha256: sha256(b"data"), rows: 500, features });
    assert_eq!((manifest.lowbit.as_str(), manifest.method), (env!("CARGO_PKG_VERSION"), Method::Mse));
    assert_eq!(cache.header.to_string(), "TRT-8601-MseCalibration");

    let names = ["output", "input", "hidden: 1"];
    cache.check(Some(&manifest), false, &hash, &names, &[]).unwrap();
    cache.check(Some(&manifest), false, &hash, &names[1..], &["more", "output"]).unwrap();
    cache.check(None, true, &hash, &[], &names).unwrap();
    let refused = |manifest: Option<&Manifest>, hash: &str, names: &[&str]| {
        cache.check(manifest, false, hash, names, &["unused"]).unwrap_err().to_string()
    };
    assert!(refused(None, &hash, &names).contains("has no manifest beside it"));
    let other = refused(Some(&manifest), &sha256(b"another"), &names);
    assert!(
        other.contains(&hash) && other.contains(&sha256(b"another")) && other.contains("'model.onnx'"),
        "{other}"
    );
    assert!(
        refused(Some(&manifest), &hash, &names[1..]).contains("a tensor 'output', which the model has not")
    );
    let more = ["input", "output", "hidden: 1", "more"];
    assert!(refused(Some(&manifest), &hash, &more).contains("the model's tensor 'more' is not in it"));
    assert!(cache.check(None, true, &hash, &more, &names).is_err());
    // A cache of another run beside this manifest.
    let mut edited = manifest.clone();
    edited.ranges[1].scale *= 1.001;
    assert!(refused(Some(&edited), &hash, &names).contains("tensor 'hidden: 1' has the scale"));
    edited.ranges.remove(1);
    assert!(refused(Some(&edited), &hash, &names).contains("tensor 'hidden: 1' is not in its manifest"));
}

#[test]
fn what_is_no_manifest_is_refused() {
    let folder = Folder::new();
    let (model, data) = (folder.file("model.onnx", "a model"), folder.file("data.npy", "data"));
    let (model, data) = (Model::of(&model, &sha256(b"a model")), Data::of(&data, 500, None).unwrap());
    let manifest = Manifest::new(Method::Percentile(99.9), model, data, ranges());
    let path = folder.0.path().join("manifest");
    manifest.write(&path).unwrap();
    let read = Manifest::read(&path).unwrap();
    assert_eq!(read.method, manifest.method);
    assert_eq!(read.ranges.len(), 3);
    let good = fs::read_to_string(&path).unwrap();
    let problem = |from: &str, to: &str| {
        let text = good.replacen(from, to, 1);
        assert_ne!(text, good, "{from}");
        let path = folder.file("bad", text);
        Manifest::read(&path).unwrap_err().to_string()
    };
    assert!(problem("percentile:99.9", "kl").contains("no method is called 'kl'"));
    assert!(problem(&sha256(b"a model"), "12").contains("the SHA-256 of the model is '12'"));
    assert!(problem("\"hidden: 1\"", "\"input\"").contains("tensor 'input' comes twice"));
    assert!(problem("\"scale\": 0", "\"scale\": -0").contains("a negative scale"));
    assert!(problem("\"scale\": 0", "\"scale\": 1e300, \"x\": 0").contains("not finite"));
    assert!(problem("\"rows\"", "\"row\"").contains("missing field"));
    assert!(problem("}", "").contains("this is no calibration manifest"));
}

#[test]
fn hashes_are_those_that_everyone_knows() {
    assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    let bytes = vec![7; (3 << 20) + 1];
    let folder = Folder::new();
    assert_eq!(sha256_file(&folder.file("long", &bytes)).unwrap(), sha256(&bytes));
    assert!(sha256_file(folder.0.path()).is_err());
}
