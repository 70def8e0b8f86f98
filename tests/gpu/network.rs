//! Whole networks on the engine: every ONNX operator against onnxruntime, integers against the oracle bit for bit, real models.

use std::path::{Path, PathBuf};

use lowbit::internals::classify::calibrate;
use lowbit::internals::classify::engine::{Engine, Keep};
use lowbit::internals::classify::layout::Layout;
use lowbit::internals::gpu::{Buffer, Context};
use lowbit::internals::io::onnx;
use lowbit::internals::network::lower::{Names, lower};
use lowbit::internals::network::quantize::quantize;
use lowbit::internals::network::{Dense, Element, Layer, Network, Op, Unary, Value, Window};
use lowbit::internals::oracle::network::{Values, run};
use lowbit::internals::random::Random;

fn assets(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets").join(path)
}

/// What the engine has of the value at `at`, as numbers.
pub fn read(gpu: &Context, (value, buffer): (&Value, &Buffer), rows: usize) -> Vec<f64> {
    let layout = Layout::of(value);
    let plain = buffer.bytes() / buffer.rows() != layout.row_bytes(value.element);
    let all: Vec<f64> = match value.element {
        Element::F32 if plain => buffer.read::<f32>(gpu).unwrap().into_iter().map(f64::from).collect(),
        Element::F32 => {
            let values = layout.unpack_f32(&buffer.read::<f32>(gpu).unwrap());
            values.into_iter().map(f64::from).collect()
        }
        Element::I8 => {
            let codes = layout.unpack_i8(&buffer.read::<i8>(gpu).unwrap());
            codes.into_iter().map(f64::from).collect()
        }
        Element::I32 => {
            let sums = layout.unpack_f32(&buffer.read::<f32>(gpu).unwrap());
            sums.into_iter().map(|sum| f64::from(sum.to_bits() as i32)).collect()
        }
    };
    all[..rows * value.elements()].to_vec()
}

