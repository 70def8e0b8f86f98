//! The definition of every layer of a network: floats in f64, integers exactly, and steps between them with the operations
//! of f32 that [`crate::network`] states.

use crate::network::{
    Affine, Arithmetic, Dense, Element, Integer, Layer, Network, Op, Output, Unary, Value, Window,
};

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
        Op::Dense(dense) => Values::F(convolution(dense, inputs[0].floats(), from, to)),
        Op::Integer(integer) => integer_convolution(integer, inputs[0].integers(), from, to),
        Op::Unary(unary) => Values::F(floats().map(|(_, x)| function(*unary, x)).collect()),
        Op::Constant { arithmetic, constant, reversed } => {
            let each = floats().map(|(i, x)| {
                let constant = constant[place(constant.len(), i)].into();
                if *reversed { apply(*arithmetic, constant, x) } else { apply(*arithmetic, x, constant) }
            });
            Values::F(each.collect())
        }
        Op::Arithmetic(arithmetic) => {
            let pairs = inputs[0].floats().iter().zip(inputs[1].floats());
            Values::F(pairs.map(|(&a, &b)| apply(*arithmetic, a, b)).collect())
        }
        Op::MaxPool(window) => match &inputs[0] {
            Values::F(x) => {
                let seen = windows(window, from, to).into_iter();
                Values::F(seen.map(|seen| seen.iter().fold(f64::NEG_INFINITY, |m, &i| m.max(x[i]))).collect())
            }
            Values::I(x) => {
                let seen = windows(window, from, to).into_iter();
                Values::I(seen.map(|seen| seen.iter().fold(i64::MIN, |m, &i| m.max(x[i]))).collect())
            }
        },
        Op::AveragePool { window, include_pad } => {
            let x = inputs[0].floats();
            let whole = window.kernel[0] * window.kernel[1];
            let means = windows(window, from, to).into_iter().map(|seen| {
                let sum: f64 = seen.iter().map(|&i| x[i]).sum();
                sum / (if *include_pad { whole } else { seen.len() }) as f64
            });
            Values::F(means.collect())
        }
        Op::Softmax => {
            let x = inputs[0].floats();
            let places = to.elements() / to.channels();
            let of = |p: usize| x.iter().skip(p).step_by(places);
            let largest: Vec<f64> =
                (0..places).map(|p| of(p).fold(f64::NEG_INFINITY, |m, &x| m.max(x))).collect();
            let sums: Vec<f64> = (0..places).map(|p| of(p).map(|&x| (x - largest[p]).exp()).sum()).collect();
            Values::F(floats().map(|(i, x)| (x - largest[i % places]).exp() / sums[i % places]).collect())
        }
        Op::Reshape => inputs[0].clone(),
        Op::Gather { index } => match to.element {
            Element::F32 => {
                let all: Vec<f64> = inputs.iter().flat_map(|input| input.floats()).copied().collect();
                Values::F(index.iter().map(|&i| all[i as usize]).collect())
            }
            Element::I8 | Element::I32 => {
                let all: Vec<i64> = inputs.iter().flat_map(|input| input.integers()).copied().collect();
                Values::I(index.iter().map(|&i| all[i as usize]).collect())
            }
        },
        Op::Quantize(Affine { scale, zero }) => {
            let codes = floats().map(|(i, x)| {
                let at = place(scale.len(), i);
                let code = (x as f32 * (1.0 / scale[at])).round_ties_even() + zero[at] as f32;
                code.clamp(-128.0, 127.0) as i64
            });
            Values::I(codes.collect())
        }
        Op::Dequantize(Affine { scale, zero }) => {
            let values = integers().map(|(i, q)| {
                let at = place(scale.len(), i);
                ((q - i64::from(zero[at])) as f32 * scale[at]).into()
            });
            Values::F(values.collect())
        }
        Op::Cast => Values::F(integers().map(|(_, sum)| (sum as f32).into()).collect()),
    }
}

fn apply(arithmetic: Arithmetic, a: f64, b: f64) -> f64 {
    match arithmetic {
        Arithmetic::Add => a + b,
        Arithmetic::Sub => a - b,
        Arithmetic::Mul => a * b,
        Arithmetic::Div => a / b,
    }
}

