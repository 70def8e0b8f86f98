//! A KV cache in several types: its sizes, the ceiling of tokens per second as the context grows, and what fits.

use serde::Serialize;

use super::geometry::{Attention, Geometry, Layer};
use crate::codec::{CacheType, GROUP, Pair};
use crate::table;
use crate::{Error, Result};

/// Types that are compared if none is asked for.
pub const TYPES: [CacheType; 4] = [CacheType::F16, CacheType::Q8_0, CacheType::Q4_0, CacheType::Turbo3];

/// Memory that must be left, in shares of what weights and cache take: activations and the driver's own.
pub const HEAD_ROOM: f64 = 0.05;

/// What weights as the model has them are called among formats.
pub const AS_IT_IS: &str = "as it is";

/// The shortest of the growing contexts.
const FIRST_CONTEXT: u64 = 1024;

/// What a cache is planned for.
#[derive(Clone, Debug, Default)]
pub struct CacheOptions {
    /// Types of keys and values; [`TYPES`] if there are none.
    pub types: Vec<Pair>,
    /// Tokens of context.
    pub context: u64,
    /// Tokens of each layer that stay f16: attention sinks and the newest ones.
    pub residual: u64,
    /// Memory in base-10 gigabytes.
    pub vram_gb: Option<f64>,
    /// Read bandwidth in GB/s.
    pub bandwidth_gb_s: Option<f64>,
    /// A model to compare with, and what it is called.
    pub against: Option<(String, Geometry)>,
}

/// The weights beside the cache.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Weights {
    /// Their number format.
    pub format: &'static str,
    /// Bytes of all tensors.
    pub bytes: u64,
    /// Milliseconds that the products for a token take, where they were measured.
    pub ms_per_token: Option<f64>,
}

/// What is known of a model's cache.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CachePlan {
    /// What the numbers leave out.
    pub not_counted: Vec<String>,
    /// The model's layers.
    #[serde(flatten)]
    pub geometry: Geometry,
    /// Values that a token adds, as long as no window is full.
    pub values_per_token: u64,
    /// Tokens of context.
    pub context: u64,
    /// Tokens of each layer that stay f16.
    pub residual: u64,
    /// Memory in base-10 gigabytes, if given.
    pub vram_gb: Option<f64>,
    /// Read bandwidth in GB/s, if known.
    pub bandwidth_gb_s: Option<f64>,
    /// The weights, if known; otherwise what fits is the cache alone.
    pub weights: Option<Weights>,
    /// What the cache is compared with.
    pub against: Option<String>,
    /// A row for each type.
    pub types: Vec<CacheRow>,
    /// Growing contexts, up to the one asked for.
    pub contexts: Vec<ContextRow>,
}

/// The cache in one type.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CacheRow {
    /// The type, or those of keys and of values.
    #[serde(rename = "type")]
    pub types: Pair,
    /// Bits of a value, scales included, where none stays f16.
    pub bits_per_value: f64,
    /// Bytes at the context.
    pub bytes: u64,
    /// Of those of an f16 cache.
    pub of_f16: f64,
    /// Bytes of the other model's cache.
    pub against_bytes: Option<u64>,
    /// The longest context that fits; null if no memory was given, or if every context fits.
    pub longest_context: Option<u64>,
    /// Whether the context fits; null if no memory was given.
    pub fits: Option<bool>,
}

/// The cache of one context.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ContextRow {
    /// Tokens of context.
    pub tokens: u64,
    /// For each type.
    pub types: Vec<ContextCell>,
}

/// The cache of one context in one type.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ContextCell {
    /// The type, or those of keys and of values.
    #[serde(rename = "type")]
    pub types: Pair,
    /// Bytes that it takes.
    pub bytes: u64,
    /// Bytes that one more token reads.
    pub read_bytes: u64,
    /// Tokens a second, were there nothing but reading the cache and the products with the weights; null where the
    /// bandwidth is not known, or nothing is read.
    pub tokens_per_s: Option<f64>,
}

