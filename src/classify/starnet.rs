//! StarNets: networks in few bits whose first layer the CPU computes on raw pixels, in registers of 16 bits, while the GPU
//! computes the layers behind it for the frames before.

use std::time::{Duration, Instant};

use super::calibrate;
use super::engine::{Engine, Keep};
use super::judge::largest;
use crate::audit::Paired;
use crate::calibration::Method;
use crate::feed::{Ahead, in_order};
use crate::gpu::Context;
use crate::network::low_bit::{Budgets, Input, low_bit};
use crate::network::lower::code;
use crate::network::{Affine, Element, Integer, Layer, Network, Op, Output, Value};
use crate::{Error, Result};

/// Bits of the registers that [`First`] computes in.
const REGISTER: u32 = i16::BITS;

/// `network` in few bits, its ranges taken from `rows`: the least and the largest value of each layer over all examples.
///
/// # Errors
/// Those of [`calibrate::ranges`] and of [`low_bit`].
pub fn calibrated(gpu: &Context, network: &Network, budgets: &Budgets, rows: &[f32]) -> Result<Network> {
    let ranges = calibrate::ranges(gpu, network, rows, Method::MinMax)?;
    low_bit(network, budgets, Input::of(rows), |name| {
        let range = ranges.iter().find(|range| range.name == name)?;
        Some((range.min, range.max))
    })
}

/// A first layer on the CPU: codes of pixels times weights in registers of 16 bits that wrap around, then codes again.
#[derive(Clone, Debug)]
pub struct First {
    integer: Integer,
    affine: Affine,
    input: Value,
    output: Value,
    /// What the registers begin with.
    constants: Vec<i16>,
}

impl First {
    /// The codes of one frame, which is the input of the network, channels first.
    fn codes(&self, frame: &[f32]) -> Vec<i8> {
        let (scale, zero) = (self.affine.scale[0], self.affine.zero[0]);
        frame.iter().map(|&x| code(x, scale, zero) as i8).collect()
    }

    /// What the layer makes of one frame: codes, channels first.
    pub fn run(&self, frame: &[f32]) -> Vec<i8> {
        let Integer { weights, window, groups, input_zero, output, .. } = &self.integer;
        let Output::Fixed { steps, low, high } = output else { return Vec::new() };
        let frame = self.codes(frame);
        let ([height, width], [out_height, out_width]) = (self.input.picture(), self.output.picture());
        let (group_in, group_out) = (self.input.channels() / groups, self.output.channels() / groups);
        let (taps, padding) = (window.taps(), *input_zero as i16);
        let mut results = Vec::with_capacity(self.output.elements());
        let mut sums = vec![0i16; out_width];
        for (out, step) in steps.iter().enumerate() {
            let weights = &weights[out * group_in * taps..][..group_in * taps];
            for y in 0..out_height {
                sums.fill(self.constants[out]);
                for tap in 0..taps {
                    let [i, j] = window.tap(tap);
                    let Some(row) = window.source(0, y, i, height) else {
                        let all: i16 = weights[tap..].iter().step_by(taps).fold(0, |all, &weight| {
                            all.wrapping_add(i16::from(weight).wrapping_mul(padding))
                        });
                        sums.iter_mut().for_each(|sum| *sum = sum.wrapping_add(all));
                        continue;
                    };
                    for channel in 0..group_in {
                        let weight = i16::from(weights[channel * taps + tap]);
                        let plane = (out / group_out * group_in + channel) * height;
                        let row = &frame[(plane + row) * width..][..width];
                        for (x, sum) in sums.iter_mut().enumerate() {
                            let column = window.source(1, x, j, width);
                            let code = column.map_or(padding, |column| row[column].into());
                            *sum = sum.wrapping_add(weight.wrapping_mul(code));
                        }
                    }
                }
                let scaled = sums.iter().map(|&sum| step.of(sum.into()).clamp((*low).into(), (*high).into()));
                results.extend(scaled.map(|code| code as i8));
            }
        }
        results
    }
}

/// How long a stream of frames took.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct StreamTime {
    /// Frames.
    pub frames: usize,
    /// From the first frame to the last answer, in seconds.
    pub seconds: f64,
    /// Of which the CPU computed first layers.
    pub first_seconds: f64,
    /// Of which the GPU computed the rest.
    pub rest_seconds: f64,
}

/// A network on both: its first layer on the CPU, the others on the GPU.
#[derive(Debug)]
pub struct Hybrid {
    first: First,
    engine: Engine,
}

impl Hybrid {
    /// Splits and binds a network of [`low_bit`] for batches of up to `batch` frames.
    ///
    /// # Errors
    /// [`Error::Input`] for a network whose input is not read by one layer of integers in registers of 16 bits alone, which makes
    /// codes; the device's.
    pub fn new(gpu: &Context, network: &Network, batch: u64) -> Result<Self> {
        let (first, rest) = split(network)?;
        Ok(Self { first, engine: Engine::new(gpu, &rest, batch, Keep::Output)? })
    }

