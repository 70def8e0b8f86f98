//! What the values of a config.json say of every layer: lists, letters, periods.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{Found, MOST, in_range, missing};
use crate::io::quoted;

/// What a layer's attention sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Sees {
    /// All tokens.
    Full,
    /// The newest ones, as many as the sliding window has.
    Window,
    /// Those of its chunk.
    Chunk,
    /// None: it has no attention, but a state that does not grow with the context.
    State,
    /// None: it has neither.
    None,
    /// Those of a picture or of a sound, which are not tokens of the context.
    Cross,
}

/// What layers are usually called.
const TYPES: [(&str, Sees); 10] = [
    ("full_attention", Sees::Full),
    ("attention", Sees::Full),
    ("sliding_attention", Sees::Window),
    ("chunked_attention", Sees::Chunk),
    ("linear_attention", Sees::State),
    ("mamba", Sees::State),
    ("conv", Sees::State),
    ("recurrent", Sees::State),
    ("mlp", Sees::None),
    ("moe", Sees::None),
];

/// What a value says of every layer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pattern {
    /// The key of the value.
    #[serde(default)]
    pub key: String,
    /// The value if there is no such key.
    pub value: Option<Value>,
    pub form: Form,
    /// Names and numbers of a list, and letters of a string. Usual names of layers are known without it.
    #[serde(default)]
    pub map: BTreeMap<String, Sees>,
    /// What the layers see that the value names, or counts to.
    #[serde(default = "full")]
    pub named: Sees,
    /// What the other layers see.
    #[serde(default = "full")]
    pub others: Sees,
    /// Of a period: the layer within it that is named, or the key that has it; the last one if not given.
    pub offset: Option<Value>,
    /// Of indices: that of the first layer.
    #[serde(default)]
    pub first: u64,
}

fn full() -> Sees {
    Sees::Full
}

/// How a value names layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Form {
    /// A list with an entry for each layer.
    Each,
    /// A string with a letter for each layer.
    Letters,
    /// The same over and over.
    Repeated,
    /// A list of pairs: a list, and how often it is repeated.
    Spans,
    /// The indices of the named layers.
    Indices,
    /// One in so many layers is named. A string is repeated, L for others and G for named.
    Period,
    /// The first named layer; all behind it are named too.
    From,
}

impl Pattern {
    /// Whether it may say of a layer that it sees a window.
    pub fn has_windows(&self) -> bool {
        let mut sees = self.map.values().chain([&self.named, &self.others]);
        sees.any(|sees| *sees == Sees::Window)
    }

    /// What its value says of each of `count` layers. `number` gives what another key says.
    pub fn sees(
        &self,
        value: &Value,
        count: u64,
        number: impl Fn(&str) -> Found<Option<u64>>,
    ) -> Found<Vec<Sees>> {
        let Self { key, named, others, map, .. } = self;
        let size = |value: &Value| in_range(key, whole(key, value)?);
        let either = |is: bool| if is { *named } else { *others };
        let each = |value: &Value| -> Found<Sees> {
            let name = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let usual = || TYPES.iter().find(|(usual, _)| *usual == name).map(|(_, sees)| *sees);
            map.get(&name)
                .copied()
                .or_else(usual)
                .ok_or_else(|| format!("{key}: no layer is known as {}", shown(value)))
        };
        let entries = || list(key, value)?.iter().map(each).collect::<Found<Vec<Sees>>>();
        let again = |entries: Vec<Sees>| -> Found<Vec<Sees>> {
            if entries.is_empty() {
                return Err(format!("{key} is empty"));
            }
            Ok(entries.into_iter().cycle().take(count as usize).collect())
        };
        match self.form {
            Form::Each => {
                let sees = entries()?;
                for_each(key, sees.len(), count)?;
                Ok(sees)
            }
            Form::Letters => {
                let letters =
                    value.as_str().ok_or_else(|| format!("{key} is {}, not letters", shown(value)))?;
                let letter = |letter: char| each(&Value::String(letter.into()));
                let sees = letters.chars().map(letter).collect::<Found<Vec<Sees>>>()?;
                for_each(key, sees.len(), count)?;
                Ok(sees)
            }
            Form::Repeated => again(entries()?),
            Form::Spans => {
                let mut sees = Vec::new();
                for span in list(key, value)? {
                    let [names, times] = list(key, span)? else {
                        return Err(format!("{key} is not a list of pairs: layers, and how often they come"));
                    };
                    let names = list(key, names)?.iter().map(each).collect::<Found<Vec<Sees>>>()?;
                    for _ in 0..size(times)? {
                        sees.extend(&names);
                        if sees.len() as u64 > MOST {
                            return Err(format!("{key} has more than {MOST} layers"));
                        }
                    }
                }
                for_each(key, sees.len(), count)?;
                Ok(sees)
            }
            Form::Indices => {
                let mut sees = vec![*others; count as usize];
                for index in list(key, value)? {
                    let index = whole(key, index)?;
                    let place = index.checked_sub(self.first).and_then(|i| sees.get_mut(i as usize));
                    *place.ok_or_else(|| format!("{key} names layer {index}, but there are {count}"))? =
                        *named;
                }
                Ok(sees)
            }
            Form::Period => {
                if let Value::String(letters) = value {
                    let letter = |letter| match letter {
                        'L' => Ok(*others),
                        'G' => Ok(*named),
                        _ => Err(format!("{key} is {}; letters L and G can be", quoted(letters))),
                    };
                    return again(letters.chars().map(letter).collect::<Found<_>>()?);
                }
                let period = size(value)?;
                let offset = match &self.offset {
                    None => period - 1,
                    Some(Value::String(key)) => number(key)?.ok_or_else(|| missing(key))?,
                    Some(offset) => whole(key, offset)?,
                };
                if offset >= period {
                    return Err(format!("{key} is {period}, which leaves out the layer {offset} within it"));
                }
                Ok((0..count).map(|i| either(i % period == offset)).collect())
            }
            Form::From => {
                let first = whole(key, value)?;
                Ok((0..count).map(|i| either(i >= first)).collect())
            }
        }
    }
}

/// A value of a file, fit for a message.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Array(values) => format!("a list of {}", values.len()),
        Value::Object(_) => "an object".into(),
        Value::String(text) => quoted(text),
        other => other.to_string(),
    }
}

pub(super) fn whole(key: &str, value: &Value) -> Found<u64> {
    value.as_u64().ok_or_else(|| format!("{key} is {}, not a whole number from 0 up", shown(value)))
}

pub(super) fn list<'a>(key: &str, value: &'a Value) -> Found<&'a [Value]> {
    Ok(value.as_array().ok_or_else(|| format!("{key} is {}, not a list", shown(value)))?)
}

/// Holds a list against the number of layers.
pub(super) fn for_each(key: &str, entries: usize, layers: u64) -> Found<()> {
    if entries as u64 == layers {
        return Ok(());
    }
    Err(format!("{key} has {entries} entries for {layers} layers"))
}
