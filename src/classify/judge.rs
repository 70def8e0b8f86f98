//! The audit of a classifier: the f32 engine and the INT8 engine on a labelled test set, and what each layer costs.

use serde::Serialize;

use super::engine::{Engine, Keep};
use super::rank;
use crate::audit::{self, Audit, Input, Options};
use crate::calibration::{self, Range};
use crate::gpu::{Buffer, Context};
use crate::network::quantize::{LayerPlan, Quantized, calibrated_as, quantize};
use crate::network::{Affine, Network, Op};
use crate::{Error, Result};

/// Examples that run at once.
const BATCH: u64 = 4096;

/// A tensor none of whose codes is larger than this is warned of: two of its seven bits, and more, are of no use.
const LEAST_USED: u8 = 31;

/// A labelled test set.
#[derive(Clone, Copy, Debug)]
pub struct Test<'a> {
    /// Examples, channels first.
    pub rows: &'a [f32],
    /// What is true of each.
    pub labels: &'a [bool],
    /// Which print, layer or patient each belongs to, if they are not independent.
    pub groups: Option<&'a [i32]>,
    /// Which output is the probability of a positive.
    pub class: usize,
}

/// A layer with weights: how it runs, and what it costs.
#[derive(Clone, Debug, Serialize)]
pub struct LayerRow {
    /// How it runs.
    #[serde(flatten)]
    pub plan: LayerPlan,
    /// The drop of the AUC where it alone is quantized; none for a layer that is not.
    pub drop_alone: Option<f64>,
}

/// A tensor of int8 activations.
#[derive(Clone, Debug, Serialize)]
pub struct TensorRow {
    /// Its name.
    pub name: String,
    /// The size of a step.
    pub scale: f32,
    /// The largest size that has a code of its own.
    pub threshold: f32,
    /// Least and largest value in calibration, where known.
    pub calibrated: Option<(f32, f32)>,
    /// The share of calibration values beyond the threshold, where known.
    pub clipped: Option<f64>,
    /// How many codes of the test set are 127 or -127 (or -128).
    pub saturated: u64,
    /// How many of them stand for values beyond the range, by more than half a step: the others are right.
    pub cut_off: u64,
    /// The size of the largest code of the test set.
    pub largest: u8,
    /// Codes of the test set.
    pub codes: u64,
}

/// The weights of a layer.
#[derive(Clone, Debug, Serialize)]
pub struct WeightRow {
    /// The layer.
    pub layer: String,
    /// Least and largest weight.
    pub range: (f32, f32),
    /// Output channels, each with a scale of its own.
    pub channels: usize,
    /// Least and largest scale.
    pub scales: (f32, f32),
    /// How many channels are all zero.
    pub zero_channels: usize,
}

/// An audit, and where the drop comes from.
#[derive(Clone, Debug, Serialize)]
pub struct Judgement {
    /// The verdict.
    #[serde(flatten)]
    pub audit: Audit,
    /// Layers with weights, the most costly first.
    pub layers: Vec<LayerRow>,
    /// Activations of int8.
    pub tensors: Vec<TensorRow>,
    /// Weights of layers that are quantized.
    pub weights: Vec<WeightRow>,
    /// Probabilities by the f32 engine.
    #[serde(skip)]
    pub baseline: Vec<f32>,
    /// Probabilities by the INT8 engine.
    #[serde(skip)]
    pub quantized: Vec<f32>,
}

/// The probability of a positive for each example.
///
/// # Errors
/// [`Error::Input`] if there is no such output; those of [`Engine::run`].
pub fn probabilities(gpu: &Context, engine: &Engine, rows: &[f32], class: usize) -> Result<Vec<f32>> {
    answers(gpu, engine, rows, class).map(|(probabilities, _)| probabilities)
}

/// The probability of a positive for each example, and the place of its largest output.
fn answers(gpu: &Context, engine: &Engine, rows: &[f32], class: usize) -> Result<(Vec<f32>, Vec<usize>)> {
    let outputs = engine.output().elements();
    if class >= outputs {
        return Err(Error::Input(format!(
            "there is no output {class}: the model has {outputs}, counted from 0"
        )));
    }
    let all = engine.run(gpu, rows)?;
    let named = all.chunks_exact(outputs).map(largest).collect();
    Ok((all.chunks_exact(outputs).map(|outputs| outputs[class]).collect(), named))
}

/// The place of the largest output, the first of equals.
pub(super) fn largest(outputs: &[f32]) -> usize {
    let places = outputs.iter().enumerate().rev();
    places.max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(place, _)| place)
}

