//! The geometry that a config.json of Hugging Face's transformers describes, by the row of its architecture.

use serde_json::{Map, Value};

use super::architecture::{self, Architecture, Case};
use super::pattern::{Form, Pattern, Sees, for_each, list, shown, whole};
use super::{Attention, Found, Geometry, Layer, grouped, in_range, missing, share};

/// Keys on which some architecture's cache depends. One that an architecture is not known to read is refused: a variant
/// of it may.
const SIGNS: [&str; 31] = [
    "attention_head_dim",
    "attention_types",
    "attn_config",
    "attn_layer_indices",
    "attn_layer_period",
    "attn_type_list",
    "block_configs",
    "block_types",
    "cla_share_factor",
    "cross_attention_layers",
    "full_attention_interval",
    "full_attn_idxs",
    "global_head_dim",
    "hybrid_layer_pattern",
    "hybrid_override_pattern",
    "index_head_dim",
    "kv_lora_rank",
    "layers_block_type",
    "linear_attn_config",
    "multi_query",
    "multi_query_attention",
    "multi_query_group_num",
    "n_head_kv",
    "num_global_key_value_heads",
    "num_key_value_heads_per_layer",
    "num_kv_heads",
    "num_kv_shared_layers",
    "per_layer_config",
    "swa_head_dim",
    "swa_num_key_value_heads",
    "v_head_dim",
];

/// The geometry that a config.json describes.
pub(super) fn geometry(document: &Value) -> Found<Geometry> {
    let outer = document.as_object().ok_or("this is no config.json: it is not an object")?;
    if outer.get("is_encoder_decoder") == Some(&Value::Bool(true)) {
        return Err(
            "is_encoder_decoder: the cache of models with an encoder and a decoder is not known".into()
        );
    }
    let row = architecture::of_model_type(kind(outer, None)?)?;
    let Some(within) = &row.within else { return Config { own: outer, row }.geometry() };
    match at(outer, within) {
        Some(Value::Object(inner)) => {
            let about = |problem| format!("{within}: {problem}");
            let row =
                kind(inner, row.inner.as_deref()).and_then(architecture::of_model_type).map_err(about)?;
            Config { own: inner, row }.geometry().map_err(about)
        }
        // Older files have all in one place.
        None | Some(Value::Null) if !row.defaults.is_empty() => Config { own: outer, row }.geometry(),
        None | Some(Value::Null) => Err(missing(within)),
        Some(other) => Err(format!("{within} is {}, not an object", shown(other))),
    }
}

fn kind<'a>(config: &'a Map<String, Value>, usual: Option<&'a str>) -> Found<&'a str> {
    match config.get("model_type") {
        Some(Value::String(kind)) => Ok(kind),
        None | Some(Value::Null) => usual.ok_or_else(|| {
            "it has no model_type: which architecture's cache this is, it does not say".into()
        }),
        Some(other) => Err(format!("model_type is {}, not a name", shown(other))),
    }
}

/// The value of a key, which may lie within the value of another one: `attn_config.kv_n_heads`.
fn at<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    match key.split_once('.') {
        Some((outer, inner)) => at(object.get(outer)?.as_object()?, inner),
        None => object.get(key),
    }
}

/// Whether a value says nothing: null, false, 0, an empty list.
fn is_off(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_u64() == Some(0),
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}

/// A config.json, or the part of one that describes a model of text, with what is known of its architecture.
struct Config<'a> {
    own: &'a Map<String, Value>,
    row: &'a Architecture,
}