    /// One example of the output.
    pub fn output(&self) -> &Value {
        self.engine.output()
    }

    /// Answers to `frames`, which are examples of the network's input, and the time it took. The CPU is up to two batches ahead.
    ///
    /// # Errors
    /// [`Error::Input`] for values that are no frames; the device's.
    pub fn run(&self, gpu: &Context, frames: &[f32]) -> Result<(Vec<f32>, StreamTime)> {
        let size = self.first.input.elements();
        if !frames.len().is_multiple_of(size) {
            return Err(Error::Shape(format!("{} values are no frames of {size}", frames.len())));
        }
        let begun = Instant::now();
        let batch = self.engine.batch() as usize * size;
        let first = |(): &mut (), frames: &[f32]| {
            let begun = Instant::now();
            let codes = frames.chunks_exact(size).flat_map(|frame| self.first.run(frame));
            Ok((codes.map(f32::from).collect::<Vec<f32>>(), begun.elapsed()))
        };
        let batches = frames.chunks(batch);
        let (mut outputs, mut first_time, mut rest_time) = (Vec::new(), Duration::ZERO, Duration::ZERO);
        in_order(Ahead { threads: 1, waiting: 2 }, batches.clone(), first, |made| {
            for _ in batches {
                let (codes, time) = made.next()?;
                first_time += time;
                let begun = Instant::now();
                outputs.extend(self.engine.run(gpu, &codes)?);
                rest_time += begun.elapsed();
            }
            Ok(())
        })?;
        let time = StreamTime {
            frames: frames.len() / size,
            seconds: begun.elapsed().as_secs_f64(),
            first_seconds: first_time.as_secs_f64(),
            rest_seconds: rest_time.as_secs_f64(),
        };
        Ok((outputs, time))
    }
}

/// The first layer of a network, and a network of the others, whose input is the first one's codes as floats.
fn split(network: &Network) -> Result<(First, Network)> {
    let fault =
        |problem: &str| Error::Input(format!("the network has no first layer for the CPU: {problem}"));
    let mut readers = network.layers.iter().filter(|layer| layer.inputs.contains(&network.input));
    let (Some(Layer { op: Op::Quantize(affine), output: codes, .. }), None) =
        (readers.next(), readers.next())
    else {
        return Err(fault("its input is not only quantized"));
    };
    let mut readers = network.layers.iter().enumerate().filter(|(_, layer)| layer.inputs.contains(codes));
    let (Some((at, Layer { op: Op::Integer(integer), output, .. })), None) = (readers.next(), readers.next())
    else {
        return Err(fault("the codes of its input are not read by one layer with weights alone"));
    };
    if integer.register != REGISTER || !matches!(integer.output, Output::Fixed { .. }) {
        return Err(fault("it is not one of registers of 16 bits that makes codes"));
    }
    let [] = integer.weight_zero.iter().filter(|&&zero| zero != 0).collect::<Vec<_>>()[..] else {
        return Err(fault("its weights have a zero point"));
    };
    let first = First {
        constants: integer.constants().into_iter().map(|constant| constant as i16).collect(),
        integer: integer.clone(),
        affine: affine.clone(),
        input: network.values[*codes].clone(),
        output: network.values[*output].clone(),
    };
    let mut rest = network.clone();
    let input = rest.values.len();
    rest.values.push(Value {
        name: "codes of the first layer".into(),
        element: Element::F32,
        ..first.output.clone()
    });
    rest.layers[at] = Layer {
        name: "codes of the first layer".into(),
        operator: "QuantizeLinear",
        inputs: vec![input],
        output: *output,
        op: Op::Quantize(Affine { scale: vec![1.0], zero: vec![0] }),
    };
    rest.layers.retain(|layer| layer.output != *codes);
    rest.input = input;
    Ok((first, rest))
}

/// How often a network names the right class, in floats and in few bits.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Accuracy {
    /// Rows of the test.
    pub rows: usize,
    /// How many of them the network names rightly in f32.
    pub right_f32: usize,
    /// How many in few bits.
    pub right_low_bit: usize,
    /// How many it names rightly in f32 only.
    pub lost: usize,
    /// How many get another class in few bits than in f32.
    pub changed: usize,
    /// The network in few bits over all rows, its first layer on the CPU while the GPU computes the others; none where the first layer
    /// is not one for the CPU.
    pub stream: Option<StreamTime>,
}

impl Accuracy {
    /// The share of right rows in f32.
    pub fn f32(&self) -> f64 {
        self.right_f32 as f64 / self.rows.max(1) as f64
    }

