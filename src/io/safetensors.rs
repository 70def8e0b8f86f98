//! Safetensors, the file format of Hugging Face's models: tensors of plain numbers, and metadata.
//!
//! The format is described at <https://github.com/huggingface/safetensors#format>: the length of the header, the header as
//! JSON, the data, which the tensors cover without holes. A file is input to be doubted: the header is bounded, and
//! read into what it may have and nothing else, so nothing in it nests deeper than expected; every offset is held
//! against the shape, the file and the other tensors. Data is read by position, a piece at a time: files larger than
//! the memory pass through.

use std::fmt;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;

use super::{
    MAX_KEY, MAX_NAME, MAX_PAIRS, MAX_TENSORS, Positioned, check_name, find, quoted, sorted_by_name,
};
use crate::{Error, Result};

/// The bytes of the header's length, at the beginning of the file.
const LENGTH: u64 = 8;

/// The longest header in bytes; the limit of the format's own reader.
const MAX_HEADER: u64 = 100_000_000;

/// The most dimensions; numpy's limit.
const MAX_RANK: usize = 64;

/// The longest message about a header, in characters: it may show what is in the file.
const MAX_PROBLEM: usize = 160;

const METADATA_KEY: &str = "__metadata__";

/// The type of a tensor's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dtype {
    /// The name by which files call it.
    pub name: &'static str,
    /// The bytes of one value.
    pub bytes: u32,
}

impl Dtype {
    /// The type with this name, which is in upper case.
    pub fn by_name(name: &str) -> Option<&'static Self> {
        DTYPES.iter().find(|dtype| dtype.name == name)
    }

    /// Bits per value.
    pub fn bits(&self) -> f64 {
        f64::from(self.bytes) * 8.0
    }
}

const fn dtype(name: &'static str, bytes: u32) -> Dtype {
    Dtype { name, bytes }
}

/// Every type that is read.
pub const DTYPES: &[Dtype] = &[
    dtype("BOOL", 1),
    dtype("U8", 1),
    dtype("I8", 1),
    dtype("F8_E4M3", 1),
    dtype("F8_E5M2", 1),
    dtype("I16", 2),
    dtype("U16", 2),
    dtype("F16", 2),
    dtype("BF16", 2),
    dtype("I32", 4),
    dtype("U32", 4),
    dtype("F32", 4),
    dtype("I64", 8),
    dtype("U64", 8),
    dtype("F64", 8),
];

/// A tensor of a file. Whatever is in one has been checked: the data is as large as the type and the shape say, and lies
/// within the file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// The type of its values, in little-endian order.
    pub dtype: &'static Dtype,
    /// Its up to 64 dimensions; the last one is contiguous. There may be none, or one of 0.
    pub shape: Vec<u64>,
    /// Where its data begins, in bytes from the beginning of the file.
    pub offset: u64,
    /// The size of its data in bytes.
    pub bytes: u64,
}

impl Tensor {
    /// The number of values.
    pub fn values(&self) -> u64 {
        self.bytes / u64::from(self.dtype.bytes)
    }
}

/// An open safetensors file: its metadata and the description of its tensors are in memory, its data is not.
#[derive(Debug)]
pub struct Safetensors {
    file: Positioned,
    metadata: Vec<(String, String)>,
    tensors: Vec<Tensor>,
    /// Indices into `tensors`, in the order of their names.
    by_name: Vec<usize>,
}

impl Safetensors {
    /// Opens a file.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read; [`Error::File`], which names the key or the tensor, if it is
    /// truncated or damaged or anything in it is beyond what models have.
    pub fn open(path: &Path) -> Result<Self> {
        let (file, size) = super::open(path)?;
        let file = Positioned::new(path, file);
        let error = |problem: String| Error::file(path, problem);
        let Some(left) = size.checked_sub(LENGTH) else {
            return Err(error(format!("this is not a safetensors file: it has {size} bytes")));
        };
        let mut length = [0; LENGTH as usize];
        file.read_exact(0, &mut length).map_err(|e| Error::io(path, e))?;
        let length = u64::from_le_bytes(length);
        if length > MAX_HEADER {
            return Err(error(format!(
                "this is not a safetensors file: its header would have {length} bytes; {MAX_HEADER} can be"
            )));
        }
        let Some(data) = left.checked_sub(length) else {
            return Err(error(format!(
                "its header of {length} bytes cannot be in the {left} bytes that are left: it is truncated \
                 or damaged"
            )));
        };
        let mut text = vec![0; length as usize];
        file.read_exact(LENGTH, &mut text).map_err(|e| Error::io(path, e))?;
        if text.first() != Some(&b'{') {
            return Err(error("this is not a safetensors file: its header does not begin with {".into()));
        }
        let Header { metadata, mut tensors, .. } = Header::parse(&text).map_err(error)?;
        drop(text);

        // An empty tensor comes before the one that begins where it lies.
        tensors.sort_by_key(|tensor| (tensor.offset, tensor.bytes));
        let metadata = metadata.unwrap_or_default();
        if let Some((key, _)) = sorted_by_name(&metadata, |(key, _)| key).1 {
            return Err(error(format!("{METADATA_KEY}: the key {} is there twice", quoted(key))));
        }
        let (by_name, twice) = sorted_by_name(&tensors, |tensor| &tensor.name);
        if let Some(tensor) = twice {
            return Err(error(format!("tensor {} is there twice", quoted(&tensor.name))));
        }
        check_cover(&tensors, data).map_err(error)?;
        for tensor in &mut tensors {
            // Within the file, as has been checked.
            tensor.offset += LENGTH + length;
        }
        Ok(Self { file, metadata, tensors, by_name })
    }

