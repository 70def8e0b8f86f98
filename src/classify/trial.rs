//! What a dense pass of an engine must write, for the tuner: an interval for each value, which follows the oracle's sums through
//! the steps around them.

use super::dense::Operands;
use super::layout::Layout;
use super::steps::{Step, With};
use crate::gpu::verify::{Answer, Expected, Sample};
use crate::gpu::{Bound, Context, Spec, tune};
use crate::network::{Dense, Element, Integer, Output, Unary};
use crate::oracle::{dense, dense_integer, pointwise};
use crate::random::Random;
use crate::{Error, Result};

/// The least and the largest value that f32 may make of something.
type Interval = [f64; 2];

/// What a pass computes.
#[derive(Clone, Copy)]
pub(super) enum Layer<'a> {
    Float(&'a Dense),
    Integer(&'a Integer),
}

/// A pass over random examples, and what some of its results must be.
pub(super) struct Trial<'a> {
    on: &'a Operands<'a>,
    sample: Sample,
    expected: Expected,
}

impl<'a> Trial<'a> {
    /// Writes examples into the pass's input, which holds nothing of worth before the engine runs.
    ///
    /// # Errors
    /// The device's.
    pub(super) fn new(gpu: &Context, layer: Layer<'_>, on: &'a Operands<'a>) -> Result<Self> {
        let (input, batch) = (&on.geometry.input, on.geometry.batch as usize);
        let (count, layout) = (batch * input.elements(), Layout::of(input));
        let mut random = Random::new(1);
        let sample = Sample::of(batch, []);
        let before = |i: usize, x: f32| through(on.before, [x.into(); 2], layout, i % input.elements());
        let mut words = match (input.element, layer) {
            (Element::I8, Layer::Integer(integer)) => {
                let codes: Vec<i8> = random.words(count).into_iter().map(|word| word as i8).collect();
                on.x.write(gpu, &layout.pack_i8(&codes))?;
                Words::of(on).integers(integer, &sample.pick(&codes))
            }
            (Element::F32, Layer::Integer(integer)) => {
                // Only what f32 quantizes to one code for certain.
                let mut codes = Vec::with_capacity(count);
                let certain = |i: usize| {
                    let code = |x: f64| x.clamp(-128.0, 127.0) as i8;
                    let x = (0..100).map(|_| random.floats(1)[0]).find(|&x| {
                        let [low, high] = before(i, x).map(code);
                        low == high
                    });
                    let x = x.unwrap_or_default();
                    codes.push(code(before(i, x)[0]));
                    x
                };
                let x: Vec<f32> = (0..count).map(certain).collect();
                on.x.write(gpu, &layout.pack_f32(&x))?;
                Words::of(on).integers(integer, &sample.pick(&codes))
            }
            (Element::F32, Layer::Float(dense)) => {
                let x = random.floats(count);
                on.x.write(gpu, &layout.pack_f32(&x))?;
                let x: Vec<Interval> = x.iter().enumerate().map(|(i, &x)| before(i, x)).collect();
                Words::of(on).floats(dense, &sample.pick(&x))
            }
            (element, _) => {
                let name = &input.name;
                return Err(Error::Unsupported(format!("{name}: no dense kernel reads {element:?}")));
            }
        };
        let expected = words.expected();
        Ok(Self { on, sample, expected })
    }

    /// Checks what a variant writes, and times it.
    ///
    /// # Errors
    /// Those of [`tune::trial`].
    pub(super) fn attempt(&self, gpu: &Context, spec: &Spec, bound: &Bound) -> Result<tune::Score> {
        let answer = Answer {
            name: &self.on.geometry.output.name,
            buffer: self.on.y,
            sample: Some(&self.sample),
            expected: &self.expected,
        };
        let budget = std::time::Duration::from_millis(20);
        tune::trial(gpu, spec, &[bound], &[answer], &[bound], budget)
    }
}

/// The results of some examples, channels first.
struct Words<'a> {
    on: &'a Operands<'a>,
    values: Vec<Interval>,
    /// Whole sums, where they are the results.
    sums: Vec<i32>,
}

