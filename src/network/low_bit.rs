//! A network of floats as one of few bits: weights symmetric for each output channel, activations by a scale and a zero point
//! from the least and the largest value that calibration saw, scales changed by integers. What it computes is then as
//! exact as integers are; that no sum leaves its register is for [`super::registers`] to prove.
//!
//! `V_Q = V_R / A - B` with `A = (Rmax - Rmin) / (qmax - qmin)` and `B = Rmin / A - qmin` (US 2025/0292088 A1), B rounded so that 0
//! has a code: padding is 0. Dequantizing a layer and quantizing for the next is one step, `q' = (A / A') q + (A B / A') - B'`,
//! and no step where it changes nothing.

use std::collections::HashMap;

use super::registers::Budget;
use super::{
    Affine, Dense, Element, FixedPoint, Integer, Layer, Network, Op, Output, QuantizedWeights, Unary, Value,
};
use crate::io::quoted;
use crate::{Error, Result};

/// The budgets of a network's layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Budgets {
    /// Of the layers that read the input.
    pub first: Budget,
    /// Of all others.
    pub rest: Budget,
}

/// How a value is coded: by which scale, and from which code to which.
struct Codes {
    affine: Affine,
    bounds: [i32; 2],
}

impl Budgets {
    /// That of a layer.
    pub fn of(&self, is_first: bool) -> &Budget {
        if is_first { &self.first } else { &self.rest }
    }

    /// The least and the largest code that a layer reads.
    pub fn codes(&self, is_first: bool) -> [i32; 2] {
        let most = self.rest.activation();
        if is_first { BYTE } else { [-most, most] }
    }

    /// Refuses budgets that nothing here has.
    ///
    /// # Errors
    /// Those of [`Budget::check`].
    pub fn check(&self) -> Result<()> {
        self.first.check()?;
        self.rest.check()
    }
}

/// The least and the largest code of an input of 8 bits.
const BYTE: [i32; 2] = [-128, 127];

/// How the input is coded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Input {
    /// Pixels: whole numbers from 0 to 255, as they are.
    Pixels,
    /// Numbers of a range.
    Range {
        /// Least.
        min: f32,
        /// Largest.
        max: f32,
    },
}

impl Input {
    /// That of `rows`: pixels where they are nothing else.
    pub fn of(rows: &[f32]) -> Self {
        let pixel = |value: f32| (0.0..=255.0).contains(&value) && value.fract() == 0.0;
        if rows.iter().all(|&value| pixel(value)) {
            return Self::Pixels;
        }
        let bounds = (f32::INFINITY, f32::NEG_INFINITY);
        let (min, max) = rows.iter().fold(bounds, |(min, max), &value| (min.min(value), max.max(value)));
        Self::Range { min, max }
    }

    fn affine(self) -> Option<Affine> {
        match self {
            Self::Pixels => Some(Affine { scale: vec![1.0], zero: vec![BYTE[0]] }),
            Self::Range { min, max } => affine(min, max, BYTE),
        }
    }
}

/// Scale and zero point that bring values from `min` to `max` to the codes `low..=high`: none for values of one size.
pub fn affine(min: f32, max: f32, [low, high]: [i32; 2]) -> Option<Affine> {
    let (min, max) = (f64::from(min).min(0.0), f64::from(max).max(0.0));
    let scale = (max - min) / f64::from(high - low);
    let narrow = scale as f32;
    let shift = (min / scale - f64::from(low)).round();
    let usable = narrow.is_normal() && (1.0 / narrow).is_finite();
    usable.then(|| Affine { scale: vec![narrow], zero: vec![-(shift as i32)] })
}

/// Candidates for the step of a channel's weights: 64ths of the largest weight over the largest code.
const CANDIDATES: std::ops::RangeInclusive<u32> = 16..=64;

/// Codes from -most to most and the step of each of `outs` channels, by the least squared error.
pub fn weight_codes(weights: &[f32], outs: usize, most: i32) -> (Vec<i8>, Vec<f32>) {
    let each = (weights.len() / outs.max(1)).max(1);
    let (mut codes, mut steps) = (Vec::with_capacity(weights.len()), Vec::with_capacity(outs));
    let limit = f64::from(most);
    let code = |weight: f32, step: f64| (f64::from(weight) / step).round_ties_even().clamp(-limit, limit);
    for channel in weights.chunks_exact(each) {
        let largest = channel.iter().fold(0f32, |largest, weight| largest.max(weight.abs()));
        let unit = f64::from(largest) / limit / f64::from(*CANDIDATES.end());
        let error = |share: u32| -> f64 {
            let step = unit * f64::from(share);
            channel.iter().map(|&weight| (code(weight, step) * step - f64::from(weight)).powi(2)).sum()
        };
        // A channel of zeros has codes of 0 by any step.
        if !largest.is_normal() {
            codes.extend(std::iter::repeat_n(0, each));
            steps.push(1.0);
            continue;
        }
        let errors = CANDIDATES.map(|share| (error(share), share));
        let best = errors.min_by(|a, b| a.0.total_cmp(&b.0)).map_or(*CANDIDATES.end(), |(_, share)| share);
        let step = (unit * f64::from(best)) as f32;
        codes.extend(channel.iter().map(|&weight| code(weight, f64::from(step)) as i8));
        steps.push(step);
    }
    (codes, steps)
}

