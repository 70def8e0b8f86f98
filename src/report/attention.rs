//! What cache types cost in a model's attention, type by type, and the smallest that costs little enough.
//!
//! **What is recommended** is the best of the table: of the types whose mean KL and output L2 are both within their limits, the
//! one that takes the fewest bytes; of those that take as few the one with the least output L2, then with the least KL, both
//! as they are shown, then as they are. So no other type within the limits is better in one of the three and as good in the
//! others. Times do not count: they are of one device, and of one run. Of the forms of a type the row has one within the
//! limits if there is any, of those the one of the least KL, then of the least output L2, then the simplest.

use std::cmp::Ordering;

use serde::Serialize;

use super::decode::percent;
use crate::codec::rotation::Rotation;
use crate::codec::{CacheType, GROUP, Pair};
use crate::plan::geometry::{Attention, Layer, Layers};
use crate::quality::{ByLayer, Inputs, Options, Quality, compare};
use crate::table;
use crate::{Error, Result};

/// The divergence that is allowed if none is given, in nats: by Pinsker's inequality at most the root of half of it, 7 % of
/// a query's attention, then lies on other tokens in the mean.
pub const MAX_KL: f64 = 0.01;

/// The relative L2 of the output that is allowed along with it. No divergence shows what values cost.
pub const MAX_L2: f64 = 0.1;

/// Rotations of fewer values are said to be so: it is the least of those that devices have.
const WHOLE_BLOCK: usize = 16;

/// Pairs that are compared along with every type if none are asked for: keys in more bits than values.
const PAIRS: [[CacheType; 2]; 4] = [
    [CacheType::Q8_0, CacheType::Q4_0],
    [CacheType::Q8_0, CacheType::Turbo3],
    [CacheType::Kivi4, CacheType::Turbo3],
    [CacheType::Kivi4, CacheType::Kivi2],
];

/// What is evaluated.
#[derive(Clone, Debug)]
pub struct EvaluationOptions {
    /// The types; every one and a few pairs if there are none.
    pub types: Vec<Pair>,
    /// A query sees the tokens up to its own position, and queries have the newest positions; else each sees all.
    pub causal: bool,
    /// So many first tokens are kept in f16.
    pub sinks: usize,
    /// So many of the newest tokens are kept in f16.
    pub window: usize,
    /// The one form of all types; each in its best if none is given.
    pub form: Option<Form>,
    /// The divergence that a recommended type may have, in nats, in the mean over queries; [`MAX_KL`] is the usual one.
    pub max_kl: Option<f64>,
    /// The relative L2 of its output, over all queries together; [`MAX_L2`] is the usual one.
    pub max_l2: Option<f64>,
    /// Tokens whose cache is counted; those of the inputs if not given.
    pub context: Option<u64>,
}

/// What is done to vectors in front of their type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Form {
    /// The mean of a head's keys is subtracted from them.
    pub center: bool,
    /// What is q8_0 or q4_0 is rotated. TurboQuant always is, the other types never.
    pub rotate: bool,
}

impl Form {
    /// All that a pair can have, the simplest first.
    fn of(types: Pair) -> Vec<Self> {
        let forms = [(false, false), (true, false), (false, true), (true, true)];
        let forms = forms.map(|(center, rotate)| Self { center, rotate });
        forms.into_iter().filter(|form| !form.rotate || rotates(types)).collect()
    }

    fn text(self) -> &'static str {
        match (self.center, self.rotate) {
            (false, false) => "plain",
            (true, false) => "centred",
            (false, true) => "rotated",
            (true, true) => "centred, rotated",
        }
    }
}

fn rotates(types: Pair) -> bool {
    [types.keys, types.values].iter().any(|ty| matches!(ty, CacheType::Q8_0 | CacheType::Q4_0))
}

