//! The geometry of a model's KV cache, layer by layer: from a config.json or from the metadata of a GGUF file.
//!
//! A layer keeps, for each token of its window, `kv_heads * (key_dim + value_dim)` values, or with multi-head latent
//! attention (MLA) one vector of `rank + rope_dim`, which serves as key and as value. Layers without attention keep
//! nothing, layers that share keep nothing of their own and read what another one keeps. The states of linear attention
//! and of state-space layers do not grow with the context, and are not counted.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::codec::{CacheType, HEAD_DIMS, Pair, Side};
use crate::io::gguf::{self, Gguf};
use crate::io::{self, quoted};
use crate::{Error, Result};

/// The largest config.json. The longest in use, with a block for each layer, are about 100 KiB.
const MAX_BYTES: u64 = 16 << 20;

/// The most layers, heads, and values of a head. With them and any number of tokens, the bits of a cache fit a u128.
const MOST: u64 = 1 << 16;

/// Keys that lay a cache out in a way that is not known here; counting without them would be wrong.
const NOT_SUPPORTED: [&str; 7] = [
    "hybrid_override_pattern",
    "hybrid_layer_pattern",
    "attn_layer_period",
    "attn_type_list",
    "linear_attn_config",
    "cross_attention_layers",
    "is_encoder_decoder",
];

/// Models of which every n-th layer sees all tokens and the others a window, where the file itself does not say so; 0 if
/// none sees all. By the names of either kind of file.
const PERIODS: [(&str, u64); 14] = [
    ("gemma2", 2),
    ("gemma3", 6),
    ("gemma3_text", 6),
    ("gemma3n", 5),
    ("gemma3n_text", 5),
    ("cohere2", 4),
    ("gpt_oss", 2),
    ("gpt-oss", 2),
    ("olmo3", 4),
    ("exaone4", 4),
    ("mistral", 0),
    ("mixtral", 0),
    ("phi3", 0),
    ("starcoder2", 0),
];

/// What is wrong is said in words; the caller knows the file.
type Found<T> = std::result::Result<T, String>;

/// What a layer keeps for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "attention", rename_all = "snake_case")]
pub enum Attention {
    /// Nothing that grows with the context.
    None,
    /// A key and a value for each of its heads (MHA, GQA, MQA).
    Heads {
        /// Heads of keys and values.
        kv_heads: u64,
        /// Values of a key of one head.
        key_dim: u64,
        /// Values of a value of one head.
        value_dim: u64,
    },
    /// One vector for all heads (MLA).
    Latent {
        /// Values of the latent part.
        rank: u64,
        /// Values of the key's part with a rotary embedding.
        rope_dim: u64,
    },
}

/// A layer, as far as the cache depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Layer {
    /// What it keeps for a token.
    #[serde(flatten)]
    pub attention: Attention,
    /// The newest tokens that it sees; null for all.
    pub window: Option<u64>,
    /// Whether it reads the keys and values of another layer, and keeps none of its own.
    pub shared: bool,
}

impl Layer {
    /// Values that it reads for a token.
    pub fn values(&self) -> u64 {
        match self.attention {
            Attention::None => 0,
            Attention::Heads { kv_heads, key_dim, value_dim } => kv_heads * (key_dim + value_dim),
            Attention::Latent { rank, rope_dim } => rank + rope_dim,
        }
    }

    /// Bits that a token takes in it. As in `kv::KvCache`, latents have the type of values, and rope keys that of keys, or f16
    /// where they cannot.
    fn bits(&self, types: Pair) -> u64 {
        let keys = |dim: u64| types.keys.bits(Side::Keys, dim as usize);
        let values = |dim: u64| types.values.bits(Side::Values, dim as usize);
        match self.attention {
            Attention::None => 0,
            Attention::Heads { kv_heads, key_dim, value_dim } => {
                kv_heads * (keys(key_dim) + values(value_dim))
            }
            Attention::Latent { rank, rope_dim } => {
                let rope = if types.keys.is_for_rope() { types.keys } else { CacheType::F16 };
                values(rank) + rope.bits(Side::Keys, rope_dim as usize)
            }
        }
    }

