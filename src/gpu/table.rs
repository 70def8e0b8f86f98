//! A user's own table of variants: where it lies, and how it is read and written.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::dispatch::Row;
use super::source::FILES;
use crate::{Error, Result, io};

/// The path of the table to use, or `off` for none; otherwise the one in the user's cache folder counts, if it is there.
pub const VARIABLE: &str = "LOWBIT_TUNE";

/// What a file holds.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    /// A fingerprint of the shaders that were measured: a change to any makes all answers stale.
    shaders: String,
    rows: Vec<Row>,
}

static SHADERS: LazyLock<String> = LazyLock::new(|| {
    let mut hasher = io::hash::Hasher::default();
    for part in FILES.iter().flat_map(|(name, text)| [name, "\0", text, "\0"]) {
        hasher.update(part);
    }
    hasher.finish()[..16].to_owned()
});

/// A fingerprint of all shaders.
pub(super) fn shaders() -> &'static str {
    &SHADERS
}

/// The rows of the table that the environment names or the cache folder holds, and what is to be said of it. None are none.
///
/// # Errors
/// [`Error::File`] and [`Error::Io`] for one that is named and cannot be read; in the cache folder that costs a notice.
pub(super) fn load() -> Result<(Vec<Row>, Option<String>)> {
    let named = std::env::var_os(VARIABLE).filter(|value| !value.is_empty());
    if named.as_ref().is_some_and(|value| value == "off") {
        return Ok((Vec::new(), None));
    }
    let path = named.as_ref().map(PathBuf::from).or_else(cache_file);
    let Some(path) = path else { return Ok((Vec::new(), None)) };
    match read(&path) {
        Ok(Some(rows)) => Ok((rows, None)),
        Ok(None) => {
            let notice = "its variants were measured with other shaders, and are not used";
            Ok((Vec::new(), Some(format!("{}: {notice}", path.display()))))
        }
        Err(error) if named.is_some() => Err(error),
        Err(Error::Io { reason, .. }) if reason.kind() == ErrorKind::NotFound => Ok((Vec::new(), None)),
        Err(error) => Ok((Vec::new(), Some(format!("it is not used: {error}")))),
    }
}

/// The rows of the table at `path`; none of one that was made with other shaders.
///
/// # Errors
/// [`Error::Io`]; [`Error::File`] for what is no table.
pub fn read(path: &Path) -> Result<Option<Vec<Row>>> {
    let text = std::fs::read_to_string(path).map_err(|error| Error::io(path, error))?;
    let table: Table = serde_json::from_str(&text)
        .map_err(|error| Error::file(path, format!("it is no table of variants: {error}")))?;
    Ok((table.shaders == *SHADERS).then_some(table.rows))
}

/// Writes a table, and the folder for it.
///
/// # Errors
/// [`Error::Io`].
pub fn write(path: &Path, rows: &[Row]) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| Error::io(folder, error))?;
    }
    let table = Table { shaders: SHADERS.clone(), rows: rows.to_vec() };
    io::output::write_whole(path, |out| {
        serde_json::to_writer_pretty(out, &table).map_err(std::io::Error::from)
    })
}

/// The folder for what can be made again; none where the environment says of none.
pub fn cache_folder() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = variable("XDG_CACHE_HOME")
        .or_else(|| variable("LOCALAPPDATA"))
        .or_else(|| variable("HOME").map(|home| home.join(".cache")))?;
    Some(folder.join("lowbit"))
}

/// Where the table lies that counts if none is named.
pub fn cache_file() -> Option<PathBuf> {
    Some(cache_folder()?.join("variants.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_survives_and_one_of_other_shaders_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new").join("variants.json");
        let row = Row {
            on: "gpu".into(),
            kernel: "x/a".into(),
            of: vec!["Q4_0".into()],
            sizes: [("n".to_owned(), 4)].into(),
            variant: "a ROWS=2".into(),
        };
        write(&path, std::slice::from_ref(&row)).unwrap();
        assert_eq!(read(&path).unwrap(), Some(vec![row]));
        let text = std::fs::read_to_string(&path).unwrap().replace(SHADERS.as_str(), "0123456789abcdef");
        std::fs::write(&path, text).unwrap();
        assert_eq!(read(&path).unwrap(), None);
        std::fs::write(&path, "{\"kernel\": 3}").unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("no table of variants"));
    }
}
