//! Calibration, audits and speed of classifiers, as tables and documents.

use std::time::Duration;

use serde::Serialize;

use super::audit;
use crate::Result;
use crate::calibration::{Contents, Range};
use crate::classify::calibrate::WANTED_ROWS;
use crate::classify::engine::{Engine, Keep};
use crate::classify::judge::{Judgement, LayerRow, TensorRow, WeightRow};
use crate::classify::latency::{DEADLINE_US, Latency, batch, has_integers, latency};
use crate::gpu::{Context, OpKind, Timing};
use crate::io::quoted;
use crate::network::Network;
use crate::network::quantize::LayerPlan;
use crate::random::Random;
use crate::roofline::{Effort, Roofs, Share};
use crate::table;

/// What must be known before trusting ranges that come from so many rows.
pub fn warnings(ranges: &[Range], rows: u64) -> Vec<String> {
    let mut warnings = Vec::new();
    if rows < WANTED_ROWS as u64 {
        warnings.push(format!("the calibration data has {rows} rows: {WANTED_ROWS} or more are asked for"));
    }
    for range in ranges {
        let name = quoted(&range.name);
        match range.contents {
            Contents::Zero => warnings
                .push(format!("tensor {name} was 0 throughout calibration: layers that read it stay in f32")),
            Contents::Constant => warnings.push(format!(
                "tensor {name} was {} throughout calibration: its range says little about other data",
                range.min
            )),
            Contents::Varied => (),
        }
    }
    warnings
}

/// What every tensor held in calibration, and how it is quantized.
pub fn ranges(ranges: &[Range]) -> String {
    let row = |range: &Range| {
        vec![
            name(&range.name),
            short(range.min),
            short(range.max),
            short(range.threshold),
            short(range.scale),
            percent(range.clipped),
            match range.contents {
                Contents::Zero => "zero",
                Contents::Constant => "constant",
                Contents::Varied => "varied",
            }
            .into(),
        ]
    };
    let header = ["tensor", "min", "max", "threshold", "scale", "clipped %", "contents"];
    table::render(&header, ranges.iter().map(row).collect())
}

/// The weights of layers, and how they are quantized.
pub fn weights(weights: &[WeightRow]) -> String {
    let row = |row: &WeightRow| {
        vec![
            name(&row.layer),
            row.channels.to_string(),
            short(row.range.0),
            short(row.range.1),
            format!("{} to {}", short(row.scales.0), short(row.scales.1)),
            row.zero_channels.to_string(),
        ]
    };
    let header = ["weights of", "channels", "min", "max", "scales", "all zero"];
    table::render(&header, weights.iter().map(row).collect())
}

/// Layers with weights, and why some of them stay in f32.
pub fn plan(layers: &[LayerPlan]) -> String {
    let row = |plan: &LayerPlan| vec![name(&plan.layer), plan.operator.into(), runs_as(plan)];
    table::render(&["layer", "operator", "runs as"], layers.iter().map(row).collect())
}

fn runs_as(plan: &LayerPlan) -> String {
    match (&plan.reason, plan.int8) {
        (_, true) => "int8".into(),
        (Some(reason), _) => format!("f32: {reason}"),
        (None, _) => "f32".into(),
    }
}

fn layers(rows: &[LayerRow]) -> String {
    let row = |row: &LayerRow| {
        vec![
            name(&row.plan.layer),
            row.plan.operator.into(),
            row.drop_alone.map_or("-".into(), |drop| format!("{drop:.6}")),
            runs_as(&row.plan),
        ]
    };
    table::render(&["layer", "operator", "AUC drop alone", "runs as"], rows.iter().map(row).collect())
}

