//! Reading: every length is checked against the file before it is used.

use std::fmt;
use std::fs::File;
use std::io::{BufReader, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::value::KINDS;
use super::{
    ALIGNMENT_KEY, Array, LEAST_PAIR, LEAST_TENSOR, MAGIC, MAX_ARRAY, MAX_DIMS, MAX_HEADER, MAX_KEY,
    MAX_NAME, MAX_NESTING, MAX_PAIRS, MAX_STRING, MAX_TENSORS, Positioned, Tensor, TensorType, Text, Value,
    alignment, check_name, data_bytes, quoted, split,
};
use crate::io::{find, sorted_by_name};
use crate::{Error, Result};

/// An open GGUF model, in one file or cut into several: its metadata and the description of its tensors are in memory, its
/// data is not.
#[derive(Debug)]
pub struct Gguf {
    path: PathBuf,
    files: Vec<Positioned>,
    version: u32,
    alignment: u32,
    metadata: Vec<(String, Value)>,
    tensors: Vec<Tensor>,
    /// Indices into `tensors`, in the order of their names.
    by_name: Vec<usize>,
}

impl Gguf {
    /// Opens a model of version 2 or 3 with little-endian numbers. A file that says that it is a part of a model (its
    /// `split.count` is more than 1) stands for all of it: the other parts are opened too, whichever is given, and the
    /// `split` keys are left out.
    ///
    /// # Errors
    /// [`Error::Io`] if a file cannot be read; [`Error::File`], which names the key or the tensor, if it is
    /// truncated or damaged or anything in it is beyond what models have, and which names the parts that are missing, or
    /// are those of another model.
    pub fn open(path: &Path) -> Result<Self> {
        split::whole(path, Self::open_one(path)?)
    }

    /// Opens one file, whether it is a whole model or not.
    pub(super) fn open_one(path: &Path) -> Result<Self> {
        let (file, size) = super::super::open(path)?;
        let mut header = Header {
            path,
            input: BufReader::new(&file),
            subject: String::new(),
            left: size.min(MAX_HEADER),
            cut: size > MAX_HEADER,
        };
        if header.left < MAGIC.len() as u64 || header.bytes()? != *MAGIC {
            return Err(header.error("this is not a GGUF file: it does not begin with GGUF"));
        }
        let version = header.number(u32::from_le_bytes)?;
        match version {
            2 | 3 => {}
            // The low half of a small number that is read the wrong way round is 0.
            _ if version & 0xffff == 0 && version != 0 => {
                return Err(header.error("this GGUF file is big-endian; only little-endian ones are read"));
            }
            _ => return Err(header.error(format!("GGUF version {version} is unknown; 2 and 3 are read"))),
        }
        let tensor_count = header.number(u64::from_le_bytes)?;
        let pair_count = header.number(u64::from_le_bytes)?;
        header.check_count(tensor_count, "tensors", MAX_TENSORS, LEAST_TENSOR)?;
        header.check_count(pair_count, "key-value pairs", MAX_PAIRS, LEAST_PAIR)?;

        let mut metadata = Vec::with_capacity(pair_count as usize);
        for index in 0..pair_count {
            metadata.push(header.pair(index)?);
        }
        header.subject.clear();
        if let Some((key, _)) = sorted_by_name(&metadata, |(key, _)| key).1 {
            return Err(header.error(format!("the key {} is there twice", quoted(key))));
        }
        let of_alignment = metadata.iter().find(|(key, _)| key == ALIGNMENT_KEY);
        let alignment =
            alignment(of_alignment.map(|(_, value)| value)).map_err(|problem| header.error(problem))?;

        let mut tensors = Vec::with_capacity(tensor_count as usize);
        for index in 0..tensor_count {
            tensors.push(header.tensor(index, alignment)?);
        }
        // Nothing of this overflows: the header is small, and the alignment too.
        let start = (size.min(MAX_HEADER) - header.left).next_multiple_of(alignment.into());
        for tensor in &mut tensors {
            let end = tensor.offset.checked_add(tensor.bytes).and_then(|end| end.checked_add(start));
            // The file may end before where an empty one would be.
            let Some(end) = end.filter(|&end| end <= size || tensor.bytes == 0) else {
                let (name, offset, bytes) = (quoted(&tensor.name), tensor.offset, tensor.bytes);
                return Err(Error::file(
                    path,
                    format!(
                        "tensor {name}: its {bytes} bytes at {offset} after the header end behind the file's \
                         {size}: it is truncated or damaged"
                    ),
                ));
            };
            tensor.offset = end.min(size) - tensor.bytes;
        }
        let (by_name, twice) = sorted_by_name(&tensors, |tensor| &tensor.name);
        if let Some(tensor) = twice {
            return Err(Error::file(path, format!("tensor {} is there twice", quoted(&tensor.name))));
        }
        let mut by_offset: Vec<&Tensor> = tensors.iter().filter(|tensor| tensor.bytes > 0).collect();
        by_offset.sort_by_key(|tensor| tensor.offset);
        for pair in by_offset.windows(2) {
            if let [first, second] = pair
                && first.offset + first.bytes > second.offset
            {
                let (first, second) = (quoted(&first.name), quoted(&second.name));
                return Err(Error::file(path, format!("the data of tensors {first} and {second} overlaps")));
            }
        }
        drop(header);
        let files = vec![Positioned::new(path, file)];
        Ok(Self { path: path.to_owned(), files, version, alignment, metadata, tensors, by_name })
    }

    /// Adds the tensors of another part, and what metadata is new and not its `own`.
    pub(super) fn append(&mut self, next: Self, own: impl Fn(&str) -> bool) -> Result<()> {
        let of_first = self.files.len();
        self.files.extend(next.files);
        let new = next.metadata.into_iter().filter(|(key, _)| !own(key) && self.get(key).is_none());
        let new: Vec<_> = new.collect();
        self.metadata.extend(new);
        self.tensors
            .extend(next.tensors.into_iter().map(|tensor| Tensor { file: tensor.file + of_first, ..tensor }));
        let (by_name, twice) = sorted_by_name(&self.tensors, |tensor| &tensor.name);
        if let Some(tensor) = twice {
            return Err(Error::file(
                next.path,
                format!("tensor {} is in another part too", quoted(&tensor.name)),
            ));
        }
        self.by_name = by_name;
        Ok(())
    }

    /// Calls it by another path, and keeps the metadata for which `keep` holds.
    pub(super) fn rename(&mut self, path: &Path, keep: impl Fn(&str) -> bool) {
        self.path = path.to_owned();
        self.metadata.retain(|(key, _)| keep(key));
    }

    /// The path that was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The files that the model lies in, in their order; [`Tensor::file`] counts them from 0.
    pub fn files(&self) -> impl ExactSizeIterator<Item = &Path> {
        self.files.iter().map(|file| file.path.as_path())
    }

    /// The version of the format: 2 or 3; that of the first file.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// What the offset of each tensor is a multiple of, in bytes, counted from the beginning of the data.
    pub fn alignment(&self) -> u32 {
        self.alignment
    }

    /// The key-value pairs, in the order of the file. No key is there twice.
    pub fn metadata(&self) -> &[(String, Value)] {
        &self.metadata
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.metadata.iter().find(|(found, _)| found == key).map(|(_, value)| value)
    }

    /// The tensors, in the order of the file. No name is there twice.
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

    /// Reads a part of a tensor's data: `range` is in bytes from its beginning, and as long as `out`.
    ///
    /// # Errors
    /// [`Error::Input`] if the range is not within the tensor or not as long as `out`; [`Error::Io`] if the file cannot
    /// be read; [`Error::File`] if it has become shorter.
    pub fn read(&self, tensor: &Tensor, range: Range<u64>, out: &mut [u8]) -> Result<()> {
        let file = self.files.get(tensor.file).ok_or_else(|| {
            Error::Input(format!("tensor {}: it is none of this model", quoted(&tensor.name)))
        })?;
        file.read(&tensor.name, tensor.offset, tensor.bytes, range, out)
    }
}

/// Whether a file begins like a GGUF file.
///
/// # Errors
/// [`Error::Io`] if it cannot be read, [`Error::File`] if it is empty or no regular file.
pub fn is_gguf(path: &Path) -> Result<bool> {
    let (file, _) = super::super::open(path)?;
    let mut magic = Vec::new();
    file.take(MAGIC.len() as u64).read_to_end(&mut magic).map_err(|e| Error::io(path, e))?;
    Ok(magic == MAGIC)
}

/// What is before the data, while it is read.
struct Header<'a> {
    path: &'a Path,
    input: BufReader<&'a File>,
    /// What is being read, for errors: a key or a tensor; empty for the file itself.
    subject: String,
    /// The bytes that may still be read.
    left: u64,
    /// Whether that is less than the file has, because headers are bounded.
    cut: bool,
}

