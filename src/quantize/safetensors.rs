//! A model of safetensors files as a source.
//!
//! F32, F16, BF16 and the signed integers are types of GGUF files and stay as they are. These become F32, a piece at a
//! time: F64, which is rounded; codes of 8 bits (E4M3, E5M2, I8) and compressed-tensors' packed ones, times their scales
//! ([`scales`](super::scales)); and the packed weights of GPTQ and AWQ ([`packed`](super::packed)). Scales and zeros are part
//! of the tensor that they belong to, and none of their own.
//!
//! Codes are never written as values. Those whose scale is missing, or which lie in a way that is not known here, are
//! doubts ([`Doubt`]), by which a plan is refused. [`codes`](super::codes) says what tells them from other integers. Tensors
//! that are no codes and that no GGUF file can hold (BOOL, U8 to U64, C64, those without values) are left out.
//!
//! The strings of `__metadata__` become strings called `safetensors.KEY`.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::about;
use super::config;
use super::describe::{Found, Reading, Way, describe};
use super::packed::Cache;
use super::source::{Doubt, LeftOut, Source};
use crate::io::gguf::{Tensor, Value};
use crate::io::quoted;
use crate::io::safetensors::{self, Safetensors};
use crate::{Error, Result};

/// An open safetensors model, as tensors of types that GGUF files have.
#[derive(Debug)]
pub(super) struct Checkpoint {
    file: Safetensors,
    metadata: Vec<(String, Value)>,
    cache: Cache,
    found: Found,
    notices: Vec<String>,
}

impl Checkpoint {
    /// Opens a model; of its data only what says how others are read is read yet.
    ///
    /// # Errors
    /// Those of [`Safetensors::open`]; [`Error::File`] for a tensor that no GGUF file can have, or whose companions are
    /// missing or do not fit, and for files beside it that say that it is quantized in a way that is not known here.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = Safetensors::open(path)?;
        let method = config::read(&folders(&file))?;
        let found = describe(&file, method.as_ref())?.map_err(|problem| Error::file(path, problem))?;
        let text =
            |(key, value): &(String, String)| (format!("safetensors.{key}"), Value::from(value.as_str()));
        let metadata = file.metadata().iter().map(text).collect();
        let notices = notices(&found);
        Ok(Self { file, metadata, cache: Cache::default(), found, notices })
    }
}

/// Where files about the model may lie: beside it, and beside what a link leads to.
fn folders(file: &Safetensors) -> Vec<PathBuf> {
    let first = file.files().next().map(Path::to_owned);
    let real = first.as_ref().and_then(|path| path.canonicalize().ok());
    [first, real].into_iter().flatten().filter_map(|path| path.parent().map(Path::to_owned)).collect()
}

impl Source for Checkpoint {
    fn path(&self) -> &Path {
        self.file.path()
    }

    fn files(&self) -> Vec<&Path> {
        self.file.files().collect()
    }

    fn metadata(&self) -> &[(String, Value)] {
        &self.metadata
    }

    fn tensors(&self) -> &[Tensor] {
        &self.found.tensors
    }

    fn read(&self, tensor: &Tensor, range: Range<u64>, out: &mut [u8]) -> Result<()> {
        let name = &tensor.name;
        // This file's own: another's of the same name may be larger.
        let own = self.found.ways.get(name);
        let own = own.and_then(|reading| Some((self.found.tensors.get(reading.index)?, reading)));
        let (tensor, Reading { from, way, .. }) =
            own.ok_or_else(|| Error::Input(format!("no tensor is called {}", quoted(name))))?;
        if let Way::Same = way {
            return self.file.read(from, range, out);
        }
        let Range { start, end } = range;
        let whole = start.is_multiple_of(4) && end.is_multiple_of(4);
        if !whole || start > end || end > tensor.bytes || end - start != out.len() as u64 {
            return Err(Error::Input(format!(
                "tensor {}: the bytes {start}..{end} are not {} bytes of whole values within its {}",
                quoted(name),
                out.len(),
                tensor.bytes
            )));
        }
        let first = start / 4;
        let mut weights = vec![0.0; out.len() / 4];
        match way {
            Way::Same => {}
            Way::Double => self.read_double(tensor, from, first, &mut weights)?,
            Way::Scaled(codes, scales) => {
                codes.read(&self.file, from, tensor.cols(), first, &mut weights)?;
                if let Some(scales) = scales {
                    scales.apply(&self.file, first, &mut weights)?;
                }
            }
            Way::Packed(packed) => packed.read(&self.file, &self.cache, first, &mut weights)?,
        }
        for (bytes, weight) in out.chunks_exact_mut(4).zip(weights) {
            bytes.copy_from_slice(&weight.to_le_bytes());
        }
        Ok(())
    }

    fn notices(&self) -> &[String] {
        &self.notices
    }

    fn left_out(&self) -> &[LeftOut] {
        &self.found.left_out
    }

    fn doubts(&self) -> &[Doubt] {
        &self.found.doubts
    }
}

impl Checkpoint {
    fn read_double(
        &self,
        tensor: &Tensor,
        from: &safetensors::Tensor,
        first: u64,
        weights: &mut [f32],
    ) -> Result<()> {
        let mut bytes = vec![0; weights.len() * 8];
        self.file.read(from, first * 8..first * 8 + bytes.len() as u64, &mut bytes)?;
        let (chunks, _) = bytes.as_chunks();
        for ((weight, &bytes), index) in weights.iter_mut().zip(chunks).zip(first..) {
            let double = f64::from_le_bytes(bytes);
            *weight = double as f32;
            if double.is_finite() && weight.is_infinite() {
                let (row, col) = (index / tensor.cols(), index % tensor.cols());
                return Err(Error::Input(format!(
                    "tensor {}: row {row}, column {col} (counted from 0) is {double}: too large for F32",
                    quoted(&tensor.name)
                )));
            }
        }
        Ok(())
    }
}

fn notices(found: &Found) -> Vec<String> {
    let packed = found.tensors.iter().map(|tensor| tensor.name.as_str());
    let packed = packed
        .filter(|&name| found.ways.get(name).is_some_and(|reading| matches!(reading.way, Way::Packed(_))));
    let own = "tensor names and metadata are kept as they are; llama.cpp needs its own names: use its converter \
               first, then quantize the GGUF";
    let quantized = about(packed, "quantized already: the errors add up; better start from F16, BF16 or F32");
    std::iter::once(own.to_owned()).chain(quantized).collect()
}