fn tensors(rows: &[TensorRow]) -> String {
    let row = |row: &TensorRow| {
        let range =
            row.calibrated.map_or("-".into(), |(min, max)| format!("{} to {}", short(min), short(max)));
        vec![
            name(&row.name),
            range,
            short(row.threshold),
            short(row.scale),
            row.clipped.map_or("-".into(), percent),
            row.saturated.to_string(),
            percent(row.share_cut_off()),
            row.largest.to_string(),
        ]
    };
    let header = [
        "int8 tensor",
        "calibrated",
        "threshold",
        "scale",
        "clipped %",
        "saturated",
        "cut off %",
        "largest code",
    ];
    let mut text = table::render(&header, rows.iter().map(row).collect());
    text += "clipped: of the calibration data; saturated: codes of the test set at the ends; cut off: those of values beyond them\n";
    text
}

/// An audit for a terminal: the verdict, then where the drop comes from.
pub fn judgement(found: &Judgement) -> String {
    let mut text = audit::text(&found.audit);
    text += "\n";
    text += &layers(&found.layers);
    if !found.tensors.is_empty() {
        text += "\n";
        text += &tensors(&found.tensors);
    }
    if !found.weights.is_empty() {
        text += "\n";
        text += &weights(&found.weights);
    }
    text
}

/// A dispatch that takes less than so many launches is bound by them.
const LAUNCHES: f64 = 4.0;

/// The speed of one engine.
#[derive(Clone, Debug, Serialize)]
pub struct Speed {
    /// `f32`, `INT8`, or what the file has.
    pub engine: &'static str,
    /// Dispatches of a batch.
    pub passes: usize,
    /// One example at a time.
    pub latency: Latency,
    /// Batches.
    pub throughput: Vec<Throughput>,
}

/// The speed of an engine on batches: on the device, without upload and read-back, from buffers that stay the same.
#[derive(Clone, Debug, Serialize)]
pub struct Throughput {
    /// Examples in a batch.
    pub batch: u64,
    /// The time of one.
    #[serde(flatten)]
    pub timing: Timing,
    /// Examples over time.
    pub rows_s: f64,
    /// Least bytes: input and output once.
    pub bytes: u64,
    /// Multiplications and additions.
    pub ops: u64,
    /// Least bytes over time.
    pub gb_s: f64,
    /// Least bytes over time, over the read roof.
    pub of_read_roof: f64,
    /// Operations over time.
    pub gop_s: f64,
    /// The shortest time that the roofs allow, over the time; above 1 where a cache holds the batch, which no roof is for.
    /// Bound by `launch` where the time is less than 4 times what its dispatches cost without work.
    pub share: Share,
}

/// What to measure.
#[derive(Clone, Debug)]
pub struct SpeedOptions {
    /// Runs for the latency.
    pub runs: usize,
    /// Sizes of batches; an adapter may take less.
    pub batches: Vec<u64>,
    /// How long to measure.
    pub effort: Effort,
}

/// Measures `network`, which is called `engine`, on random examples.
///
/// # Errors
/// Those of [`latency()`]; the device's.
pub fn speed(
    gpu: &Context,
    roofs: &Roofs,
    engine: &'static str,
    network: &Network,
    options: &SpeedOptions,
    progress: &mut dyn FnMut(&str),
) -> Result<Speed> {
    let kind = if has_integers(network) { OpKind::I8 } else { OpKind::F32 };
    progress(&format!("{engine}: latency of {} runs", options.runs));
    let one = Engine::new(gpu, network, 1, Keep::Output)?;
    let example = Random::new(1).floats(one.input().elements());
    let found = latency(gpu, &one, &example, options.runs)?;
    let budget = Duration::from_millis(match options.effort {
        Effort::Quick => 100,
        Effort::Full => 500,
    });
    let mut throughput: Vec<Throughput> = Vec::new();
    for &size in &options.batches {
        progress(&format!("{engine}: batches of {size}"));
        let engine = Engine::new(gpu, network, size, Keep::Output)?;
        if throughput.iter().any(|row| row.batch == engine.batch()) {
            continue;
        }
        let (work, timing) = (engine.work(), batch(gpu, &engine, budget)?);
        let mut share = roofs.share(work, kind, timing.us);
        share.bound = bound(share.bound, timing.us, roofs.launch.us, engine.passes().len());
        throughput.push(Throughput {
            batch: engine.batch(),
            timing,
            rows_s: engine.batch() as f64 / timing.us * 1e6,
            bytes: work.bytes,
            ops: work.ops,
            gb_s: timing.gb_s(work),
            of_read_roof: timing.gb_s(work) / roofs.read.value,
            gop_s: timing.gop_s(work),
            share,
        });
    }
    Ok(Speed { engine, passes: one.passes().len(), latency: found, throughput })
}