#[test]
fn every_operator_gives_what_onnxruntime_gives() {
    let gpu = crate::harness::device();
    let text = std::fs::read_to_string(assets("onnx/cases.json")).unwrap();
    let cases: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
    let mut wrong = Vec::new();
    for (name, case) in &cases {
        let numbers = |side: &str| -> Vec<f64> {
            case[side]["values"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
        };
        let model = onnx::read(&assets("onnx").join(name).with_extension("onnx")).unwrap();
        let network = lower(&model, &Names::default()).unwrap();
        let input: Vec<f32> = numbers("input").iter().map(|&v| v as f32).collect();
        let rows = case["input"]["shape"][0].as_u64().unwrap();
        let expected = numbers("output");
        let unsigned = if case["output"]["type"] == "uint8" { 128.0 } else { 0.0 };
        let output = &network.values[network.output];
        for keep in [Keep::Output, Keep::All] {
            let made = Engine::new(&gpu, &network, rows, keep).and_then(|engine| {
                engine.run_batches(&gpu, &input, |_, _| Ok(()))?;
                Ok(read(&gpu, engine.buffer(network.output).unwrap(), rows as usize))
            });
            let found = match made {
                Ok(found) => found,
                Err(error) => {
                    wrong.push(format!("{name} {keep:?}: {error}"));
                    continue;
                }
            };
            let (shift, bound) = if output.element == Element::F32 { (0.0, 1e-5) } else { (unsigned, 0.0) };
            let close = |(a, b): (&f64, &f64)| (a + shift - b).abs() <= bound * b.abs().max(1.0);
            if found.len() != expected.len() || !found.iter().zip(&expected).all(close) {
                wrong.push(format!("{name} {keep:?}: {found:?}\nis not {expected:?}"));
            }
        }
    }
    assert!(cases.len() > 90, "{}", cases.len());
    assert!(wrong.is_empty(), "{} wrong\n{}", wrong.len(), wrong.join("\n\n"));
}

/// A network of convolutions with everything around them: pads, strides, groups, a pool, a residual, a flatten, two heads.
fn convolutional() -> Network {
    let mut random = Random::new(5);
    let mut network = Network { values: Vec::new(), layers: Vec::new(), input: 0, output: 0 };
    let value = |network: &mut Network, shape: &[usize]| {
        let name = format!("v{}", network.values.len());
        network.values.push(Value { name, shape: shape.into(), element: Element::F32 });
        network.values.len() - 1
    };
    let add = |network: &mut Network, inputs: &[usize], shape: &[usize], op: Op| {
        let output = value(network, shape);
        let operator = if matches!(op, Op::Dense(_)) { "Conv" } else { "Relu" };
        let name = format!("layer{}", network.layers.len());
        network.layers.push(Layer { name, operator, inputs: inputs.into(), output, op });
        output
    };
    let mut dense = |shape: [usize; 2], size: usize, stride: usize, groups: usize| {
        let weights = random.floats(shape[0] * shape[1] / groups * size * size);
        let window = Window {
            kernel: [size, size],
            strides: [stride, stride],
            dilations: [1, 1],
            pads: [size / 2, size / 2],
            star: false,
        };
        Op::Dense(Dense { weights, bias: random.floats(shape[0]), window, groups, quantized: None })
    };
    network.values.push(Value { name: "x".into(), shape: vec![3, 9, 9], element: Element::F32 });
    let first = add(&mut network, &[0], &[6, 9, 9], dense([6, 3], 3, 1, 1));
    let first = add(&mut network, &[first], &[6, 9, 9], Op::Unary(Unary::Relu));
    let second = add(&mut network, &[first], &[6, 9, 9], dense([6, 6], 3, 1, 3));
    let sum = add(
        &mut network,
        &[first, second],
        &[6, 9, 9],
        Op::Arithmetic(lowbit::internals::network::Arithmetic::Add),
    );
    let clip = Op::Unary(Unary::Clip { low: -1.0, high: 4.0 });
    let sum = add(&mut network, &[sum], &[6, 9, 9], clip);
    let half = Window { kernel: [2, 2], strides: [2, 2], dilations: [1, 1], pads: [0, 0], star: false };
    let pooled = add(&mut network, &[sum], &[6, 4, 4], Op::MaxPool(half));
    let third = add(&mut network, &[pooled], &[8, 2, 2], dense([8, 6], 3, 2, 1));
    let third = add(&mut network, &[third], &[8, 2, 2], Op::Unary(Unary::Tanh));
    let flat = add(&mut network, &[third], &[32], Op::Reshape);
    let left = add(&mut network, &[flat], &[5], dense([5, 32], 1, 1, 1));
    let right = add(&mut network, &[flat], &[5], dense([5, 32], 1, 1, 1));
    let both =
        add(&mut network, &[left, right], &[5], Op::Arithmetic(lowbit::internals::network::Arithmetic::Mul));
    network.output = add(&mut network, &[both], &[5], Op::Softmax);
    network
}

#[test]
fn integers_equal_the_oracle_bit_for_bit() {
    let gpu = crate::harness::device();
    let mut random = Random::new(9);
    let network = convolutional();
    let input: Vec<f32> = random.floats(70 * 243);
    let ranges =
        calibrate::ranges(&gpu, &network, &input, lowbit::internals::calibration::Method::MinMax).unwrap();
    let scale = |name: &str| ranges.iter().find(|range| range.name == name).map(|range| range.scale);
    let quantized = quantize(&network, scale, |_| true);
    assert!(quantized.layers.iter().all(|layer| layer.int8), "{:?}", quantized.layers);
    let rows = 7;
    let input = &input[..rows * 243];
    let engine = Engine::new(&gpu, &quantized.network, rows as u64, Keep::All).unwrap();
    let outputs = engine.run(&gpu, input).unwrap();
    let (mut codes, mut apart) = (0, 0);
    // Each layer is judged by what the device gave it: a difference in floats must not spread.
    for layer in &quantized.network.layers {
        let of = |at: usize| {
            let value = &quantized.network.values[at];
            let values = read(&gpu, engine.buffer(at).unwrap(), rows);
            match value.element {
                Element::F32 => Values::F(values),
                _ => Values::I(values.into_iter().map(|v| v as i64).collect()),
            }
        };
        let found = of(layer.output);
        for row in 0..rows {
            let part = |values: Values, at: usize| {
                let elements = quantized.network.values[at].elements();
                match values {
                    Values::F(all) => Values::F(all[row * elements..][..elements].to_vec()),
                    Values::I(all) => Values::I(all[row * elements..][..elements].to_vec()),
                }
            };
            let inputs: Vec<Values> = layer.inputs.iter().map(|&at| part(of(at), at)).collect();
            let expected = lowbit::internals::oracle::network::example(&quantized.network, layer, &inputs);
            match (part(found.clone(), layer.output), expected, &layer.op) {
                (Values::I(found), Values::I(expected), _) => {
                    assert_eq!(found, expected, "{}", layer.name);
                    codes += found.len();
                }
                (Values::F(found), Values::F(expected), Op::Integer(_)) => {
                    assert_eq!(found, expected, "{}", layer.name);
                    codes += found.len();
                }
                (Values::F(found), Values::F(expected), _) => {
                    for (a, b) in found.iter().zip(&expected) {
                        assert!((a - b).abs() <= 1e-5 * b.abs().max(1.0), "{}: {a} is not {b}", layer.name);
                        apart += 1;
                    }
                }
                _ => panic!("{} has the wrong type", layer.name),
            }
        }
    }
    assert!(codes > 10_000 && apart > 10_000, "{codes} {apart}");
    // With all that can be fused, to the same bits.
    let fused = Engine::new(&gpu, &quantized.network, rows as u64, Keep::Output).unwrap();
    assert!(fused.passes().len() < engine.passes().len());
    let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&fused.run(&gpu, input).unwrap()), bits(&outputs));
}

