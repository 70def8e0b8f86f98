//! The geometry of a model's KV cache, layer by layer: from a config.json, from the metadata of a GGUF file, or by hand.
//!
//! Both kinds of files are read by what is known of the model's architecture ([`known`]); of one that is not known nothing
//! is guessed.
//!
//! A layer keeps, for each token of its window, `kv_heads * (key_dim + value_dim)` values, or with multi-head latent
//! attention (MLA) one vector of `rank + rope_dim`, which serves as key and as value. Layers without attention keep
//! nothing, layers that share keep nothing of their own and read what another one keeps. The states of linear attention
//! and of state-space layers do not grow with the context, and are not counted.

mod architecture;
mod by_hand;
mod config;
mod gguf;
mod pattern;

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use crate::codec::{CacheType, HEAD_DIMS, Pair, Side};
use crate::io;
use crate::io::gguf::Gguf;
use crate::{Error, Result};

pub use architecture::known;
pub use by_hand::FORM;

/// The largest config.json. The longest in use, with a block for each layer, are about 100 KiB.
const MAX_BYTES: u64 = 16 << 20;

/// The most layers, heads, and values of a head. With them and any number of tokens, the bits of a cache fit a u128.
const MOST: u64 = 1 << 16;

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
        let vector = |of: CacheType, side, dim: u64| of.bits(side, dim as usize);
        match self.attention {
            Attention::None => 0,
            Attention::Heads { kv_heads, key_dim, value_dim } => {
                kv_heads
                    * (vector(types.keys, Side::Keys, key_dim)
                        + vector(types.values, Side::Values, value_dim))
            }
            Attention::Latent { rank, rope_dim } => {
                let rope = if types.keys.is_for_rope() { types.keys } else { CacheType::F16 };
                vector(types.values, Side::Values, rank) + vector(rope, Side::Keys, rope_dim)
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
    /// What a sequence takes besides, which is not counted.
    #[serde(skip)]
    pub not_counted: Vec<String>,
    /// What must be known before trusting a number.
    #[serde(skip)]
    pub notices: Vec<String>,
}

impl Geometry {
    /// Reads a config.json as Hugging Face's transformers have it.
    ///
    /// # Errors
    /// Those of [`read_json`] and of [`Self::of_config`], with the file.
    pub fn read_config(path: &Path) -> Result<Self> {
        Self::of_config(&read_json(path)?).map_err(|problem| Error::file(path, problem))
    }

    /// The geometry that a config.json describes, or what is wrong with it.
    ///
    /// # Errors
    /// What is missing, of another type, or contradicts something else, in words; or that the architecture is not known.
    pub fn of_config(document: &Value) -> Found<Self> {
        config::geometry(document)
    }

    /// The geometry that the metadata of a GGUF file describes.
    ///
    /// # Errors
    /// What is missing, of another type, or contradicts something else, in words; or that the architecture is not known.
    pub fn of_gguf(gguf: &Gguf) -> Found<Self> {
        gguf::geometry(gguf)
    }

    /// The geometry of these layers, as a user gives them.
    pub fn by_hand(layers: &[Layers]) -> Self {
        let each = |of: &Layers| std::iter::repeat_n(of.layer, of.count as usize);
        let layers: Vec<Layer> = layers.iter().flat_map(each).collect();
        Self::new("layers as given", &layers, Vec::new(), Vec::new())
    }

    fn new(kind: &str, layers: &[Layer], mut notices: Vec<String>, not_counted: Vec<String>) -> Self {
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
        Self { kind, layers: groups, not_counted, notices }
    }

    /// Sizes of the vectors that are encoded, each once: those of keys, of values and of latents. Bits of a value depend on
    /// them.
    pub fn dims(&self) -> Vec<u64> {
        let of = |of: &Layers| match of.layer.attention {
            Attention::None => vec![],
            Attention::Heads { key_dim, value_dim, .. } => vec![key_dim, value_dim],
            Attention::Latent { rank, rope_dim } => vec![rank, rope_dim],
        };
        let mut dims: Vec<u64> = self.layers.iter().flat_map(of).collect();
        dims.sort_unstable();
        dims.dedup();
        dims
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

/// Reads a JSON document of at most 16 MiB.
///
/// # Errors
/// [`Error::Io`] if it cannot be read; [`Error::File`] if it is larger, or no JSON.
pub fn read_json(path: &Path) -> Result<Value> {
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
    serde_json::from_slice(&bytes).map_err(|e| Error::file(path, format!("this is not JSON: {e}")))
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