impl TensorRow {
    /// The share of codes that the range cuts off.
    pub fn share_cut_off(&self) -> f64 {
        self.cut_off as f64 / self.codes.max(1) as f64
    }
}

/// Two engines on one test set.
#[derive(Clone, Debug)]
pub struct Compared {
    /// The verdict.
    pub audit: Audit,
    /// Probabilities by the f32 engine.
    pub baseline: Vec<f32>,
    /// Probabilities by the INT8 engine.
    pub quantized: Vec<f32>,
    /// Activations of int8.
    pub tensors: Vec<TensorRow>,
}

/// Runs `network` and what is to take its place, and audits the difference: of the scores, of the classes where there are more
/// than two, and of the range of each tensor of int8, of which `ranges` tell more where they are known.
///
/// # Errors
/// Those of [`audit::audit`]; the device's.
pub fn compare(
    gpu: &Context,
    network: &Network,
    integers: &Network,
    ranges: &[Range],
    test: &Test<'_>,
    options: &Options,
    progress: &mut dyn FnMut(&str),
) -> Result<Compared> {
    let batch = BATCH.min(test.labels.len() as u64);
    let mut run = |network: &Network, name: &str| {
        progress(&format!("running the {name} engine"));
        answers(gpu, &Engine::new(gpu, network, batch, Keep::Output)?, test.rows, test.class)
    };
    let ((baseline, named), (quantized, named_in_few)) = (run(network, "f32")?, run(integers, "INT8")?);
    let input =
        Input { labels: test.labels, baseline: &baseline, quantized: &quantized, groups: test.groups };
    let go_on = || gpu.go_on(|| "while an audit was made".into());
    let counts = &mut |x: &[f32], others: &[f32]| rank::counts(gpu, x, others);
    let mut audit = audit::audit_while(&input, options, counts, &go_on)?;
    if network.values[network.output].elements() > 2 {
        let flipped = named.iter().zip(&named_in_few).filter(|(a, b)| a != b).count();
        audit.add_class_flips(flipped as u64, options);
    }
    progress("counting saturated codes");
    let tensors = tensors(gpu, integers, ranges, test.rows, batch)?;
    if let Some(worst) = tensors.iter().max_by(|a, b| a.share_cut_off().total_cmp(&b.share_cut_off())) {
        audit.add_saturation(&worst.name, worst.share_cut_off(), options);
    }
    for row in tensors.iter().filter(|row| row.largest <= LEAST_USED) {
        audit.warnings.push(format!(
            "the codes of {} go to {} of 127: its range is too large, or the test set is unlike the calibration data",
            crate::io::quoted(&row.name),
            row.largest
        ));
    }
    Ok(Compared { audit, baseline, quantized, tensors })
}

/// Runs `network` as it is and quantized, and audits the difference. `ranges` are of calibration; `scale_of` gives the scale of
/// a tensor. `progress` hears what is done.
///
/// # Errors
/// Those of [`audit::audit`]; the device's.
pub fn judge(
    gpu: &Context,
    network: &Network,
    ranges: &[Range],
    scale_of: &dyn Fn(&str) -> Option<f32>,
    test: &Test<'_>,
    options: &Options,
    progress: &mut dyn FnMut(&str),
) -> Result<Judgement> {
    let Quantized { network: integers, layers } = quantize(network, scale_of, |_| true);
    let Compared { mut audit, baseline, quantized, tensors } =
        compare(gpu, network, &integers, ranges, test, options, progress)?;
    if !layers.iter().any(|layer| layer.int8) {
        audit.warnings.push("no layer runs on integers: the verdict is about the f32 model itself".into());
    }
    let batch = BATCH.min(test.labels.len() as u64);
    let run = |network: &Network| {
        let engine = Engine::new(gpu, network, batch, Keep::Output)?;
        probabilities(gpu, &engine, test.rows, test.class)
    };
    let mut counts = |x: &[f32], others: &[f32]| rank::counts(gpu, x, others);
    let mut rows = Vec::new();
    for plan in layers {
        // A layer that was quantized in the file has no f32 form to compare with.
        let dense = network.layers.iter().any(|l| l.name == plan.layer && matches!(l.op, Op::Dense(_)));
        let drop_alone = if plan.int8 && dense {
            progress(&format!("quantizing {} alone", plan.layer));
            let alone = quantize(network, scale_of, |name| name == plan.layer);
            let area = audit::area(test.labels, &run(&alone.network)?, &mut counts)?;
            Some(audit.auc_fp32_baseline - area)
        } else {
            None
        };
        rows.push(LayerRow { plan, drop_alone });
    }
    rows.sort_by(|a, b| b.drop_alone.unwrap_or(f64::MIN).total_cmp(&a.drop_alone.unwrap_or(f64::MIN)));
    let int8 = |name: &str| rows.iter().any(|row| row.plan.layer == name && row.plan.int8);
    let weights = weights(network, int8)?;
    Ok(Judgement { audit, layers: rows, tensors, weights, baseline, quantized })
}

