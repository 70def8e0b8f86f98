//! Real inputs with independent answers that are too large for the repository: `make check-shared` runs these.

use std::path::PathBuf;

use lowbit::internals::audit;
use lowbit::internals::calibration::Method;
use lowbit::internals::classify::calibrate;
use lowbit::internals::classify::engine::{Engine, Keep};
use lowbit::internals::classify::judge::{Test, judge, probabilities};
use lowbit::internals::format::Format;
use lowbit::internals::gpu::{Buffer, Context, Options, Recorder};
use lowbit::internals::io::gguf::Gguf;
use lowbit::internals::io::npy::{read_binary_labels, read_columns, read_labels, read_matrix};
use lowbit::internals::io::onnx;
use lowbit::internals::kmeans::{Init, KMeans, Metric};
use lowbit::internals::matmul::{Activations, Path, Weights, dequantize};
use lowbit::internals::network::Network;
use lowbit::internals::network::lower::{Names, lower};
use lowbit::internals::oracle;

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

    // The reference's centroids are those of f64, so that a label may differ where two are almost as near.
    let nearest = oracle::assign::assign(&points.values, &fitted.cluster_centers.values, points.cols);
    assert_eq!(fitted.labels, nearest.iter().map(|&label| label as i32).collect::<Vec<_>>());
    let different = labels.iter().zip(&fitted.labels).filter(|(right, label)| right != label).count();
    assert!(different * 10_000 <= labels.len(), "{different} of {} labels differ", labels.len());
    println!("{different} of {} labels differ; inertia differs by {inertia:e}", labels.len());

    let again = kmeans.fit(&gpu, &points, |_| ()).unwrap();
    assert_eq!(again.labels, fitted.labels);
    let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&again.cluster_centers.values), bits(&fitted.cluster_centers.values));
}

#[test]
#[ignore = "reads LOWBIT_SHARED: make check-shared"]
fn shared_embeddings_cluster_by_weight_and_by_cosine_as_the_f64_reference() {
    let gpu = Context::open(&Options::default()).unwrap();
    let points = read_matrix(&shared("kmeans/points.npy")).unwrap();
    let init = read_matrix(&shared("kmeans/init.npy")).unwrap();
    let weights = read_columns(&shared("kmeans/weights.npy")).unwrap().0.values;
    let kmeans = KMeans::new(64).init(Init::Centroids(init)).max_iter(25).tol(0.0);
    for (metric, weights, file, inertia) in [
        (Metric::Euclidean, Some(weights.as_slice()), "kmeans/labels_weighted.npy", 8531.503316097414),
        (Metric::Cosine, None, "kmeans/labels_cosine.npy", 1534.126741066624),
    ] {
        let fitted = kmeans.clone().metric(metric).fit_weighted(&gpu, &points, weights, |_| ()).unwrap();
        let labels = read_labels(&shared(file)).unwrap();
        let different = labels.iter().zip(&fitted.labels).filter(|(a, b)| a != b).count();
        println!(
            "{file}: {different} of {} labels differ, {} iterations, inertia {}",
            labels.len(),
            fitted.n_iter,
            fitted.inertia
        );
        assert_eq!(fitted.n_iter, 25);
        assert!((fitted.inertia / inertia - 1.0).abs() < 1e-5, "{} {inertia}", fitted.inertia);
        assert!(different * 1000 <= labels.len(), "{file}: {different} labels differ");
    }
}

#[test]
#[ignore = "reads LOWBIT_SHARED: make check-shared"]
fn shared_gaussian_rows_cluster_by_cosine_as_the_f64_reference_in_any_unit() {
    let gpu = Context::open(&Options::default()).unwrap();
    let read = |name: &str| read_matrix(&shared("field/cosine_scale").join(name)).unwrap();
    let labels = read_labels(&shared("field/cosine_scale/right_labels.npy")).unwrap();
    let kmeans = KMeans::new(5).init(Init::Centroids(read("cos_init.npy"))).metric(Metric::Cosine);
    for name in ["cos_1000.npy", "cos_unit.npy"] {
        let fitted = kmeans.fit(&gpu, &read(name), |_| ()).unwrap();
        println!("{name}: {} iterations, inertia {}", fitted.n_iter, fitted.inertia);
        assert_eq!((fitted.n_iter, &fitted.labels), (18, &labels), "{name}");
        assert!((fitted.inertia / 370.986 - 1.0).abs() < 1e-5, "{name}: {}", fitted.inertia);
    }
}

