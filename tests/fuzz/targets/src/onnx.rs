//! Reads what may be anything, and makes a network of each output.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lowbit::internals::io::onnx;
use lowbit::internals::network::lower::{Names, lower};
use lowbit::internals::network::{Element, Op};

fuzz_target!(|bytes: &[u8]| {
    let path = lowbit::file(bytes);
    let model = match onnx::read(&path) {
        Ok(model) => model,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    for output in model.outputs.iter().take(3) {
        let names = Names { input: None, output: Some(output.name.clone()) };
        let network = match lower(&model, &names) {
            Ok(network) => network,
            Err(error) => {
                assert!(!error.to_string().is_empty());
                continue;
            }
        };
        let mut made = vec![false; network.values.len()];
        made[network.input] = true;
        for layer in &network.layers {
            assert!(layer.inputs.iter().all(|&input| made[input]), "{layer:?} runs too early");
            assert!(!made[layer.output], "{layer:?} makes a value again");
            made[layer.output] = true;
            let value = &network.values[layer.output];
            assert!((1..=3).contains(&value.shape.len()) && value.elements() > 0);
            let inputs = layer.inputs.iter().map(|&input| &network.values[input]);
            let total: usize = inputs.clone().map(|value| value.elements()).sum();
            match &layer.op {
                Op::Gather { index } => {
                    assert_eq!(index.len(), value.elements());
                    assert!(index.iter().all(|&from| (from as usize) < total));
                }
                Op::Constant { constant, .. } => {
                    assert!([1, value.channels(), value.elements()].contains(&constant.len()));
                    assert_eq!(total, value.elements());
                }
                Op::Dense(dense) => {
                    assert_eq!(dense.bias.len(), value.channels());
                    let inner = inputs.clone().map(|value| value.channels()).sum::<usize>() / dense.groups;
                    let window = dense.window.kernel[0] * dense.window.kernel[1];
                    assert_eq!(dense.weights.len(), value.channels() * inner * window);
                }
                Op::Integer(integer) => {
                    assert_eq!(integer.bias.len(), value.channels());
                    assert_eq!(integer.weight_zero.len(), value.channels());
                    assert!(inputs.clone().all(|value| value.element == Element::I8));
                }
                _ => {}
            }
        }
        assert!(made.iter().all(|&made| made));
    }
});