/// The int8 activations of `integers`, and how many of their codes are the largest there are.
fn tensors(
    gpu: &Context,
    integers: &Network,
    ranges: &[Range],
    rows: &[f32],
    batch: u64,
) -> Result<Vec<TensorRow>> {
    let engine = Engine::new(gpu, integers, batch, Keep::All)?;
    let mut found: Vec<(TensorRow, Ends, [&Buffer; 2])> = Vec::new();
    for layer in &integers.layers {
        let Op::Quantize(affine) = &layer.op else { continue };
        let codes = engine.buffer(layer.output);
        let (Some((value, codes)), Some((_, values))) = (codes, engine.buffer(layer.inputs[0])) else {
            continue;
        };
        let from = calibrated_as(integers, layer.inputs[0]);
        let range = ranges.iter().find(|range| range.name == from);
        let scale = affine.scale.first().copied().unwrap_or(0.0);
        let row = TensorRow {
            name: from.to_owned(),
            scale,
            threshold: scale * calibration::LEVELS as f32,
            calibrated: range.map(|range| (range.min, range.max)),
            clipped: range.map(|range| range.clipped),
            saturated: 0,
            cut_off: 0,
            largest: 0,
            codes: (rows.len() / integers.values[integers.input].elements() * value.elements()) as u64,
        };
        found.push((row, Ends::of(affine), [codes, values]));
    }
    engine.run_batches(gpu, rows, |count, _| {
        let part = |buffer: &Buffer| count * buffer.bytes() / buffer.rows().max(1);
        for (row, ends, [codes, values]) in &mut found {
            let of_batch = part(codes) as usize;
            let codes: Vec<i8> = codes.read(gpu)?;
            // Padding is 0.
            let sizes = || codes[..of_batch].iter().map(|code| code.unsigned_abs());
            let saturated = sizes().filter(|&size| size >= 127).count() as u64;
            row.saturated += saturated;
            row.largest = sizes().max().unwrap_or(0).max(row.largest);
            if saturated > 0 {
                let of_batch = part(values) as usize / size_of::<f32>();
                let values: Vec<f32> = values.read(gpu)?;
                row.cut_off += values[..of_batch].iter().filter(|&&value| ends.cut(value)).count() as u64;
            }
        }
        Ok(())
    })?;
    Ok(found.into_iter().map(|(row, ..)| row).collect())
}

/// Between which values the codes of a tensor tell one from another. Where an end is the zero point, nothing is cut off there:
/// what is beyond it is 0, as behind a Relu.
#[derive(Clone, Copy, Debug)]
struct Ends {
    low: f64,
    high: f64,
}

impl Ends {
    fn of(affine: &Affine) -> Self {
        let scale = f64::from(affine.scale.first().copied().unwrap_or(0.0));
        let zero = affine.zero.first().copied().unwrap_or(0);
        let value = |code: f64| (code - f64::from(zero)) * scale;
        Self {
            low: if zero > -127 { value(-128.5) } else { f64::NEG_INFINITY },
            high: if zero < 127 { value(127.5) } else { f64::INFINITY },
        }
    }

    fn cut(self, value: f32) -> bool {
        let value = f64::from(value);
        value > self.high || value < self.low
    }
}

/// The weights of floats of those layers of `network` that `wanted` names.
///
/// # Errors
/// Those of [`calibration::channels`].
pub fn weights(network: &Network, wanted: impl Fn(&str) -> bool) -> Result<Vec<WeightRow>> {
    let mut found = Vec::new();
    for layer in network.layers.iter().filter(|layer| wanted(&layer.name)) {
        let Op::Dense(dense) = &layer.op else { continue };
        let channels = calibration::channels(&layer.name, &dense.weights, dense.bias.len())?;
        let least = channels.scales.iter().copied().fold(f32::MAX, f32::min);
        let most = channels.scales.iter().copied().fold(0.0, f32::max);
        found.push(WeightRow {
            layer: layer.name.clone(),
            range: (channels.min, channels.max),
            channels: dense.bias.len(),
            scales: (least, most),
            zero_channels: channels.zero,
        });
    }
    Ok(found)
}