/// Relative squared errors of ggml's own quantizers on the weight, as the data's README gives them.
const GGML_ERRORS: [(&str, f64); 12] = [
    ("Q8_0", 3.85e-5),
    ("Q4_0", 0.00836),
    ("Q4_1", 0.00651),
    ("Q5_0", 0.00208),
    ("Q5_1", 0.00158),
    ("Q2_K", 0.0911),
    ("Q3_K", 0.0243),
    ("Q4_K", 0.00542),
    ("Q5_K", 0.00139),
    ("Q6_K", 0.000355),
    ("MXFP4", 0.0167),
    ("IQ4_NL", 0.00628),
];

#[test]
#[ignore = "reads LOWBIT_SHARED: make check-shared"]
fn shared_weights_dequantize_to_the_bit_and_quantize_as_well_as_ggml() {
    let file = Gguf::open(&shared("gguf/ffn_down_all_types.gguf")).unwrap();
    let weights_of = |name: &str, format: &Format| {
        let tensor = file.tensor(name).unwrap();
        let mut blocks = vec![0; tensor.bytes as usize];
        file.read(tensor, 0..tensor.bytes, &mut blocks).unwrap();
        let mut weights = vec![0.0; blocks.len() / format.bytes * format.elements];
        format.dequantize(&blocks, &mut weights).unwrap();
        weights
    };
    let mut compared = 0;
    for tensor in file.tensors() {
        let format = Format::by_type(tensor.ty.id).unwrap();
        let answers = shared(&format!("gguf/dequant_{}.npy", format.name));
        if answers.exists() {
            let expected = read_matrix(&answers).unwrap().values;
            let weights = weights_of(&tensor.name, format);
            let equal = weights.iter().zip(&expected).all(|(a, b)| a.to_bits() == b.to_bits());
            assert!(equal, "{}", format.name);
            compared += 1;
        }
    }
    assert_eq!(compared, 14);

    let weights = weights_of("ffn_down.F32", Format::by_name("F32").unwrap());
    let size: f64 = weights.iter().map(|&x| f64::from(x).powi(2)).sum();
    for (name, theirs) in GGML_ERRORS {
        let format = Format::by_name(name).unwrap();
        let mut blocks = vec![0; weights.len() / format.elements * format.bytes];
        let mut back = vec![0.0; weights.len()];
        format.quantize(&weights, &mut blocks).unwrap();
        format.dequantize(&blocks, &mut back).unwrap();
        let error: f64 = weights.iter().zip(&back).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>() / size;
        println!(
            "{name}: relative squared error {error:.4e}, ggml {theirs:.4e}, ratio {:.3}",
            error / theirs
        );
        assert!(error <= theirs * 1.05, "{name}: {error:e} against {theirs:e}");
    }
}

/// A .npy of f64 in C order: the products are more exact than the tool's own reader keeps.
fn read_f64(path: &std::path::Path) -> Vec<f64> {
    let bytes = std::fs::read(path).unwrap();
    assert!(bytes.starts_with(b"\x93NUMPY\x01\x00"));
    let header = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    assert!(String::from_utf8_lossy(&bytes[..header]).contains("'<f8', 'fortran_order': False"));
    bytes[header..].chunks(8).map(|value| f64::from_le_bytes(value.try_into().unwrap())).collect()
}

