//! Writing: first what there is, then the tensors' bytes as they come.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::path::Path;

use super::value::write_string;
use super::{
    ALIGNMENT_KEY, Array, DEFAULT_ALIGNMENT, MAGIC, MAX_ARRAY, MAX_HEADER, MAX_KEY, MAX_NAME, MAX_NESTING,
    MAX_PAIRS, MAX_STRING, MAX_TENSORS, Tensor, TensorType, Text, VERSION, Value, alignment, check_name,
    data_bytes, quoted,
};
use crate::io::output::write_whole;
use crate::{Error, Result};

/// A GGUF file to be written, of version 3. Everything but the data comes first, so that the offsets are known; then
/// the data streams.
///
/// What was read with [`Gguf`](super::Gguf) is written with the same bytes, if its version is 3, its tensors lie in their order
/// without gaps, and the padding is zeros that the last tensor has too.
#[derive(Debug, Default)]
pub struct Writer {
    metadata: Vec<(String, Value)>,
    tensors: Vec<Tensor>,
    keys: HashSet<String>,
    names: HashSet<String>,
}

impl Writer {
    /// A file without metadata and tensors.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a key-value pair. The value of `general.alignment` is what the tensors are aligned to.
    ///
    /// # Errors
    /// [`Error::Input`] if the key is there already, or [`Gguf::open`](super::Gguf::open) would refuse the pair.
    pub fn metadata(&mut self, key: &str, value: Value) -> Result<()> {
        let error = |problem: String| Error::Input(format!("key {}: {problem}", quoted(key)));
        check_name(key, "its name", MAX_KEY).map_err(error)?;
        check_value(&value).map_err(error)?;
        if key == ALIGNMENT_KEY {
            alignment(Some(&value)).map_err(Error::Input)?;
        }
        if self.metadata.len() as u64 == MAX_PAIRS {
            return Err(error(format!("there are {MAX_PAIRS} others already")));
        }
        if !self.keys.insert(key.to_owned()) {
            return Err(error("it is there twice".into()));
        }
        self.metadata.push((key.to_owned(), value));
        Ok(())
    }

    /// Adds a tensor, whose first dimension is contiguous (see [`Tensor::dims`]), and gives the bytes of its data.
    ///
    /// llama.cpp opens no file with a name of more than 63 bytes; here 1024 can be.
    ///
    /// # Errors
    /// [`Error::Input`] if the name is there already, or [`Gguf::open`](super::Gguf::open) would refuse the tensor.
    pub fn tensor(&mut self, name: &str, dims: &[u64], ty: &'static TensorType) -> Result<u64> {
        let error = |problem: String| Error::Input(format!("tensor {}: {problem}", quoted(name)));
        check_name(name, "its name", MAX_NAME).map_err(error)?;
        // Checked here, because `Tensor` is read back by its number.
        if TensorType::by_id(ty.id) != Some(ty) {
            return Err(error(format!("its type {} is none of ggml's", ty.name)));
        }
        let bytes = data_bytes(dims, ty).map_err(error)?;
        if self.tensors.len() as u64 == MAX_TENSORS {
            return Err(error(format!("there are {MAX_TENSORS} others already")));
        }
        if !self.names.insert(name.to_owned()) {
            return Err(error("it is there twice".into()));
        }
        self.tensors.push(Tensor {
            name: name.to_owned(),
            dims: dims.to_vec(),
            ty,
            file: 0,
            offset: 0,
            bytes,
        });
        Ok(bytes)
    }

