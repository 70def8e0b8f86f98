//! Safetensors, the file format of Hugging Face's models: tensors of plain numbers, and metadata.
//!
//! The format is described at <https://github.com/huggingface/safetensors#format>: the length of the header, the header as
//! JSON, the data, which the tensors cover without holes. A file is input to be doubted: the header is bounded, and
//! read into what it may have and nothing else, so nothing in it nests deeper than expected; every offset is held
//! against the shape, the file and the other tensors. Data is read by position, a piece at a time: files larger than
//! the memory pass through.

mod header;
mod shards;

use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

use header::Header;
use shards::Shards;

use super::{
    MAX_KEY, MAX_NAME, MAX_PAIRS, MAX_TENSORS, Positioned, check_name, find, parts, quoted, sorted_by_name,
};
use crate::{Error, Result};

/// The bytes of the header's length, at the beginning of the file.
const LENGTH: u64 = 8;

/// The longest header in bytes; the limit of the format's own reader.
const MAX_HEADER: u64 = 100_000_000;

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
    dtype("F8_E8M0", 1),
    dtype("F8_E4M3FNUZ", 1),
    dtype("F8_E5M2FNUZ", 1),
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
    dtype("C64", 8),
];

/// A tensor of a model. Whatever is in one has been checked: the data is as large as the type and the shape say, and lies
/// within its file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// The type of its values, in little-endian order.
    pub dtype: &'static Dtype,
    /// Its up to 64 dimensions; the last one is contiguous. There may be none, or one of 0.
    pub shape: Vec<u64>,
    /// Which of the model's files it lies in, counted from 0.
    pub file: usize,
    /// Where its data begins, in bytes from the beginning of that file.
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

/// An open model of safetensors files, one or several: its metadata and the description of its tensors are in memory, its
/// data is not.
#[derive(Debug)]
pub struct Safetensors {
    path: PathBuf,
    files: Vec<Positioned>,
    metadata: Vec<(String, String)>,
    tensors: Vec<Tensor>,
    /// Indices into `tensors`, in the order of their names.
    by_name: Vec<usize>,
}

impl Safetensors {
    /// Opens a model: a file, a file of several (a shard) in place of all of them, their index (`….safetensors.index.json`), or
    /// the folder of either. A file is a shard if an index beside it says so, or its name, which is then
    /// `PREFIX-00001-of-00003.safetensors`.
    ///
    /// # Errors
    /// [`Error::Io`] if a file cannot be read; [`Error::File`], which names the key or the tensor, if it is
    /// truncated or damaged or anything in it is beyond what models have; and which names the shards that are missing, and
    /// the tensors that are in two or of which the index says something else.
    pub fn open(path: &Path) -> Result<Self> {
        let shards = Shards::of(path)?;
        let mut files = shards.files.iter();
        let first = files.next().ok_or_else(|| Error::file(path, "its index names no files"))?;
        let mut model = Self::open_alone(first)?;
        for file in files {
            model.append(Self::open_alone(file)?);
        }
        model.path = path.to_owned();
        let (by_name, twice) = sorted_by_name(&model.tensors, |tensor| &tensor.name);
        if let Some(tensor) = twice {
            let of_name = model.tensors.iter().filter(|other| other.name == tensor.name);
            let files: Vec<String> = of_name.map(|tensor| model.file_name(tensor)).collect();
            let problem =
                format!("tensor {} is there twice, in {}", quoted(&tensor.name), files.join(" and "));
            return Err(Error::file(path, problem));
        }
        model.by_name = by_name;
        shards.check(&model)?;
        Ok(model)
    }

    /// Opens one file, whatever lies beside it.
    ///
    /// # Errors
    /// Those of [`Self::open`] for one file.
    pub fn open_alone(path: &Path) -> Result<Self> {
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
        Ok(Self { path: path.to_owned(), files: vec![file], metadata, tensors, by_name })
    }

