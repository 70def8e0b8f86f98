//! Sums that cannot leave their registers: for each layer of integers the worst case of every partial sum, in the order in
//! which the hardware adds, from the weights as they are stored and the codes that its input can have.
//!
//! The order: a register begins with all that does not depend on the input ([`Integer::constants`]: the bias, and the cross
//! terms `-x_zero sum w + n x_zero w_zero`), then come the products of codes, element of the window by element, each over
//! the channels of the group. Where weights have a zero point, a second register adds the codes up, and `w_zero` times
//! its sum is taken off at the end.

use serde::Serialize;

use super::low_bit::{Budgets, first_layers, weight_codes};
use super::{Affine, Dense, Integer, Layer, Network, Op, Output, Unary, Window};
use crate::{Error, Result};

/// What a layer has: bits of its registers, and of what it multiplies. Activations and weights of "(b+s)" have b bits and a
/// sign, so that the largest is `2^b - 1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Budget {
    /// Bits of a register, its sign among them.
    pub register_bits: u32,
    /// Bits of an activation, beside its sign.
    pub activation_bits: u32,
    /// Bits of a weight, beside its sign.
    pub weight_bits: u32,
}

impl Budget {
    /// For hardware with registers of 8 bits.
    pub const DEFAULT: Self = Self { register_bits: 8, activation_bits: 2, weight_bits: 1 };

    /// For a first layer on raw pixels of 8 bits (0 to 255, or codes of -128 to 127), which runs in registers of 16.
    pub const FIRST: Self = Self { register_bits: 16, activation_bits: 7, weight_bits: 4 };

    /// The largest size that a sum may have: `2^(bits - 1) - 1`.
    pub fn limit(&self) -> i64 {
        limit(self.register_bits)
    }

    /// The largest activation.
    pub fn activation(&self) -> i32 {
        (1 << self.activation_bits) - 1
    }

    /// The largest weight.
    pub fn weight(&self) -> i32 {
        (1 << self.weight_bits) - 1
    }

    /// What so many products can come to, whatever the weights are: `products * activation * weight`.
    pub fn worst(&self, products: usize) -> i64 {
        products as i64 * i64::from(self.activation()) * i64::from(self.weight())
    }

    /// Refuses numbers of bits that nothing here has.
    ///
    /// # Errors
    /// [`Error::Input`] for registers of less than 4 or more than 32 bits, and for weights and activations of less than 1 or more than 7.
    pub fn check(&self) -> Result<()> {
        let checks = [
            ("a register", self.register_bits, 4..=32),
            ("an activation", self.activation_bits, 1..=7),
            ("a weight", self.weight_bits, 1..=7),
        ];
        for (what, bits, supported) in checks {
            if !supported.contains(&bits) {
                let (least, most) = (supported.start(), supported.end());
                return Err(Error::Unsupported(format!(
                    "{what} of {bits} bits: {least} to {most} are supported"
                )));
            }
        }
        Ok(())
    }
}

/// The largest size that a sum in a register of so many bits may have.
fn limit(register_bits: u32) -> i64 {
    (1 << (register_bits - 1)) - 1
}

/// How a layer's sums become the codes of the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Conversion {
    /// The scales are the same: neither is converted, the sums are bounded only.
    LeftOut,
    /// By a shift.
    Shift,
    /// By a multiplier of integers and a shift.
    FixedPoint,
    /// By a multiplier of f32.
    Float,
    /// To numbers of f32: the one dequantization at the end.
    Dequantized,
    /// It is a sum of 32 bits.
    Sum,
    /// Not known without data.
    Unknown,
}

impl Conversion {
    /// What `output` does.
    fn of(output: &Output) -> Self {
        match output {
            Output::Sum => Self::Sum,
            Output::Scaled { .. } => Self::Dequantized,
            Output::Requantized { .. } => Self::Float,
            Output::Fixed { steps, .. } if steps.iter().all(|step| *step == super::FixedPoint::ONE) => {
                Self::LeftOut
            }
            Output::Fixed { steps, .. }
                if steps.iter().all(|step| step.shift > 0 && step.multiplier.count_ones() == 1) =>
            {
                Self::Shift
            }
            Output::Fixed { .. } => Self::FixedPoint,
        }
    }
}

/// The first partial sum that can leave its register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Overflow {
    /// The output channel, from 0.
    pub channel: usize,
    /// How many products had been added: 0 for what a register begins with.
    pub products: usize,
    /// What the sum can be.
    pub sum: i64,
}

/// What was found of one layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Proof {
    /// Its name.
    pub layer: String,
    /// Its operator, such as `Conv`; `star-conv` where the window is a star.
    pub operator: &'static str,
    /// Groups of channels.
    pub groups: usize,
    /// Products of a sum.
    pub products: usize,
    /// Bits of its registers.
    pub register_bits: u32,
    /// Least and largest code of its input.
    pub activations: [i32; 2],
    /// Least and largest weight.
    pub weights: [i32; 2],
    /// `products * |activation| * |weight|`, of the largest sizes.
    pub any_weights: i64,
    /// Least and largest partial sum.
    pub sums: [i64; 2],
    /// The channel of the partial sum with the largest size.
    pub channel: usize,
    /// The largest size that a sum may have.
    pub limit: i64,
    /// How much is left below it; negative where a sum can leave the register.
    pub headroom: i64,
    /// The first partial sum that can leave the register; none where no input can make one.
    pub overflow: Option<Overflow>,
    /// What comes behind the sums.
    pub conversion: Conversion,
}