#[test]
#[ignore = "reads LOWBIT_SHARED: make check-shared"]
fn shared_weights_multiply_as_the_f64_reference() {
    let gpu = Context::open(&Options::default()).unwrap();
    let file = Gguf::open(&shared("gguf/ffn_down_all_types.gguf")).unwrap();
    let x = read_matrix(&shared("gguf/x.npy")).unwrap();
    let columns: Vec<f32> = (0..x.cols)
        .flat_map(|c| x.values.iter().skip(c).step_by(x.cols).copied().collect::<Vec<_>>())
        .collect();
    let x = Activations::upload(&gpu, &columns, x.rows).unwrap();
    let mut compared = 0;
    for tensor in file.tensors() {
        let weights = Weights::from_gguf(&gpu, &file, tensor, false).unwrap();
        let format = weights.format;

        // The GPU's weights against the CPU's, which equal gguf-py's to the bit.
        let mut blocks = vec![0; tensor.bytes as usize];
        file.read(tensor, 0..tensor.bytes, &mut blocks).unwrap();
        let mut expected = vec![0.0; tensor.values() as usize];
        format.dequantize(&blocks, &mut expected).unwrap();
        let values = Buffer::new(&gpu, "values", weights.rows, 4 * weights.cols).unwrap();
        let spec = dequantize::VARIANTS[0].slot("format", format.decoder);
        let bound = dequantize::Dequantize::load(&gpu, &spec).unwrap().bind(&gpu, &weights, &values).unwrap();
        let mut record = Recorder::new(&gpu);
        record.dispatch(&bound);
        record.submit().unwrap();
        let got = values.read::<f32>(&gpu).unwrap();
        let ulps = got.iter().zip(&expected);
        let ulps =
            ulps.map(|(got, want)| if got == want { 0 } else { got.to_bits().abs_diff(want.to_bits()) });
        let ulps = ulps.max().unwrap();
        assert!(ulps <= 1, "{}: {ulps} ulps", format.name);

        let answers = shared(&format!("gguf/matmul_{}.npy", format.name));
        if !answers.exists() {
            continue;
        }
        let answers = read_f64(&answers);
        let size: f64 = answers.iter().map(|y| y * y).sum();
        for (path, most) in [(Path::Float, 1e-9), (Path::Integer, 5e-4)] {
            let y = weights.times(&gpu, &x, &[], path).unwrap();
            let error: f64 = y.values.iter().zip(&answers).map(|(&y, a)| (f64::from(y) - a).powi(2)).sum();
            let error = error / size;
            println!("{}: {path:?} NMSE {error:.2e} ({})", format.name, y.variant);
            assert!(error <= most, "{} {path:?}: {error:e}", format.name);
        }
        compared += 1;
    }
    assert_eq!(compared, 14);
}

/// A classifier of the shared folder: its model, and what lies beside it.
fn shared_classifier(folder: &str, model: &str) -> (Network, impl Fn(&str) -> Vec<f32>, Vec<bool>) {
    let folder = shared("classifier").join(folder);
    let network = lower(&onnx::read(&folder.join(model)).unwrap(), &Names::default()).unwrap();
    let labels = read_binary_labels(&folder.join("labels.npy")).unwrap();
    (network, move |file: &str| read_columns(&folder.join(file)).unwrap().0.values, labels)
}

#[test]
#[ignore = "reads LOWBIT_SHARED: make check-shared"]
fn shared_classifiers_give_onnxruntimes_probabilities_and_pass_the_audit() {
    let gpu = Context::open(&Options::default()).unwrap();
    // The samples of all but the paragraphs are too small for a bound.
    for (name, point) in [("breast_cancer", true), ("digits_8", true), ("paragraphs", false)] {
        let (network, floats, labels) = shared_classifier(name, "model.onnx");
        let test = floats("test.npy");
        let engine = Engine::new(&gpu, &network, 4096, Keep::Output).unwrap();
        let found = probabilities(&gpu, &engine, &test, 0).unwrap();
        let furthest = found.iter().zip(floats("probability_fp32.npy")).map(|(a, b)| (a - b).abs());
        let furthest = furthest.fold(0.0, f32::max);
        assert!(furthest <= 1e-5, "{name}: {furthest:e}");

        let ranges = calibrate::ranges(&gpu, &network, &floats("calibration.npy"), Method::Entropy).unwrap();
        let scale_of = |name: &str| ranges.iter().find(|range| range.name == name).map(|range| range.scale);
        let of = Test { rows: &test, labels: &labels, groups: None, class: 0 };
        let options = audit::Options { point, ..audit::Options::default() };
        let found = judge(&gpu, &network, &ranges, &scale_of, &of, &options, &mut |_| ()).unwrap().audit;
        println!("{name}: f32 within {furthest:e} of onnxruntime; {}", found.verdict);
        found.gate().unwrap();
    }
}