/// Counts the cache of `geometry` in every type.
///
/// # Errors
/// [`Error::Input`] if there is no context, or none of its layers keeps anything, or if sizes are beyond a u64.
pub fn make(geometry: Geometry, weights: Option<Weights>, options: &CacheOptions) -> Result<CachePlan> {
    let CacheOptions { context, residual, vram_gb, bandwidth_gb_s, .. } = *options;
    if context == 0 {
        return Err(Error::Input(
            "a cache of 0 tokens has nothing to plan: give a context of 1 or more".into(),
        ));
    }
    if geometry.values_per_token() == 0 {
        return Err(Error::Input(
            "none of the model's layers has attention: there is no cache to plan".into(),
        ));
    }
    let types = if options.types.is_empty() { TYPES.map(Pair::from).to_vec() } else { options.types.clone() };
    let f16 = geometry.bytes(CacheType::F16.into(), context, 0)?;
    // In a memory that weights do not fit in, no cache fits.
    let room = vram_gb.map(|gb| {
        let room =
            gb * 1e9 / (1.0 + HEAD_ROOM) - weights.as_ref().map_or(0.0, |weights| weights.bytes as f64);
        if room < 0.0 { None } else { Some(room as u64) }
    });
    let row = |&types: &Pair| -> Result<CacheRow> {
        let bytes = geometry.bytes(types, context, residual)?;
        let longest = match room {
            None => None,
            Some(None) => Some(0),
            Some(Some(room)) => geometry.longest(types, room, residual),
        };
        let other = options.against.as_ref().map(|(_, other)| other.bytes(types, context, residual));
        Ok(CacheRow {
            types,
            bits_per_value: geometry.bits_per_value(types),
            bytes,
            of_f16: bytes as f64 / f16 as f64,
            against_bytes: other.transpose()?,
            longest_context: longest,
            fits: room.map(|_| longest.is_none_or(|longest| longest >= context)),
        })
    };
    let ms = weights.as_ref().and_then(|weights| weights.ms_per_token).unwrap_or(0.0);
    let cell = |types: Pair, tokens: u64| -> Result<ContextCell> {
        let read_bytes = geometry.read_bytes(types, tokens, residual)?;
        let ceiling = |gb_s: f64| 1e3 / (ms + read_bytes as f64 / gb_s / 1e6);
        Ok(ContextCell {
            types,
            bytes: geometry.bytes(types, tokens, residual)?,
            read_bytes,
            tokens_per_s: bandwidth_gb_s.map(ceiling).filter(|ceiling| ceiling.is_finite()),
        })
    };
    let context_row = |tokens: u64| -> Result<ContextRow> {
        let cells = types.iter().map(|&types| cell(types, tokens)).collect::<Result<_>>()?;
        Ok(ContextRow { tokens, types: cells })
    };
    let powers = std::iter::successors(Some(FIRST_CONTEXT), |tokens| tokens.checked_mul(2));
    let contexts = powers.take_while(|&tokens| tokens < context).chain([context]);
    Ok(CachePlan {
        not_counted: not_counted(&geometry, weights.as_ref(), options, &types),
        values_per_token: geometry.values_per_token(),
        context,
        residual,
        vram_gb,
        bandwidth_gb_s,
        against: options.against.as_ref().map(|(name, _)| name.clone()),
        types: types.iter().map(row).collect::<Result<_>>()?,
        contexts: contexts.map(context_row).collect::<Result<_>>()?,
        weights,
        geometry,
    })
}

/// What the numbers leave out.
fn not_counted(
    geometry: &Geometry,
    weights: Option<&Weights>,
    options: &CacheOptions,
    types: &[Pair],
) -> Vec<String> {
    let mut found = Vec::new();
    if weights.is_none() {
        found.push("the weights, of which no format and number is known".to_owned());
    } else if options.bandwidth_gb_s.is_some() && weights.is_some_and(|of| of.ms_per_token.is_none()) {
        found.push("the weights in tokens/s, because their products were not measured".to_owned());
    }
    found.extend(geometry.not_counted.iter().cloned());
    if types.iter().any(|types| types.keys.is_kivi()) && options.residual < GROUP as u64 {
        let most = GROUP - 1;
        found.push(format!("up to {most} newest tokens, whose KIVI keys stay f16 until {GROUP} are there"));
    }
    if options.vram_gb.is_some() {
        found.push(ACTIVATIONS.to_owned());
    }
    found
}

/// What [`HEAD_ROOM`] is for.
pub(super) const ACTIVATIONS: &str = "activations and what the driver takes, for which 5 % are left";

/// The first line of a plan: what its numbers leave out.
pub(super) fn first_line(not_counted: &[String]) -> String {
    if not_counted.is_empty() {
        return String::new();
    }
    format!("not counted: {}\n", not_counted.join("; "))
}

impl CachePlan {
    /// The plan for a terminal.
    pub fn text(&self) -> String {
        first_line(&self.not_counted) + &self.body()
    }