    /// Writes the file: `data` is called once for each tensor, in the order in which they were added, and writes
    /// exactly the bytes of it. A failure leaves no file, and an older one as it was.
    ///
    /// # Errors
    /// The first one of `data`; [`Error::Input`] if it wrote too much or too little, or the file would be too large;
    /// those of [`write_whole`].
    pub fn write(
        &self,
        path: &Path,
        mut data: impl FnMut(&Tensor, &mut Sink<'_>) -> Result<()>,
    ) -> Result<()> {
        let (header, tensors) = self.layout()?;
        let mut failure = None;
        let written = write_whole(path, |out| {
            out.write_all(&header)?;
            let mut at = header.len() as u64;
            for tensor in &tensors {
                pad(out, tensor.offset - at)?;
                let mut sink = Sink { path, out: &mut *out, tensor, left: tensor.bytes };
                if let Err(error) = data(tensor, &mut sink).and_then(|()| sink.finish()) {
                    failure = Some(error);
                    return Err(std::io::Error::other("the data cannot be had"));
                }
                at = tensor.offset + tensor.bytes;
            }
            pad(out, at.next_multiple_of(self.alignment().into()) - at)
        });
        match failure {
            Some(error) => Err(error),
            None => written,
        }
    }

    fn alignment(&self) -> u32 {
        let value = self.metadata.iter().find(|(key, _)| key == ALIGNMENT_KEY);
        // It was checked when it came.
        alignment(value.map(|(_, value)| value)).unwrap_or(DEFAULT_ALIGNMENT)
    }

    /// Everything before the data, padded; and the tensors with their places in the file.
    fn layout(&self) -> Result<(Vec<u8>, Vec<Tensor>)> {
        let alignment = u64::from(self.alignment());
        let mut header = Vec::new();
        header.extend(MAGIC);
        header.extend(VERSION.to_le_bytes());
        header.extend((self.tensors.len() as u64).to_le_bytes());
        header.extend((self.metadata.len() as u64).to_le_bytes());
        for (key, value) in &self.metadata {
            write_string(&mut header, key.as_bytes());
            header.extend(value.kind().to_le_bytes());
            value.write(&mut header);
        }
        let mut tensors = self.tensors.clone();
        let mut offset = 0u64;
        for tensor in &mut tensors {
            write_string(&mut header, tensor.name.as_bytes());
            header.extend((tensor.dims.len() as u32).to_le_bytes());
            tensor.dims.iter().for_each(|n| header.extend(n.to_le_bytes()));
            header.extend(tensor.ty.id.to_le_bytes());
            header.extend(offset.to_le_bytes());
            tensor.offset = offset;
            let end =
                offset.checked_add(tensor.bytes).and_then(|end| end.checked_next_multiple_of(alignment));
            // What remains of a u64 is room for the header.
            offset = end.filter(|&end| end <= u64::MAX >> 1).ok_or_else(|| {
                Error::Input(format!("tensor {}: no file is as large", quoted(&tensor.name)))
            })?;
        }
        if header.len() as u64 > MAX_HEADER {
            let (found, limit) = (header.len(), MAX_HEADER);
            return Err(Error::Input(format!("the GGUF header has {found} bytes; {limit} can be")));
        }
        header.resize(header.len().next_multiple_of(alignment as usize), 0);
        tensors.iter_mut().for_each(|tensor| tensor.offset += header.len() as u64);
        Ok((header, tensors))
    }
}

/// What is wrong with a value that is to be written.
fn check_value(value: &Value) -> std::result::Result<(), String> {
    match value {
        Value::String(text) => check_text(text),
        Value::Array(array) if array.nesting(MAX_NESTING) > MAX_NESTING => {
            Err(format!("its arrays are nested more than {MAX_NESTING} deep"))
        }
        Value::Array(array) => check_array(array),
        _ => Ok(()),
    }
}

/// The arrays within it are known to be few levels deep.
fn check_array(array: &Array) -> std::result::Result<(), String> {
    if array.len() as u64 > MAX_ARRAY {
        return Err(format!("there are {} array elements; {MAX_ARRAY} can be", array.len()));
    }
    match array {
        Array::String(texts) => texts.iter().try_for_each(check_text),
        Array::Array(arrays) => arrays.iter().try_for_each(check_array),
        _ => Ok(()),
    }
}

fn check_text(text: &Text) -> std::result::Result<(), String> {
    match text.0.len() as u64 {
        length if length > MAX_STRING => Err(format!("a string has {length} bytes; {MAX_STRING} can be")),
        _ => Ok(()),
    }
}

/// Writes as many zeros as padding needs.
fn pad(out: &mut dyn Write, bytes: u64) -> std::io::Result<()> {
    std::io::copy(&mut std::io::repeat(0).take(bytes), out).map(drop)
}

/// Where the data of one tensor goes.
pub struct Sink<'a> {
    path: &'a Path,
    out: &'a mut dyn Write,
    tensor: &'a Tensor,
    left: u64,
}

impl Sink<'_> {
    /// Writes the next bytes of the tensor.
    ///
    /// # Errors
    /// [`Error::Input`] if that is more than it has; [`Error::Io`] if the disk fails.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let Some(left) = self.left.checked_sub(bytes.len() as u64) else {
            let (name, all) = (quoted(&self.tensor.name), self.tensor.bytes);
            return Err(Error::Input(format!("tensor {name}: more data than its {all} bytes was written")));
        };
        self.left = left;
        self.out.write_all(bytes).map_err(|e| Error::io(self.path, e))
    }

    fn finish(self) -> Result<()> {
        if self.left == 0 {
            return Ok(());
        }
        let (name, all, left) = (quoted(&self.tensor.name), self.tensor.bytes, self.left);
        Err(Error::Input(format!("tensor {name}: {left} of its {all} bytes were not written")))
    }
}