    /// The share of right rows in few bits.
    pub fn low_bit(&self) -> f64 {
        self.right_low_bit as f64 / self.rows.max(1) as f64
    }

    /// The share of rows that get another class.
    pub fn changed(&self) -> f64 {
        self.changed as f64 / self.rows.max(1) as f64
    }

    /// The drop of the accuracy, and its upper bound at this confidence.
    pub fn drop(&self, confidence: f64) -> Paired {
        let gained = self.lost + self.right_low_bit - self.right_f32;
        Paired::of_shares(self.lost as u64, gained as u64, self.rows as u64, confidence)
    }

    /// The gate.
    ///
    /// # Errors
    /// [`Error::Gate`] if the accuracy drops by more than the limit, or may, or if more rows get another class than may.
    pub fn gate(&self, limits: &Limits) -> Result<()> {
        let &Limits { max_drop, max_flipped, confidence, point } = limits;
        let Paired { drop, upper_bound, .. } = self.drop(confidence);
        let mut problems = Vec::new();
        if drop > max_drop {
            problems.push(format!("the accuracy drops by {drop:.6}, more than the limit of {max_drop}"));
        } else if upper_bound > max_drop && !point {
            problems.push(format!(
                "the accuracy drops by {drop:.6}, but {} rows are too few to be certain that it is within the limit of \
                 {max_drop}: upper bound {upper_bound:.6}; measure more rows, or gate on the drop alone",
                self.rows
            ));
        }
        if self.changed() > max_flipped {
            problems.push(format!(
                "{} of {} rows get another class, a share of more than {max_flipped}",
                self.changed, self.rows
            ));
        }
        if problems.is_empty() { Ok(()) } else { Err(Error::Gate(problems.join("; "))) }
    }
}

/// What few bits may cost.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Limits {
    /// The largest drop of the accuracy.
    pub max_drop: f64,
    /// The largest share of rows that get another class.
    pub max_flipped: f64,
    /// The confidence of the drop's upper bound, one-sided: at least 0.5 and less than 1.
    pub confidence: f64,
    /// Whether the drop alone has to be within the limit, however uncertain it is.
    pub point: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_drop: 0.03, max_flipped: 0.05, confidence: 0.95, point: false }
    }
}

/// Frames that run at once.
const BATCH: u64 = 256;

/// Compares `network` with what it is in few bits, on rows with a class each: the place of the largest output.
///
/// # Errors
/// [`Error::Input`] for classes that the network does not have; the device's.
pub fn accuracy(
    gpu: &Context,
    network: &Network,
    low_bit: &Network,
    rows: &[f32],
    classes: &[i32],
) -> Result<Accuracy> {
    let outputs = network.values[network.output].elements();
    let known = |class: i32| usize::try_from(class).is_ok_and(|class| class < outputs);
    if let Some(row) = classes.iter().position(|&class| !known(class)) {
        let class = classes[row];
        return Err(Error::Input(format!(
            "the class of row {row} (counted from 0) is {class}; the network has {outputs} outputs, 0 to {}",
            outputs.saturating_sub(1)
        )));
    }
    let elements = network.values[network.input].elements();
    if rows.len() != classes.len() * elements {
        return Err(Error::Shape(format!(
            "there are {} rows and {} classes: there has to be one for each row",
            rows.len() / elements.max(1),
            classes.len()
        )));
    }
    let batch = BATCH.min(classes.len() as u64);
    let in_f32 = Engine::new(gpu, network, batch, Keep::Output)?.run(gpu, rows)?;
    let (in_few, stream) = match split(low_bit) {
        Ok(_) => {
            let hybrid = Hybrid::new(gpu, low_bit, batch)?;
            // Pipelines are cold at first.
            hybrid.run(gpu, rows.get(..elements).unwrap_or_default())?;
            let (outputs, time) = hybrid.run(gpu, rows)?;
            (outputs, Some(time))
        }
        Err(_) => (Engine::new(gpu, low_bit, batch, Keep::Output)?.run(gpu, rows)?, None),
    };
    let named = |values: &[f32]| -> Vec<usize> { values.chunks_exact(outputs).map(largest).collect() };
    let (f32, few) = (named(&in_f32), named(&in_few));
    let right = |named: &[usize]| -> Vec<bool> {
        named.iter().zip(classes).map(|(&a, &b)| a as i64 == i64::from(b)).collect()
    };
    let (right_f32, right_few) = (right(&f32), right(&few));
    let count = |right: &[bool]| right.iter().filter(|&&right| right).count();
    Ok(Accuracy {
        rows: classes.len(),
        right_f32: count(&right_f32),
        right_low_bit: count(&right_few),
        lost: right_f32.iter().zip(&right_few).filter(|&(&a, &b)| a && !b).count(),
        changed: f32.iter().zip(&few).filter(|(a, b)| a != b).count(),
        stream,
    })
}