/// What a layer adds up.
struct Sums<'a> {
    weights: &'a [i8],
    weight_zero: &'a [i32],
    constants: &'a [i64],
    window: &'a Window,
    /// Least and largest code.
    codes: [i32; 2],
}

/// Least and largest of a channel's partial sums, and the first one beyond the limit.
struct Extent {
    sums: [i64; 2],
    overflow: Option<(usize, i64)>,
}

impl Sums<'_> {
    fn each(&self) -> usize {
        self.weights.len() / self.constants.len().max(1)
    }

    /// Follows the registers of one channel.
    fn channel(&self, channel: usize, limit: i64) -> Extent {
        let each = self.each();
        let weights = &self.weights[channel * each..][..each];
        let (zero, taps) = (i64::from(self.weight_zero[channel]), self.window.taps().max(1));
        let codes = self.codes.map(i64::from);
        let start = self.constants[channel];
        let mut found =
            Extent { sums: [start, start], overflow: (start.abs() > limit).then_some((0, start)) };
        let mut see = |sums: [i64; 2], products: usize| {
            found.sums = [found.sums[0].min(sums[0]), found.sums[1].max(sums[1])];
            if let Some(sum) = sums.into_iter().find(|sum| sum.abs() > limit) {
                found.overflow.get_or_insert((products, sum));
            }
        };
        // Extremes of the sum of products, of that of codes, and of both together.
        let (mut sums, mut of_codes, mut whole) = ([start; 2], [0; 2], [start; 2]);
        let order = (0..taps).flat_map(|tap| (0..each / taps).map(move |input| input * taps + tap));
        for (added, place) in order.enumerate() {
            let weight = i64::from(weights[place]);
            let add = |to: &mut [i64; 2], weight: i64| {
                let products = codes.map(|code| weight * code);
                to[0] += products[0].min(products[1]);
                to[1] += products[0].max(products[1]);
            };
            add(&mut sums, weight);
            add(&mut of_codes, 1);
            add(&mut whole, weight - zero);
            see(sums, added + 1);
            if zero != 0 {
                see(of_codes, added + 1);
            }
        }
        if zero != 0 {
            let products = of_codes.map(|sum| sum * zero);
            see([products[0].min(products[1]), products[0].max(products[1])], each);
            see(whole, each);
        }
        found
    }

    fn prove(&self, layer: &Layer, groups: usize, register_bits: u32, conversion: Conversion) -> Proof {
        let limit = limit(register_bits);
        let mut proof = Proof {
            layer: layer.name.clone(),
            operator: if self.window.star { "star-conv" } else { layer.operator },
            groups,
            products: self.each(),
            register_bits,
            activations: self.codes,
            weights: self.weights.first().map_or([0, 0], |&weight| [weight.into(); 2]),
            any_weights: 0,
            sums: self.constants.first().map_or([0, 0], |&start| [start, start]),
            channel: 0,
            limit,
            headroom: limit,
            overflow: None,
            conversion,
        };
        for &weight in self.weights {
            proof.weights = [proof.weights[0].min(weight.into()), proof.weights[1].max(weight.into())];
        }
        let size = |range: [i32; 2]| i64::from(range[0].abs().max(range[1].abs()));
        proof.any_weights = proof.products as i64 * size(proof.weights) * size(self.codes);
        for channel in 0..self.constants.len() {
            let Extent { sums, overflow } = self.channel(channel, limit);
            proof.sums = [proof.sums[0].min(sums[0]), proof.sums[1].max(sums[1])];
            let headroom = limit - sums[0].abs().max(sums[1].abs());
            if headroom < proof.headroom {
                (proof.headroom, proof.channel) = (headroom, channel);
            }
            if let (None, Some((products, sum))) = (proof.overflow, overflow) {
                proof.overflow = Some(Overflow { channel, products, sum });
            }
        }
        proof
    }
}

/// The codes that each value of bytes can have.
fn codes(network: &Network) -> Vec<[i32; 2]> {
    let mut codes = vec![[-128, 127]; network.values.len()];
    for (at, layer) in network.layers.iter().enumerate() {
        codes[layer.output] = match &layer.op {
            Op::Integer(Integer { output, .. }) => match output {
                Output::Requantized { low, high, .. } | Output::Fixed { low, high, .. } => [*low, *high],
                Output::Sum | Output::Scaled { .. } => [-128, 127],
            },
            Op::Quantize(affine) => quantized(&network.layers[..at], layer.inputs[0], affine),
            // A window over padding alone is refused, so that each result is one of the input's.
            Op::Gather { .. } | Op::Reshape | Op::MaxPool(_) => {
                let inputs = layer.inputs.iter().map(|&input| codes[input]);
                inputs.reduce(|a, b| [a[0].min(b[0]), a[1].max(b[1])]).unwrap_or([-128, 127])
            }
            _ => [-128, 127],
        };
    }
    codes
}

