//! What a header says, read into what it may have and nothing else.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;

use super::{Dtype, MAX_KEY, MAX_NAME, MAX_PAIRS, MAX_TENSORS, METADATA_KEY, Tensor, check_name, quoted};

/// The most dimensions; numpy's limit.
const MAX_RANK: usize = 64;

/// The longest message about a header, in characters: it may show what is in the file.
const MAX_PROBLEM: usize = 160;

/// What the header says, while it is read.
// Not a map of serde_json, which would keep the last of several equal keys.
#[derive(Debug, Default)]
pub(super) struct Header {
    pub(super) metadata: Option<Vec<(String, String)>>,
    /// Their offsets count from the beginning of the data.
    pub(super) tensors: Vec<Tensor>,
    /// What is being read, for errors: the metadata or a tensor; empty for the header itself.
    subject: String,
    /// What is being read of a tensor, or nothing.
    part: &'static str,
    /// What is wrong, if it is more than the JSON or its types.
    problem: Option<String>,
}

impl Header {
    pub(super) fn parse(text: &[u8]) -> std::result::Result<Self, String> {
        let mut header = Self::default();
        let mut json = serde_json::Deserializer::from_slice(text);
        let object = Object { header: &mut header, kind: Kind::Header };
        let Err(error) = object.deserialize(&mut json).and_then(|()| json.end()) else {
            return Ok(header);
        };
        let problem = match (header.problem, error.classify()) {
            (Some(problem), _) => problem,
            (None, Category::Data) => error.to_string(),
            (None, _) => format!("the header is not JSON: {error}"),
        };
        let mut message = header.subject;
        for (text, before) in [(header.part, ", "), (&problem, ": ")] {
            if !text.is_empty() {
                message += if message.is_empty() { "" } else { before };
                message += text;
            }
        }
        if let Some((end, _)) = message.char_indices().nth(MAX_PROBLEM) {
            message.truncate(end);
            message.push('…');
        }
        Err(message)
    }

    /// Ends the reading with a problem.
    fn refuse<E: serde::de::Error>(&mut self, problem: String) -> E {
        self.problem = Some(problem);
        E::custom("refused")
    }

    fn visit_header<'de, A: MapAccess<'de>>(&mut self, mut map: A) -> std::result::Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            let kind = if key == METADATA_KEY {
                self.subject = key;
                Kind::Metadata
            } else {
                self.subject = format!("tensor {}", self.tensors.len());
                check_name(&key, "its name", MAX_NAME).map_err(|problem| self.refuse(problem))?;
                self.subject = format!("tensor {}", quoted(&key));
                Kind::Tensor(key)
            };
            map.next_value_seed(Object { header: self, kind })?;
            self.subject.clear();
        }
        Ok(())
    }

    fn visit_metadata<'de, A: MapAccess<'de>>(&mut self, mut map: A) -> std::result::Result<(), A::Error> {
        if self.metadata.is_some() {
            return Err(self.refuse("it is there twice".into()));
        }
        let mut pairs = Vec::new();
        while let Some((key, value)) = map.next_entry::<String, String>()? {
            if key.len() as u64 > MAX_KEY {
                return Err(self.refuse(format!("a key has {} bytes; {MAX_KEY} can be", key.len())));
            }
            if pairs.len() as u64 == MAX_PAIRS {
                return Err(self.refuse(format!("there are more than {MAX_PAIRS} pairs")));
            }
            pairs.push((key, value));
        }
        self.metadata = Some(pairs);
        Ok(())
    }

    fn visit_tensor<'de, A>(&mut self, name: String, mut map: A) -> std::result::Result<(), A::Error>
    where
        A: MapAccess<'de>,
    {
        if self.tensors.len() as u64 == MAX_TENSORS {
            return Err(self.refuse(format!("there are {MAX_TENSORS} others already")));
        }
        let (mut dtype, mut shape, mut offsets) = (None, None, None);
        while let Some(key) = map.next_key::<String>()? {
            let twice = match key.as_str() {
                "dtype" => {
                    self.part = "its dtype";
                    dtype.replace(map.next_value::<String>()?).is_some()
                }
                "shape" => {
                    self.part = "its shape";
                    shape.replace(map.next_value_seed(Numbers(MAX_RANK))?).is_some()
                }
                "data_offsets" => {
                    self.part = "its data_offsets";
                    offsets.replace(map.next_value_seed(Numbers(2))?).is_some()
                }
                _ => return Err(self.refuse(format!("its key {} is unknown", quoted(&key)))),
            };
            self.part = "";
            if twice {
                return Err(self.refuse(format!("its {key} is there twice")));
            }
        }
        let dtype = dtype.ok_or_else(|| self.refuse("its dtype is missing".into()))?;
        let shape = shape.ok_or_else(|| self.refuse("its shape is missing".into()))?;
        let offsets = offsets.ok_or_else(|| self.refuse("its data_offsets are missing".into()))?;
        let tensor = tensor(name, &dtype, shape, &offsets).map_err(|problem| self.refuse(problem))?;
        self.tensors.push(tensor);
        Ok(())
    }
}

/// A tensor whose offset counts from the beginning of the data, or what is wrong with it.
fn tensor(
    name: String,
    dtype: &str,
    shape: Vec<u64>,
    offsets: &[u64],
) -> std::result::Result<Tensor, String> {
    let dtype = Dtype::by_name(dtype).ok_or_else(|| format!("its dtype {} is unknown", quoted(dtype)))?;
    let &[offset, end] = offsets else {
        return Err(format!("its data_offsets are {} numbers, not 2", offsets.len()));
    };
    let Some(bytes) = end.checked_sub(offset) else {
        return Err(format!("its data_offsets {offset}..{end} end before they begin"));
    };
    // Without the zeros, so that the order of the dimensions does not matter.
    let all =
        shape.iter().filter(|&&n| n > 0).try_fold(dtype.bytes.into(), |all: u64, &n| all.checked_mul(n));
    let all = all.ok_or_else(|| format!("no file is as large as its shape {shape:?}"))?;
    let all = if shape.contains(&0) { 0 } else { all };
    if all != bytes {
        let dtype = dtype.name;
        return Err(format!(
            "its data_offsets {offset}..{end} have {bytes} bytes; {all} are needed for {dtype} of shape \
             {shape:?}"
        ));
    }
    Ok(Tensor { name, dtype, shape, file: 0, offset, bytes })
}

/// An object of the header.
enum Kind {
    /// The header itself.
    Header,
    Metadata,
    /// The description of the tensor with this name.
    Tensor(String),
}

/// Reads one object into the header.
struct Object<'h> {
    header: &'h mut Header,
    kind: Kind,
}

impl<'de> DeserializeSeed<'de> for Object<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> std::result::Result<(), A::Error> {
        match self.kind {
            Kind::Header => self.header.visit_header(map),
            Kind::Metadata => self.header.visit_metadata(map),
            Kind::Tensor(name) => self.header.visit_tensor(name, map),
        }
    }
}

/// Reads an array of at most so many whole numbers.
struct Numbers(usize);

impl<'de> DeserializeSeed<'de> for Numbers {
    type Value = Vec<u64>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<Vec<u64>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Numbers {
    type Value = Vec<u64>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "an array of at most {} whole numbers", self.0)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<Vec<u64>, A::Error> {
        let mut numbers = Vec::new();
        while let Some(number) = seq.next_element()? {
            if numbers.len() == self.0 {
                return Err(A::Error::invalid_length(self.0 + 1, &self));
            }
            numbers.push(number);
        }
        Ok(numbers)
    }
}