    /// Tokens that it sees of a context.
    fn tokens(&self, context: u64) -> u64 {
        self.window.map_or(context, |window| window.min(context))
    }
}

/// Layers that are equal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Layers {
    /// How many there are.
    pub count: u64,
    /// Each of them.
    #[serde(flatten)]
    pub layer: Layer,
}

/// The geometry of a model's cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Geometry {
    /// What the file calls the model's kind.
    pub kind: String,
    /// Its layers, equal ones together.
    pub layers: Vec<Layers>,
    /// What is not counted, or had to be taken for granted.
    #[serde(skip)]
    pub notices: Vec<String>,
}

impl Geometry {
    /// Reads a config.json as Hugging Face's transformers have it.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read; [`Error::File`] if it is no such document, or does not say what the cache
    /// depends on, or contradicts itself.
    pub fn read_config(path: &Path) -> Result<Self> {
        let (file, size) = io::open(path)?;
        let too_large = || Error::file(path, format!("this is larger than {} MiB", MAX_BYTES >> 20));
        if size > MAX_BYTES {
            return Err(too_large());
        }
        let mut bytes = Vec::new();
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|e| Error::io(path, e))?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(too_large());
        }
        let document = serde_json::from_slice(&bytes)
            .map_err(|e| Error::file(path, format!("this is not JSON: {e}")))?;
        Self::of_config(&document).map_err(|problem| Error::file(path, problem))
    }

    /// The geometry that a config.json describes, or what is wrong with it.
    ///
    /// # Errors
    /// What is missing, of another type, or contradicts something else, in words.
    pub fn of_config(document: &Value) -> Found<Self> {
        let outer = document.as_object().ok_or("this is no config.json: it is not an object")?;
        let config = Config(match outer.get("text_config") {
            // Models of pictures and text have it within.
            Some(Value::Object(inner)) => inner,
            None | Some(Value::Null) => outer,
            Some(other) => return Err(format!("text_config is {}, not an object", shown(other))),
        });
        for key in NOT_SUPPORTED {
            if !matches!(config.get(key), None | Some(Value::Bool(false))) {
                return Err(format!("{key}: caches of models that have this cannot be planned"));
            }
        }
        let count = config.wanted("num_hidden_layers")?;
        let mut notices = Vec::new();
        if config.get("index_head_dim").is_some() {
            notices.push("index_head_dim: the keys of its indexer are not counted".to_owned());
        }
        let mut layers = match config.get("block_configs") {
            Some(blocks) => config.blocks(each(blocks, "block_configs", count)?)?,
            None => config.layers(count, &mut notices)?,
        };
        share(&mut layers, config.number("num_kv_shared_layers")?, "num_kv_shared_layers")?;
        Ok(Self::new(config.kind(), &layers, notices))
    }

    /// The geometry that the metadata of a GGUF file describes.
    ///
    /// # Errors
    /// What is missing, of another type, or contradicts something else, in words.
    pub fn of_gguf(gguf: &Gguf) -> Found<Self> {
        let meta = Meta::new(gguf)?;
        let blocks = meta.wanted("block_count")?;
        // Layers that predict further tokens come last; without speculation they do not run.
        let further = meta.number("nextn_predict_layers")?.unwrap_or(0);
        let count = blocks.checked_sub(further).filter(|&count| count > 0).ok_or_else(|| {
            format!("nextn_predict_layers is {further}, which leaves none of its {blocks} layers")
        })?;
        let mut notices = Vec::new();
        let mut layers = meta.layers(count, blocks, &mut notices)?;
        let key = "attention.shared_kv_layers";
        share(&mut layers, meta.number(key)?, key)?;
        Ok(Self::new(meta.architecture, &layers, notices))
    }

    fn new(kind: &str, layers: &[Layer], mut notices: Vec<String>) -> Self {
        let (mut groups, mut places) = (Vec::<Layers>::new(), HashMap::new());
        for &layer in layers {
            let place = *places.entry(layer).or_insert(groups.len());
            match groups.get_mut(place) {
                Some(group) => group.count += 1,
                None => groups.push(Layers { count: 1, layer }),
            }
        }
        let mut odd: Vec<u64> = Vec::new();
        for group in &groups {
            let dims = match group.layer.attention {
                Attention::Heads { key_dim, value_dim, .. } => [key_dim, value_dim],
                _ => continue,
            };
            odd.extend(dims.iter().filter(|&&dim| !HEAD_DIMS.contains(&(dim as usize))));
        }
        odd.sort_unstable();
        odd.dedup();
        if !odd.is_empty() {
            notices.push(format!(
                "no kernel here takes heads of {odd:?} values; there is {HEAD_DIMS:?}: sizes are what the layout would take"
            ));
        }
        let kind = kind.chars().filter(|c| !c.is_control()).take(64).collect();
        Self { kind, layers: groups, notices }
    }

    /// Layers of every kind.
    pub fn layer_count(&self) -> u64 {
        self.layers.iter().map(|of| of.count).sum()
    }

    /// Layers that keep something.
    pub fn kept_layers(&self) -> u64 {
        let keeps = |of: &&Layers| of.layer.attention != Attention::None && !of.layer.shared;
        self.layers.iter().filter(keeps).map(|of| of.count).sum()
    }

    /// Values that a token adds, as long as no window is full.
    pub fn values_per_token(&self) -> u64 {
        let kept = self.layers.iter().filter(|of| !of.layer.shared);
        kept.map(|of| of.layer.values() * of.count).sum()
    }

    /// Bits of a value in the mean, scales included; 0 if no layer keeps any.
    pub fn bits_per_value(&self, types: Pair) -> f64 {
        let kept = self.layers.iter().filter(|of| !of.layer.shared);
        let bits: u128 = kept.map(|of| u128::from(of.layer.bits(types)) * u128::from(of.count)).sum();
        bits as f64 / self.values_per_token().max(1) as f64
    }

    /// Bytes that the cache of so many tokens takes. In each layer up to `residual` tokens, the first and the newest ones,
    /// stay f16.
    ///
    /// # Errors
    /// [`Error::Input`] if they are more than a u64 holds.
    pub fn bytes(&self, types: Pair, tokens: u64, residual: u64) -> Result<u64> {
        let kept = self.layers.iter().filter(|of| !of.layer.shared);
        as_bytes(kept.map(|of| of.bits(types, tokens, residual)).sum(), tokens)
    }

    /// Bytes that one more token reads of the cache: those of shared layers once for each layer that reads them.
    ///
    /// # Errors
    /// As [`Self::bytes`].
    pub fn read_bytes(&self, types: Pair, tokens: u64, residual: u64) -> Result<u64> {
        as_bytes(self.layers.iter().map(|of| of.bits(types, tokens, residual)).sum(), tokens)
    }

    /// The longest context whose cache takes no more than `bytes`; none if every context does.
    pub fn longest(&self, types: Pair, bytes: u64, residual: u64) -> Option<u64> {
        let fits = |tokens| self.bytes(types, tokens, residual).is_ok_and(|needed| needed <= bytes);
        if fits(u64::MAX) {
            return None;
        }
        let (mut most, mut too_many) = (0, u64::MAX);
        while too_many - most > 1 {
            let middle = most + (too_many - most) / 2;
            if fits(middle) {
                most = middle;
            } else {
                too_many = middle;
            }
        }
        Some(most)
    }
}