impl<'a> Config<'a> {
    /// The value of a key, by any of its names; the default if the file has none. Nothing for null.
    fn get(&self, key: &str) -> Found<Option<&'a Value>> {
        let others = self.row.names.iter().filter(|(_, usual)| *usual == key).map(|(own, _)| own.as_str());
        let there: Vec<(&str, &Value)> =
            others.chain([key]).filter_map(|name| Some((name, at(self.own, name)?))).collect();
        let mut said = there.iter().filter(|(_, value)| !value.is_null());
        if let Some(&(first, value)) = said.next() {
            return match said.find(|(_, other)| *other != value) {
                Some((name, other)) => {
                    let (value, other) = (shown(value), shown(other));
                    Err(format!("{first} is {value}, but {name}, which is the same, is {other}"))
                }
                None => Ok(Some(value)),
            };
        }
        if !there.is_empty() {
            return Ok(None);
        }
        if self.row.wanted.iter().any(|wanted| wanted == key) {
            return Err(format!("{}, and files of its kind have no common default", missing(key)));
        }
        Ok(self.row.defaults.get(key))
    }

    fn number(&self, key: &str) -> Found<Option<u64>> {
        self.get(key)?.map(|value| whole(key, value)).transpose()
    }

    /// A number of layers, ranks, or values of a head.
    fn size(&self, key: &str) -> Found<Option<u64>> {
        self.number(key)?.map(|value| in_range(key, value)).transpose()
    }

    fn needed(&self, key: &str) -> Found<u64> {
        self.size(key)?.ok_or_else(|| missing(key))
    }

    fn flag(&self, key: &str) -> Found<bool> {
        let flag = |value: &Value| {
            value.as_bool().ok_or_else(|| format!("{key} is {}, not true or false", shown(value)))
        };
        Ok(self.get(key)?.map(flag).transpose()?.unwrap_or(false))
    }

    fn window(&self, key: &str) -> Found<Option<u64>> {
        match self.number(key)? {
            Some(0) => Err(format!("{key} is 0: no layer can see no token")),
            window => Ok(window),
        }
    }

    /// A number of heads in a layer: one number for all, or a list with one for each; 0 in a list is none.
    fn heads(&self, key: &str, layer: usize, layers: u64) -> Found<Option<u64>> {
        let Some(value) = self.get(key)? else { return Ok(None) };
        let Value::Array(list) = value else { return in_range(key, whole(key, value)?).map(Some) };
        for_each(key, list.len(), layers)?;
        match list.get(layer).map(|value| whole(key, value)).transpose()? {
            Some(0) => Ok(Some(0)),
            heads => heads.map(|heads| in_range(key, heads)).transpose(),
        }
    }

    fn geometry(&self) -> Found<Geometry> {
        let row = self.row;
        if let Some(sign) = SIGNS
            .iter()
            .find(|key| self.own.get(**key).is_some_and(|value| !is_off(value)) && !row.reads(key))
        {
            return Err(format!("{sign}: that the cache of this architecture depends on it is not known"));
        }
        let (mut notices, mut not_counted) = (Vec::new(), Vec::new());
        let blocks =
            row.blocks.as_deref().map(|key| Ok::<_, String>(self.get(key)?.map(|value| (key, value))));
        let mut layers = match blocks.transpose()?.flatten() {
            Some((key, blocks)) => {
                let blocks = list(key, blocks)?;
                for_each(key, blocks.len(), self.needed("num_hidden_layers")?)?;
                self.blocks(key, blocks)?
            }
            None => self.layers(&mut notices, &mut not_counted)?,
        };
        let on = row.shared.condition.as_deref().map_or(Ok(true), |key| self.flag(key))?;
        if let Some(key) = &row.shared.last {
            share(&mut layers, self.number(key)?, key)?;
        }
        if let Some(key) = row.shared.every.as_deref().filter(|_| on) {
            let every = self.needed(key)? as usize;
            let reads = |(i, _): &(usize, &mut Layer)| i % every != 0;
            layers.iter_mut().enumerate().filter(reads).for_each(|(_, layer)| layer.shared = true);
        }
        not_counted.extend(row.not_counted.clone());
        Ok(Geometry::new(row.name(), &layers, notices, not_counted))
    }

    fn layers(&self, notices: &mut Vec<String>, not_counted: &mut Vec<String>) -> Found<Vec<Layer>> {
        let (sees, listed) = self.sees()?;
        let sliding = match self.get("use_sliding_window")? {
            Some(_) if !self.flag("use_sliding_window")? => None,
            _ => self.window("sliding_window")?,
        };
        let count = sees.len() as u64;
        // A list that names such layers has to come with their window; a habit of the architecture has not.
        let size = |key: &str, found: Option<u64>| match found {
            None if listed => Err(missing(key)),
            found => Ok(found),
        };
        let layer = |(i, &sees): (usize, &Sees)| {
            let window = match sees {
                Sees::Window => size("sliding_window", sliding)?,
                Sees::Chunk => size("attention_chunk_size", self.window("attention_chunk_size")?)?,
                _ => None,
            };
            let attention = match sees {
                Sees::State | Sees::None | Sees::Cross => Attention::None,
                _ => self.attention(i, count, sees)?,
            };
            Ok(Layer { attention, window: window.filter(|_| attention != Attention::None), shared: false })
        };
        let layers = sees.iter().enumerate().map(layer).collect::<Found<Vec<Layer>>>()?;
        let number = |of: Sees| sees.iter().filter(|sees| **sees == of).count();
        for (of, what) in [
            (Sees::State, "the states of layers without attention, which do not grow with the context"),
            (Sees::Cross, "the keys and values of pictures in layers of cross attention"),
        ] {
            if let count @ 1.. = number(of) {
                not_counted.push(format!("{what} ({count} layers)"));
            }
        }
        if let (Some(window), 0, false) = (sliding, number(Sees::Window), self.row.has_windows() || listed) {
            notices.push(format!(
                "sliding_window is {window}, but layers of this architecture see no window: all are counted in full"
            ));
        }
        Ok(layers)
    }

    /// What each layer sees, and whether a list of types says so.
    fn sees(&self) -> Found<(Vec<Sees>, bool)> {
        let row = self.row;
        let types = Pattern {
            key: "layer_types".into(),
            value: None,
            form: Form::Each,
            map: row.layers.iter().flat_map(|of| of.map.clone()).collect(),
            named: Sees::Full,
            others: Sees::Full,
            offset: None,
            first: 0,
        };
        let mut found = None;
        for pattern in [&types].into_iter().chain(&row.layers) {
            let value = if pattern.key.is_empty() { None } else { self.get(&pattern.key)? };
            // Classes work out what is null as what is missing.
            let value = value.or_else(|| row.defaults.get(&pattern.key)).or(pattern.value.as_ref());
            if let Some(value) = value.filter(|value| **value != Value::Array(vec![])) {
                found = Some((pattern, value));
                break;
            }
        }
        // A file may say how many layers there are by what it says of each.
        let listed = match found {
            Some((Pattern { form: Form::Each, .. }, Value::Array(list))) => Some(list.len() as u64),
            Some((Pattern { form: Form::Letters, .. }, Value::String(letters))) => {
                Some(letters.chars().count() as u64)
            }
            _ => None,
        };
        let key = "num_hidden_layers";
        let count = match (self.size(key)?, listed) {
            (None, Some(listed)) => in_range(key, listed)?,
            (count, _) => count.ok_or_else(|| missing(key))?,
        };
        let mut sees = match (found, row.otherwise) {
            (Some((pattern, value)), _) => pattern.sees(value, count, |key| self.number(key))?,
            (None, Some(sees)) => vec![sees; count as usize],
            (None, None) => match row.layers.first() {
                Some(pattern) => return Err(missing(&pattern.key)),
                None => vec![Sees::Full; count as usize],
            },
        };
        if let (Some(sees), Some(last)) = (row.last, sees.last_mut()) {
            *last = sees;
        }
        Ok((sees, found.is_some_and(|(pattern, _)| pattern.key == types.key)))
    }

    /// What a layer with attention keeps.
    fn attention(&self, layer: usize, layers: u64, sees: Sees) -> Found<Attention> {
        if self.row.latent.as_deref().map_or(Ok(false), |key| self.flag(key))? {
            let rank = self.needed("kv_lora_rank")?;
            return Ok(Attention::Latent { rank, rope_dim: self.needed("qk_rope_head_dim")? });
        }
        let heads = self.heads("num_attention_heads", layer, layers)?;
        let kv_heads = self.kv_heads(layer, layers, sees, heads)?;
        if kv_heads == 0 {
            return Ok(Attention::None);
        }
        if let Some(heads) = heads {
            grouped(heads, kv_heads)?;
        }
        let dim = self.head_dim(sees, heads)?;
        Ok(Attention::Heads { kv_heads, key_dim: dim, value_dim: dim })
    }

    /// The first case that fits and says something, and whether it is of all layers and needs nothing.
    fn case<'c>(&self, cases: &'c [Case], sees: Sees) -> Found<Option<(&'c Value, bool)>> {
        for case in cases {
            let fits = match (&case.key, &case.is) {
                (None, _) => true,
                (Some(key), None) => self.flag(key)?,
                (Some(key), Some(is)) => self.get(key)?.and_then(Value::as_str) == Some(is),
            };
            let says = match &case.then {
                Value::String(key) => self.get(key)?.is_some(),
                _ => true,
            };
            if fits && says && case.on.is_none_or(|on| on == sees) {
                return Ok(Some((&case.then, case.on.is_none())));
            }
        }
        Ok(None)
    }

    fn kv_heads(&self, layer: usize, layers: u64, sees: Sees, heads: Option<u64>) -> Found<u64> {
        let usual = "num_key_value_heads";
        let Some((then, always)) = self.case(&self.row.kv_heads, sees)? else {
            return match self.heads(usual, layer, layers)? {
                Some(kv_heads) => Ok(kv_heads),
                // Without a number of their own, there are as many as there are for queries.
                None => heads.ok_or_else(|| missing("num_attention_heads")),
            };
        };
        let (key, kv_heads) = match then {
            Value::String(key) => {
                (key.as_str(), self.heads(key, layer, layers)?.ok_or_else(|| missing(key))?)
            }
            number => ("its other keys", whole(usual, number)?),
        };
        match self.own.get(usual).and_then(Value::as_u64) {
            Some(said) if always && key != usual && said != kv_heads => {
                Err(format!("{usual} is {said}, but by {key} there are {kv_heads} heads of keys and values"))
            }
            _ => Ok(kv_heads),
        }
    }

    /// Values of a key, and of a value.
    fn head_dim(&self, sees: Sees, heads: Option<u64>) -> Found<u64> {
        let own = match self.case(&self.row.head_dim, sees)? {
            Some((Value::String(key), _)) => self.size(key)?,
            _ => self.size("head_dim")?,
        };
        if let Some(dim) = own {
            return Ok(dim);
        }
        let heads = heads.ok_or_else(|| missing("num_attention_heads"))?;
        let hidden = self.number("hidden_size")?.ok_or_else(|| missing("head_dim, and no hidden_size"))?;
        let hidden = hidden.saturating_mul(self.row.widths);
        if !hidden.is_multiple_of(heads) {
            return Err(format!("its hidden_size of {hidden} is not a multiple of its {heads} heads"));
        }
        in_range("hidden_size / num_attention_heads", hidden / heads)
    }

    /// Layers with a block each, as Nemotron has them.
    fn blocks(&self, key: &str, blocks: &[Value]) -> Found<Vec<Layer>> {
        let heads = self.needed("num_attention_heads")?;
        let dim = self.head_dim(Sees::Full, Some(heads))?;
        let layer = |(i, block): (usize, &Value)| {
            let about = |problem: String| format!("{key}, layer {i}: {problem}");
            let found = block.get("attention").and_then(Value::as_object);
            let own = found.ok_or_else(|| about("attention is not an object".into()))?;
            let block = Config { own, row: self.row };
            for key in ["mamba", "llama4", "sparsify"] {
                if !own.get(key).is_none_or(is_off) {
                    return Err(about(format!("{key}: such layers cannot be planned")));
                }
            }
            let is = |key| block.flag(key).map_err(about);
            let attention = if is("no_op")? || is("replace_with_linear")? {
                Attention::None
            } else {
                let group = block.needed("n_heads_in_group").map_err(about)?;
                grouped(heads, group).map_err(|_| {
                    about(format!("n_heads_in_group is {group}, which does not divide its {heads} heads"))
                })?;
                Attention::Heads { kv_heads: heads / group, key_dim: dim, value_dim: dim }
            };
            Ok(Layer { attention, window: block.window("window_length").map_err(about)?, shared: false })
        };
        blocks.iter().enumerate().map(layer).collect()
    }
}