/// Gives channels without any weight a step in which their bias, all that they have, is a code of half a register.
fn free_bias(dense: &Dense, codes: &[i8], budget: &Budget, input: f32, steps: &mut [f32]) {
    let each = (codes.len() / dense.bias.len().max(1)).max(1);
    for ((codes, &bias), step) in codes.chunks_exact(each).zip(&dense.bias).zip(steps) {
        let half = (budget.limit() / 2).min(1 << 20) as f32;
        let free = bias.abs() / input / half;
        if free.is_normal() && codes.iter().all(|&code| code == 0) {
            *step = free;
        }
    }
}

/// The places of the layers with weights that none other lies in front of.
pub(super) fn first_layers(network: &Network) -> Vec<usize> {
    let mut behind = vec![false; network.values.len()];
    let mut first = Vec::new();
    for (at, layer) in network.layers.iter().enumerate() {
        let weighs = matches!(layer.op, Op::Dense(_) | Op::Integer(_));
        let later = layer.inputs.iter().any(|&input| behind[input]);
        behind[layer.output] = later || weighs;
        if weighs && !later {
            first.push(at);
        }
    }
    first
}

/// `network` with every layer with weights on integers of `budgets`. `range_of` gives the least and the largest value that the
/// value of that name had.
///
/// # Errors
/// [`Error::Input`] where a layer cannot be put into its budget, which names it: a range that is not known or has no extent, a bias
/// that is out of reach, and for networks that are of integers already.
pub fn low_bit(
    network: &Network,
    budgets: &Budgets,
    input: Input,
    range_of: impl Fn(&str) -> Option<(f32, f32)>,
) -> Result<Network> {
    budgets.check()?;
    if network.layers.iter().any(|layer| matches!(layer.op, Op::Integer(_))) {
        return Err(Error::Input(
            "the network is of integers already: it has its own scales, and takes no calibration".into(),
        ));
    }
    let first = first_layers(network);
    let budget_of = |at: usize| budgets.of(first.contains(&at));
    let mut codes: HashMap<usize, Codes> = HashMap::new();
    for (at, layer) in network.layers.iter().enumerate() {
        if !matches!(layer.op, Op::Dense(_)) {
            continue;
        }
        let source = source(network, layer.inputs[0]);
        let name = &network.values[source].name;
        let fault = |problem: &str| {
            Error::Input(format!("layer {}: its input {} {problem}", quoted(&layer.name), quoted(name)))
        };
        let bounds = budgets.codes(first.contains(&at));
        let affine = match source == network.input {
            true => input.affine(),
            false => {
                let (min, max) = range_of(name).ok_or_else(|| fault("has no calibrated range"))?;
                affine(min, max, bounds)
            }
        };
        let affine = affine.ok_or_else(|| {
            fault("has no range to make codes of: it was 0 throughout calibration, or infinite")
        })?;
        codes.entry(source).or_insert(Codes { affine, bounds });
    }
    let mut made = Network { layers: Vec::new(), ..network.clone() };
    // What stands for a value: the value itself, or what its codes say.
    let mut stands: Vec<usize> = (0..network.values.len()).collect();
    if let Some(codes) = codes.get(&network.input) {
        stands[network.input] = made.code(network.input, codes);
    }
    for (at, layer) in network.layers.iter().enumerate() {
        let mut layer = layer.clone();
        layer.inputs.iter_mut().for_each(|input| *input = stands[*input]);
        if let Op::Dense(dense) = &mut layer.op {
            let budget = budget_of(at);
            let (weights, mut scale) = weight_codes(&dense.weights, dense.bias.len(), budget.weight());
            let step = codes[&source(network, network.layers[at].inputs[0])].affine.scale[0];
            free_bias(dense, &weights, budget, step, &mut scale);
            let zero = vec![0; scale.len()];
            dense.quantized = Some(QuantizedWeights { codes: weights, scale, zero });
        }
        let output = layer.output;
        made.layers.push(layer);
        if let Some(codes) = codes.get(&output) {
            stands[output] = made.code(output, codes);
        }
    }
    let registers: HashMap<&str, u32> = network
        .layers
        .iter()
        .enumerate()
        .map(|(at, layer)| (layer.name.as_str(), budget_of(at).register_bits))
        .collect();
    let mut made = super::lower::in_integers(made);
    for layer in &mut made.layers {
        match &mut layer.op {
            Op::Dense(_) => {
                return Err(Error::Input(format!(
                    "layer {} cannot be put on integers: its bias or its scales are out of reach",
                    quoted(&layer.name)
                )));
            }
            Op::Integer(integer) => {
                integer.register = registers.get(layer.name.as_str()).copied().unwrap_or(integer.register);
                integer
                    .fix()
                    .map_err(|problem| Error::Input(format!("layer {}: {problem}", quoted(&layer.name))))?;
            }
            _ => (),
        }
    }
    Ok(made)
}

