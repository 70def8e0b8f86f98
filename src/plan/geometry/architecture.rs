//! The architectures whose caches are known, a row of data each: transformers.json by the `model_type` of a config.json,
//! llama_cpp.json by the `general.architecture` of a GGUF file. A new one is a row there, with its source.
//!
//! What a row leaves out is as in LLaMA: every layer sees all tokens, and the keys have the usual names.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::Found;
use super::pattern::{Pattern, Sees};
use crate::io::quoted;

/// An architecture of transformers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Architecture {
    model_type: Vec<String>,
    source: String,
    /// Keys of this architecture, and the usual ones that they stand for. Either may be in a file.
    #[serde(default)]
    pub names: BTreeMap<String, String>,
    /// What keys are if a file does not have them. A key that is null has no default.
    #[serde(default)]
    pub defaults: Map<String, Value>,
    /// Keys of which other files of the architecture have other defaults: they have to be there.
    #[serde(default)]
    pub wanted: Vec<String>,
    /// How many heads of keys and values there are: the first case that fits, `num_key_value_heads` if none does.
    #[serde(default)]
    pub kv_heads: Vec<Case>,
    /// How many values a head has: the first case that fits, `head_dim` if none does.
    #[serde(default)]
    pub head_dim: Vec<Case>,
    /// Hidden sizes that the heads share.
    #[serde(default = "one")]
    pub widths: u64,
    /// What each layer sees: the first pattern whose key is there. `layer_types` comes before them.
    #[serde(default)]
    pub layers: Vec<Pattern>,
    /// What all layers see if no pattern's key is there; without it, one has to be.
    pub otherwise: Option<Sees>,
    /// What the last layer sees, whatever a pattern says.
    pub last: Option<Sees>,
    /// Which layers read what others keep.
    #[serde(default)]
    pub shared: Shared,
    /// The key that says whether a token is one vector for all heads (MLA).
    pub latent: Option<String>,
    /// The key of a list with a block for each layer, as Nemotron has them.
    pub blocks: Option<String>,
    /// What else a sequence takes.
    pub not_counted: Option<String>,
    /// The part of a file that describes the model of text.
    pub within: Option<String>,
    /// The architecture of that part, if it does not say.
    pub inner: Option<String>,
}

fn one() -> u64 {
    1
}

/// A number that depends on something else.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    /// The layers that it is of; all if not given.
    pub on: Option<Sees>,
    /// A key, which has to be `is`, or true.
    #[serde(rename = "if")]
    pub key: Option<String>,
    pub is: Option<String>,
    /// The number, or the key that has it. If that is null or not there, the case does not fit.
    pub then: Value,
}

/// Which layers read what others keep.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Shared {
    /// The key that says how many: the last ones.
    pub last: Option<String>,
    /// The key of a number: all but one in so many.
    pub every: Option<String>,
    /// The key that has to be true for it.
    #[serde(rename = "if")]
    pub condition: Option<String>,
}

impl Architecture {
    /// The `model_type`, or the first of several.
    pub fn name(&self) -> &str {
        self.model_type.first().map_or("", String::as_str)
    }

    /// Whether the cache depends on this key.
    pub fn reads(&self, key: &str) -> bool {
        let is = |own: &str| own == key || own.strip_prefix(key).is_some_and(|rest| rest.starts_with('.'));
        let cases = self.kv_heads.iter().chain(&self.head_dim);
        let keys = cases.flat_map(|case| case.key.as_deref().into_iter().chain(case.then.as_str()));
        let patterns = self
            .layers
            .iter()
            .flat_map(|of| [Some(of.key.as_str()), of.offset.as_ref().and_then(Value::as_str)])
            .flatten();
        let Shared { last, every, condition } = &self.shared;
        let optional = [last, every, condition, &self.latent, &self.blocks];
        let latent = ["kv_lora_rank", "qk_rope_head_dim", "v_head_dim"];
        self.names.iter().any(|(own, usual)| is(own) || is(usual))
            || self.defaults.keys().any(|own| is(own))
            || self.wanted.iter().any(|own| is(own))
            || keys.chain(patterns).any(is)
            || optional.into_iter().flatten().any(|own| is(own))
            || self.latent.is_some() && latent.contains(&key)
    }

    /// Whether any of its layers may see a window.
    pub fn has_windows(&self) -> bool {
        self.otherwise == Some(Sees::Window) || self.layers.iter().any(Pattern::has_windows)
    }
}

/// An architecture of llama.cpp. Its keys are those of all others, but what they leave open differs.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ggml {
    architecture: Vec<String>,
    source: String,
    /// Where a window is and the file does not say which layers see it: one in so many sees all tokens, none if it is 0.
    pub period: Option<u64>,
    /// That one is the first of them, not the last.
    #[serde(default)]
    pub first: bool,
    /// The window if the file does not say.
    pub window: Option<u64>,
    /// The window whatever the file says, unless that is 0: none.
    pub fixed: Option<u64>,
    /// Whether the file has to say what the window is.
    #[serde(default)]
    pub needs_window: bool,
    /// Whether the file has to say which layers see it.
    #[serde(default)]
    pub needs_pattern: bool,
    /// Whether a token is one vector for all heads (MLA).
    #[serde(default)]
    pub latent: bool,
    /// One in so many layers has attention and the others a state, if the file does not say.
    pub interval: Option<u64>,
    /// Whether no layer has attention.
    #[serde(default)]
    pub states: bool,
    /// So many first layers keep keys and values that the others read, if the file does not say.
    pub kept: Option<u64>,
    /// What else a sequence takes.
    pub not_counted: Option<String>,
}

type Rows<T> = LazyLock<Found<Vec<T>>>;

static TRANSFORMERS: Rows<Architecture> = LazyLock::new(|| parse(include_str!("transformers.json")));
static LLAMA_CPP: Rows<Ggml> = LazyLock::new(|| parse(include_str!("llama_cpp.json")));

fn parse<T: DeserializeOwned>(text: &str) -> Found<Vec<T>> {
    serde_json::from_str(text).map_err(|problem| format!("the table of architectures is broken: {problem}"))
}

fn unknown(key: &str, name: &str) -> String {
    format!("its {key} is {}: the KV cache of that architecture is not known, and not guessed", quoted(name))
}

/// The row of a `model_type`, or that it is not known.
pub(super) fn of_model_type(name: &str) -> Found<&'static Architecture> {
    let rows = TRANSFORMERS.as_ref().map_err(Clone::clone)?;
    let found = rows.iter().find(|row| row.model_type.iter().any(|own| own == name));
    found.ok_or_else(|| unknown("model_type", name))
}

/// The row of a `general.architecture`, or that it is not known.
pub(super) fn of_ggml(name: &str) -> Found<&'static Ggml> {
    let rows = LLAMA_CPP.as_ref().map_err(Clone::clone)?;
    let found = rows.iter().find(|row| row.architecture.iter().any(|own| own == name));
    found.ok_or_else(|| unknown("general.architecture", name))
}

/// The names of all architectures that are known, and where that is from: of a config.json, and of a GGUF file.
pub fn known() -> [Vec<(&'static str, &'static str)>; 2] {
    let transformers = TRANSFORMERS.iter().flatten().flat_map(|row| pairs(&row.model_type, &row.source));
    let ggml = LLAMA_CPP.iter().flatten().flat_map(|row| pairs(&row.architecture, &row.source));
    [transformers.collect(), ggml.collect()]
}

fn pairs<'a>(names: &'a [String], source: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    names.iter().map(move |name| (name.as_str(), source))
}
