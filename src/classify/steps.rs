//! Chains of element-wise operations, fused with the kernels in front of them or behind: the host of `lib/steps`.

use super::layout::Layout;
use crate::gpu::{Buffer, Context, Spec};
use crate::network::{Affine, Arithmetic, Element, Op, Output, Unary};
use crate::{Error, Result};

/// One operation of f32 on each element.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// `max(x, 0)`
    Relu,
    /// `1 / (1 + exp(-x))`
    Sigmoid,
    /// `tanh(x)`
    Tanh,
    /// To the nearest whole number, ties to the even one.
    Round,
    /// With a constant: one value, one for each channel, or one for each element (channels first).
    With(With, Vec<f32>),
}

/// What is done with a constant `c`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum With {
    /// `x + c`
    Add = 16,
    /// `x - c`
    Sub = 17,
    /// `x * c`
    Mul = 18,
    /// `x / c`
    Div = 19,
    /// `c - x`
    SubFrom = 20,
    /// `c / x`
    DivInto = 21,
    /// `max(x, c)`
    Max = 22,
    /// `min(x, c)`
    Min = 23,
}

/// The overrides of the steps in front of a kernel's work.
pub const BEFORE: &[&str] = &["BEFORE0", "BEFORE1", "BEFORE2", "BEFORE3"];
/// The overrides of the steps behind it.
pub const AFTER: &[&str] = &["AFTER0", "AFTER1", "AFTER2", "AFTER3", "AFTER4", "AFTER5"];
const BY_POSITION: u32 = 64;

impl Step {
    /// The steps of an element-wise layer of one input; none for other layers.
    pub fn of(op: &Op) -> Option<Vec<Self>> {
        let with = |with, values: &[f32]| Self::With(with, values.to_vec());
        Some(match op {
            Op::Unary(Unary::Relu) => vec![Self::Relu],
            Op::Unary(Unary::Sigmoid) => vec![Self::Sigmoid],
            Op::Unary(Unary::Tanh) => vec![Self::Tanh],
            Op::Unary(Unary::Clip { low, high }) => {
                let bounds = [(With::Max, *low), (With::Min, *high)];
                bounds.iter().filter(|(_, c)| c.is_finite()).map(|&(w, c)| with(w, &[c])).collect()
            }
            Op::Constant { arithmetic, constant, reversed } => {
                let function = match (arithmetic, reversed) {
                    (Arithmetic::Add, _) => With::Add,
                    (Arithmetic::Mul, _) => With::Mul,
                    (Arithmetic::Sub, false) => With::Sub,
                    (Arithmetic::Div, false) => With::Div,
                    (Arithmetic::Sub, true) => With::SubFrom,
                    (Arithmetic::Div, true) => With::DivInto,
                };
                vec![with(function, constant)]
            }
            Op::Quantize(affine) => Self::quantize(affine),
            Op::Dequantize(Affine { scale, zero }) => {
                let zero: Vec<f32> = zero.iter().map(|&zero| zero as f32).collect();
                let shift = zero.iter().any(|&zero| zero != 0.0).then_some(Self::With(With::Sub, zero));
                shift.into_iter().chain([with(With::Mul, scale)]).collect()
            }
            Op::Cast => Vec::new(),
            // Each by name: whoever adds an operator is asked here.
            Op::Dense(_)
            | Op::Integer(_)
            | Op::Arithmetic(_)
            | Op::MaxPool(_)
            | Op::AveragePool { .. }
            | Op::Softmax
            | Op::Reshape
            | Op::Gather { .. } => return None,
        })
    }

    /// What becomes of a sum of integers: the steps behind it.
    pub fn of_output(output: &Output) -> Vec<Self> {
        match output {
            Output::Sum => Vec::new(),
            Output::Scaled { scale } => vec![Self::With(With::Mul, scale.clone())],
            Output::Requantized { scale, zero, low, high } => {
                let mut steps = vec![Self::With(With::Mul, scale.clone()), Self::Round];
                // What changes nothing is left out: -128 and 127 are the sink's own bounds.
                let bounds = [(With::Add, *zero, 0), (With::Max, *low, -128), (With::Min, *high, 127)];
                let needed = bounds.iter().filter(|(_, value, idle)| value != idle);
                steps.extend(needed.map(|&(with, value, _)| Self::With(with, vec![value as f32])));
                steps
            }
            // The kernel itself brings the sum to its scale.
            Output::Fixed { low, high, .. } => [(With::Max, *low), (With::Min, *high)]
                .map(|(with, value)| Self::With(with, vec![value as f32]))
                .into(),
        }
    }

