//! The geometry that the metadata of a GGUF file describes, by the row of its architecture.

use super::architecture::{self, Ggml};
use super::{Attention, Found, Geometry, Layer, MOST, grouped, in_range, missing, share};
use crate::io::gguf::{Array, Gguf, Value};

/// The geometry of a GGUF file.
pub(super) fn geometry(gguf: &Gguf) -> Found<Geometry> {
    let name = gguf.get("general.architecture").and_then(Value::as_str);
    let name = name.ok_or_else(|| missing("general.architecture"))?;
    let meta = Meta { gguf, name, row: architecture::of_ggml(name)? };
    let blocks = meta.needed("block_count")?;
    // Layers that predict further tokens come last; without speculation they do not run.
    let further = meta.number("nextn_predict_layers")?.unwrap_or(0);
    let count = blocks.checked_sub(further).filter(|&count| count > 0).ok_or_else(|| {
        format!("nextn_predict_layers is {further}, which leaves none of its {blocks} layers")
    })?;
    let mut notices = Vec::new();
    let mut layers = meta.layers(count, blocks, &mut notices)?;
    let key = "attention.shared_kv_layers";
    let shared = meta.number(key)?.or_else(|| meta.row.kept.map(|kept| count.saturating_sub(kept)));
    share(&mut layers, shared, key)?;
    let mut not_counted: Vec<String> = meta.row.not_counted.iter().cloned().collect();
    let states = layers.iter().filter(|layer| layer.attention == Attention::None).count();
    if states > 0 {
        not_counted.push(format!("whatever layers without attention keep ({states} layers)"));
    }
    Ok(Geometry::new(name, &layers, notices, not_counted))
}

/// The metadata of a GGUF file, whose keys begin with the architecture, and what is known of that.
struct Meta<'a> {
    gguf: &'a Gguf,
    name: &'a str,
    row: &'a Ggml,
}

