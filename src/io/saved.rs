//! Saved states: .safetensors files that say which kind they are, what they are of, and what their SHA-256 is.

use std::path::Path;

use super::hash::Hasher;
use super::quoted;
use super::safetensors::{self, Part, Safetensors};
use crate::{Error, Result};

/// The key of the kind.
const FORMAT: &str = "format";
/// The key of the file's own hash.
const HASH: &str = "sha256";
/// Bytes of a tensor that are hashed at a time.
const PIECE: u64 = 1 << 20;

/// A kind of state.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// Its name and version, as files state it.
    pub format: &'static str,
    /// What cannot be done with a file that is broken, such as `this cannot be resumed from`.
    pub refusal: &'static str,
    /// What to do then.
    pub advice: &'static str,
}

impl Kind {
    fn fault(&self, problem: &str) -> String {
        format!("{}: {problem}; {}", self.refusal, self.advice)
    }

    /// Writes one, whole or not at all; `go_on` is asked between pieces of it.
    ///
    /// # Errors
    /// That of `go_on`; [`Error::Io`].
    pub fn write(
        &self,
        path: &Path,
        pairs: &[(&str, String)],
        parts: &[Part<'_>],
        go_on: &dyn Fn() -> Result<()>,
    ) -> Result<()> {
        let format = (FORMAT.to_owned(), self.format.to_owned());
        let given = pairs.iter().map(|(key, value)| ((*key).to_owned(), value.clone()));
        let mut pairs: Vec<(String, String)> = std::iter::once(format).chain(given).collect();
        let mut hash = hash_of_pairs(&pairs);
        for Part { name, dtype, shape, data } in parts {
            hash.update(title(name, dtype, shape));
            for piece in data.chunks(PIECE as usize) {
                go_on()?;
                hash.update(piece);
            }
        }
        pairs.push((HASH.to_owned(), hash.finish()));
        safetensors::write_in_pieces(path, &pairs, parts, go_on)
    }

    /// Opens one, and reads all of it once; `go_on` is asked between pieces of it.
    ///
    /// # Errors
    /// That of `go_on`; [`Error::File`] for one of another kind and for one that is damaged; [`Error::Io`].
    pub fn open(&'static self, path: &Path, go_on: &dyn Fn() -> Result<()>) -> Result<Saved> {
        // What a reader of any safetensors file says does not say what to do here.
        let file = Safetensors::open_alone(path).map_err(|error| match error {
            Error::File { path, problem } => Error::file(path, self.fault(&problem)),
            other => other,
        })?;
        let saved = Saved { kind: self, file };
        if saved.text(FORMAT)? != self.format {
            let found = quoted(saved.text(FORMAT)?);
            return Err(saved.problem(&format!("its format is {found}, not '{}'", self.format)));
        }
        let pairs: Vec<(String, String)> =
            saved.file.metadata().iter().filter(|(key, _)| key != HASH).cloned().collect();
        let mut hash = hash_of_pairs(&pairs);
        let mut piece = vec![0; PIECE as usize];
        for tensor in saved.file.tensors() {
            hash.update(title(&tensor.name, tensor.dtype.name, &tensor.shape));
            for from in (0..tensor.bytes).step_by(PIECE as usize) {
                go_on()?;
                let range = from..(from + PIECE).min(tensor.bytes);
                let piece = &mut piece[..(range.end - range.start) as usize];
                saved.file.read(tensor, range, piece)?;
                hash.update(piece);
            }
        }
        if saved.text(HASH)? != hash.finish() {
            return Err(saved.problem("it is damaged: its SHA-256 is another than the one it states"));
        }
        Ok(saved)
    }
}

/// A file that is whole.
#[derive(Debug)]
pub struct Saved {
    kind: &'static Kind,
    file: Safetensors,
}

impl Saved {
    /// Where it is.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// The error that this is what is wrong with it.
    pub fn problem(&self, problem: &str) -> Error {
        Error::file(self.path(), self.kind.fault(problem))
    }

    /// What differs between what it is of and what is here, in words; nothing if all is alike.
    ///
    /// # Errors
    /// [`Error::File`] if it does not say what it is of.
    pub fn differences(&self, identity: &[(&str, String)]) -> Result<Option<String>> {
        let mut different = Vec::new();
        for (key, here) in identity {
            let there = self.text(key)?;
            if there != here {
                different.push(format!("{key} is {} in it, and {} here", quoted(there), quoted(here)));
            }
        }
        Ok((!different.is_empty()).then(|| different.join("; ")))
    }

    /// The text of a key, if it is there.
    pub fn find(&self, key: &str) -> Option<&str> {
        self.file.metadata().iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// The text of a key.
    ///
    /// # Errors
    /// [`Error::File`] if it is not there.
    pub fn text(&self, key: &str) -> Result<&str> {
        self.find(key).ok_or_else(|| self.problem(&format!("it says nothing of {key}")))
    }

    /// The value of a key.
    ///
    /// # Errors
    /// [`Error::File`] if it is not there, or no such value.
    pub fn value<T: std::str::FromStr>(&self, key: &str) -> Result<T> {
        let text = self.text(key)?;
        text.parse().map_err(|_| self.problem(&format!("its {key} is {}", quoted(text))))
    }

    /// The bytes of a tensor, little-endian.
    ///
    /// # Errors
    /// [`Error::File`] if it is not there, or of another type or shape; [`Error::Io`].
    pub fn tensor(&self, name: &str, dtype: &str, shape: &[u64]) -> Result<Vec<u8>> {
        let tensor = self.file.tensor(name)?;
        if tensor.dtype.name != dtype || tensor.shape != shape {
            let (found, lies) = (tensor.dtype.name, &tensor.shape);
            return Err(self.problem(&format!("its {name} are {found} {lies:?}, not {dtype} {shape:?}")));
        }
        let mut bytes = vec![0; tensor.bytes as usize];
        self.file.read(tensor, 0..tensor.bytes, &mut bytes)?;
        Ok(bytes)
    }
}

/// A hash that has seen these pairs, in any order.
fn hash_of_pairs(pairs: &[(String, String)]) -> Hasher {
    let mut lines: Vec<String> = pairs.iter().map(|(key, value)| format!("{key:?}: {value:?}\n")).collect();
    lines.sort_unstable();
    let mut hash = Hasher::default();
    lines.into_iter().for_each(|line| hash.update(line));
    hash
}

fn title(name: &str, dtype: &str, shape: &[u64]) -> String {
    format!("{name:?} {dtype} {shape:?}\n")
}
