//! The audit of engines: good ones pass, broken ones fail, and the layer that costs is named.

use std::path::Path;

use lowbit::internals::audit::telemetry::{self, Telemetry};
use lowbit::internals::audit::{Audit, Options, Part, Status};
use lowbit::internals::calibration::{Method, Range};
use lowbit::internals::classify::calibrate;
use lowbit::internals::classify::engine::{Engine, Keep};
use lowbit::internals::classify::judge::{Test, compare, judge};
use lowbit::internals::gpu::Context;
use lowbit::internals::io::{npy, onnx};
use lowbit::internals::network::lower::{Names, lower};
use lowbit::internals::network::quantize::quantize;
use lowbit::internals::network::{Dense, Element, Layer, Network, Op, Output, Unary, Value, Window};

/// Layers of `[outputs, inputs]` weights without bias, each with an activation behind it.
fn perceptron(inputs: usize, layers: &[(&[f32], f32, Unary)]) -> Network {
    let value = |name: String, shape: usize| Value { name, shape: vec![shape], element: Element::F32 };
    let mut network =
        Network { values: vec![value("x".into(), inputs)], layers: Vec::new(), input: 0, output: 0 };
    let mut width = inputs;
    for (i, &(weights, bias, activation)) in layers.iter().enumerate() {
        let outputs = weights.len() / width;
        let dense = Dense {
            weights: weights.to_vec(),
            bias: vec![bias; outputs],
            window: Window::POINT,
            groups: 1,
            quantized: None,
        };
        let steps = [("dense", "Gemm", Op::Dense(dense)), ("activation", "Relu", Op::Unary(activation))];
        for (name, operator, op) in steps {
            let output = network.values.len();
            network.values.push(value(format!("{name}{i} result"), outputs));
            let name = format!("{name}{i}");
            network.layers.push(Layer { name, operator, inputs: vec![output - 1], output, op });
        }
        width = outputs;
    }
    network.output = network.values.len() - 1;
    network
}

const WEIGHTS: [f32; 4] = [-0.15, 0.25, -0.40, 0.18];

fn scaled(factors: &[f32]) -> Vec<f32> {
    factors.iter().flat_map(|factor| WEIGHTS.map(|weight| weight * factor)).collect()
}

fn test_of(data: &Telemetry) -> Test<'_> {
    Test { rows: &data.features.values, labels: &data.labels, groups: Some(&data.groups), class: 0 }
}

fn ranges(gpu: &Context, network: &Network, method: Method) -> Vec<Range> {
    calibrate::ranges(gpu, network, &telemetry::calibration().features.values, method).unwrap()
}

fn scale_of(ranges: &[Range]) -> impl Fn(&str) -> Option<f32> {
    |name| ranges.iter().find(|range| range.name == name).map(|range| range.scale)
}

#[test]
fn the_delamination_model_passes_with_every_method() {
    let gpu = crate::harness::device();
    let network = perceptron(4, &[(&WEIGHTS, -1.2, Unary::Sigmoid)]);
    let data = telemetry::test();
    for method in [Method::Entropy, Method::MinMax, Method::Percentile(99.99), Method::Mse] {
        let ranges = ranges(&gpu, &network, method);
        let scale = scale_of(&ranges);
        let found = judge(&gpu, &network, &ranges, &scale, &test_of(&data), &Options::default(), &mut |_| ())
            .unwrap();
        assert_eq!(found.audit.status, Status::Pass, "{method}: {}", found.audit.verdict);
        assert!(found.audit.upper_bound < 0.005, "{method}: {}", found.audit.upper_bound);
        assert!((found.audit.auc_fp32_baseline - 0.9533).abs() < 1e-3);
        let [layer] = found.layers.as_slice() else { panic!("{:?}", found.layers) };
        // It is the only one, so it costs what all cost.
        let alone = layer.drop_alone.unwrap();
        assert!((alone - found.audit.auc_degradation_gap).abs() < 1e-12, "{alone}");
        let [tensor] = found.tensors.as_slice() else { panic!("{:?}", found.tensors) };
        assert_eq!((tensor.name.as_str(), tensor.codes), ("x", 80_000));
        assert!(tensor.saturated <= 100, "{method}: {}", tensor.saturated);
    }
}