impl<'a> Words<'a> {
    fn of(on: &'a Operands<'a>) -> Self {
        Self { on, values: Vec::new(), sums: Vec::new() }
    }

    fn integers(mut self, integer: &Integer, codes: &[i8]) -> Self {
        let (input, output) = (&self.on.geometry.input, &self.on.geometry.output);
        let places = output.elements() / output.channels();
        for codes in codes.chunks(input.elements()) {
            let sums = dense_integer::sums(integer, (input, output), codes);
            self.sums.extend(sums.iter().map(|&sum| sum as i32));
            self.values.extend(sums.iter().enumerate().map(|(i, &sum)| {
                let start = match &integer.output {
                    Output::Fixed { steps, .. } => steps[i / places].of(sum) as f64,
                    _ => f64::from(sum as f32),
                };
                through(self.on.after, [start; 2], Layout::of(output), i)
            }));
        }
        self
    }

    fn floats(mut self, dense: &Dense, x: &[Interval]) -> Self {
        let (input, output) = (&self.on.geometry.input, &self.on.geometry.output);
        // How far the values in front may be off weighs as much as the weights do.
        let sizes = Dense { weights: dense.weights.iter().map(|w| w.abs()).collect(), ..dense.clone() };
        let sizes = Dense { bias: vec![0.0; dense.bias.len()], ..sizes };
        let terms = (input.channels() * self.on.geometry.window.taps() + 4) as f64;
        for x in x.chunks(input.elements()) {
            let middle: Vec<f64> = x.iter().map(|[low, high]| (low + high) / 2.0).collect();
            let off: Vec<f64> = x.iter().map(|[low, high]| (high - low) / 2.0).collect();
            let sums = dense::dense(dense, (input, output), &middle);
            let offs = dense::dense(&sizes, (input, output), &off);
            self.values.extend(sums.iter().zip(offs).enumerate().map(|(i, (&(sum, size), (off, _)))| {
                let bound = off + (size + off) * terms * f64::from(f32::EPSILON);
                through(self.on.after, [sum - bound, sum + bound], Layout::of(output), i)
            }));
        }
        self
    }

    /// As they lie on the device.
    fn expected(&mut self) -> Expected {
        let output = &self.on.geometry.output;
        let layout = Layout::of(output);
        match output.element {
            Element::I32 => Expected::Exact(bytemuck::cast_slice(&layout.pack(&self.sums)).to_vec()),
            Element::I8 => {
                let codes = |end: usize| {
                    let codes = self.values.iter().map(|value| value[end].clamp(-128.0, 127.0) as i8);
                    layout.pack_i8(&codes.collect::<Vec<_>>())
                };
                let (low, high) = (codes(0), codes(1));
                let words = low.chunks_exact(4).zip(high.chunks_exact(4));
                Expected::OneOf(words.map(|(low, high)| options(low, high)).collect())
            }
            Element::F32 => {
                let packed = |of: fn(&Interval) -> f64| -> Vec<f64> {
                    let values: Vec<f64> = self.values.iter().map(of).collect();
                    if self.on.plain { channels_last(&values, layout) } else { layout.pack(&values) }
                };
                let values = packed(|[low, high]| (low + high) / 2.0);
                Expected::Within { values, bounds: packed(|[low, high]| (high - low) / 2.0) }
            }
        }
    }
}

/// The words of four codes from `low` to `high` each.
fn options(low: &[i8], high: &[i8]) -> Vec<u32> {
    let mut words = vec![0];
    for (i, (&low, &high)) in low.iter().zip(high).enumerate() {
        let code = |code: i8| u32::from(code as u8) << (8 * i);
        words = words.iter().flat_map(|word| (low..=high).map(move |one| word | code(one))).collect();
    }
    words
}

