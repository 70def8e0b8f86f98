//! Which files a path stands for.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::super::split_part;
use crate::{Error, Result};

/// Endings of names of files that a folder is searched for.
const ENDINGS: [&str; 12] =
    ["npy", "npz", "csv", "tsv", "txt", "parquet", "h5", "hdf5", "safetensors", "fvecs", "bvecs", "ivecs"];

/// The files of points that a path stands for: itself, those of a folder, or those of a pattern (`shards/*.parquet`, with `*`, `**`,
/// `?` and `[...]`, also with a column behind it), in the order of their names. Files of a folder whose name is none of points do not
/// count, unless all of them are `raw`; nor do those whose names begin with a dot or an underscore.
///
/// # Errors
/// [`Error::Io`] if a folder cannot be read, [`Error::File`] if there is no such file, or for a pattern that is none.
pub fn files_of(path: &Path, raw: bool) -> Result<Vec<PathBuf>> {
    if path.is_dir() {
        let io = |reason| Error::io(path, reason);
        let entries = std::fs::read_dir(path).map_err(io)?;
        let all = entries.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<_>>();
        let files = sorted(all.map_err(io)?, |file| raw || has_ending(file));
        if files.is_empty() {
            return Err(Error::file(
                path,
                format!("no file of this folder has points: none is a .{}", ENDINGS.join(", .")),
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
    let files = sorted(all, |_| true);
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

fn sorted(mut files: Vec<PathBuf>, wanted: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
    let hidden = |file: &Path| {
        let name = file.file_name().unwrap_or_default().as_encoded_bytes();
        name.starts_with(b".") || name.starts_with(b"_")
    };
    files.retain(|file| file.is_file() && !hidden(file) && wanted(file));
    files.sort();
    files
}

fn has_ending(file: &Path) -> bool {
    let ending = file.extension().and_then(OsStr::to_str).unwrap_or_default().to_ascii_lowercase();
    ENDINGS.contains(&ending.as_str())
}