#[test]
fn an_engine_with_the_scales_of_two_channels_swapped_fails() {
    let gpu = crate::harness::device();
    // Channels of unequal size, as after training without normalization: the second takes off a hundredth of the first.
    let network =
        perceptron(4, &[(&scaled(&[1.0, 0.01]), 0.0, Unary::Tanh), (&[1.0, -1.0], -1.2, Unary::Sigmoid)]);
    let data = telemetry::test();
    let ranges = ranges(&gpu, &network, Method::Entropy);
    let good = quantize(&network, scale_of(&ranges), |_| true).network;
    let mut broken = good.clone();
    let integer = broken.layers.iter_mut().find_map(|layer| match &mut layer.op {
        Op::Integer(integer) => Some(integer),
        _ => None,
    });
    let Some(Output::Scaled { scale }) = integer.map(|integer| &mut integer.output) else {
        panic!("no scales")
    };
    scale.swap(0, 1);
    // The larger probabilities are those of positives, but none is above a half.
    let options = Options { threshold: 0.3, ..Options::default() };
    let status = |engine: &Network| {
        let found = compare(&gpu, &network, engine, &ranges, &test_of(&data), &options, &mut |_| ());
        found.unwrap().audit
    };
    assert_eq!(status(&good).status, Status::Pass);
    let verdict = status(&broken);
    assert_eq!(verdict.status, Status::Fail, "{}", verdict.verdict);
    assert_eq!(verdict.gate().unwrap_err().exit_code(), 1);
}

fn failing(audit: &Audit) -> Vec<Part> {
    let fails = audit.checks.iter().filter(|check| check.gates && !check.pass);
    let mut parts: Vec<Part> = fails.map(|check| check.part).collect();
    parts.dedup();
    parts
}

#[test]
fn a_model_calibrated_on_rows_of_another_unit_fails_though_its_auc_rises() {
    let gpu = crate::harness::device();
    let network = perceptron(4, &[(&WEIGHTS, -1.2, Unary::Sigmoid)]);
    let data = telemetry::test();
    for (unit, parts) in [
        (0.1, vec![Part::F1, Part::Recall, Part::Flips, Part::Saturation]),
        (0.2, vec![Part::F1, Part::Recall, Part::Flips, Part::Saturation]),
        (0.5, vec![Part::Flips]),
    ] {
        let rows: Vec<f32> = telemetry::calibration().features.values.iter().map(|x| x * unit).collect();
        let ranges = calibrate::ranges(&gpu, &network, &rows, Method::Entropy).unwrap();
        let scale = scale_of(&ranges);
        let found = judge(&gpu, &network, &ranges, &scale, &test_of(&data), &Options::default(), &mut |_| ())
            .unwrap();
        let audit = &found.audit;
        assert!(audit.auc_degradation_gap < 0.0, "{unit}: {}", audit.auc_degradation_gap);
        assert_eq!((audit.status, failing(audit)), (Status::Fail, parts), "{unit}: {}", audit.verdict);
        let [tensor] = found.tensors.as_slice() else { panic!("{:?}", found.tensors) };
        assert!(tensor.cut_off <= tensor.saturated && tensor.largest >= 127, "{tensor:?}");
    }
}

#[test]
fn engines_broken_in_any_way_fail_by_some_part() {
    let gpu = crate::harness::device();
    // What is decided is the difference of two channels.
    let network =
        perceptron(4, &[(&scaled(&[1.0, -1.0]), 0.0, Unary::Relu), (&[3.0, -3.0], -1.2, Unary::Sigmoid)]);
    let data = telemetry::test();
    let ranges = ranges(&gpu, &network, Method::Entropy);
    let audit = |engine: &Network| {
        let options = Options::default();
        let found = compare(&gpu, &network, engine, &ranges, &test_of(&data), &options, &mut |_| ());
        found.unwrap().audit
    };
    let scales =
        |factor: f32| quantize(&network, |name| scale_of(&ranges)(name).map(|s| s * factor), |_| true);
    let good = scales(1.0).network;
    let found = audit(&good);
    println!("good: {}", found.verdict);
    assert_eq!((found.status, failing(&found)), (Status::Pass, vec![]), "{}", found.verdict);
    type Change<'a> = (&'a str, &'a dyn Fn(&mut Network));
    let integer = |of: &mut Network, at: usize, change: &dyn Fn(&mut lowbit::internals::network::Integer)| {
        let layers = of.layers.iter_mut().filter_map(|layer| match &mut layer.op {
            Op::Integer(integer) => Some(integer),
            _ => None,
        });
        change(layers.into_iter().nth(at).unwrap());
    };
    let changes: [Change; 4] = [
        ("the sign of a channel", &|of| {
            integer(of, 0, &|layer| layer.weights[..4].iter_mut().for_each(|w| *w = -*w));
        }),
        ("a channel's scale", &|of| {
            integer(of, 0, &|layer| {
                let Output::Scaled { scale } = &mut layer.output else { panic!("no scales") };
                scale[0] *= 2.0;
            });
        }),
        ("a bias", &|of| integer(of, 1, &|layer| layer.bias[0] += 100_000)),
        ("a constant output", &|of| integer(of, 1, &|layer| layer.weights.fill(0))),
    ];
    for (what, change) in changes {
        let mut broken = good.clone();
        change(&mut broken);
        let found = audit(&broken);
        println!("{what}: {}", found.verdict);
        assert_eq!(found.status, Status::Fail, "{what}: {}", found.verdict);
    }
    // Twice or half of it is a bit more or less, which may be as good.
    for factor in [0.1, 0.2, 10.0] {
        let found = audit(&scales(factor).network);
        println!("{factor}: {}", found.verdict);
        assert_eq!(found.status, Status::Fail, "scales times {factor}: {}", found.verdict);
    }
}

