//! The weights of a model in safetensors files: how many bytes they take as they are, and in another format.

use std::path::Path;

use crate::format::Format;
use crate::io::quoted;
use crate::io::safetensors::{Safetensors, Tensor};
use crate::quantize::{fitting, is_kept};
use crate::{Error, Result};

/// Types of weights that are values, one by one.
const FLOATS: [&str; 4] = ["F64", "F32", "F16", "BF16"];

/// The weights of a model.
#[derive(Debug)]
pub struct Checkpoint {
    files: Safetensors,
}

impl Checkpoint {
    /// Opens a model; of its data nothing is read.
    ///
    /// # Errors
    /// Those of [`Safetensors::open`].
    pub fn open(path: &Path) -> Result<Self> {
        let single = path.join("model.safetensors");
        let path = if path.is_dir() && single.is_file() { &single } else { path };
        Ok(Self { files: Safetensors::open(path)? })
    }

    /// Bytes of all tensors, as they are.
    pub fn bytes(&self) -> u64 {
        self.files.tensors().iter().map(|tensor| tensor.bytes).fold(0, u64::saturating_add)
    }

    /// Bytes of all tensors in `format`, as `lowbit quantize` writes them: matrices whose rows are whole blocks of it, or of
    /// what is taken instead; vectors and what quantizers keep stay as they are.
    ///
    /// # Errors
    /// [`Error::File`] for a matrix of codes, whose number of weights is not that of its values.
    pub fn bytes_in(&self, format: &'static Format) -> Result<u64> {
        let tensors = self.files.tensors().iter();
        tensors
            .map(|tensor| self.tensor_in(tensor, format))
            .try_fold(0u64, |sum, bytes| Ok(sum.saturating_add(bytes?)))
    }

    fn tensor_in(&self, tensor: &Tensor, format: &'static Format) -> Result<u64> {
        let Some(&cols) = tensor.shape.last().filter(|_| tensor.shape.len() > 1 && tensor.bytes > 0) else {
            return Ok(tensor.bytes);
        };
        if !FLOATS.contains(&tensor.dtype.name) {
            let (name, ty) = (quoted(&tensor.name), tensor.dtype.name);
            let problem =
                format!("tensor {name} is {ty}: these are codes, whose size in {} is not known", format.name);
            return Err(Error::file(self.files.path(), problem));
        }
        let kept = is_kept(&tensor.name);
        let bytes = fitting(format, cols)
            .filter(|_| !kept)
            .map(|format| tensor.values() / format.elements as u64 * format.bytes as u64);
        Ok(bytes.unwrap_or(tensor.bytes))
    }
}