impl<'a> Meta<'a> {
    fn get(&self, key: &str) -> Option<&'a Value> {
        self.gguf.get(&format!("{}.{key}", self.name))
    }

    fn number(&self, key: &str) -> Found<Option<u64>> {
        let number =
            |value: &Value| value.as_u64().ok_or_else(|| format!("{key} is not a whole number from 0 up"));
        self.get(key).map(number).transpose()
    }

    fn size(&self, key: &str) -> Found<Option<u64>> {
        self.number(key)?.map(|value| in_range(key, value)).transpose()
    }

    fn needed(&self, key: &str) -> Found<u64> {
        self.size(key)?.ok_or_else(|| missing(key))
    }

    /// A number of heads for each of `layers`, of which a file has one for all, or one for each; 0 for none.
    fn heads(&self, key: &str, layers: u64) -> Found<Option<Vec<u64>>> {
        let of = |value: &Value| match value.as_u64() {
            Some(heads @ 0..=MOST) => Ok(heads),
            Some(heads) => Err(format!("{key} is {heads}; 0 to {MOST} can be")),
            None => Err(format!("{key} is not a whole number from 0 up, nor a list of them")),
        };
        match self.get(key) {
            None => Ok(None),
            Some(Value::Array(array)) if array.len() as u64 == layers => {
                array.first(array.len()).iter().map(of).collect::<Found<_>>().map(Some)
            }
            Some(Value::Array(array)) => {
                Err(format!("{key} has {} entries for {layers} layers", array.len()))
            }
            Some(value) => Ok(Some(vec![of(value)?; layers as usize])),
        }
    }

    /// The first `count` of `blocks` layers.
    fn layers(&self, count: u64, blocks: u64, notices: &mut Vec<String>) -> Found<Vec<Layer>> {
        let row = self.row;
        if row.states {
            let none = Layer { attention: Attention::None, window: None, shared: false };
            return Ok(vec![none; count as usize]);
        }
        let windows = self.windows(blocks, notices)?;
        let states = self.states(count, blocks)?;
        let [heads_key, own, rank] =
            ["attention.head_count", "attention.head_count_kv", "attention.kv_lora_rank"];
        let heads = self.heads(heads_key, blocks)?;
        // Without a number of their own, there are as many heads for keys as there are for queries.
        let kv_heads = self.heads(own, blocks)?.or_else(|| heads.clone());
        let layer = |i: usize, attention| {
            let none = states[i] || kv_heads.as_ref().is_some_and(|heads| heads[i] == 0);
            let attention = if none { Attention::None } else { attention };
            Layer { attention, window: windows[i].filter(|_| !none), shared: false }
        };
        let all = 0..count as usize;
        if row.latent {
            let latent = Attention::Latent {
                rank: self.needed(rank)?,
                rope_dim: self.needed("rope.dimension_count")?,
            };
            return Ok(all.map(|i| layer(i, latent)).collect());
        }
        if self.number(rank)?.is_some_and(|rank| rank > 0) {
            return Err(format!("{rank}: that the cache of this architecture depends on it is not known"));
        }
        let kv_heads = kv_heads.as_ref().ok_or_else(|| missing(own))?;
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
            if let (Some(heads), 1..) = (&heads, kv_heads) {
                grouped(heads[i], kv_heads).map_err(|problem| format!("layer {i}: {problem}"))?;
            }
            let (key_dim, value_dim) = if windows[i].is_some() { windowed } else { dims };
            Ok(layer(i, Attention::Heads { kv_heads, key_dim, value_dim }))
        })
        .collect()
    }

    /// Whether each layer has a state in place of attention.
    fn states(&self, count: u64, blocks: u64) -> Found<Vec<bool>> {
        let [list, every] = ["attention.recurrent_layers", "full_attention_interval"];
        let Some(interval) = self.row.interval else {
            return match [list, every].into_iter().find(|key| self.get(key).is_some()) {
                Some(key) => {
                    Err(format!("{key}: that the cache of this architecture depends on it is not known"))
                }
                None => Ok(vec![false; blocks as usize]),
            };
        };
        match self.get(list) {
            Some(Value::Array(Array::Bool(states))) if states.len() as u64 == blocks => Ok(states.clone()),
            Some(_) => Err(format!("{list} is not true or false for each of {blocks} layers")),
            None => {
                let interval = self.size(every)?.unwrap_or(interval);
                Ok((0..blocks).map(|i| i < count && !(i + 1).is_multiple_of(interval)).collect())
            }
        }
    }

    /// The window of each layer.
    fn windows(&self, blocks: u64, notices: &mut Vec<String>) -> Found<Vec<Option<u64>>> {
        let row = self.row;
        let [key, pattern] = ["attention.sliding_window", "attention.sliding_window_pattern"];
        let window = match (self.number(key)?, row.fixed) {
            (Some(0), _) => None,
            (_, Some(fixed)) => Some(fixed),
            (None, _) if row.needs_window => return Err(missing(key)),
            (window, _) => window.or(row.window),
        };
        let Some(window) = window else { return Ok(vec![None; blocks as usize]) };
        let period = match (self.get(pattern), row.period) {
            (Some(Value::Array(Array::Bool(sees_window))), _) if sees_window.len() as u64 == blocks => {
                return Ok(sees_window.iter().map(|&sees| Some(window).filter(|_| sees)).collect());
            }
            (Some(Value::Array(array)), _) => {
                return Err(format!(
                    "{pattern} has {} entries of {} for {blocks} layers; true or false is expected for each",
                    array.len(),
                    array.type_name()
                ));
            }
            (Some(_), _) => self.needed(pattern)?,
            (None, _) if row.needs_pattern => return Err(missing(pattern)),
            (None, Some(period)) => period,
            (None, None) => {
                notices.push(format!(
                    "{key} is {window}, but layers of this architecture see no window: all are counted in full"
                ));
                1
            }
        };
        let sees_all = |i: u64| match (period, row.first) {
            (0, _) => false,
            (period, true) => i.is_multiple_of(period),
            (period, false) => (i + 1).is_multiple_of(period),
        };
        Ok((0..blocks).map(|i| Some(window).filter(|_| !sees_all(i))).collect())
    }
}