impl Header<'_> {
    fn error(&self, problem: impl fmt::Display) -> Error {
        let colon = if self.subject.is_empty() { "" } else { ": " };
        Error::file(self.path, format!("{}{colon}{problem}", self.subject))
    }

    /// Refuses what takes more bytes than there are.
    fn check_room(&self, bytes: Option<u64>, what: impl fmt::Display) -> Result<()> {
        if bytes.is_some_and(|bytes| bytes <= self.left) {
            return Ok(());
        }
        let left = self.left;
        Err(if self.cut {
            self.error(format!("{what} would make the header larger than {} MiB", MAX_HEADER >> 20))
        } else {
            self.error(format!(
                "{what} cannot be in the {left} bytes that are left: it is truncated or damaged"
            ))
        })
    }

    /// Refuses more things than there may be, or than what is left has room for.
    fn check_count(&self, count: u64, what: &str, limit: u64, least: u64) -> Result<()> {
        self.check_room(count.checked_mul(least), format_args!("{count} {what}"))?;
        if count > limit {
            return Err(self.error(format!("there are {count} {what}; {limit} can be")));
        }
        Ok(())
    }

    fn take(&mut self, out: &mut [u8]) -> Result<()> {
        let bytes = out.len() as u64;
        self.check_room(Some(bytes), format_args!("the next {bytes} bytes"))?;
        self.left -= bytes;
        self.input.read_exact(out).map_err(|e| Error::io(self.path, e))
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.take(&mut bytes)?;
        Ok(bytes)
    }

    fn number<T, const N: usize>(&mut self, from: fn([u8; N]) -> T) -> Result<T> {
        Ok(from(self.bytes()?))
    }

    /// As many numbers as have been found to fit.
    fn numbers<T, const N: usize>(&mut self, count: usize, from: fn([u8; N]) -> T) -> Result<Vec<T>> {
        let mut numbers = Vec::with_capacity(count);
        while numbers.len() < count {
            let mut block = [[0; N]; 512];
            let block = &mut block[..512.min(count - numbers.len())];
            self.take(block.as_flattened_mut())?;
            numbers.extend(block.iter().map(|&bytes| from(bytes)));
        }
        Ok(numbers)
    }

    fn string(&mut self, what: &str, limit: u64) -> Result<Vec<u8>> {
        let length = self.number(u64::from_le_bytes)?;
        self.check_room(Some(length), format_args!("{what} of {length} bytes"))?;
        if length > limit {
            return Err(self.error(format!("{what} has {length} bytes; {limit} can be")));
        }
        let mut bytes = vec![0; length as usize];
        self.take(&mut bytes)?;
        Ok(bytes)
    }

    /// A key or a tensor's name.
    fn name(&mut self, what: &str, limit: u64) -> Result<String> {
        let bytes = self.string(what, limit)?;
        let name = String::from_utf8(bytes).map_err(|_| self.error(format!("{what} is not UTF-8")))?;
        check_name(&name, what, limit).map_err(|problem| self.error(problem))?;
        Ok(name)
    }

    fn pair(&mut self, index: u64) -> Result<(String, Value)> {
        self.subject = format!("key-value pair {index}");
        let key = self.name("its key", MAX_KEY)?;
        self.subject = format!("key {}", quoted(&key));
        let kind = self.number(u32::from_le_bytes)?;
        let value = self.value(kind)?;
        Ok((key, value))
    }

    fn value(&mut self, kind: u32) -> Result<Value> {
        Ok(match kind {
            0 => Value::U8(self.number(u8::from_le_bytes)?),
            1 => Value::I8(self.number(i8::from_le_bytes)?),
            2 => Value::U16(self.number(u16::from_le_bytes)?),
            3 => Value::I16(self.number(i16::from_le_bytes)?),
            4 => Value::U32(self.number(u32::from_le_bytes)?),
            5 => Value::I32(self.number(i32::from_le_bytes)?),
            6 => Value::F32(self.number(f32::from_le_bytes)?),
            7 => {
                let byte = self.number(u8::from_le_bytes)?;
                Value::Bool(self.boolean(byte)?)
            }
            8 => Value::String(Text(self.string("its string", MAX_STRING)?)),
            9 => Value::Array(self.array(1)?),
            10 => Value::U64(self.number(u64::from_le_bytes)?),
            11 => Value::I64(self.number(i64::from_le_bytes)?),
            12 => Value::F64(self.number(f64::from_le_bytes)?),
            _ => return Err(self.unknown_kind(kind)),
        })
    }

    /// An array that is in `depth - 1` others.
    fn array(&mut self, depth: u32) -> Result<Array> {
        if depth > MAX_NESTING {
            return Err(self.error(format!("its arrays are nested more than {MAX_NESTING} deep")));
        }
        let kind = self.number(u32::from_le_bytes)?;
        let Some(&(_, least)) = KINDS.get(kind as usize) else {
            return Err(self.unknown_kind(kind));
        };
        let count = self.number(u64::from_le_bytes)?;
        self.check_count(count, "array elements", MAX_ARRAY, least)?;
        let count = count as usize;
        Ok(match kind {
            0 => Array::U8(self.numbers(count, u8::from_le_bytes)?),
            1 => Array::I8(self.numbers(count, i8::from_le_bytes)?),
            2 => Array::U16(self.numbers(count, u16::from_le_bytes)?),
            3 => Array::I16(self.numbers(count, i16::from_le_bytes)?),
            4 => Array::U32(self.numbers(count, u32::from_le_bytes)?),
            5 => Array::I32(self.numbers(count, i32::from_le_bytes)?),
            6 => Array::F32(self.numbers(count, f32::from_le_bytes)?),
            7 => {
                let bytes = self.numbers(count, u8::from_le_bytes)?;
                Array::Bool(bytes.into_iter().map(|byte| self.boolean(byte)).collect::<Result<_>>()?)
            }
            8 => {
                let mut strings = Vec::with_capacity(count);
                for _ in 0..count {
                    strings.push(Text(self.string("a string", MAX_STRING)?));
                }
                Array::String(strings)
            }
            9 => {
                let mut arrays = Vec::with_capacity(count);
                for _ in 0..count {
                    arrays.push(self.array(depth + 1)?);
                }
                Array::Array(arrays)
            }
            10 => Array::U64(self.numbers(count, u64::from_le_bytes)?),
            11 => Array::I64(self.numbers(count, i64::from_le_bytes)?),
            12 => Array::F64(self.numbers(count, f64::from_le_bytes)?),
            _ => return Err(self.unknown_kind(kind)),
        })
    }

    fn boolean(&self, byte: u8) -> Result<bool> {
        match byte {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.error(format!("a boolean is {byte}, neither 0 nor 1"))),
        }
    }

    fn unknown_kind(&self, kind: u32) -> Error {
        self.error(format!("the type of its value is {kind}, which is unknown"))
    }

    /// A tensor whose offset still counts from the beginning of the data.
    fn tensor(&mut self, index: u64, alignment: u32) -> Result<Tensor> {
        self.subject = format!("tensor {index}");
        let name = self.name("its name", MAX_NAME)?;
        self.subject = format!("tensor {}", quoted(&name));
        let count = self.number(u32::from_le_bytes)?;
        if count > MAX_DIMS {
            return Err(self.error(format!("it has {count} dimensions; 0 to {MAX_DIMS} can be")));
        }
        let dims = self.numbers(count as usize, u64::from_le_bytes)?;
        let id = self.number(u32::from_le_bytes)?;
        let ty = TensorType::by_id(id)
            .ok_or_else(|| self.error(format!("its type is {id}, which ggml does not have")))?;
        let bytes = data_bytes(&dims, ty).map_err(|problem| self.error(problem))?;
        let offset = self.number(u64::from_le_bytes)?;
        if !offset.is_multiple_of(alignment.into()) {
            return Err(
                self.error(format!("its offset {offset} is not a multiple of the alignment {alignment}"))
            );
        }
        Ok(Tensor { name, dims, ty, file: 0, offset, bytes })
    }
}