    /// What is in front of a result of I8.
    fn quantize(Affine { scale, zero }: &Affine) -> Vec<Self> {
        let reciprocal = scale.iter().map(|scale| 1.0 / scale).collect();
        let zero: Vec<f32> = zero.iter().map(|&zero| zero as f32).collect();
        let shift = zero.iter().any(|&zero| zero != 0.0).then_some(Self::With(With::Add, zero));
        [Self::With(With::Mul, reciprocal), Self::Round].into_iter().chain(shift).collect()
    }

    /// Its number in the shader, with constants for an example of this layout.
    fn code(&self, layout: Layout) -> u32 {
        match self {
            Self::Relu => 1,
            Self::Sigmoid => 2,
            Self::Tanh => 3,
            Self::Round => 4,
            Self::With(with, values) => {
                *with as u32 + if by_position(values, layout) { BY_POSITION } else { 0 }
            }
        }
    }
}

fn by_position(values: &[f32], layout: Layout) -> bool {
    values.len() > 1 && values.len() != layout.channels
}

/// The steps around a kernel's work, and the layouts of what they see.
#[derive(Clone, Debug)]
pub struct Chains<'a> {
    /// In front.
    pub before: (&'a [Step], Layout),
    /// Behind.
    pub after: (&'a [Step], Layout),
}

impl Chains<'_> {
    /// `spec` with its overrides set.
    ///
    /// # Errors
    /// [`Error::Input`] for more steps than a kernel has in front or behind.
    pub fn settle(&self, mut spec: Spec) -> Result<Spec> {
        for (names, (steps, layout)) in [(BEFORE, self.before), (AFTER, self.after)] {
            if steps.len() > names.len() {
                let (count, most) = (steps.len(), names.len());
                return Err(Error::Input(format!(
                    "{count} steps are more than the {most} that a kernel has"
                )));
            }
            for (name, step) in names.iter().zip(steps) {
                spec = spec.set(name, step.code(layout));
            }
        }
        Ok(spec)
    }

    /// The constants, and how many words each step has.
    pub fn constants(&self, gpu: &Context) -> Result<(Buffer, u64)> {
        let words = |(steps, layout): (&[Step], Layout)| {
            let words = |step: &Step| match step {
                Step::With(_, values) if by_position(values, layout) => layout.words(),
                Step::With(..) => layout.c4(),
                _ => 1,
            };
            steps.iter().map(words).max().unwrap_or(1)
        };
        let slab = words(self.before).max(words(self.after));
        let slabs = BEFORE.len() + AFTER.len();
        let mut all = vec![0f32; slabs * slab * 4];
        for (first, (steps, layout)) in [(0, self.before), (BEFORE.len(), self.after)] {
            for (step, to) in steps.iter().zip(all.chunks_exact_mut(slab * 4).skip(first)) {
                let Step::With(with, values) = step else { continue };
                let packed = match values.as_slice() {
                    [one] => Layout { positions: 1, ..layout }.pack_f32(&vec![*one; layout.channels]),
                    values if by_position(values, layout) => layout.pack_f32(values),
                    values => Layout { positions: 1, ..layout }.pack_f32(values),
                };
                to[..packed.len()].copy_from_slice(&packed);
                // Padding stays finite: a product behind multiplies it by 0.
                if *with == With::Div {
                    to.chunks_exact_mut(4 * layout.c4()).for_each(|place| place[layout.channels..].fill(1.0));
                }
            }
        }
        Ok((Buffer::from_slice(gpu, "constants", slabs as u64, &all)?, slab as u64))
    }
}

/// Elements on the device: the file for the slot `source`.
pub fn source(element: Element) -> &'static str {
    match element {
        Element::F32 => "lib/source_f32",
        Element::I8 => "lib/source_i8",
        Element::I32 => "lib/source_i32",
    }
}

/// The file for the slot `sink`; `plain` is F32 without padding, for the host.
pub fn sink(element: Element, plain: bool) -> &'static str {
    match element {
        Element::F32 if plain => "lib/sink_plain",
        Element::F32 | Element::I32 => "lib/sink_f32",
        Element::I8 => "lib/sink_i8",
    }
}
