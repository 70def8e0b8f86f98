//! DequantizeLinear, a convolution and QuantizeLinear as one layer of integers.

use std::collections::{HashMap, HashSet};

use super::constant::Codes;
use crate::network::{
    Affine, Dense, Element, Integer, Layer, Network, Op, Output, QuantizedWeights, Unary, Value,
};

/// The code of a value, as [`Op::Quantize`](crate::network::Op::Quantize) has it.
pub fn code(value: f32, scale: f32, zero: i32) -> i32 {
    // Saturates: an infinite bound is the last code.
    ((value * (1.0 / scale)).round_ties_even() as i32).saturating_add(zero).clamp(-128, 127)
}

/// A scale and a zero point for all.
fn whole(affine: &Affine) -> Option<(f32, i32)> {
    match (affine.scale.as_slice(), affine.zero.as_slice()) {
        ([scale], [zero]) => Some((*scale, *zero)),
        _ => None,
    }
}

/// The bias in units of a product: what it was in the file, or rounded.
fn bias(dense: &Dense, weights: &QuantizedWeights, input: f32, codes: Option<&Codes>) -> Option<Vec<i32>> {
    let units = |o: usize| f64::from(input) * f64::from(weights.scale[o]);
    if let Some(codes) = codes {
        let close = |o: usize| (f64::from(codes.scale[o]) / units(o) - 1.0).abs() < 1e-6;
        if codes.zero.iter().all(|&zero| zero == 0) && (0..codes.codes.len()).all(close) {
            return Some(codes.codes.clone());
        }
    }
    let rounded = dense.bias.iter().enumerate().map(|(o, &bias)| {
        let code = (f64::from(bias) / units(o)).round_ties_even();
        (code.abs() <= f64::from(i32::MAX)).then_some(code as i32)
    });
    rounded.collect()
}

/// Makes layers of integers of all convolutions whose weights and inputs were quantized.
pub fn fuse(network: Network, codes: &HashMap<usize, Codes>) -> Network {
    let Network { mut values, layers, input, output } = network;
    let mut producers: HashMap<usize, usize> = HashMap::new();
    let mut consumers: HashMap<usize, Vec<usize>> = HashMap::new();
    for (place, layer) in layers.iter().enumerate() {
        producers.insert(layer.output, place);
        layer.inputs.iter().for_each(|&value| consumers.entry(value).or_default().push(place));
    }
    let alone = |value: usize| match consumers.get(&value).map(Vec::as_slice) {
        Some([one]) if value != output => layers.get(*one),
        _ => None,
    };
    let mut names: HashSet<String> = layers.iter().map(|layer| layer.name.clone()).collect();
    let mut value_names: HashSet<String> = values.iter().map(|value| value.name.clone()).collect();
    let mut made: HashSet<usize> = HashSet::new();
    let mut new: Vec<Layer> = Vec::with_capacity(layers.len());
    for layer in &layers {
        if made.contains(&layer.output) {
            continue;
        }
        // From the convolution back to its DequantizeLinear, over what only moves elements.
        let found = (|| {
            let Op::Dense(dense) = &layer.op else { return None };
            let weights = dense.quantized.as_ref()?;
            let mut moves = Vec::new();
            let mut from = *layer.inputs.first()?;
            loop {
                let before = layers.get(*producers.get(&from)?)?;
                let [value] = *before.inputs.as_slice() else { return None };
                match &before.op {
                    Op::Gather { .. } | Op::Reshape => moves.push(before),
                    Op::Dequantize(affine) => return Some((dense, weights, whole(affine)?, value, moves)),
                    _ => return None,
                }
                from = value;
            }
        })();
        let fused = found.and_then(|(dense, weights, (scale, zero), bytes, moves)| {
            let bias = bias(dense, weights, scale, codes.get(&layer.output))?;
            // Towards a QuantizeLinear.
            let (mut low, mut high) = (f32::NEG_INFINITY, f32::INFINITY);
            let mut last = alone(layer.output);
            let mut between = Vec::new();
            while let Some(Layer {
                op: Op::Unary(unary @ (Unary::Relu | Unary::Clip { .. })), output, ..
            }) = last
            {
                // What is below the low bound is raised first, then what is above the high one is lowered.
                let bounds = match *unary {
                    Unary::Clip { low, high } => (low, high),
                    _ => (0.0, f32::INFINITY),
                };
                (low, high) = (low.max(bounds.0).min(bounds.1), high.max(bounds.0).min(bounds.1));
                between.push(*output);
                last = alone(*output);
            }
            let factor = |out: f64| {
                let all = weights.scale.iter().map(|&w| (f64::from(scale) * f64::from(w) / out) as f32);
                let all: Vec<f32> = all.collect();
                all.iter().all(|scale| scale.is_normal() && *scale > 0.0).then_some(all)
            };
            let requantized = last.and_then(|last| match &last.op {
                Op::Quantize(affine) => {
                    let (scale, zero) = whole(affine)?;
                    let (low, high) = (code(low, scale, zero), code(high, scale, zero));
                    let output = Output::Requantized { scale: factor(scale.into())?, zero, low, high };
                    Some((output, last.output))
                }
                _ => None,
            });
            let (output, place) = match requantized {
                Some(found) => found,
                None => (Output::Scaled { scale: factor(1.0)? }, layer.output),
            };
            let integer = Integer {
                weights: weights.codes.clone(),
                weight_zero: weights.zero.clone(),
                input_zero: zero,
                bias,
                window: dense.window,
                groups: dense.groups,
                register: 32,
                output,
            };
            if !integer.fits() {
                return None;
            }
            if place != layer.output {
                made.extend(between);
                made.insert(place);
            }
            Some((integer, place, bytes, moves))
        });
        let Some((integer, place, mut from, moves)) = fused else {
            new.push(layer.clone());
            continue;
        };
        for moved in moves.into_iter().rev() {
            let of = &values[moved.output];
            let name = super::unique(&mut value_names, format!("{}/bytes", of.name));
            let shape = of.shape.clone();
            let name_of_layer = super::unique(&mut names, format!("{}/bytes", moved.name));
            let output = values.len();
            values.push(Value { name, shape, element: Element::I8 });
            new.push(Layer { name: name_of_layer, inputs: vec![from], output, ..moved.clone() });
            from = output;
        }
        new.push(Layer { inputs: vec![from], output: place, op: Op::Integer(integer), ..layer.clone() });
    }
    Network { values, layers: new, input, output }
}