#[test]
fn batches_of_any_size_give_the_same_outputs() {
    let gpu = crate::harness::device();
    let network = convolutional();
    let input: Vec<f32> = Random::new(11).floats(23 * 243);
    let Values::F(expected) = &run(&network, &input)[network.output] else { panic!("floats are expected") };
    for batch in [1, 7, 23, 1000] {
        let engine = Engine::new(&gpu, &network, batch, Keep::Output).unwrap();
        let found = engine.run(&gpu, &input).unwrap();
        assert_eq!(found.len(), expected.len());
        for (a, b) in found.iter().zip(expected) {
            assert!((f64::from(*a) - b).abs() <= 1e-5, "batch {batch}: {a} is not {b}");
        }
        assert_eq!(engine.run(&gpu, &input).unwrap(), found, "batch {batch}, a second time");
        assert!(engine.run(&gpu, &[]).unwrap().is_empty());
    }
    let engine = Engine::new(&gpu, &network, 4, Keep::Output).unwrap();
    assert!(engine.run(&gpu, &input[..100]).unwrap_err().to_string().contains("are no examples of 243"));
}

/// One product of `inputs` weights of 1 and a bias.
fn product(inputs: usize, bias: f32) -> Network {
    let value = |name: &str, size| Value { name: name.into(), shape: vec![size], element: Element::F32 };
    let dense = Dense {
        weights: vec![1.0; inputs],
        bias: vec![bias],
        window: Window::POINT,
        groups: 1,
        quantized: None,
    };
    let layer =
        Layer { name: "sum".into(), operator: "Gemm", inputs: vec![0], output: 1, op: Op::Dense(dense) };
    Network { values: vec![value("x", inputs), value("y", 1)], layers: vec![layer], input: 0, output: 1 }
}

#[test]
fn sums_may_fill_32_bits_and_no_more() {
    let gpu = crate::harness::device();
    let (inputs, scale) = (60_000, 0.01_f32);
    let unit = f64::from(scale) * f64::from(1.0_f32 / 127.0);
    // 975 million from products of bytes.
    let network = product(inputs, (1.1e9 * unit) as f32);
    let quantized = quantize(&network, |_| Some(scale), |_| true);
    assert!(quantized.layers[0].int8, "{:?}", quantized.layers);
    let input = vec![1.28_f32; inputs];
    let found = Engine::new(&gpu, &quantized.network, 1, Keep::Output).unwrap().run(&gpu, &input).unwrap();
    let values = run(&quantized.network, &input);
    assert_eq!(f64::from(found[0]), values[quantized.network.output].floats()[0]);

    let network = product(inputs, (1.2e9 * unit) as f32);
    let quantized = quantize(&network, |_| Some(scale), |_| true);
    assert!(!quantized.layers[0].int8);
    assert!(quantized.layers[0].reason.as_ref().unwrap().contains("do not fit 32 bits"));
}

#[test]
fn a_driver_with_wrong_integer_dot_products_computes_them_otherwise() {
    let mut gpu = crate::harness::device();
    let network = convolutional();
    let input: Vec<f32> = Random::new(13).floats(3 * 243);
    let quantized = quantize(&network, |_| Some(0.03), |_| true);
    let found = [true, false].map(|right| {
        gpu.integer_dot = right;
        let engine = Engine::new(&gpu, &quantized.network, 3, Keep::Output).unwrap();
        engine.run(&gpu, &input).unwrap()
    });
    assert_eq!(found[0], found[1]);
}