/// What bounds a batch of so many dispatches: the nearer roof, or the cost of starting them.
fn bound(roof: &'static str, us: f64, launch_us: Option<f64>, passes: usize) -> &'static str {
    let launches = launch_us.unwrap_or(0.0) * passes as f64;
    if us < LAUNCHES * launches { "launch" } else { roof }
}

/// Whether an engine keeps up with a loop of 1 kHz.
fn verdict(speed: &Speed) -> String {
    let Latency { runs, missed, .. } = speed.latency;
    let share = missed as f64 / runs as f64 * 100.0;
    match missed {
        0 => format!(
            "{}: every one of {runs} runs answered within 1 ms: it keeps up with a 1 kHz loop",
            speed.engine
        ),
        _ => format!(
            "{}: {missed} of {runs} runs ({share:.3} %) took longer than 1 ms: a 1 kHz loop would miss those cycles",
            speed.engine
        ),
    }
}

/// Speeds for people.
pub fn speeds(speeds: &[Speed]) -> String {
    let us = |us: f64| format!("{us:.1}");
    let row = |speed: &Speed| {
        let Latency { p50_us, p99_us, p999_us, max_us, missed, .. } = speed.latency;
        vec![speed.engine.into(), us(p50_us), us(p99_us), us(p999_us), us(max_us), missed.to_string()]
    };
    let deadline = format!("over {DEADLINE_US} us");
    let header = ["batch 1, us", "p50", "p99", "p99.9", "max", &deadline];
    let mut text = table::render(&header, speeds.iter().map(row).collect());
    text += "from upload to answer, by the wall clock\n";
    for speed in speeds {
        text += &verdict(speed);
        text += "\n";
    }
    let rows = speeds.iter().flat_map(|speed| speed.throughput.iter().map(move |row| (speed, row)));
    let row = |(speed, row): (&Speed, &Throughput)| {
        vec![
            speed.engine.into(),
            row.batch.to_string(),
            us(row.timing.us),
            format!("{:.0}", row.rows_s),
            format!("{:.3}", row.gb_s),
            format!("{:.1}", row.of_read_roof * 100.0),
            format!("{:.2}", row.gop_s),
            format!("{:.1}", row.share.value * 100.0),
            if row.share.value > 1.0 { "in a cache" } else { row.share.bound }.into(),
        ]
    };
    let header =
        ["engine", "batch", "us", "rows/s", "GB/s", "% of read roof", "GOP/s", "% of its roof", "bound by"];
    text += "\n";
    text += &table::render(&header, rows.map(row).collect());
    text += "on the device, without upload and read-back; bytes are input and output once\n";
    text
}

/// The name of a tensor or a layer, fit for a terminal.
fn name(name: &str) -> String {
    let quoted = quoted(name);
    quoted.strip_prefix('\'').and_then(|name| name.strip_suffix('\'')).unwrap_or(&quoted).to_owned()
}

/// Five digits.
fn short(value: f32) -> String {
    match value.abs() {
        0.0 => "0".into(),
        size if (1e-3..1e6).contains(&size) => {
            let digits = (4 - size.log10().floor() as i32).max(0) as usize;
            format!("{value:.digits$}")
        }
        _ => format!("{value:.4e}"),
    }
}

fn percent(share: f64) -> String {
    format!("{:.4}", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_batches_are_bound_by_launches() {
        assert_eq!(bound("memory", 7.9, Some(2.0), 1), "launch");
        assert_eq!(bound("memory", 8.0, Some(2.0), 1), "memory");
        assert_eq!(bound("memory", 23.9, Some(2.0), 3), "launch");
        assert_eq!(bound("arithmetic", 0.1, None, 3), "arithmetic");
    }
}