    /// Adds the tensors of another file, whose names are still to be held against each other, and what metadata is new.
    fn append(&mut self, next: Self) {
        let before = self.files.len();
        self.files.extend(next.files);
        let tensors = next.tensors.into_iter().map(|tensor| Tensor { file: tensor.file + before, ..tensor });
        self.tensors.extend(tensors);
        for (key, value) in next.metadata {
            if !self.metadata.iter().any(|(known, _)| *known == key) {
                self.metadata.push((key, value));
            }
        }
    }

    /// The path that was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The files that the model lies in, in the order of their names; [`Tensor::file`] counts them from 0.
    pub fn files(&self) -> impl ExactSizeIterator<Item = &Path> {
        self.files.iter().map(|file| file.path.as_path())
    }

    /// The name of the file that a tensor lies in, quoted.
    fn file_name(&self, tensor: &Tensor) -> String {
        self.files.get(tensor.file).map_or_else(String::new, |file| parts::name(&file.path))
    }

    /// The strings of `__metadata__`, in the order of the file. No key is there twice.
    pub fn metadata(&self) -> &[(String, String)] {
        &self.metadata
    }

    /// The tensors, in the order of their files and offsets. No name is there twice.
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

    /// The file that a tensor of this model lies in, at its offset.
    pub(super) fn into_file(mut self, tensor: &Tensor) -> Result<Positioned> {
        self.file_of(tensor)?;
        Ok(self.files.swap_remove(tensor.file))
    }

    fn file_of(&self, tensor: &Tensor) -> Result<&Positioned> {
        self.files
            .get(tensor.file)
            .ok_or_else(|| Error::Input(format!("tensor {}: it is none of this model", quoted(&tensor.name))))
    }

    /// Reads a part of a tensor's data: `range` is in bytes from its beginning, and as long as `out`.
    ///
    /// # Errors
    /// [`Error::Input`] if the range is not within the tensor or not as long as `out`; [`Error::Io`] if the file cannot
    /// be read; [`Error::File`] if it has become shorter.
    pub fn read(&self, tensor: &Tensor, range: Range<u64>, out: &mut [u8]) -> Result<()> {
        self.file_of(tensor)?.read(&tensor.name, tensor.offset, tensor.bytes, range, out)
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
    write_in_pieces(path, metadata, tensors, &|| Ok(()))
}

/// Bytes of a tensor that are written at a time.
const PIECE: usize = 1 << 22;

/// The same, which asks `go_on` between pieces of it, and fails as that does.
pub(super) fn write_in_pieces(
    path: &Path,
    metadata: &[(String, String)],
    tensors: &[Part<'_>],
    go_on: &dyn Fn() -> Result<()>,
) -> Result<()> {
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
    let mut ended = None;
    let written = super::output::write_whole(path, |out| {
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(header.as_bytes())?;
        for piece in tensors.iter().flat_map(|tensor| tensor.data.chunks(PIECE)) {
            if let Err(error) = go_on() {
                ended = Some(error);
                return Err(std::io::Error::other("it was ended"));
            }
            out.write_all(piece)?;
        }
        Ok(())
    });
    ended.map_or(written, Err)
}

/// The names that the scales of the codes `name` may have: `X.weight_scale_inv`, `X.weight_scale` and `X.scale_weight`.
pub(crate) fn scale_names(name: &str) -> Vec<String> {
    let own = [format!("{name}_scale_inv"), format!("{name}_scale")];
    let of_comfy = name.strip_suffix(".weight").map(|stem| format!("{stem}.scale_weight"));
    own.into_iter().chain(of_comfy).collect()
}

/// Whether a path is what [`Safetensors::open`] can open, by how it begins: a safetensors file, an index, or a folder.
///
/// # Errors
/// Those of [`is_safetensors`].
pub fn is_model(path: &Path) -> Result<bool> {
    Ok(path.is_dir() || shards::is_index(path)? || is_safetensors(path)?)
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