/// An evaluation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// Layers of the inputs.
    pub layers: usize,
    /// Heads of queries.
    pub heads: usize,
    /// Heads of keys and values.
    pub kv_heads: usize,
    /// Tokens.
    pub tokens: usize,
    /// Queries of a head: with `causal` those of the newest positions.
    pub queries: usize,
    /// The head dimension of queries and keys.
    pub head_dim: usize,
    /// The head dimension of values.
    pub value_dim: usize,
    /// Whether a query sees the tokens up to its own position only.
    pub causal: bool,
    /// First tokens that are kept in f16.
    pub sinks: usize,
    /// Newest tokens that are kept in f16.
    pub window: usize,
    /// Tokens whose cache is counted.
    pub context: u64,
    /// The divergence that a recommended type may have, in the mean, in nats.
    pub max_kl: Option<f64>,
    /// The relative L2 of its output.
    pub max_l2: Option<f64>,
    /// A row for each type.
    pub types: Vec<TypeRow>,
    /// The smallest type within both; null if none is.
    pub recommended: Option<Choice>,
    /// The same in words.
    pub recommendation: String,
    /// Why no decode step was timed, if they were to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub untimed: Option<String>,
}

/// A pair of types in a form.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Choice {
    /// The type, or those of keys and of values.
    #[serde(rename = "type")]
    pub types: Pair,
    /// The form.
    pub form: Form,
}

/// A pair of types in its best form, as the module's page says.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TypeRow {
    /// The type, or those of keys and of values.
    #[serde(rename = "type")]
    pub types: Pair,
    /// Bits of a value, with scales and what fills up words, where none stays f16.
    pub bits_per_value: f64,
    /// Bytes of all layers and heads at the context; the first and newest tokens count as f16.
    pub bytes: u64,
    /// Why the type cannot hold these keys and values; null if it can.
    pub refused: Option<String>,
    /// The form; null if the type is refused.
    pub form: Option<Form>,
    /// What it costs; absent if the type is refused.
    #[serde(flatten)]
    pub quality: Option<Quality>,
    /// What it costs in each layer.
    pub layers: Vec<Quality>,
    /// Every form that was measured.
    pub forms: Vec<FormRow>,
    /// The decode step, where a device measured one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decode: Option<Decode>,
    /// Why the device has not timed it, if it was to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub untimed: Option<String>,
}

/// A pair of types in one form.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FormRow {
    /// The form.
    #[serde(flatten)]
    pub form: Form,
    /// Why the type in this form cannot hold these keys and values; null if it can.
    pub refused: Option<String>,
    /// What it costs; absent if it is refused.
    #[serde(flatten)]
    pub quality: Option<Quality>,
}

/// The attention of one more token over a cache of the context.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Decode {
    /// Microseconds, for all layers and heads.
    pub us_per_token: f64,
    /// Share of the read roof.
    pub share: f64,
}

