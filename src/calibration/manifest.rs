//! What a calibration cache was made of: JSON beside it.

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::cache::read_text;
use super::{Method, Range};
use crate::io::quoted;
use crate::{Error, Result, io};

/// The largest manifest that is read.
const MOST_BYTES: u64 = 256 << 20;

/// What a calibration cache was made of, and the table of its ranges.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of lowbit that wrote it.
    pub lowbit: String,
    /// What chose the thresholds.
    pub method: Method,
    /// The model.
    pub model: Model,
    /// The calibration data.
    pub data: Data,
    /// Each tensor.
    pub ranges: Vec<Range>,
}

/// A model's file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Model {
    /// Its name without its folder.
    pub file: String,
    /// Its hash, which covers its external data: 64 hexadecimal digits.
    pub sha256: String,
}

impl Model {
    /// The file at `path`, with this hash.
    pub fn of(path: &Path, sha256: &str) -> Self {
        let file = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        Self { file, sha256: sha256.to_owned() }
    }
}

/// Calibration data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Data {
    /// The file's hash: 64 hexadecimal digits.
    pub sha256: String,
    /// How many rows were used.
    pub rows: u64,
    /// The names of its columns in the model's order, where it is a table that has names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<Vec<String>>,
}

impl Data {
    /// Of the file at `path`, which is read for its hash.
    ///
    /// # Errors
    /// Those of [`io::hash::sha256_file`].
    pub fn of(path: &Path, rows: u64, features: Option<Vec<String>>) -> Result<Self> {
        Ok(Self { sha256: io::hash::sha256_file(path)?, rows, features })
    }
}

/// The manifest of the cache at `cache`: the same with `.json` behind it.
pub fn manifest_path(cache: &Path) -> PathBuf {
    let mut name = OsString::from(cache);
    name.push(".json");
    name.into()
}

impl Manifest {
    /// A manifest by this version.
    pub fn new(method: Method, model: Model, data: Data, ranges: Vec<Range>) -> Self {
        Self { lowbit: env!("CARGO_PKG_VERSION").into(), method, model, data, ranges }
    }

    /// Reads the manifest beside the cache at `cache`; none if there is no such file.
    ///
    /// # Errors
    /// Those of [`Manifest::read`].
    pub fn beside(cache: &Path) -> Result<Option<Self>> {
        let path = manifest_path(cache);
        match std::fs::metadata(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            _ => Self::read(&path).map(Some),
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::File`] for what is no manifest.
    pub fn read(path: &Path) -> Result<Self> {
        let made: Self = serde_json::from_str(&read_text(path, MOST_BYTES)?).map_err(|error| {
            Error::file(path, format!("this is no calibration manifest: {}", plain(&error)))
        })?;
        made.check().map_err(|problem| Error::file(path, problem))?;
        Ok(made)
    }

    /// Writes a file, whole or not at all.
    ///
    /// # Errors
    /// Those of [`io::output::write_whole`].
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| Error::file(path, format!("the manifest cannot be written: {error}")))?;
        io::output::write_whole(path, |out| writeln!(out, "{text}"))
    }

    /// What is wrong with it.
    fn check(&self) -> std::result::Result<(), String> {
        for (what, hash) in [("model", &self.model.sha256), ("data", &self.data.sha256)] {
            if hash.len() != 64 || !hash.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(format!(
                    "the SHA-256 of the {what} is {}; 64 hexadecimal digits are expected",
                    quoted(hash)
                ));
            }
        }
        let mut names = HashSet::new();
        for range in &self.ranges {
            let fault = |problem: &str| Err(format!("tensor {} {problem}", quoted(&range.name)));
            if !names.insert(&range.name) {
                return fault("comes twice");
            }
            // A number too large for f32 is read as an infinite one.
            let numbers = [range.min, range.max, range.amax, range.threshold, range.scale];
            if !numbers.iter().all(|number| number.is_finite()) || range.scale < 0.0 {
                return fault("has a number that is not finite, or a negative scale");
            }
        }
        Ok(())
    }
}

/// An error's message fit for a terminal: it may quote the file.
fn plain(error: &serde_json::Error) -> String {
    let text: String = error.to_string().chars().flat_map(char::escape_debug).take(200).collect();
    text.replace("\\\"", "\"").replace("\\'", "'")
}