fn function(unary: Unary, x: f64) -> f64 {
    match unary {
        Unary::Relu => x.max(0.0),
        Unary::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Unary::Tanh => x.tanh(),
        Unary::Clip { low, high } => x.max(low.into()).min(high.into()),
    }
}

/// Rows and columns that a window sees from a place of the output: where it is within itself, and in the input; those
/// inside only.
fn seen(window: &Window, input: &Value, to: [usize; 2]) -> Vec<(usize, usize)> {
    let [height, width] = input.picture();
    let mut all = Vec::new();
    for row in 0..window.kernel[0] {
        for column in 0..window.kernel[1] {
            let y = window.source(0, to[0], row, height);
            let x = window.source(1, to[1], column, width);
            if let (Some(y), Some(x)) = (y, x) {
                all.push((row * window.kernel[1] + column, y * width + x));
            }
        }
    }
    all
}

/// For each element of a pool's output the elements of its input.
fn windows(window: &Window, from: &Value, to: &Value) -> Vec<Vec<usize>> {
    let ([height, width], [rows, columns]) = (from.picture(), to.picture());
    let mut all = Vec::with_capacity(to.elements());
    for channel in 0..to.channels() {
        for row in 0..rows {
            for column in 0..columns {
                let seen = seen(window, from, [row, column]).into_iter();
                all.push(seen.map(|(_, at)| channel * height * width + at).collect());
            }
        }
    }
    all
}

/// Calls `term(o, place in the weights, place in the input)` for every product, and `done(o)` behind each sum.
fn sums(
    window: &Window,
    groups: usize,
    from: &Value,
    to: &Value,
    mut term: impl FnMut(usize, usize, usize),
    mut done: impl FnMut(usize),
) {
    let ([height, width], [rows, columns]) = (from.picture(), to.picture());
    let inner = from.channels() / groups;
    let outer = to.channels() / groups;
    let size = window.kernel[0] * window.kernel[1];
    for o in 0..to.channels() {
        for row in 0..rows {
            for column in 0..columns {
                let seen = seen(window, from, [row, column]);
                for c in 0..inner {
                    let channel = o / outer * inner + c;
                    for &(at, source) in &seen {
                        term(o, (o * inner + c) * size + at, channel * height * width + source);
                    }
                }
                done(o);
            }
        }
    }
}

fn convolution(dense: &Dense, x: &[f64], from: &Value, to: &Value) -> Vec<f64> {
    let mut all = Vec::with_capacity(to.elements());
    let sum = std::cell::Cell::new(0.0);
    let term = |_, w: usize, i: usize| sum.set(sum.get() + f64::from(dense.weights[w]) * x[i]);
    sums(&dense.window, dense.groups, from, to, term, |o| all.push(sum.take() + f64::from(dense.bias[o])));
    all
}

fn integer_convolution(integer: &Integer, x: &[i64], from: &Value, to: &Value) -> Values {
    let mut all = Vec::with_capacity(to.elements());
    let sum = std::cell::Cell::new(0_i64);
    // Padding is the zero point, so it adds nothing.
    let term = |o: usize, w: usize, i: usize| {
        let weight = i64::from(integer.weights[w]) - i64::from(integer.weight_zero[o]);
        sum.set(sum.get() + weight * (x[i] - i64::from(integer.input_zero)));
    };
    let done = |o: usize| all.push((o, sum.take() + i64::from(integer.bias[o])));
    sums(&integer.window, integer.groups, from, to, term, done);
    match &integer.output {
        Output::Sum => Values::I(all.into_iter().map(|(_, sum)| sum).collect()),
        Output::Scaled { scale } => {
            Values::F(all.into_iter().map(|(o, sum)| (sum as f32 * scale[o]).into()).collect())
        }
        Output::Requantized { scale, zero, low, high } => {
            let code = |(o, sum): (usize, i64)| {
                let rounded = (sum as f32 * scale[o]).round_ties_even() + *zero as f32;
                rounded.clamp(*low as f32, *high as f32) as i64
            };
            Values::I(all.into_iter().map(code).collect())
        }
    }
}