/// Measures every type, in every form unless one is given. `progress` hears how many of how many heads are done, and
/// `go_on` is asked between queries, which ends the work by an error.
///
/// # Errors
/// [`Error::Input`] if a type is given twice, if first and newest tokens leave none to quantize, if there are more queries than
/// tokens and each has a position, if what is allowed is no number of 0 or more, or if the cache's size is beyond a u64. A type that cannot hold these keys and values
/// is refused in its row.
pub fn evaluate(
    inputs: &Inputs,
    options: &EvaluationOptions,
    progress: &(dyn Fn(usize, usize) + Sync),
    go_on: &(dyn Fn() -> Result<()> + Sync),
) -> Result<Evaluation> {
    let Inputs { layers, heads, kv_heads, tokens, queries, head_dim, value_dim, .. } = *inputs;
    let EvaluationOptions { causal, sinks, window, max_kl, max_l2, .. } = *options;
    for (limit, what) in [(max_kl, "divergence"), (max_l2, "relative L2")] {
        if let Some(limit) = limit.filter(|&limit| !(limit >= 0.0 && f64::is_finite(limit))) {
            return Err(Error::Input(format!(
                "a {what} of {limit} cannot be allowed: give a number of 0 or more"
            )));
        }
    }
    if causal && queries > tokens {
        return Err(Error::Input(format!(
            "{queries} queries have no positions among {tokens} tokens: give keys and values of all of them, or leave causal \
             attention out"
        )));
    }
    let left = tokens.saturating_sub(sinks.saturating_add(window));
    if left == 0 {
        return Err(Error::Input(format!(
            "{sinks} sinks and a window of {window} leave none of the {tokens} tokens to quantize: give fewer than \
             {tokens} together"
        )));
    }
    let types = if options.types.is_empty() { usual() } else { options.types.clone() };
    if let Some(at) = (1..types.len()).find(|&at| types[..at].contains(&types[at])) {
        return Err(Error::Input(format!("{} is given twice", types[at])));
    }
    let context = options.context.unwrap_or(tokens as u64);
    let kept = Layers {
        count: layers as u64,
        layer: Layer {
            attention: Attention::Heads {
                kv_heads: kv_heads as u64,
                key_dim: head_dim as u64,
                value_dim: value_dim as u64,
            },
            window: None,
            shared: false,
        },
    };
    let bytes = |types: Pair| kept.bytes(types, context, (sinks as u64).saturating_add(window as u64));
    let bytes = types.iter().map(|&types| bytes(types)).collect::<Result<Vec<u64>>>()?;

    let forms = |types: Pair| options.form.map_or_else(|| Form::of(types), |form| vec![form]);
    let few = |types: Pair| left < GROUP && types.keys.is_kivi();
    let mut ways = Vec::new();
    for &types in types.iter().filter(|&&types| !few(types)) {
        let way = |Form { center, rotate }| Options { causal, sinks, window, center, rotate, scale: None };
        ways.extend(forms(types).into_iter().map(|form| (types, way(form))));
    }
    let mut measured = compare(inputs, &ways, progress, go_on)?.into_iter();
    let mut rows = Vec::new();
    for (&types, bytes) in types.iter().zip(bytes) {
        let mut row = TypeRow {
            types,
            bits_per_value: types.bits_per_value_of(head_dim, value_dim),
            bytes,
            refused: few(types).then(|| {
                format!("its keys are quantized {GROUP} tokens at a time, and only {left} do not stay f16")
            }),
            form: None,
            quality: None,
            layers: Vec::new(),
            forms: Vec::new(),
            decode: None,
            untimed: None,
        };
        if row.refused.is_none() {
            row.choose(forms(types).into_iter().zip(&mut measured), [max_kl, max_l2]);
        }
        rows.push(row);
    }
    let best = recommended(&rows, [max_kl, max_l2]);
    Ok(Evaluation {
        layers,
        heads,
        kv_heads,
        tokens,
        queries,
        head_dim,
        value_dim,
        causal,
        sinks,
        window,
        context,
        max_kl,
        max_l2,
        recommended: best.and_then(|row| Some(Choice { types: row.types, form: row.form? })),
        recommendation: recommendation(&rows, best, [max_kl, max_l2]),
        types: rows,
        untimed: None,
    })
}

/// The types that are evaluated if none are given.
fn usual() -> Vec<Pair> {
    let pairs = PAIRS.map(|[keys, values]| Pair { keys, values });
    CacheType::ALL.into_iter().map(Pair::from).chain(pairs).collect()
}

impl TypeRow {
    /// Takes what was measured of each form, and the best of them.
    fn choose(&mut self, found: impl Iterator<Item = (Form, Result<ByLayer>)>, limits: Limits) {
        let mut best: Option<(Form, ByLayer)> = None;
        // Of equals the first stays, which is the simplest.
        let key = |of: &Quality| (!within(of, limits), Ordered(of.kl.mean), Ordered(of.output_error));
        for (form, found) in found {
            let (quality, refused) = match found {
                Ok(found) => {
                    let quality = found.all;
                    if best.as_ref().is_none_or(|(_, best)| key(&quality) < key(&best.all)) {
                        best = Some((form, found));
                    }
                    (Some(quality), None)
                }
                Err(error) => (None, Some(error.to_string())),
            };
            self.forms.push(FormRow { form, refused, quality });
        }
        match best {
            Some((form, of)) => {
                (self.form, self.quality, self.layers) = (Some(form), Some(of.all), of.layers)
            }
            None => self.refused = self.forms.first().and_then(|form| form.refused.clone()),
        }
    }

    /// Whether its keys or values are rotated as shown.
    fn rotates(&self) -> bool {
        let turbo = [self.types.keys, self.types.values].iter().any(|ty| ty.is_turbo());
        self.form.is_some_and(|form| form.rotate || turbo)
    }

    /// The name, and what is done in front of it.
    fn full_name(&self) -> String {
        match self.form {
            Some(form) if form != Form::default() => format!("{} ({})", self.types, form.text()),
            _ => self.types.to_string(),
        }
    }
}

/// The largest mean KL and relative L2.
type Limits = [Option<f64>; 2];

fn within(of: &Quality, limits: Limits) -> bool {
    [of.kl.mean, of.output_error].iter().zip(limits).all(|(of, limit)| limit.is_none_or(|most| *of <= most))
}