impl Layers {
    fn bits(&self, types: Pair, context: u64, residual: u64) -> u128 {
        let tokens = self.layer.tokens(context);
        let plain = residual.min(tokens);
        let bits = |types: Pair, tokens: u64| u128::from(self.layer.bits(types)) * u128::from(tokens);
        let all = bits(types, tokens - plain) + bits(CacheType::F16.into(), plain);
        all * u128::from(self.count)
    }

    /// Bytes that these layers keep of a context; 0 for those that share.
    ///
    /// # Errors
    /// As [`Geometry::bytes`].
    pub fn bytes(&self, types: Pair, context: u64, residual: u64) -> Result<u64> {
        let kept = if self.layer.shared { 0 } else { self.bits(types, context, residual) };
        as_bytes(kept, context)
    }
}

fn as_bytes(bits: u128, tokens: u64) -> Result<u64> {
    u64::try_from(bits / 8).map_err(|_| {
        Error::Input(format!("a cache of {tokens} tokens has more than 2^64 bytes; ask for fewer tokens"))
    })
}

/// The last `shared` layers read what layers before them keep.
fn share(layers: &mut [Layer], shared: Option<u64>, key: &str) -> Found<()> {
    let (shared, count) = (shared.unwrap_or(0), layers.len() as u64);
    let own = count.checked_sub(shared).filter(|&own| own > 0 || shared == 0);
    let own = own.ok_or_else(|| format!("{key} is {shared}, which leaves none of its {count} layers"))?;
    for layer in layers.iter_mut().skip(own as usize) {
        layer.shared = layer.attention != Attention::None;
    }
    Ok(())
}

