//! Attention over KV caches, timed: `lowbit bench kv`, and columns of `lowbit kv eval` and of the report.

use std::fmt;
use std::time::Duration;

use half::f16;
use serde::Serialize;

use super::attention::{Decode, Evaluation, Form};
use crate::codec::{CacheType, Pair, check_head_dim};
use crate::gpu::{Context, Timing};
use crate::kv::Layout;
use crate::kv::timing::{Noise, Source, Timed, Trial};
use crate::quality::Inputs;
use crate::roofline::Roofs;
use crate::table;
use crate::{Error, Result};

/// The newest tokens of one sequence, in one layer: one of a decode step, or some of a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Shape {
    /// Tokens of the sequence.
    pub context: u64,
    /// So many of the newest ones ask.
    pub queries: u64,
    /// Query heads of a kv head.
    pub group: usize,
    /// Heads of keys and values.
    pub kv_heads: usize,
    /// The head dimension.
    pub head_dim: usize,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { context, queries, group, kv_heads, head_dim } = self;
        write!(f, "context={context} ")?;
        if *queries > 1 {
            write!(f, "queries={queries} ")?;
        }
        write!(f, "G={group} kv_heads={kv_heads} d={head_dim}")
    }
}

/// Contexts that are measured if none are given.
pub fn contexts(gpu: &Context) -> Vec<u64> {
    let contexts: &[u64] = if gpu.adapter.is_software() { &[1, 8] } else { &[1, 8, 32, 128] };
    contexts.iter().map(|thousands| thousands << 10).collect()
}

/// Query heads of a kv head that are measured if none are given.
pub fn groups(gpu: &Context) -> Vec<usize> {
    if gpu.adapter.is_software() { vec![4] } else { vec![1, 4, 8] }
}

/// Types that are measured if none are given: all, or in software, where each takes seconds to compile, those of [`FEW`].
pub fn types(gpu: &Context) -> Vec<Pair> {
    let types: &[CacheType] = if gpu.adapter.is_software() { &FEW } else { &CacheType::ALL };
    types.iter().copied().map(Pair::from).collect()
}

/// A type of each kind.
pub const FEW: [CacheType; 4] = [CacheType::F16, CacheType::Q8_0, CacheType::Q4_0, CacheType::Turbo3];

/// One type at one shape.
#[derive(Clone, Debug, Serialize)]
pub struct DecodeRow {
    /// `kv`.
    pub kernel: &'static str,
    /// Type and shape.
    pub case: String,
    /// The type, or those of keys and of values.
    #[serde(rename = "type")]
    pub types: Pair,
    /// The shape.
    #[serde(flatten)]
    pub shape: Shape,
    /// The variant of attend that was fastest.
    pub variant: String,
    /// Time of the attention of all queries: over pages and over what is f16, and the merging of both.
    #[serde(flatten)]
    pub timing: Timing,
    /// Bytes that must be read: codes and scales of keys and values, and what is f16.
    pub bytes: u64,
    /// Operations of that: two for each value of a key or a value, and each query head.
    pub ops: u64,
    /// Bytes over time.
    pub gb_s: f64,
    /// Operations over time.
    pub gflop_s: f64,
    /// Bytes over time, over the read roof.
    pub of_read_roof: f64,
    /// The time of f16 at the same shape over this one; null if f16 was not measured.
    pub against_f16: Option<f64>,
    /// The time of the pages if each query head loads for itself over that of the variant; null unless asked for.
    pub against_ungrouped: Option<f64>,
    /// The encoding of a prompt.
    pub append: AppendRow,
}

/// The first tokens of a sequence, appended in one step.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct AppendRow {
    /// Tokens of the step.
    pub tokens: u64,
    /// Its time.
    #[serde(flatten)]
    pub timing: Timing,
    /// Tokens over time.
    pub tokens_s: f64,
    /// Bytes read and written over time.
    pub gb_s: f64,
}

/// Times steps over a cache of random tokens, each measurement for about `budget`. `ungrouped`: also without sharing
/// loads, where query heads could.
///
/// # Errors
/// [`Error::Input`] for a shape that is none or that a binding has no room for; [`Error::OutOfMemory`]; the device's.
pub fn measure(
    gpu: &Context,
    roofs: &Roofs,
    types: Pair,
    shape: Shape,
    ungrouped: bool,
    budget: Duration,
) -> Result<DecodeRow> {
    let Shape { context, queries, group, kv_heads, head_dim } = shape;
    let layout = Layout::new(1, kv_heads * group, kv_heads, head_dim);
    let noise = Noise::new(&layout, context);
    let trial = Trial::new(gpu, &layout, types, context, None, queries, &noise)?;
    let Timed { timing, work, .. } = trial.attend(gpu, budget)?;
    let prompt = trial.append(gpu, budget)?;
    let sharing =
        if ungrouped && group > 1 && queries == 1 { trial.sharing(gpu, &noise, budget)? } else { None };
    Ok(DecodeRow {
        kernel: "kv",
        case: format!("{types} {shape}"),
        types,
        shape,
        variant: trial.variant().label(),
        timing,
        bytes: work.bytes,
        ops: work.ops,
        gflop_s: timing.gop_s(work),
        gb_s: timing.gb_s(work),
        of_read_roof: timing.gb_s(work) / roofs.read.value,
        against_f16: None,
        against_ungrouped: sharing,
        append: AppendRow {
            tokens: prompt.tokens,
            timing: prompt.timing,
            tokens_s: prompt.tokens as f64 / prompt.timing.us * 1e6,
            gb_s: prompt.timing.gb_s(prompt.work),
        },
    })
}

