//! Where tensors come from: each kind of file behind one trait, read in pieces and from any thread.

use std::fmt::Debug;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::io::gguf::{self, Gguf, Tensor, TensorType, Value};
use crate::io::kind::Kind;
use crate::io::npy::Floats;
use crate::io::safetensors;
use crate::io::split_part;
use crate::{Error, Result};

use super::safetensors::Checkpoint;

/// A tensor that is left out, or would be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Its name.
    pub name: String,
    /// The type of its values, as its file calls it.
    #[serde(rename = "type")]
    pub ty: &'static str,
    /// Its shape; the last dimension is contiguous.
    pub shape: Vec<u64>,
    /// Why.
    pub why: String,
}

/// Codes that could only be written as values, which they are not, or a part of codes that are not there: a plan with one is
/// refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// What is to be said of it, and with it why.
    pub tensor: LeftOut,
    /// Whether these are 8-bit floats without a scale, which are values if they were cast without one.
    pub unscaled: bool,
}

/// A model: a file of tensors, or several. What ggml has no type for, a source gives as F32.
pub trait Source: Debug + Sync {
    /// The path that was opened.
    fn path(&self) -> &Path;

    /// The files that are read.
    fn files(&self) -> Vec<&Path> {
        vec![self.path()]
    }

    /// The key-value pairs that belong to all tensors.
    fn metadata(&self) -> &[(String, Value)];

    /// The tensors, in the order of the file.
    fn tensors(&self) -> &[Tensor];

    /// Reads a part of a tensor's data in its type: `range` is in bytes from its beginning, and as long as `out`.
    ///
    /// # Errors
    /// Those of the file.
    fn read(&self, tensor: &Tensor, range: Range<u64>, out: &mut [u8]) -> Result<()>;

    /// What the user should know about the file.
    fn notices(&self) -> &[String] {
        &[]
    }

    /// The tensors that no GGUF file can hold, and that are no codes.
    fn left_out(&self) -> &[LeftOut] {
        &[]
    }

    /// The tensors of codes that cannot be read.
    fn doubts(&self) -> &[Doubt] {
        &[]
    }
}

/// Opens a model as what its first bytes say it is: a GGUF file or a safetensors file, which may be a part and stand for all, a
/// folder or index of safetensors files, or a `.npy` or `.npz` file with one array. The array's tensor is called `name`,
/// or like the file if there is none.
///
/// Of safetensors files, F32, F16, BF16 and signed integers stay as they are; F64, codes of 8 bits or packed ones of
/// compressed-tensors, with their scales, and the packed weights of GPTQ and AWQ become F32. What is beside them says more
/// about codes: config.json, quantize_config.json, hf_quant_config.json.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read; [`Error::File`] if it is none of these, or damaged, or has a tensor that
/// no GGUF file can have; [`Error::Input`] for a name where tensors have their own.
pub fn open(path: &Path, name: Option<&str>) -> Result<Box<dyn Source>> {
    if !path.is_dir() && matches!(Kind::of(&split_part(path).0)?, Kind::Npy | Kind::Zip) {
        let stem = || path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        return Ok(Box::new(OneArray::open(path, name.map_or_else(stem, str::to_owned))?));
    }
    let is_gguf = !path.is_dir() && gguf::is_gguf(path)?;
    if !is_gguf && !safetensors::is_model(path)? {
        let problem = "this is neither a GGUF, a safetensors nor a .npy file: it begins with neither GGUF, the \
                       length of a JSON header nor \\x93NUMPY";
        return Err(Error::file(path, problem));
    }
    if name.is_some() {
        let kind = if is_gguf { "GGUF" } else { "safetensors" };
        let problem = format!("the tensors of a {kind} file have names; only an array needs one");
        return Err(Error::Input(problem));
    }
    Ok(if is_gguf { Box::new(Gguf::open(path)?) } else { Box::new(Checkpoint::open(path)?) })
}

impl Source for Gguf {
    fn path(&self) -> &Path {
        Gguf::path(self)
    }

    fn files(&self) -> Vec<&Path> {
        Gguf::files(self).collect()
    }

    fn metadata(&self) -> &[(String, Value)] {
        Gguf::metadata(self)
    }

    fn tensors(&self) -> &[Tensor] {
        Gguf::tensors(self)
    }

    fn read(&self, tensor: &Tensor, range: Range<u64>, out: &mut [u8]) -> Result<()> {
        Gguf::read(self, tensor, range, out)
    }
}

/// A `.npy` file as a source of one tensor.
#[derive(Debug)]
struct OneArray {
    path: PathBuf,
    array: Floats,
    tensor: [Tensor; 1],
    notices: Vec<String>,
}

impl OneArray {
    fn open(path: &Path, name: String) -> Result<Self> {
        let array = Floats::open(path)?;
        let ty = if array.is_half() { "F16" } else { "F32" };
        let ty = TensorType::by_name(ty).ok_or_else(|| Error::file(path, format!("ggml has no {ty}")))?;
        let dims = array.shape().iter().rev().copied().collect();
        let tensor = Tensor { name, dims, ty, file: 0, offset: 0, bytes: array.bytes() };
        let notices = array.conversion().into_iter().collect();
        Ok(Self { path: path.to_owned(), array, tensor: [tensor], notices })
    }
}

impl Source for OneArray {
    fn path(&self) -> &Path {
        &self.path
    }

    fn metadata(&self) -> &[(String, Value)] {
        &[]
    }

    fn tensors(&self) -> &[Tensor] {
        &self.tensor
    }

    fn read(&self, _: &Tensor, range: Range<u64>, out: &mut [u8]) -> Result<()> {
        self.array.read(range, out)
    }

    fn notices(&self) -> &[String] {
        &self.notices
    }
}