/// A number in its total order.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Ordered(f64);

impl Eq for Ordered {}

impl PartialOrd for Ordered {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ordered {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// The best row, as the module's page says.
fn recommended(rows: &[TypeRow], limits: Limits) -> Option<&TypeRow> {
    // What is shown, as a number again: that it can be parsed is what makes two of them comparable.
    let shown = |text: String| Ordered(text.parse().unwrap_or(f64::INFINITY));
    let order = |row: &TypeRow, of: &Quality| {
        let as_shown = [shown(share(of.output_error)), shown(short(of.kl.mean))];
        (row.bytes, as_shown, [Ordered(of.output_error), Ordered(of.kl.mean)])
    };
    let fitting = rows.iter().filter_map(|row| Some((row, row.quality.filter(|of| within(of, limits))?)));
    fitting.min_by_key(|(row, of)| order(row, of)).map(|(row, _)| row)
}

fn recommendation(rows: &[TypeRow], best: Option<&TypeRow>, [max_kl, max_l2]: Limits) -> String {
    let limits = [
        max_kl.map(|most| format!("a mean KL of at most {most}")),
        max_l2.map(|most| format!("an output L2 of at most {} %", (most * 1e8).round() / 1e6)),
    ];
    let limits: Vec<String> = limits.into_iter().flatten().collect();
    let limits = if limits.is_empty() { "any error".into() } else { limits.join(" and ") };
    let figures = |of: &Quality| format!("{} and {} %", short(of.kl.mean), share(of.output_error));
    if let Some((row, quality)) = best.and_then(|row| Some((row, row.quality?))) {
        let (name, bits) = (row.full_name(), row.bits_per_value);
        return format!(
            "{name}, {bits:.3} bits: the smallest of these types with {limits} (KL and L2: {})",
            figures(&quality)
        );
    }
    let measured = rows.iter().filter_map(|row| Some((row, row.quality?)));
    match measured.min_by(|(_, a), (_, b)| a.kl.mean.total_cmp(&b.kl.mean)) {
        Some((row, quality)) => format!(
            "none of these types has {limits}; the least KL is that of {} (KL and L2: {})",
            row.full_name(),
            figures(&quality)
        ),
        None => "none of these types holds these keys and values".into(),
    }
}

impl Evaluation {
    /// The evaluation for a terminal.
    pub fn text(&self) -> String {
        let count = |n: usize, of: &str| format!("{n} {of}{}", if n == 1 { "" } else { "s" });
        let (key_dim, value_dim) = (self.head_dim, self.value_dim);
        let mut text = format!(
            "{}, {}, {}, {} of {}; {}",
            count(self.layers, "layer"),
            count(self.heads, "query head"),
            count(self.kv_heads, "kv head"),
            count(self.tokens, "token"),
            match key_dim == value_dim {
                true => format!("{key_dim} values"),
                false => format!("{key_dim} values in keys and {value_dim} in values"),
            },
            match (self.causal, self.queries == self.tokens) {
                (true, true) => "causal".into(),
                (true, false) => format!("causal: the {} have the newest positions", queries(self.queries)),
                (false, true) => "each query sees all tokens".into(),
                (false, false) => format!("{}, which see all tokens", queries(self.queries)),
            },
        );
        if self.sinks + self.window > 0 {
            text += &format!("; the first {} and the newest {} tokens stay f16", self.sinks, self.window);
        }
        text += "\n\n";
        let unit = if self.types.iter().all(|row| row.bytes < 10 << 20) { "KiB" } else { "MiB" };
        let mut header =
            ["type", "form", "bits", "K error", "V error", "logits", "KL mean", "p99", "max"].to_vec();
        header.extend(["cosine", "output L2", unit]);
        let timed = self.types.iter().any(|row| row.decode.is_some());
        if timed {
            header.extend(["us a token", "% of read roof"]);
        }
        text += &table::render(&header, self.types.iter().map(|row| row.cells(unit, timed)).collect());
        let tokens = count(usize::try_from(self.context).unwrap_or(usize::MAX), "token");
        text += &format!(
            "bits: of a value, with scales and what fills up words; {unit}: of {tokens}, all layers and kv heads\n\
             K, V error: squared, relative\n\
             logits: error less its mean, root mean square; KL in nats, of the attention: values do not change it, see output L2\n"
        );
        if self.types.iter().any(|row| row.forms.len() > 1) {
            text += "form: with the least mean KL of plain, centred keys, and for q8_0 and q4_0 rotated, or both; one within the \
                     limits if there is any\n";
        }
        for (dim, what) in [(key_dim, "keys"), (value_dim, "values")] {
            let block = Rotation::block_of(dim);
            if block < WHOLE_BLOCK && self.types.iter().any(|row| row.rotates()) {
                text += &format!(
                    "rotated {what} are so by blocks of {block} of their {dim} values, the largest power of two that divides \
                     them: it spreads outliers little\n"
                );
            }
        }
        for row in &self.types {
            let refused = row.refused.as_deref();
            text += &refused.map_or_else(String::new, |why| format!("{}: refused: {why}\n", row.types));
        }
        if timed {
            text += "us a token: the attention of one more token in all layers, in the form; of read roof: keys and values read once\n";
        }
        for row in &self.types {
            let untimed = row.untimed.as_deref();
            text += &untimed.map_or_else(String::new, |why| format!("{}: no time: {why}\n", row.types));
        }
        if let Some(why) = &self.untimed {
            text += &format!("no decode times: {why}\n");
        }
        text += "recommended: the fewest bytes within the limits; of equals the least output L2, then KL; times do not count\n";
        text + &format!("\nrecommended: {}\n", self.recommendation)
    }
}

impl TypeRow {
    fn cells(&self, unit: &str, timed: bool) -> Vec<String> {
        let mut cells = vec![
            self.types.to_string(),
            self.form.map_or("refused", Form::text).into(),
            format!("{:.3}", self.bits_per_value),
        ];
        match &self.quality {
            None => cells.extend((0..8).map(|_| "-".into())),
            Some(of) => {
                let numbers =
                    [of.keys_error, of.values_error, of.logit_error, of.kl.mean, of.kl.p99, of.kl.max];
                cells.extend(numbers.map(short));
                cells.extend([format!("{:.5}", of.cosine), format!("{} %", share(of.output_error))]);
            }
        }
        let shift = if unit == "KiB" { 10 } else { 20 };
        cells.push(format!("{:.1}", self.bytes as f64 / f64::from(1 << shift)));
        if timed {
            let cell = |text: &dyn Fn(Decode) -> String| self.decode.map_or("-".into(), text);
            cells.push(cell(&|decode| format!("{:.1}", decode.us_per_token)));
            cells.push(cell(&|decode| percent(decode.share)));
        }
        cells
    }
}

/// The header of [`TypeRow::figures`].
pub const HEADER: [&str; 9] =
    ["type", "form", "bits", "KL mean", "KL p99", "output L2, %", "KiB", "us a token", "% of read roof"];

/// What the columns mean.
pub const NOTE: &str = "bits: of a value, with scales; KL in nats, of the attention against f64; output L2 relative; us a \
                        token: the attention of one more; read roof: keys and values read once";

impl TypeRow {
    /// The row in short.
    pub fn figures(&self) -> [String; 9] {
        let dash = || "-".to_owned();
        let quality = |text: &dyn Fn(Quality) -> String| self.quality.map_or_else(dash, text);
        let decode = |text: &dyn Fn(Decode) -> String| self.decode.map_or_else(dash, text);
        [
            self.types.to_string(),
            self.form.map_or("refused", Form::text).into(),
            format!("{:.3}", self.bits_per_value),
            quality(&|of| short(of.kl.mean)),
            quality(&|of| short(of.kl.p99)),
            quality(&|of| share(of.output_error)),
            format!("{:.1}", self.bytes as f64 / 1024.0),
            decode(&|of| format!("{:.1}", of.us_per_token)),
            decode(&|of| percent(of.share)),
        ]
    }
}

/// A share in percent.
fn share(x: f64) -> String {
    format!("{:.2}", x * 100.0)
}

fn queries(count: usize) -> String {
    format!("{count} quer{} of a head", if count == 1 { "y" } else { "ies" })
}

/// Two digits and an exponent, which spans what types differ by; plainly what is large.
fn short(x: f64) -> String {
    match x {
        0.0 => "0".into(),
        x if x >= 0.1 => format!("{x:.2}"),
        x => format!("{x:.1e}"),
    }
}