/// The codes of a quantized value, which is narrower than a byte where it was clipped.
fn quantized(before: &[Layer], value: usize, affine: &Affine) -> [i32; 2] {
    let bounds = before.iter().find(|layer| layer.output == value).and_then(|layer| match layer.op {
        Op::Unary(Unary::Relu) => Some((0.0, f32::INFINITY)),
        Op::Unary(Unary::Clip { low, high }) => Some((low.min(high), high)),
        _ => None,
    });
    let (low, high) = bounds.unwrap_or((f32::NEG_INFINITY, f32::INFINITY));
    let all = affine
        .scale
        .iter()
        .zip(&affine.zero)
        .map(|(&scale, &zero)| [low, high].map(|bound| super::lower::code(bound, scale, zero)));
    all.reduce(|a, b| [a[0].min(b[0]), a[1].max(b[1])]).unwrap_or([-128, 127])
}

/// `network` with its layers of integers on the registers of these budgets: sums that do not fit wrap around there.
///
/// # Errors
/// Those of [`Budget::check`].
pub fn with_registers(network: &Network, budgets: &Budgets) -> Result<Network> {
    budgets.check()?;
    let first = first_layers(network);
    let mut made = network.clone();
    for (at, layer) in made.layers.iter_mut().enumerate() {
        if let Op::Integer(integer) = &mut layer.op {
            integer.register = budgets.of(first.contains(&at)).register_bits;
        }
    }
    Ok(made)
}

/// The proof of a layer of integers, whose input has these codes.
fn of_integers(layer: &Layer, integer: &Integer, [low, high]: [i32; 2]) -> Proof {
    let sums = Sums {
        weights: &integer.weights,
        weight_zero: &integer.weight_zero,
        constants: &integer.constants(),
        window: &integer.window,
        // Padding is the zero point.
        codes: [low.min(integer.input_zero), high.max(integer.input_zero)],
    };
    sums.prove(layer, integer.groups, integer.register, Conversion::of(&integer.output))
}

/// The proof of a layer of floats, as far as there is one without data: of its products alone.
fn of_floats(layer: &Layer, dense: &Dense, budget: &Budget, codes: [i32; 2]) -> Proof {
    let Dense { weights, bias, window, groups, .. } = dense;
    let (weights, _) = weight_codes(weights, bias.len(), budget.weight());
    let zeros = vec![0; bias.len()];
    let constants = vec![0; bias.len()];
    let sums = Sums { weights: &weights, weight_zero: &zeros, constants: &constants, window, codes };
    sums.prove(layer, *groups, budget.register_bits, Conversion::Unknown)
}

/// A proof for every layer of integers, by their own registers.
pub fn prove(network: &Network) -> Vec<Proof> {
    let codes = codes(network);
    let proof = |layer: &Layer| match &layer.op {
        Op::Integer(integer) => Some(of_integers(layer, integer, codes[layer.inputs[0]])),
        _ => None,
    };
    network.layers.iter().filter_map(proof).collect()
}

/// A proof for every layer with weights by these budgets, as far as there is one without data: layers of integers have all
/// that there is to know; of layers of floats it is about their products alone, with activations of either sign. Biases and zero points take room too, and are
/// not known before the activations' scales are.
///
/// # Errors
/// Those of [`Budget::check`].
pub fn prove_without_data(network: &Network, budgets: &Budgets) -> Result<Vec<Proof>> {
    let network = with_registers(network, budgets)?;
    let (codes, first) = (codes(&network), first_layers(&network));
    let proof = |(at, layer): (usize, &Layer)| match &layer.op {
        Op::Integer(integer) => Some(of_integers(layer, integer, codes[layer.inputs[0]])),
        Op::Dense(dense) => {
            let is_first = first.contains(&at);
            Some(of_floats(layer, dense, budgets.of(is_first), budgets.codes(is_first)))
        }
        _ => None,
    };
    Ok(network.layers.iter().enumerate().filter_map(proof).collect())
}

/// The first layer that is not proven, as an error.
///
/// # Errors
/// [`Error::Gate`], which names the layer and the channel that breaks it.
pub fn check(proofs: &[Proof]) -> Result<()> {
    let broken: Vec<&Proof> = proofs.iter().filter(|proof| proof.overflow.is_some()).collect();
    let Some((proof, overflow)) = broken.iter().find_map(|proof| Some((proof, proof.overflow?))) else {
        return Ok(());
    };
    let others = match broken.len() {
        1 => String::new(),
        more => format!(" ({more} layers of {} can overflow)", proofs.len()),
    };
    let after = match overflow.products {
        0 => "by its bias and zero points alone".into(),
        products => format!("after {products} of {} products", proof.products),
    };
    Err(Error::Gate(format!(
        "{}: channel {} can reach {} {after}; a register of {} bits holds {}{others}: fewer products for a sum (groups), \
         fewer bits, or wider registers",
        crate::io::quoted(&proof.layer),
        overflow.channel,
        overflow.sum,
        proof.register_bits,
        proof.limit
    )))
}