    /// The path that was opened.
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    /// The strings of `__metadata__`, in the order of the file. No key is there twice.
    pub fn metadata(&self) -> &[(String, String)] {
        &self.metadata
    }

    /// The tensors, in the order of their offsets. No name is there twice.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// The tensor with this name.
    ///
    /// # Errors
    /// [`Error::File`] if there is none, with up to three names that are near.
    pub fn tensor(&self, name: &str) -> Result<&Tensor> {
        find(self.path(), &self.tensors, &self.by_name, name, |tensor| &tensor.name)
    }

    /// The file itself; its tensors lie at their offsets.
    pub(super) fn into_file(self) -> Positioned {
        self.file
    }

    /// Reads a part of a tensor's data: `range` is in bytes from its beginning, and as long as `out`.
    ///
    /// # Errors
    /// [`Error::Input`] if the range is not within the tensor or not as long as `out`; [`Error::Io`] if the file cannot
    /// be read; [`Error::File`] if it has become shorter.
    pub fn read(&self, tensor: &Tensor, range: Range<u64>, out: &mut [u8]) -> Result<()> {
        self.file.read(&tensor.name, tensor.offset, tensor.bytes, range, out)
    }
}

/// A tensor to be written.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// Its name.
    pub name: &'a str,
    /// The type of its values.
    pub dtype: &'a str,
    /// Its dimensions.
    pub shape: &'a [u64],
    /// Its values, little-endian.
    pub data: &'a [u8],
}

/// Writes a file of these strings and tensors, whole or not at all.
///
/// # Errors
/// Those of [`write_whole`](super::output::write_whole).
pub fn write(path: &Path, metadata: &[(String, String)], tensors: &[Part<'_>]) -> Result<()> {
    let text = |text: &str| serde_json::Value::from(text).to_string();
    let pairs: Vec<String> = metadata.iter().map(|(key, value)| text(key) + ":" + &text(value)).collect();
    let mut header = format!("{{{}:{{{}}}", text(METADATA_KEY), pairs.join(","));
    let mut begin = 0;
    for Part { name, dtype, shape, data } in tensors {
        let end = begin + data.len();
        let (name, dtype) = (text(name), text(dtype));
        header += &format!(r#",{name}:{{"dtype":{dtype},"shape":{shape:?},"data_offsets":[{begin},{end}]}}"#);
        begin = end;
    }
    header.push('}');
    // The data begins at a multiple of 8.
    header += &" ".repeat(header.len().next_multiple_of(8) - header.len());
    super::output::write_whole(path, |out| {
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(header.as_bytes())?;
        tensors.iter().try_for_each(|tensor| out.write_all(tensor.data))
    })
}

/// Whether a file begins like a safetensors file: with the length of a header that can be, and a brace.
///
/// # Errors
/// [`Error::Io`] if it cannot be read, [`Error::File`] if it is empty or no regular file.
pub fn is_safetensors(path: &Path) -> Result<bool> {
    let (file, _) = super::open(path)?;
    let mut begin = Vec::new();
    file.take(LENGTH + 1).read_to_end(&mut begin).map_err(|e| Error::io(path, e))?;
    Ok(begins_safetensors(&begin))
}

/// As [`is_safetensors`], of the first bytes.
pub(super) fn begins_safetensors(begin: &[u8]) -> bool {
    match begin.split_first_chunk() {
        Some((&length, [b'{', ..])) => (2..=MAX_HEADER).contains(&u64::from_le_bytes(length)),
        _ => false,
    }
}

/// What is wrong with tensors, which are in the order of their offsets, that are to cover `data` bytes without holes.
fn check_cover(tensors: &[Tensor], data: u64) -> std::result::Result<(), String> {
    let mut covered = 0;
    let mut last = "";
    for Tensor { name, offset, bytes, .. } in tensors {
        // Its end is a number of the file.
        let end = offset + bytes;
        if end > data {
            let name = quoted(name);
            return Err(format!(
                "tensor {name}: its data_offsets {offset}..{end} end behind the {data} bytes of data: it is \
                 truncated or damaged"
            ));
        }
        if *offset < covered {
            return Err(format!("the data of tensors {} and {} overlaps", quoted(last), quoted(name)));
        }
        if *offset > covered {
            let name = quoted(name);
            return Err(format!(
                "the bytes {covered}..{offset} of the data, before tensor {name}, are in no tensor"
            ));
        }
        (covered, last) = (end, name);
    }
    if covered < data {
        return Err(format!("the last {} bytes of the file are in no tensor", data - covered));
    }
    Ok(())
}

/// What the header says, while it is read.
// Not a map of serde_json, which would keep the last of several equal keys.
#[derive(Debug, Default)]
struct Header {
    metadata: Option<Vec<(String, String)>>,
    /// Their offsets count from the beginning of the data.
    tensors: Vec<Tensor>,
    /// What is being read, for errors: the metadata or a tensor; empty for the header itself.
    subject: String,
    /// What is being read of a tensor, or nothing.
    part: &'static str,
    /// What is wrong, if it is more than the JSON or its types.
    problem: Option<String>,
}

impl Header {
    fn parse(text: &[u8]) -> std::result::Result<Self, String> {
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
    Ok(Tensor { name, dtype, shape, offset, bytes })
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