/// Which of the layers see a window of tokens, where nothing says it of each: all but every `period`-th; all if it is 0.
fn windowed(layer: u64, period: u64) -> bool {
    period == 0 || !(layer + 1).is_multiple_of(period)
}

/// [`PERIODS`]' for a kind of model, with a notice where it has none: then no layer is taken to see a window.
fn period_of(kind: &str, window: u64, notices: &mut Vec<String>) -> u64 {
    PERIODS.iter().find(|(name, _)| *name == kind).map_or_else(
        || {
            notices.push(format!(
                "there is a sliding window of {window} tokens, but not for which layers: all are counted in full"
            ));
            1
        },
        |&(_, period)| period,
    )
}

/// Heads of keys and values for so many heads of queries.
fn grouped(heads: u64, kv_heads: u64) -> Found<()> {
    if heads.is_multiple_of(kv_heads) {
        return Ok(());
    }
    Err(format!("its {heads} query heads are not a multiple of its {kv_heads} heads of keys and values"))
}

fn missing(key: &str) -> String {
    format!("it has no {key}")
}

fn in_range(key: &str, value: u64) -> Found<u64> {
    match value {
        1..=MOST => Ok(value),
        _ => Err(format!("{key} is {value}; 1 to {MOST} can be")),
    }
}

/// A value of a file, fit for a message.
fn shown(value: &Value) -> String {
    match value {
        Value::Array(values) => format!("a list of {}", values.len()),
        Value::Object(_) => "an object".into(),
        Value::String(text) => quoted(text),
        other => other.to_string(),
    }
}

/// A list with a value for each layer.
fn each<'a>(value: &'a Value, key: &str, layers: u64) -> Found<&'a [Value]> {
    let list = value.as_array().ok_or_else(|| format!("{key} is {}, not a list", shown(value)))?;
    if list.len() as u64 != layers {
        return Err(format!("{key} has {} entries for {layers} layers", list.len()));
    }
    Ok(list)
}

/// A config.json, or a part of one.
struct Config<'a>(&'a Map<String, Value>);