    /// The plan without its first line.
    pub(super) fn body(&self) -> String {
        let Self { geometry, context, .. } = self;
        let mut text = self.layers_text();
        text += &format!("\ncache of {context} tokens");
        if self.residual > 0 {
            text += &format!(", {} of them f16 in each layer", self.residual);
        }
        text += "\n";
        let mut header = vec!["type", "bits per value", "GiB", "of f16"];
        header.extend(self.against.as_deref().map(|_| "other GiB"));
        header.extend(self.against.as_deref().map(|_| "difference"));
        header.extend(self.vram_gb.map(|_| "fits"));
        header.extend(self.vram_gb.map(|_| "longest context"));
        let row = |row: &CacheRow| {
            let mut cells = vec![
                row.types.to_string(),
                format!("{:.3}", row.bits_per_value),
                gib(row.bytes),
                format!("{:.2} %", row.of_f16 * 100.0),
            ];
            if let Some(other) = row.against_bytes {
                cells.push(gib(other));
                cells.push(difference(row.bytes, other));
            }
            if let Some(fits) = row.fits {
                cells.push(if fits { "yes" } else { "no" }.into());
                cells.push(row.longest_context.map_or("any".into(), |tokens| tokens.to_string()));
            }
            cells
        };
        text += &table::render(&header, self.types.iter().map(row).collect());
        let dims: Vec<String> = geometry.dims().iter().map(u64::to_string).collect();
        text += &format!("bits per value: codes and scales, in vectors of {} values\n", dims.join(", "));
        if let Some(other) = &self.against {
            text += &format!("difference: against {other}\n");
        }
        if let Some(gb) = self.vram_gb {
            let weights = match &self.weights {
                Some(weights) => {
                    let (name, size) = (format_name(weights.format), weights.bytes as f64 / 1e9);
                    format!("weights as {name} ({size:.3} GB), cache")
                }
                None => "the cache alone, without weights,".into(),
            };
            text +=
                &format!("fits: {weights} and {:.0} % of it as head room in {gb} GB\n", HEAD_ROOM * 100.0);
        }
        if geometry.layers.iter().any(|of| matches!(of.layer.attention, Attention::Latent { .. })) {
            text += "latents serve as keys and values, and have the type of values; rope keys have that of keys, or f16 where it is\n\
                     neither q8_0 nor q4_0\n";
        }
        text + "\n" + &self.contexts_text()
    }

    fn layers_text(&self) -> String {
        let Self { geometry, context, .. } = self;
        let name = if geometry.kind.is_empty() { "model" } else { &geometry.kind };
        let mut text = format!(
            "{name}: {} layers, {} of them keep a cache of {} values a token\n",
            geometry.layer_count(),
            geometry.kept_layers(),
            self.values_per_token
        );
        let rows = geometry.layers.iter().map(|of| {
            let tokens = match (of.layer.attention, of.layer.window) {
                (Attention::None, _) => "-".into(),
                (_, None) => "all".into(),
                (_, Some(window)) => format!("newest {window}"),
            };
            let bytes = of.bytes(CacheType::F16.into(), *context, 0).map_or("-".into(), gib);
            vec![of.count.to_string(), words(&of.layer), tokens, of.layer.values().to_string(), bytes]
        });
        text +=
            &table::render(&["layers", "attention", "tokens", "values a token", "f16 GiB"], rows.collect());
        text
    }

    fn contexts_text(&self) -> String {
        let names: Vec<[String; 2]> =
            self.types.iter().map(|row| [format!("{} GiB", row.types), "tokens/s".to_owned()]).collect();
        let columns = if self.bandwidth_gb_s.is_some() { 2 } else { 1 };
        let mut header = vec!["context"];
        header.extend(names.iter().flat_map(|pair| pair.iter().take(columns)).map(String::as_str));
        let row = |row: &ContextRow| {
            let mut cells = vec![row.tokens.to_string()];
            for cell in &row.types {
                cells.push(gib(cell.bytes));
                if self.bandwidth_gb_s.is_some() {
                    cells.push(cell.tokens_per_s.map_or("-".into(), |ceiling| format!("{ceiling:.1}")));
                }
            }
            cells
        };
        let mut text = table::render(&header, self.contexts.iter().map(row).collect());
        if let Some(gb_s) = self.bandwidth_gb_s {
            let measured =
                self.weights.as_ref().and_then(|of| Some((format_name(of.format), of.ms_per_token?)));
            let weights = measured.map_or_else(String::new, |(name, ms)| {
                format!("products with weights as {name} ({ms:.3} ms) and ")
            });
            text += &format!("tokens/s: a ceiling, {weights}reading the cache at {gb_s:.1} GB/s");
            text += if measured.is_none() { "; no weights are read\n" } else { "\n" };
        }
        text
    }
}

fn gib(bytes: u64) -> String {
    format!("{:.3}", bytes as f64 / f64::from(1 << 30))
}

/// How much less or more `bytes` is than `other`.
pub fn difference(bytes: u64, other: u64) -> String {
    match (1.0 - bytes as f64 / other as f64) * 100.0 {
        _ if other == 0 => "-".into(),
        0.0 => "none".into(),
        less if less > 0.0 => format!("{less:.2} % less"),
        more => format!("{:.2} % more", -more),
    }
}

fn format_name(format: &str) -> &str {
    if format == AS_IT_IS { "they are" } else { format }
}

fn words(layer: &Layer) -> String {
    let shared = if layer.shared { ", shared" } else { "" };
    match layer.attention {
        Attention::None => "none".into(),
        Attention::Heads { kv_heads, key_dim, value_dim } if key_dim == value_dim => {
            format!("{kv_heads} heads of {key_dim}{shared}")
        }
        Attention::Heads { kv_heads, key_dim, value_dim } => {
            format!("{kv_heads} heads of {key_dim} + {value_dim}{shared}")
        }
        Attention::Latent { rank, rope_dim } => format!("latent, {rank} + {rope_dim}{shared}"),
    }
}