/// A model of assets/classifier, its ranges by `method`, its test set.
fn real(gpu: &Context, name: &str, method: Method) -> (Network, Vec<Range>, Vec<f32>, Vec<bool>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/classifier").join(name);
    let model = onnx::read(&folder.join("model.onnx")).unwrap();
    let network = lower(&model, &Names::default()).unwrap();
    let matrix = |file: &str| npy::read_matrix(&folder.join(file)).unwrap().values;
    let ranges = calibrate::ranges(gpu, &network, &matrix("calibration.npy"), method).unwrap();
    (network, ranges, matrix("test.npy"), npy::read_binary_labels(&folder.join("labels.npy")).unwrap())
}

#[test]
fn real_models_pass_by_their_drop_and_say_that_their_samples_are_small() {
    let gpu = crate::harness::device();
    for name in ["breast_cancer", "digits_8"] {
        let (network, ranges, rows, labels) = real(&gpu, name, Method::Entropy);
        let engine = Engine::new(&gpu, &network, 64, Keep::Output).unwrap();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/classifier").join(name);
        let reference = npy::read_columns(&path.join("probability_fp32.npy")).unwrap().0.values;
        let found = engine.run(&gpu, &rows).unwrap();
        assert!(
            found.iter().zip(&reference).all(|(a, b)| (a - b).abs() <= 1e-5) && !found.is_empty(),
            "{name}"
        );
        let test = Test { rows: &rows, labels: &labels, groups: None, class: 0 };
        let options = Options { point: true, ..Options::default() };
        let found = judge(&gpu, &network, &ranges, &scale_of(&ranges), &test, &options, &mut |_| ()).unwrap();
        assert_eq!(found.audit.status, Status::Pass, "{name}: {}", found.audit.verdict);
        assert!(
            found.audit.warnings.iter().any(|warning| warning.contains("10000 or more")),
            "{:?}",
            found.audit.warnings
        );
        assert!(found.layers.iter().all(|layer| layer.plan.int8 && layer.drop_alone.is_some()));
    }
}

#[test]
fn a_range_calibrated_20_times_too_small_fails() {
    let gpu = crate::harness::device();
    let (network, ranges, rows, labels) = real(&gpu, "digits_8", Method::Entropy);
    let test = Test { rows: &rows, labels: &labels, groups: None, class: 0 };
    let narrow =
        |name: &str| scale_of(&ranges)(name).map(|scale| if name == "scaled" { scale / 20.0 } else { scale });
    for point in [false, true] {
        let options = Options { point, ..Options::default() };
        let found = judge(&gpu, &network, &ranges, &narrow, &test, &options, &mut |_| ()).unwrap();
        assert_eq!(found.audit.status, Status::Fail, "{}", found.audit.verdict);
        assert_eq!(found.layers[0].plan.layer, "Gemm_2", "the layer that reads it: {:?}", found.layers);
        let tensor = found.tensors.iter().find(|tensor| tensor.name == "scaled").unwrap();
        assert!(tensor.saturated * 4 > tensor.codes, "{tensor:?}");
    }
}

#[test]
fn the_worst_layer_is_named() {
    let gpu = crate::harness::device();
    // The second channel of the middle layer is large and of no use: one scale for the tensor leaves the first few codes.
    let middle = [1.0, 0.0, 0.0, 400.0];
    let first = scaled(&[1.0, 1.0]);
    let network = perceptron(
        4,
        &[(&first, 3.0, Unary::Relu), (&middle, 0.0, Unary::Relu), (&[1.0, 0.0], -4.2, Unary::Sigmoid)],
    );
    let data = telemetry::test();
    let ranges = ranges(&gpu, &network, Method::MinMax);
    let options = Options { point: true, ..Options::default() };
    let scale = scale_of(&ranges);
    let found = judge(&gpu, &network, &ranges, &scale, &test_of(&data), &options, &mut |_| ()).unwrap();
    assert_eq!(found.layers[0].plan.layer, "dense2", "{:?}", found.layers);
    let drops: Vec<f64> = found.layers.iter().map(|layer| layer.drop_alone.unwrap()).collect();
    assert!(drops[0] > 0.01 && drops[1] < 0.002, "{drops:?}");
    assert_eq!(found.audit.status, Status::Fail);
}