impl Config<'_> {
    /// What is null counts as missing.
    fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    fn number(&self, key: &str) -> Found<Option<u64>> {
        let number = |value: &Value| {
            value.as_u64().ok_or_else(|| format!("{key} is {}, not a whole number from 0 up", shown(value)))
        };
        self.get(key).map(number).transpose()
    }

    /// A number of layers, heads, or values of a head.
    fn size(&self, key: &str) -> Found<Option<u64>> {
        self.number(key)?.map(|value| in_range(key, value)).transpose()
    }

    fn wanted(&self, key: &str) -> Found<u64> {
        self.size(key)?.ok_or_else(|| missing(key))
    }

    fn flag(&self, key: &str) -> Found<Option<bool>> {
        let flag = |value: &Value| {
            value.as_bool().ok_or_else(|| format!("{key} is {}, not true or false", shown(value)))
        };
        self.get(key).map(flag).transpose()
    }

    fn kind(&self) -> &str {
        self.get("model_type").and_then(Value::as_str).unwrap_or("")
    }

    fn window(&self, key: &str) -> Found<Option<u64>> {
        match self.number(key)? {
            Some(0) => Err(format!("{key} is 0: no layer can see no token")),
            window => Ok(window),
        }
    }

    /// Query heads, and values of a key and of a value. `own` are keys that come before the usual one.
    fn heads(&self, own: Option<&str>) -> Found<(u64, u64, u64)> {
        let heads = self.wanted("num_attention_heads")?;
        let own = own.map_or(Ok(None), |key| self.size(key))?;
        let key_dim = match own.map_or_else(|| self.size("head_dim"), |dim| Ok(Some(dim)))? {
            Some(dim) => dim,
            None => {
                let hidden =
                    self.number("hidden_size")?.ok_or_else(|| missing("head_dim, and no hidden_size"))?;
                if !hidden.is_multiple_of(heads) {
                    return Err(format!(
                        "its hidden_size of {hidden} is not a multiple of its {heads} heads"
                    ));
                }
                in_range("hidden_size / num_attention_heads", hidden / heads)?
            }
        };
        let value_dim = if own.is_some() { None } else { self.size("v_head_dim")? };
        Ok((heads, key_dim, value_dim.unwrap_or(key_dim)))
    }

    /// What a layer with attention keeps.
    fn attention(&self, windowed: bool) -> Found<Attention> {
        if let Some(rank) = self.size("kv_lora_rank")? {
            return Ok(Attention::Latent { rank, rope_dim: self.wanted("qk_rope_head_dim")? });
        }
        // Some models have other heads where all tokens are seen, or where a window is.
        let [kv_key, dim_key] = if windowed {
            ["swa_num_key_value_heads", "swa_head_dim"]
        } else {
            ["num_global_key_value_heads", "global_head_dim"]
        };
        let (heads, key_dim, value_dim) = self.heads(Some(dim_key))?;
        let kv_heads = match self.size(kv_key)? {
            Some(own) => own,
            None => self.size("num_key_value_heads")?.unwrap_or(heads),
        };
        grouped(heads, kv_heads)?;
        Ok(Attention::Heads { kv_heads, key_dim, value_dim })
    }

    /// Layers by `block_configs`, as Nemotron has them.
    fn blocks(&self, blocks: &[Value]) -> Found<Vec<Layer>> {
        let (heads, key_dim, value_dim) = self.heads(None)?;
        let layer = |(i, block): (usize, &Value)| {
            let about = |problem: String| format!("block_configs, layer {i}: {problem}");
            let found = block.get("attention").and_then(Value::as_object);
            let block = Config(found.ok_or_else(|| about("attention is not an object".into()))?);
            for key in ["mamba", "llama4", "sparsify"] {
                if !matches!(block.get(key), None | Some(Value::Bool(false))) {
                    return Err(about(format!("{key}: such layers cannot be planned")));
                }
            }
            let is = |key| block.flag(key).map(|flag| flag == Some(true)).map_err(about);
            let attention = if is("no_op")? || is("replace_with_linear")? {
                Attention::None
            } else {
                let group = block.wanted("n_heads_in_group").map_err(about)?;
                grouped(heads, group).map_err(|_| {
                    about(format!("n_heads_in_group is {group}, which does not divide its {heads} heads"))
                })?;
                Attention::Heads { kv_heads: heads / group, key_dim, value_dim }
            };
            Ok(Layer { attention, window: block.window("window_length").map_err(about)?, shared: false })
        };
        blocks.iter().enumerate().map(layer).collect()
    }

    fn layers(&self, count: u64, notices: &mut Vec<String>) -> Found<Vec<Layer>> {
        let sliding = match self.flag("use_sliding_window")? {
            Some(false) => None,
            _ => self.window("sliding_window")?,
        };
        let with = |attends: bool, window: Option<u64>| {
            let attention = if attends { self.attention(window.is_some())? } else { Attention::None };
            Ok(Layer { attention, window, shared: false })
        };
        if let Some(types) = self.get("layer_types") {
            let layer = |ty: &Value| match ty.as_str() {
                Some("full_attention" | "attention") => with(true, None),
                Some("sliding_attention") => {
                    with(true, Some(sliding.ok_or_else(|| missing("sliding_window"))?))
                }
                Some("chunked_attention") => {
                    let chunk = self.window("attention_chunk_size")?;
                    with(true, Some(chunk.ok_or_else(|| missing("attention_chunk_size"))?))
                }
                Some("linear_attention" | "mamba" | "mamba2" | "recurrent" | "conv") => with(false, None),
                _ => Err(format!("layer_types: no layer is known as {}", shown(ty))),
            };
            return each(types, "layer_types", count)?.iter().map(layer).collect();
        }
        if let Some(interval) = self.size("full_attention_interval")? {
            return (0..count).map(|i| with((i + 1).is_multiple_of(interval), None)).collect();
        }
        let Some(window) = sliding else {
            if self.get("attention_chunk_size").is_some() {
                notices.push("attention_chunk_size: all layers are counted in full".into());
            }
            return (0..count).map(|_| with(true, None)).collect();
        };
        let sees_window: Box<dyn Fn(u64) -> bool> = match self.get("sliding_window_pattern") {
            // A letter for each layer, L for local and G for global, over and over.
            Some(Value::String(letters))
                if !letters.is_empty() && letters.bytes().all(|b| b"LG".contains(&b)) =>
            {
                let letters = letters.as_bytes();
                Box::new(move |i| letters[(i % letters.len() as u64) as usize] == b'L')
            }
            Some(Value::String(other)) => {
                return Err(format!("sliding_window_pattern is {}; letters L and G can be", quoted(other)));
            }
            Some(_) => {
                let period = self.wanted("sliding_window_pattern")?;
                Box::new(move |i| windowed(i, period))
            }
            None => match self.number("max_window_layers")? {
                Some(full) => Box::new(move |i| i >= full),
                None => {
                    let period = period_of(self.kind(), window, notices);
                    Box::new(move |i| windowed(i, period))
                }
            },
        };
        (0..count).map(|i| with(true, Some(window).filter(|_| sees_window(i)))).collect()
    }
}

