//! The definition of every layer of a network: floats in f64, integers exactly, and steps between them with the operations
//! of f32 that [`crate::network`] states.

use super::{average_pool, dense, dense_integer, gather, max_pool, pointwise, softmax};
use crate::network::{Affine, Element, Layer, Network, Op, Output, Value};

/// The elements of a value, example after example.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Of [`Element::F32`].
    F(Vec<f64>),
    /// Of [`Element::I8`] and [`Element::I32`].
    I(Vec<i64>),
}

impl Values {
    /// The floats; none if it has integers.
    pub fn floats(&self) -> &[f64] {
        match self {
            Self::F(values) => values,
            Self::I(_) => &[],
        }
    }

    /// The integers; none if it has floats.
    pub fn integers(&self) -> &[i64] {
        match self {
            Self::F(_) => &[],
            Self::I(values) => values,
        }
    }
}

/// All values of a network, in the order of [`Network::values`], for an input of the shape `[rows, elements]`.
pub fn run(network: &Network, input: &[f32]) -> Vec<Values> {
    let count = |place: usize| network.values[place].elements();
    let rows = input.len() / count(network.input);
    let empty = |value: &Value| match value.element {
        Element::F32 => Values::F(Vec::new()),
        Element::I8 | Element::I32 => Values::I(Vec::new()),
    };
    let mut all: Vec<Values> = network.values.iter().map(empty).collect();
    all[network.input] = Values::F(input.iter().map(|&x| x.into()).collect());
    for layer in &network.layers {
        let mut result = empty(&network.values[layer.output]);
        for row in 0..rows {
            let inputs: Vec<Values> = layer
                .inputs
                .iter()
                .map(|&place| {
                    let range = row * count(place)..(row + 1) * count(place);
                    match &all[place] {
                        Values::F(values) => Values::F(values[range].to_vec()),
                        Values::I(values) => Values::I(values[range].to_vec()),
                    }
                })
                .collect();
            match (&mut result, example(network, layer, &inputs)) {
                (Values::F(all), Values::F(new)) => all.extend(new),
                (Values::I(all), Values::I(new)) => all.extend(new),
                (_, new) => result = new,
            }
        }
        all[layer.output] = result;
    }
    all
}

/// What a layer makes of one example.
pub fn example(network: &Network, layer: &Layer, inputs: &[Values]) -> Values {
    let from = &network.values[layer.inputs[0]];
    let to = &network.values[layer.output];
    // The number for element `i` of a list for all elements, for each channel, or of one number.
    let place = |numbers: usize, i: usize| match numbers {
        1 => 0,
        all if all == to.elements() => i,
        channels => i / (to.elements() / channels),
    };
    let floats = || inputs[0].floats().iter().copied().enumerate();
    let integers = || inputs[0].integers().iter().copied().enumerate();
    match &layer.op {
        Op::Dense(dense) => {
            let sums = dense::dense(dense, (from, to), inputs[0].floats());
            Values::F(sums.into_iter().map(|(sum, _)| sum).collect())
        }
        Op::Integer(integer) => {
            let codes: Vec<i8> = integers().map(|(_, code)| code as i8).collect();
            let sums = dense_integer::sums(integer, (from, to), &codes);
            if integer.output == Output::Sum {
                return Values::I(sums);
            }
            let results = sums
                .into_iter()
                .enumerate()
                .map(|(i, sum)| dense_integer::output(&integer.output, i / places(to), sum));
            match to.element {
                Element::F32 => Values::F(results.map(f64::from).collect()),
                _ => Values::I(results.map(|code| code as i64).collect()),
            }
        }
        Op::Unary(unary) => Values::F(floats().map(|(_, x)| pointwise::unary(*unary, x)).collect()),
        Op::Constant { arithmetic, constant, reversed } => {
            let each = floats().map(|(i, x)| {
                let constant = constant[place(constant.len(), i)].into();
                let (a, b) = if *reversed { (constant, x) } else { (x, constant) };
                pointwise::arithmetic(*arithmetic, a, b)
            });
            Values::F(each.collect())
        }
        Op::Arithmetic(arithmetic) => {
            let pairs = inputs[0].floats().iter().zip(inputs[1].floats());
            Values::F(pairs.map(|(&a, &b)| pointwise::arithmetic(*arithmetic, a, b)).collect())
        }
        // A window that sees nothing has no largest element; the kernel refuses it.
        Op::MaxPool(window) => match &inputs[0] {
            Values::F(x) => {
                let pool = |x: &[f64]| max_pool::max_pool(x, from.picture(), to.picture(), window);
                let largest = x.chunks(places(from)).flat_map(pool);
                Values::F(largest.map(|x| x.unwrap_or(f64::NEG_INFINITY)).collect())
            }
            Values::I(x) => {
                let pool = |x: &[i64]| max_pool::max_pool(x, from.picture(), to.picture(), window);
                Values::I(x.chunks(places(from)).flat_map(pool).map(|x| x.unwrap_or(i64::MIN)).collect())
            }
        },
        Op::AveragePool { window, include_pad } => {
            let pool = |x: &[f64]| average_pool::means(x, from.picture(), to.picture(), window, *include_pad);
            Values::F(inputs[0].floats().chunks(places(from)).flat_map(pool).collect())
        }
        Op::Softmax => {
            let x = inputs[0].floats();
            let mut all = x.to_vec();
            for place in 0..places(to) {
                let channels: Vec<f64> = x.iter().skip(place).step_by(places(to)).copied().collect();
                let shares = softmax::softmax(&channels);
                all.iter_mut()
                    .skip(place)
                    .step_by(places(to))
                    .zip(shares)
                    .for_each(|(to, share)| *to = share);
            }
            Values::F(all)
        }
        Op::Reshape => inputs[0].clone(),
        Op::Gather { index } => match to.element {
            Element::F32 => {
                let all: Vec<&[f64]> = inputs.iter().map(Values::floats).collect();
                Values::F(gather::gather(index, &all))
            }
            Element::I8 | Element::I32 => {
                let all: Vec<&[i64]> = inputs.iter().map(Values::integers).collect();
                Values::I(gather::gather(index, &all))
            }
        },
        Op::Quantize(Affine { scale, zero }) => {
            let codes = floats().map(|(i, x)| {
                let at = place(scale.len(), i);
                pointwise::quantize(x as f32, scale[at], zero[at]).into()
            });
            Values::I(codes.collect())
        }
        Op::Dequantize(Affine { scale, zero }) => {
            let values = integers().map(|(i, q)| {
                let at = place(scale.len(), i);
                pointwise::dequantize(q as i8, scale[at], zero[at]).into()
            });
            Values::F(values.collect())
        }
        Op::Cast => Values::F(integers().map(|(_, sum)| (sum as f32).into()).collect()),
    }
}

/// Elements of a channel.
fn places(value: &Value) -> usize {
    value.elements() / value.channels()
}