/// The value whose elements a value has, in whatever order: the one that was computed.
fn source(network: &Network, value: usize) -> usize {
    network
        .source(value, |layer| matches!(layer.op, Op::Gather { .. } | Op::Reshape) && layer.inputs.len() == 1)
}

impl Network {
    /// Adds the codes of `value`, and gives the place of what they say.
    fn code(&mut self, value: usize, Codes { affine, bounds }: &Codes) -> usize {
        let (scale, zero) = (affine.scale[0], affine.zero[0]);
        let [low, high] = bounds.map(|code| (code - zero) as f32 * scale);
        let steps = [
            ("bounded", "Clip", Op::Unary(Unary::Clip { low, high }), Element::F32),
            ("codes", "QuantizeLinear", Op::Quantize(affine.clone()), Element::I8),
            ("decoded", "DequantizeLinear", Op::Dequantize(affine.clone()), Element::F32),
        ];
        // A byte saturates by itself.
        let needed = steps.into_iter().skip(usize::from(*bounds == BYTE));
        let mut from = value;
        for (part, operator, op, element) in needed {
            let name = format!("{} ({part})", self.values[value].name);
            let output = self.values.len();
            self.values.push(Value { name: name.clone(), element, ..self.values[value].clone() });
            self.layers.push(Layer { name, operator, inputs: vec![from], output, op });
            from = output;
        }
        from
    }
}

/// The widest registers, in bits, whose sums are brought to another scale by integers.
const WIDEST: u32 = 16;

/// The largest multiplier: of 15 bits.
const MOST_MULTIPLIER: f64 = 32767.0;

impl FixedPoint {
    /// `x * ratio + zero`, rounded half up, for `x` of sizes up to `reach`: as exactly as multipliers of 15 bits and sums of 32 allow.
    pub fn new(ratio: f64, zero: i32, reach: i64) -> Option<Self> {
        let steps = (0..=Self::MOST_SHIFT).rev().map(|shift| {
            let one = 2f64.powi(shift as i32);
            (shift, (ratio * one).round(), f64::from(zero) * one + (one / 2.0).floor())
        });
        let most = |multiplier: f64, offset: f64| reach as f64 * multiplier + offset.abs();
        let mut fitting = steps.filter(|&(_, multiplier, offset)| {
            // A ratio that comes to 0 would make one code of all sums.
            (1.0..=MOST_MULTIPLIER).contains(&multiplier) && most(multiplier, offset) <= f64::from(i32::MAX)
        });
        let (shift, multiplier, offset) = fitting.next()?;
        Some(Self { multiplier: multiplier as i32, offset: offset as i32, shift }.shortest())
    }

    /// The same, without what a shift would take off again.
    fn shortest(mut self) -> Self {
        while self.shift > 0 && self.multiplier % 2 == 0 && self.offset % 2 == 0 {
            self = Self { multiplier: self.multiplier / 2, offset: self.offset / 2, shift: self.shift - 1 };
        }
        self
    }
}

impl Integer {
    /// Makes its way to codes one of integers, and leaves that out where it changes no sum that its register can hold.
    fn fix(&mut self) -> std::result::Result<(), String> {
        let Output::Requantized { scale, zero, low, high } = &self.output else { return Ok(()) };
        // Beside a larger sum, 32 bits have no room for a multiplier: there the way stays one of f32.
        if self.register > WIDEST {
            return Ok(());
        }
        let (low, high) = (*low, *high);
        let reach = 1i64 << (self.register - 1);
        let steps = scale.iter().map(|&ratio| FixedPoint::new(ratio.into(), *zero, reach));
        let steps: Vec<FixedPoint> =
            steps.collect::<Option<_>>().ok_or("its scales are too far apart for multipliers of integers")?;
        let clamped = |x: i64| x.clamp(low.into(), high.into());
        let idle = |step: &FixedPoint| (-reach..reach).all(|x| clamped(step.of(x)) == clamped(x));
        let steps = match steps.iter().all(idle) {
            true => vec![FixedPoint::ONE; steps.len()],
            false => steps,
        };
        self.output = Output::Fixed { steps, low, high };
        match self.fits() {
            true => Ok(()),
            false => Err("its sums do not fit 32 bits".into()),
        }
    }
}

/// Whether there are layers with weights of floats.
pub fn has_floats(network: &Network) -> bool {
    network.layers.iter().any(|layer| matches!(layer.op, Op::Dense(_)))
}
