//! What a plan is asked for: a model's file, a description of it, or a folder with both.

use std::path::{Path, PathBuf};

use super::cache::{AS_IT_IS, Weights};
use super::checkpoint::Checkpoint;
use super::geometry::{Geometry, read_json};
use crate::format::Format;
use crate::io::gguf::{Gguf, is_gguf};
use crate::io::safetensors::is_safetensors;
use crate::{Error, Result};

/// What is planned for.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// A GGUF file.
    Gguf(&'a Path),
    /// A config.json.
    Config(&'a Path),
    /// Safetensors files: a folder of them, an index, or one of them; their config.json lies beside them.
    Checkpoint(&'a Path),
}

impl<'a> Input<'a> {
    /// By the content. What is none of these is left to the reader of GGUF files to refuse.
    ///
    /// # Errors
    /// Those of reading.
    pub fn of(path: &'a Path) -> Result<Self> {
        if path.is_dir() || is_safetensors(path)? {
            return Ok(Self::Checkpoint(path));
        }
        let json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
        if !json || is_gguf(path)? {
            return Ok(Self::Gguf(path));
        }
        let index = read_json(path)?.get("weight_map").is_some();
        Ok(if index { Self::Checkpoint(path) } else { Self::Config(path) })
    }

    /// The geometry of its cache. Where that is not known, `unknown` makes an error of the file and the problem.
    ///
    /// # Errors
    /// Those of reading, and that one.
    pub fn geometry(self, unknown: impl FnOnce(&Path, &str) -> Error) -> Result<Geometry> {
        let (path, found): (PathBuf, _) = match self {
            Self::Gguf(path) => (path.to_owned(), Geometry::of_gguf(&Gguf::open(path)?)),
            Self::Config(path) => (path.to_owned(), Geometry::of_config(&read_json(path)?)),
            Self::Checkpoint(path) => {
                let folder = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
                let config = folder.join("config.json");
                let geometry = Geometry::of_config(&read_json(&config)?);
                (config, geometry)
            }
        };
        found.map_err(|problem| unknown(&path, &problem))
    }
}

/// The weights beside a cache that is planned without a device, where they are known: those of `input` as they are or in one
/// format, or so many `parameters` in one.
///
/// # Errors
/// [`Error::Input`] for what does not go together; those of reading.
pub fn weights(
    input: Option<Input<'_>>,
    formats: &[&'static Format],
    parameters: Option<u64>,
) -> Result<Option<Weights>> {
    let wrong = |problem: &str| Err(Error::Input(problem.into()));
    if formats.len() > 1 {
        return wrong("`weights`: without a .gguf file products are not compared; give one format");
    }
    let (format, bytes) = match (input, formats.first(), parameters) {
        (Some(Input::Checkpoint(_)), _, Some(_)) => {
            return wrong("`parameters`: the files say how many weights there are; leave it out");
        }
        (Some(Input::Checkpoint(path)), None, _) => (AS_IT_IS, Checkpoint::open(path)?.bytes()),
        (Some(Input::Checkpoint(path)), Some(format), _) => {
            (format.name, Checkpoint::open(path)?.bytes_in(format)?)
        }
        (_, None, None) => return Ok(None),
        (_, None, Some(_)) => return wrong("`parameters`: they count in a format, which `weights` gives"),
        (_, Some(_), None) => {
            return wrong(
                "`weights`: a config.json does not say how many weights there are; give `parameters` N, such as 8.03B, or the \
                 folder with the .safetensors files",
            );
        }
        (_, Some(format), Some(count)) => {
            (format.name, (count as f64 * format.bits_per_weight() / 8.0).ceil() as u64)
        }
    };
    Ok(Some(Weights { format, bytes, ms_per_token: None }))
}