/// Fills in what f16 tells, where it was measured.
pub fn compare(rows: &mut [DecodeRow]) {
    let f16 = Pair::from(CacheType::F16);
    let times: Vec<(Shape, f64)> =
        rows.iter().filter(|row| row.types == f16).map(|row| (row.shape, row.timing.us)).collect();
    for row in rows {
        let of = times.iter().find(|(shape, _)| *shape == row.shape);
        row.against_f16 = of.map(|(_, us)| us / row.timing.us);
    }
}

/// The rows for people.
pub fn text(rows: &[DecodeRow]) -> String {
    let times = |ratio: Option<f64>| ratio.map_or("-".into(), |ratio| format!("{ratio:.2}"));
    let ungrouped = rows.iter().any(|row| row.against_ungrouped.is_some());
    let prompts = rows.iter().any(|row| row.shape.queries > 1);
    let cells = |row: &DecodeRow| {
        let mut cells = vec![
            row.types.to_string(),
            row.shape.context.to_string(),
            row.shape.group.to_string(),
            format!("{:.1}", row.timing.us),
            format!("{:.2}", row.gb_s),
            percent(row.of_read_roof),
            times(row.against_f16),
        ];
        if prompts {
            cells.extend([row.shape.queries.to_string(), format!("{:.1}", row.gflop_s)]);
        }
        if ungrouped {
            cells.push(times(row.against_ungrouped));
        }
        cells.extend([
            format!("{:.0}", row.append.tokens_s / 1e3),
            format!("{:.2}", row.append.gb_s),
            row.variant.clone(),
        ]);
        cells
    };
    let mut header = vec!["type", "context", "G", "us", "GB/s", "% of read roof", "x f16"];
    if prompts {
        header.extend(["queries", "GFLOP/s"]);
    }
    if ungrouped {
        header.push("x ungrouped");
    }
    header.extend(["append: tokens/ms", "append: GB/s", "variant of attend"]);
    let mut text = table::render(&header, rows.iter().map(cells).collect());
    if let Some(Shape { kv_heads, head_dim, .. }) = rows.first().map(|row| row.shape) {
        text += &format!(
            "a layer with {kv_heads} kv heads of {head_dim} values, G query heads each; the first 4 and the newest 64 tokens are f16\n"
        );
    }
    text +=
        "GB/s: codes and scales read once; x f16: its time over this one; append: a prompt, in one step\n";
    if ungrouped {
        text += "x ungrouped: the pages' time with each query head by itself, over that of the variant\n";
    }
    text
}

/// A share of the read roof: more than all of it is no measurement.
pub fn percent(share: f64) -> String {
    if share <= 1.0 { format!("{:.1}", share * 100.0) } else { "invalid".into() }
}

/// The vectors of a model, rotated and centred as `Form` says.
struct Model<'a>(&'a Inputs);

impl Source for Model<'_> {
    fn tokens(&self, layer: usize, positions: std::ops::Range<u64>) -> [Vec<f16>; 2] {
        self.0.tokens(layer, positions)
    }

    fn queries(&self, layer: usize) -> Vec<f32> {
        self.0.newest_queries(layer)
    }
}

/// Why no decode step over such vectors can be timed, if none can: what a cache on a device cannot hold.
///
/// # Errors
/// [`Error::Input`] for a head dimension that none is made for, and for keys and values of two dimensions.
pub fn check_timed(inputs: &Inputs) -> Result<()> {
    let &Inputs { head_dim, value_dim, .. } = inputs;
    if head_dim != value_dim {
        return Err(Error::Input(format!(
            "a cache on a device has one head dimension, and here keys have {head_dim} values and values {value_dim}"
        )));
    }
    check_head_dim(head_dim)
}

/// Times the types of an evaluation that `chosen` has, each in the form of its row, over the vectors that were evaluated, repeated up
/// to the context. A type that the device has no room for says so in its row.
///
/// # Errors
/// Those of [`check_timed`]; the device's.
pub fn add_times(
    gpu: &Context,
    roofs: &Roofs,
    inputs: &Inputs,
    evaluation: &mut Evaluation,
    chosen: &dyn Fn(Pair) -> bool,
    budget: Duration,
    progress: &mut dyn FnMut(&str),
) -> Result<()> {
    let Evaluation { layers, heads, kv_heads, head_dim, context, sinks, window, .. } = *evaluation;
    check_timed(inputs)?;
    let means = inputs.means();
    for row in evaluation.types.iter_mut().filter(|row| chosen(row.types)) {
        let Some(Form { center, rotate }) = row.form else { continue };
        progress(&format!("timing {}", row.types));
        let layout = Layout {
            sinks: sinks as u64,
            recent: window as u64,
            rotate,
            ..Layout::new(layers, heads, kv_heads, head_dim)
        };
        let means = center.then_some(means.as_slice());
        match Trial::new(gpu, &layout, row.types, context, means, 1, &Model(inputs)) {
            Ok(trial) => {
                let Timed { timing, work, .. } = trial.attend(gpu, budget)?;
                let share = timing.gb_s(work) / roofs.read.value;
                row.decode = Some(Decode { us_per_token: timing.us, share });
            }
            Err(error) if error.is_input() || matches!(error, Error::OutOfMemory { .. }) => {
                row.untimed = Some(error.to_string());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