/// Examples, channels first, as the host gets them: channels last, without padding.
fn channels_last(values: &[f64], layout: Layout) -> Vec<f64> {
    let Layout { channels, positions } = layout;
    let example = |example: &[f64]| {
        let at =
            (0..positions).flat_map(|place| (0..channels).map(move |channel| channel * positions + place));
        at.map(|at| example[at]).collect::<Vec<_>>()
    };
    values.chunks(layout.elements().max(1)).flat_map(example).collect()
}

/// What steps make of a value, which is element `at` of an example of this layout, channels first.
fn through(steps: &[Step], start: Interval, layout: Layout, at: usize) -> Interval {
    // Sums and products round once, quotients are good to 2.5 ulp (WGSL); what f32 holds does not round.
    let rounded = |[low, high]: Interval| {
        let holds = |x: f64| f64::from(x as f32) == x;
        let off = |x: f64| if holds(x) { 0.0 } else { 3.0 * f64::from(f32::EPSILON) * x.abs() + 1e-38 };
        [low - off(low), high + off(high)]
    };
    // Exponentials are good to 3 + 2 |x| ulp, of results below 1 that grow at most as their argument.
    let curve = |unary: Unary, x: Interval| {
        let [low, high] = x.map(|x| pointwise::unary(unary, x));
        [low - 32.0 * f64::from(f32::EPSILON), high + 32.0 * f64::from(f32::EPSILON)]
    };
    let sorted = |[a, b]: Interval| [a.min(b), a.max(b)];
    steps.iter().fold(start, |x, step| match step {
        Step::Relu => x.map(|x| x.max(0.0)),
        Step::Sigmoid => curve(Unary::Sigmoid, x),
        Step::Tanh => curve(Unary::Tanh, x),
        Step::Round => x.map(f64::round_ties_even),
        Step::With(with, values) => {
            let c = f64::from(match values.len() {
                1 => values[0],
                count if count == layout.channels => values[at / layout.positions],
                _ => values[at],
            });
            match with {
                With::Add => rounded(x.map(|x| x + c)),
                With::Sub => rounded(x.map(|x| x - c)),
                With::SubFrom => rounded(sorted(x.map(|x| c - x))),
                With::Mul => rounded(sorted(x.map(|x| x * c))),
                With::Div => rounded(sorted(x.map(|x| x / c))),
                With::DivInto if x[0] <= 0.0 && x[1] >= 0.0 => [f64::NEG_INFINITY, f64::INFINITY],
                With::DivInto => rounded(sorted(x.map(|x| c / x))),
                With::Max => x.map(|x| x.max(c)),
                With::Min => x.map(|x| x.min(c)),
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_keep_whole_numbers_and_hold_what_f32_makes() {
        let layout = Layout { channels: 2, positions: 3 };
        let requantized = [
            Step::With(With::Mul, vec![0.011, 0.3]),
            Step::Round,
            Step::With(With::Add, vec![7.0]),
            Step::With(With::Max, vec![-100.0]),
        ];
        for sum in [-70_000, -13, 0, 5, 12_345] {
            for at in 0..6 {
                let scale = [0.011f32, 0.3][at / 3];
                let code = ((sum as f32 * scale).round_ties_even() + 7.0).max(-100.0);
                let [low, high] = through(&requantized, [f64::from(sum as f32); 2], layout, at);
                assert!(low <= f64::from(code) && f64::from(code) <= high && high - low <= 1.0);
            }
        }
        let x = 0.7f32;
        let [low, high] =
            through(&[Step::Tanh, Step::With(With::SubFrom, vec![0.1])], [x.into(); 2], layout, 0);
        let got = f64::from(0.1 - x.tanh());
        assert!(low <= got && got <= high && high - low < 1e-5);
    }

    #[test]
    fn words_take_every_code_between() {
        assert_eq!(options(&[1, 0, 0, -1], &[1, 0, 0, -1]), [0xff00_0001]);
        assert_eq!(options(&[1, 2, 0, 0], &[2, 2, 0, 0]), [0x201, 0x202]);
        assert_eq!(
            channels_last(&[1.0, 2.0, 3.0, 4.0], Layout { channels: 2, positions: 2 }),
            [1.0, 3.0, 2.0, 4.0]
        );
    }
}