/// The metadata of a GGUF file, whose keys begin with the architecture.
struct Meta<'a> {
    gguf: &'a Gguf,
    architecture: &'a str,
}

impl<'a> Meta<'a> {
    fn new(gguf: &'a Gguf) -> Found<Self> {
        let architecture = gguf.get("general.architecture").and_then(gguf::Value::as_str);
        Ok(Self { gguf, architecture: architecture.ok_or_else(|| missing("general.architecture"))? })
    }

    fn get(&self, key: &str) -> Option<&'a gguf::Value> {
        self.gguf.get(&format!("{}.{key}", self.architecture))
    }

    fn number(&self, key: &str) -> Found<Option<u64>> {
        let number = |value: &gguf::Value| {
            value.as_u64().ok_or_else(|| format!("{key} is not a whole number from 0 up"))
        };
        self.get(key).map(number).transpose()
    }

    fn size(&self, key: &str) -> Found<Option<u64>> {
        self.number(key)?.map(|value| in_range(key, value)).transpose()
    }

    fn wanted(&self, key: &str) -> Found<u64> {
        self.size(key)?.ok_or_else(|| missing(key))
    }

    /// A number of heads for each of `layers`, of which a file has one for all, or one for each; 0 for none.
    fn heads(&self, key: &str, layers: u64) -> Found<Option<Vec<u64>>> {
        let of = |value: &gguf::Value| match value.as_u64() {
            Some(heads @ 0..=MOST) => Ok(heads),
            Some(heads) => Err(format!("{key} is {heads}; 0 to {MOST} can be")),
            None => Err(format!("{key} is not a whole number from 0 up, nor a list of them")),
        };
        match self.get(key) {
            None => Ok(None),
            Some(gguf::Value::Array(array)) if array.len() as u64 == layers => {
                array.first(array.len()).iter().map(of).collect::<Found<_>>().map(Some)
            }
            Some(gguf::Value::Array(array)) => {
                Err(format!("{key} has {} entries for {layers} layers", array.len()))
            }
            Some(value) => Ok(Some(vec![of(value)?; layers as usize])),
        }
    }

    /// The first `count` of `blocks` layers.
    fn layers(&self, count: u64, blocks: u64, notices: &mut Vec<String>) -> Found<Vec<Layer>> {
        let windows = self.windows(blocks, notices)?;
        let layer = |i: usize, attention| Layer { attention, window: windows[i], shared: false };
        let all = 0..count as usize;
        if let Some(rank) = self.size("attention.kv_lora_rank")? {
            let latent = Attention::Latent { rank, rope_dim: self.wanted("rope.dimension_count")? };
            return Ok(all.map(|i| layer(i, latent)).collect());
        }
        let [heads_key, own] = ["attention.head_count", "attention.head_count_kv"];
        let heads = self.heads(heads_key, blocks)?;
        // Without a number of their own, there are as many heads for keys as there are for queries.
        let kv_heads = self.heads(own, blocks)?.or_else(|| heads.clone()).ok_or_else(|| missing(own))?;
        let length = |key: &str| match self.size(key)? {
            Some(length) => Ok(length),
            None => {
                let most = heads.iter().flatten().copied().max().filter(|&heads| heads > 0);
                let width = self.number("embedding_length")?;
                let length = width.zip(most).filter(|(width, heads)| width.is_multiple_of(*heads));
                in_range(key, length.map(|(width, heads)| width / heads).ok_or_else(|| missing(key))?)
            }
        };
        let dims = (length("attention.key_length")?, length("attention.value_length")?);
        // Some models have other heads where a window is seen.
        let own = |key: &str, usual| Ok::<_, String>(self.size(key)?.unwrap_or(usual));
        let windowed = (own("attention.key_length_swa", dims.0)?, own("attention.value_length_swa", dims.1)?);
        all.map(|i| {
            let kv_heads = kv_heads[i];
            if kv_heads == 0 {
                return Ok(layer(i, Attention::None));
            }
            if let Some(heads) = &heads {
                grouped(heads[i], kv_heads).map_err(|problem| format!("layer {i}: {problem}"))?;
            }
            let (key_dim, value_dim) = if windows[i].is_some() { windowed } else { dims };
            Ok(layer(i, Attention::Heads { kv_heads, key_dim, value_dim }))
        })
        .collect()
    }

    /// The window of each layer.
    fn windows(&self, blocks: u64, notices: &mut Vec<String>) -> Found<Vec<Option<u64>>> {
        let Some(window) = self.number("attention.sliding_window")?.filter(|&window| window > 0) else {
            return Ok(vec![None; blocks as usize]);
        };
        let key = "attention.sliding_window_pattern";
        let period = match self.get(key) {
            Some(gguf::Value::Array(gguf::Array::Bool(sees_window)))
                if sees_window.len() as u64 == blocks =>
            {
                return Ok(sees_window.iter().map(|&sees| Some(window).filter(|_| sees)).collect());
            }
            Some(gguf::Value::Array(array)) => {
                return Err(format!(
                    "{key} has {} entries of {} for {blocks} layers; true or false is expected for each",
                    array.len(),
                    array.type_name()
                ));
            }
            Some(_) => self.wanted(key)?,
            None => period_of(self.architecture, window, notices),
        };
        Ok((0..blocks).map(|i| Some(window).filter(|_| windowed(i, period))).collect())
    }
}
