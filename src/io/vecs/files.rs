//! Which files a path stands for.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::part::{READ, WITH_LENGTHS};
use crate::io::split_part;
use crate::{Error, Result};

/// Endings of names of files that a folder is searched for.
fn endings() -> impl Iterator<Item = &'static str> {
    READ.into_iter().chain(WITH_LENGTHS.map(|(ending, _)| ending))
}

/// The files of points that a path stands for: itself, those of a folder, or those of a pattern (`shards/*.parquet`, with `*`, `**`,
/// `?` and `[...]`, also with a column behind it), each once, in the order of their names. Files of a folder whose name is none of points
/// do not count, unless all of them are `raw`; nor do files and folders that are found by a wildcard and whose names begin with a dot or an
/// underscore, unless the pattern has such a beginning.
///
/// # Errors
/// [`Error::Io`] if a folder or a link cannot be read, [`Error::File`] if there is no such file, or for a pattern that is none.
pub fn files_of(path: &Path, raw: bool) -> Result<Vec<PathBuf>> {
    if path.is_dir() {
        let io = |reason| Error::io(path, reason);
        let entries = std::fs::read_dir(path).map_err(io)?;
        let all = entries.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<_>>();
        let all: Vec<PathBuf> = all.map_err(io)?;
        let files =
            all.into_iter().filter(|file| (raw || has_ending(file)) && !hidden_below(file, path)).collect();
        let files = sorted(files)?;
        if files.is_empty() {
            return Err(Error::file(
                path,
                format!(
                    "no file of this folder has points: none is a .{}",
                    endings().collect::<Vec<_>>().join(", .")
                ),
            ));
        }
        return Ok(files);
    }
    let (pattern, column) = split_part(path);
    let Some(text) = pattern.to_str().filter(|text| text.contains(['*', '?', '[']) && !pattern.exists())
    else {
        return Ok(vec![path.to_owned()]);
    };
    let found = glob::glob(text)
        .map_err(|error| Error::file(path, format!("this is no pattern of names: {error}")))?;
    let all = found.collect::<std::result::Result<Vec<_>, _>>();
    let all = all.map_err(|error| {
        let path = error.path().to_owned();
        Error::io(path, error.into())
    })?;
    let parts = Path::new(text).components();
    let fixed: PathBuf = parts.take_while(|part| !is_pattern(part.as_os_str())).collect();
    let wanted = hidden_below(Path::new(text), &fixed);
    let files = all.into_iter().filter(|file| wanted || !hidden_below(file, &fixed)).collect();
    let files = sorted(files)?;
    if files.is_empty() {
        return Err(Error::file(path, "there is no such file, and no file whose name fits this pattern"));
    }
    let named = |file: PathBuf| match &column {
        Some(column) => {
            let mut name = file.into_os_string();
            name.push(":");
            name.push(column);
            name.into()
        }
        None => file,
    };
    Ok(files.into_iter().map(named).collect())
}

/// Each file once, also where several links lead to it.
fn sorted(files: Vec<PathBuf>) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for file in files {
        let place = file.canonicalize().map_err(|reason| Error::io(&file, reason))?;
        if place.is_file() {
            found.push((place, file));
        }
    }
    found.sort();
    found.dedup_by(|a, b| a.0 == b.0);
    let mut files: Vec<PathBuf> = found.into_iter().map(|(_, file)| file).collect();
    files.sort();
    Ok(files)
}

fn is_pattern(part: &OsStr) -> bool {
    part.to_str().is_some_and(|part| part.contains(['*', '?', '[']))
}

/// Whether one of the names behind `above` begins as those do that are not meant.
fn hidden_below(file: &Path, above: &Path) -> bool {
    let names = file.strip_prefix(above).unwrap_or(file).components();
    names.into_iter().any(|name| {
        name.as_os_str().as_encoded_bytes().starts_with(b".")
            || name.as_os_str().as_encoded_bytes().starts_with(b"_")
    })
}

fn has_ending(file: &Path) -> bool {
    let ending = file.extension().and_then(OsStr::to_str).unwrap_or_default().to_ascii_lowercase();
    endings().any(|known| known == ending)
}
