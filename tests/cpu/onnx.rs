//! ONNX: every operator against onnxruntime's output (assets/onnx), and what is said about models that cannot be.

use std::fs;
use std::path::{Path, PathBuf};

use lowbit::internals::io::onnx;
use lowbit::internals::network::lower::{Names, lower};
use lowbit::internals::network::{Network, Op, Output};
use lowbit::internals::oracle::network::{Values, run};
use prost::Message;
use tempfile::TempDir;

#[path = "../../src/io/onnx/proto.rs"]
#[allow(dead_code)]
mod proto;
use proto::{
    Attribute, Dimension, Graph, Model, Node, OperatorSet, Pair, Shape, Tensor, TensorType, Type, ValueInfo,
};

fn assets() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/onnx")
}

fn network(path: &Path) -> Network {
    lower(&onnx::read(path).unwrap(), &Names::default()).unwrap()
}

#[test]
fn every_operator_gives_what_onnxruntime_gives() {
    let text = fs::read_to_string(assets().join("cases.json")).unwrap();
    let cases: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
    let mut wrong = Vec::new();
    for (name, case) in &cases {
        let numbers = |side: &str| -> Vec<f64> {
            case[side]["values"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
        };
        let model = onnx::read(&assets().join(name).with_extension("onnx")).unwrap();
        let network = match lower(&model, &Names::default()) {
            Ok(network) => network,
            Err(error) => {
                wrong.push(error.to_string());
                continue;
            }
        };
        let input: Vec<f32> = numbers("input").iter().map(|&v| v as f32).collect();
        let expected = numbers("output");
        let values = run(&network, &input);
        for (value, values) in network.values.iter().zip(&values) {
            let count = values.floats().len() + values.integers().len();
            let rows = case["input"]["shape"][0].as_u64().unwrap() as usize;
            assert_eq!(count, rows * value.elements(), "{name}: {}", value.name);
        }
        let unsigned = if case["output"]["type"] == "uint8" { 128.0 } else { 0.0 };
        let (found, bound): (Vec<f64>, f64) = match &values[network.output] {
            Values::F(values) => (values.clone(), 1e-5),
            Values::I(values) => (values.iter().map(|&v| v as f64 + unsigned).collect(), 0.0),
        };
        let close = |(a, b): (&f64, &f64)| (a - b).abs() <= bound * b.abs().max(1.0);
        if found.len() != expected.len() || !found.iter().zip(&expected).all(close) {
            wrong.push(format!("{name}: {found:?}\nis not {expected:?}\n{:?}", network.layers));
        }
    }
    assert!(cases.len() > 90, "{}", cases.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// The operators of the layers that a case becomes.
fn ops(name: &str) -> Vec<String> {
    let network = network(&assets().join(name).with_extension("onnx"));
    let name = |op: &Op| match op {
        Op::Integer(integer) => match integer.output {
            Output::Sum => "Sum".into(),
            Output::Scaled { .. } => "Scaled".into(),
            Output::Requantized { .. } => "Requantized".into(),
            Output::Fixed { .. } => "Fixed".into(),
        },
        op => format!("{op:?}").split([' ', '(', '{']).next().unwrap().to_owned(),
    };
    network.layers.iter().map(|layer| name(&layer.op)).collect()
}

#[test]
fn patterns_become_few_layers() {
    for (name, layers) in [
        ("qdq_gemm_relu", &["Quantize", "Requantized"][..]),
        ("qdq_conv_clip", &["Quantize", "Requantized"]),
        ("qdq_matmul_sequence", &["Quantize", "Gather", "Requantized", "Gather"]),
        ("qdq_scaled", &["Quantize", "Scaled", "Unary"]),
        ("qdq_weights_only", &["Dense"]),
        ("conv_batch_normalization", &["Dense"]),
        ("batch_normalization", &["Constant", "Constant"]),
        ("channel_shuffle", &["Unary", "Gather"]),
        ("flatten_of_pytorch", &["Reshape"]),
        ("identity", &[]),
        ("softmax_channels", &["Softmax"]),
        ("matmul_integer_int8", &["Quantize", "Sum", "Cast", "Constant"]),
    ] {
        assert_eq!(ops(name), layers, "{name}");
    }
    let network = network(&assets().join("qdq_weights_only.onnx"));
    let Op::Dense(dense) = &network.layers[0].op else { panic!() };
    let weights = dense.quantized.as_ref().unwrap();
    for (o, row) in weights.codes.chunks(4).enumerate() {
        for (k, &code) in row.iter().enumerate() {
            let value = (i32::from(code) - weights.zero[o]) as f32 * weights.scale[o];
            assert_eq!(value, dense.weights[o * 4 + k]);
        }
    }
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn value(name: &str, kind: i32, dims: &[&str]) -> ValueInfo {
    let dim = |dim: &&str| match dim.parse() {
        Ok(number) => Dimension { dim_value: Some(number), dim_param: None },
        Err(_) if dim.is_empty() => Dimension { dim_value: None, dim_param: None },
        Err(_) => Dimension { dim_value: None, dim_param: text(dim) },
    };
    let shape = Some(Shape { dim: dims.iter().map(dim).collect() });
    let tensor_type = Some(TensorType { elem_type: Some(kind), shape });
    ValueInfo { name: text(name), r#type: Some(Type { tensor_type }) }
}

fn node(operator: &str, inputs: &[&str], outputs: &[&str]) -> Node {
    let own = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    Node {
        input: own(inputs),
        output: own(outputs),
        name: text(&format!("the {operator}")),
        op_type: text(operator),
        ..Node::default()
    }
}

fn int(name: &str, value: i64) -> Attribute {
    Attribute { name: text(name), i: Some(value), r#type: Some(2), ..Attribute::default() }
}

fn ints(name: &str, values: &[i64]) -> Attribute {
    Attribute { name: text(name), ints: values.to_vec(), r#type: Some(7), ..Attribute::default() }
}

fn with(mut node: Node, attribute: Attribute) -> Node {
    node.attribute.push(attribute);
    node
}

fn floats(name: &str, dims: &[i64], values: &[f32]) -> Tensor {
    Tensor {
        name: text(name),
        dims: dims.to_vec(),
        data_type: Some(1),
        float_data: values.to_vec(),
        ..Tensor::default()
    }
}

fn shape_of(name: &str, values: &[i64]) -> Tensor {
    Tensor {
        name: text(name),
        dims: vec![values.len() as i64],
        data_type: Some(7),
        int64_data: values.to_vec(),
        ..Tensor::default()
    }
}

/// A model of `[N, 3, 4]` floats.
fn model(nodes: Vec<Node>, constants: Vec<Tensor>) -> Model {
    Model {
        ir_version: Some(8),
        graph: Some(Graph {
            node: nodes,
            initializer: constants,
            input: vec![value("x", 1, &["N", "3", "4"])],
            output: vec![value("y", 1, &[])],
            sparse_initializer: vec![],
        }),
        opset_import: vec![OperatorSet { domain: None, version: Some(13) }],
        functions: vec![],
    }
}

fn changed(change: impl FnOnce(&mut Model, &mut Graph)) -> Model {
    let mut model = model(vec![node("Relu", &["x"], &["y"])], vec![]);
    let mut graph = model.graph.take().unwrap();
    change(&mut model, &mut graph);
    Model { graph: Some(graph), ..model }
}

#[test]
fn bounds_of_clip_may_be_infinite() {
    let bounds = vec![floats("low", &[], &[f32::NEG_INFINITY]), floats("high", &[], &[f32::INFINITY])];
    let clip = model(vec![node("Clip", &["x", "low", "high"], &["y"])], bounds);
    assert!(attempt(&clip.encode_to_vec(), &Names::default()).is_ok());
}

#[test]
fn files_of_other_kinds_are_called_what_they_are() {
    for (bytes, word) in [
        (&b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"[..], "this is a PNG picture, not an ONNX model"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "this is a JPEG picture, not"),
        (b"GGUF\x03\0\0\0", "this is a GGUF file, not"),
        (b"\x93NUMPY\x01\0v\0{", "this is a .npy array, not"),
        (b"PK\x03\x04\x14\0", "this is a zip archive"),
        (b"\x10\0\0\0\0\0\0\0{\"a\":{}}      ", "this is a safetensors file, not"),
        (b"\x1c\0\0\0TFL3\0\0", "this is a TensorFlow Lite model, not"),
    ] {
        let problem = attempt(bytes, &Names::default()).unwrap_err();
        assert!(problem.starts_with(word) && !problem.contains("wire"), "{problem}");
    }
}

fn attempt(bytes: &[u8], names: &Names) -> Result<Network, String> {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("model.onnx");
    fs::write(&path, bytes).unwrap();
    let network = onnx::read(&path).and_then(|model| lower(&model, names));
    network.map_err(|error| {
        assert_eq!(error.exit_code(), 2, "{error}");
        let message = error.to_string();
        let problem = message.strip_prefix(&format!("{}: ", path.display())).expect(&message);
        assert!(!problem.contains(char::is_control) && problem.len() < 700, "{message}");
        problem.to_owned()
    })
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let one = |node: Node, constants: Vec<Tensor>| model(vec![node], constants);
    let cases: Vec<(Model, &[&str])> = vec![
        (
            one(node("LSTM", &["x"], &["y"]), vec![]),
            &["node 'the LSTM'", "operator LSTM is not supported", "Gemm"],
        ),
        (one(node("If", &["x"], &["y"]), vec![]), &["operator If is not supported"]),
        (changed(|_, g| g.node[0].domain = text("com.microsoft")), &["com.microsoft.Relu"]),
        (changed(|m, _| m.opset_import[0].version = Some(8)), &["opset is 8", "9 to 21"]),
        (changed(|m, _| m.opset_import[0].version = Some(22)), &["opset is 22", "9 to 21"]),
        (changed(|m, _| m.opset_import.clear()), &["does not say its opset"]),
        (changed(|m, _| m.ir_version = None), &["not an ONNX model"]),
        (changed(|m, _| m.functions = vec![proto::Function { name: text("f") }]), &["local function 'f'"]),
        (changed(|_, g| g.sparse_initializer = vec![vec![]]), &["sparse"]),
        (changed(|_, g| g.node[0].input[0] = "q".into()), &["reads 'q'"]),
        (changed(|_, g| g.node[0].input[0] = "y".into()), &["cycle"]),
        (changed(|_, g| g.node.push(node("Relu", &["x"], &["y"]))), &["'y' is defined twice"]),
        (changed(|_, g| g.output.clear()), &["no outputs"]),
        (changed(|_, g| g.output.push(value("z", 1, &[]))), &["2 outputs, 'y', 'z'", "`model-output`"]),
        (changed(|_, g| g.input = vec![value("x", 7, &["N", "3"])]), &["'x' is of int64", "float"]),
        (changed(|_, g| g.input = vec![value("x", 1, &["N", "T"])]), &["axis 1", "'T'"]),
        (changed(|_, g| g.input = vec![value("x", 1, &["N", ""])]), &["axis 1", "unknown"]),
        (changed(|_, g| g.input = vec![value("x", 1, &[])]), &["single number"]),
        (changed(|_, g| g.input = vec![value("x", 1, &["N", "0"])]), &["empty"]),
        (changed(|_, g| g.input = vec![value("x", 1, &["N", "99999999", "99999999"])]), &["at most"]),
        (changed(|_, g| g.input[0].r#type = None), &["'x' is of no type"]),
        (
            changed(|_, g| {
                g.node = vec![node("Add", &["x", "x2"], &["y"])];
                g.input.push(value("x2", 1, &["N", "3", "4"]));
            }),
            &["2 inputs, 'x', 'x2'", "one input"],
        ),
        (
            changed(|_, g| {
                g.node = vec![node("Add", &["a", "a"], &["y"])];
                g.initializer = vec![floats("a", &[1], &[1.0])];
            }),
            &["does not depend on an input"],
        ),
        (
            one(node("Add", &["x", "w"], &["y"]), vec![floats("w", &[5], &[1.0; 5])]),
            &["the Add", "do not fit"],
        ),
        (
            one(node("Add", &["x", "w"], &["y"]), vec![floats("w", &[2, 3, 4], &[1.0; 24])]),
            &["differs between examples"],
        ),
        (
            one(node("Add", &["x", "w"], &["y"]), vec![floats("w", &[2, 2], &[1.0; 3])]),
            &["tensor 'w'", "12 bytes", "16"],
        ),
        (
            one(node("Add", &["x", "w"], &["y"]), vec![floats("w", &[1 << 40, 1 << 40], &[])]),
            &["tensor 'w'", "dimensions"],
        ),
        (one(node("Add", &["x", "w"], &["y"]), vec![floats("w", &[-1], &[])]), &["dimensions"]),
        (
            one(
                node("Add", &["x", "w"], &["y"]),
                vec![Tensor { data_type: Some(8), ..floats("w", &[1], &[]) }],
            ),
            &["'w' is of string"],
        ),
        (
            one(with(node("Transpose", &["x"], &["y"]), ints("perm", &[1, 0, 2])), vec![]),
            &["mixes the examples"],
        ),
        (one(node("Transpose", &["x"], &["y"]), vec![]), &["mixes the examples"]),
        (one(with(node("Flatten", &["x"], &["y"]), int("axis", 0)), vec![]), &["mixes the examples"]),
        (one(with(node("Softmax", &["x"], &["y"]), int("axis", 0)), vec![]), &["mixes the examples"]),
        (one(with(node("Softmax", &["x"], &["y"]), int("axis", 3)), vec![]), &["no axis 3"]),
        (one(node("Reshape", &["x", "s"], &["y"]), vec![shape_of("s", &[-1, 6])]), &["mixes the examples"]),
        (one(node("Reshape", &["x", "s"], &["y"]), vec![shape_of("s", &[0, 5])]), &["12 elements"]),
        (one(node("Reshape", &["x", "s"], &["y"]), vec![shape_of("s", &[-1, -1])]), &["-1 twice"]),
        (
            one(node("MatMul", &["x", "w"], &["y"]), vec![floats("w", &[3, 1], &[1.0; 3])]),
            &["cannot be multiplied"],
        ),
        (one(node("MatMul", &["x", "x"], &["y"]), vec![]), &["both its inputs"]),
        (one(node("Gemm", &["x", "w"], &["y"]), vec![floats("w", &[4, 1], &[1.0; 4])]), &["not matrices"]),
        (one(with(node("MaxPool", &["x"], &["y"]), ints("kernel_shape", &[9])), vec![]), &["reaches over 9"]),
        (
            one(
                with(
                    with(node("MaxPool", &["x"], &["y"]), ints("kernel_shape", &[1])),
                    ints("pads", &[1, 1]),
                ),
                vec![],
            ),
            &["padding alone"],
        ),
        (
            one(
                with(
                    with(node("MaxPool", &["x"], &["y"]), ints("kernel_shape", &[1])),
                    ints("pads", &[-1, 1]),
                ),
                vec![],
            ),
            &["pads", "cannot be"],
        ),
        (
            one(node("QuantizeLinear", &["x", "s"], &["y"]), vec![floats("s", &[], &[0.0])]),
            &["scale is not positive"],
        ),
        (
            one(node("QuantizeLinear", &["x", "s"], &["y"]), vec![floats("s", &[], &[1e-40])]),
            &["scale is too small"],
        ),
        (one(node("Cast", &["x"], &["y"]), vec![]), &["attribute to"]),
        // A Relu would make a number of NaN.
        (
            one(node("MatMul", &["x", "w"], &["y"]), vec![floats("w", &[4, 1], &[1.0, f32::NAN, 1.0, 1.0])]),
            &["the MatMul", "a number of the constant 'w' is NaN"],
        ),
        (
            one(node("Add", &["x", "b"], &["y"]), vec![floats("b", &[1], &[f32::INFINITY])]),
            &["the Add", "a number of the constant 'b' is inf"],
        ),
        (
            model(
                vec![node("Div", &["a", "z"], &["c"]), node("Mul", &["x", "c"], &["y"])],
                vec![floats("a", &[1], &[1.0]), floats("z", &[1], &[0.0])],
            ),
            &["the Mul", "'c' is inf"],
        ),
        (
            one(node("Clip", &["x", "low"], &["y"]), vec![floats("low", &[], &[f32::NAN])]),
            &["bounds are not numbers"],
        ),
        (
            one(with(with(node("Relu", &["x"], &["y"]), int("a", 1)), int("a", 1)), vec![]),
            &["attribute 'a' is there twice"],
        ),
    ];
    for (model, words) in cases {
        let problem = attempt(&model.encode_to_vec(), &Names::default()).unwrap_err();
        for word in words {
            assert!(problem.contains(word), "\"{problem}\" does not say \"{word}\"");
        }
    }
}

#[test]
fn what_would_take_any_amount_of_memory_is_refused() {
    // No data stands against the long axes of a tensor that has an axis of 0.
    let numbers = |name: &str| shape_of(name, &[0]);
    for dims in [&[1_i64 << 58, 0][..], &[1 << 30, 1 << 25, 0]] {
        for made in [
            node("Transpose", &["w"], &["v"]),
            with(node("Gather", &["w", "i"], &["v"]), int("axis", 1)),
            node("Slice", &["w", "i", "j"], &["v"]),
        ] {
            let constants = vec![floats("w", dims, &[]), numbers("i"), shape_of("j", &[1 << 60])];
            let model = model(vec![made, node("Add", &["x", "v"], &["y"])], constants);
            let problem = attempt(&model.encode_to_vec(), &Names::default()).unwrap_err();
            assert!(problem.contains("is empty") || problem.contains("no axis"), "{problem}");
        }
    }
    // A large constant, over and over again.
    let large = Tensor {
        data_type: Some(3),
        raw_data: Some(vec![0; 1 << 24]),
        ..floats("v0", &[1 << 12, 1 << 12], &[])
    };
    let names: Vec<String> = (0..10).map(|i| format!("v{i}")).collect();
    let copies = names.windows(2).map(|pair| node("Reshape", &[&pair[0], "s"], &[&pair[1]]));
    let nodes = copies.chain([node("Add", &["x", "v9"], &["y"])]).collect();
    let model = model(nodes, vec![large, shape_of("s", &[1 << 12, 1 << 12])]);
    let problem = attempt(&model.encode_to_vec(), &Names::default()).unwrap_err();
    assert!(problem.contains("numbers in all"), "{problem}");
}

#[test]
fn files_that_are_no_models() {
    let good = fs::read(assets().join("conv.onnx")).unwrap();
    assert!(attempt(&good, &Names::default()).is_ok());
    for end in 1..good.len() {
        // A message may end between two fields; then something is missing.
        assert!(attempt(&good[..end], &Names::default()).is_err(), "{end}");
    }
    for bytes in [&b"GGUF\x03\0\0\0"[..], b"{}", b"\x89PNG\r\n\x1a\n", &[0xff; 64], b"\x08"] {
        let problem = attempt(bytes, &Names::default()).unwrap_err();
        assert!(problem.contains("ONNX model"), "{problem}");
    }
    assert!(attempt(b"", &Names::default()).unwrap_err().contains("empty"));
}

#[test]
fn outputs_and_inputs_are_chosen_by_name() {
    // The label is of a type and an operator that are not supported, and not wanted.
    let model = changed(|_, g| {
        g.node.push(node("ArgMax", &["y"], &["label"]));
        g.output.insert(0, value("label", 7, &["N"]));
    });
    let bytes = model.encode_to_vec();
    let names =
        |input: Option<&str>, output: &str| Names { input: input.map(Into::into), output: text(output) };
    let network = attempt(&bytes, &names(Some("x"), "y")).unwrap();
    assert_eq!(network.values[network.output].name, "y");
    assert!(attempt(&bytes, &names(None, "label")).unwrap_err().contains("ArgMax"));
    assert!(attempt(&bytes, &names(None, "z")).unwrap_err().contains("there is: 'label', 'y'"));
    assert!(attempt(&bytes, &names(Some("q"), "y")).unwrap_err().contains("'q' but from 'x'"));
}

#[test]
fn external_data_lies_beside_the_model() {
    let external = |location: &str, more: &[(&str, &str)]| {
        let pair = |(key, value): (&str, &str)| Pair { key: text(key), value: text(value) };
        let mut tensor = Tensor { data_location: Some(1), ..floats("w", &[4], &[]) };
        tensor.external_data = [("location", location)].iter().chain(more).map(|&p| pair(p)).collect();
        model(vec![node("Add", &["x", "w"], &["y"])], vec![tensor])
    };
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("model.onnx");
    let read = |model: &Model| {
        fs::write(&path, model.encode_to_vec()).unwrap();
        onnx::read(&path).map_err(|error| error.to_string())
    };
    let values = [1.0_f32, 2.0, 3.0, 4.0];
    fs::write(folder.path().join("w.bin"), [&[0; 8], bytemuck::cast_slice(&values)].concat()).unwrap();
    let good = external("w.bin", &[("offset", "8"), ("length", "16")]);
    let model = read(&good).unwrap();
    assert_eq!(model.initializers[0].data, onnx::Data::Float(values.to_vec()));
    fs::write(folder.path().join("w.bin"), [0; 24]).unwrap();
    assert_ne!(read(&good).unwrap().sha256, model.sha256, "external data is part of the hash");
    for (model, words) in [
        (external("missing.bin", &[]), &["tensor 'w'", "'missing.bin'", "cannot be read"][..]),
        (external("../w.bin", &[]), &["tensor 'w'", "within the model's folder"]),
        (external("/etc/passwd", &[]), &["within the model's folder"]),
        (external("", &[]), &["within the model's folder"]),
        (external("w.bin", &[("offset", "9")]), &["16 bytes from 9 on", "has 24"]),
        (external("w.bin", &[("offset", "18446744073709551615")]), &["has 24"]),
        (external("w.bin", &[("length", "15")]), &["15 bytes", "need 16"]),
        (external("w.bin", &[("offset", "a")]), &["not a number"]),
    ] {
        let problem = read(&model).unwrap_err();
        for word in words {
            assert!(problem.contains(word), "\"{problem}\" does not say \"{word}\"");
        }
    }
}

#[test]
fn every_type_of_constant_is_read() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("model.onnx");
    let read = |tensor: Tensor| {
        let model = model(vec![node("Relu", &["x"], &["y"])], vec![tensor]);
        fs::write(&path, model.encode_to_vec()).unwrap();
        onnx::read(&path).unwrap().initializers.remove(0).data
    };
    let raw = |kind: i32, raw: &[u8]| {
        read(Tensor { data_type: Some(kind), raw_data: Some(raw.to_vec()), ..floats("w", &[2], &[]) })
    };
    let typed = |kind: i32, ints: &[i32]| {
        read(Tensor { data_type: Some(kind), int32_data: ints.to_vec(), ..floats("w", &[2], &[]) })
    };
    use onnx::Data;
    assert_eq!(raw(1, &[0, 0, 128, 63, 0, 0, 0, 192]), Data::Float(vec![1.0, -2.0]));
    assert_eq!(raw(10, &[0, 60, 0, 192]), Data::Float(vec![1.0, -2.0]));
    assert_eq!(typed(10, &[0x3c00, 0xc000]), Data::Float(vec![1.0, -2.0]));
    assert_eq!(raw(16, &[128, 63, 0, 192]), Data::Float(vec![1.0, -2.0]));
    assert_eq!(raw(11, bytemuck::cast_slice(&[1.0_f64, -2.0])), Data::Float(vec![1.0, -2.0]));
    assert_eq!(raw(3, &[1, 254]), Data::Int8(vec![1, -2]));
    assert_eq!(typed(3, &[1, -2]), Data::Int8(vec![1, -2]));
    assert_eq!(raw(2, &[1, 254]), Data::Uint8(vec![1, 254]));
    assert_eq!(typed(9, &[1, 0]), Data::Bool(vec![true, false]));
    assert_eq!(raw(9, &[1, 0]), Data::Bool(vec![true, false]));
    assert_eq!(typed(6, &[1, -2]), Data::Int32(vec![1, -2]));
    assert_eq!(raw(7, bytemuck::cast_slice(&[1_i64, -2])), Data::Int64(vec![1, -2]));
}
