//! Files in, files out; never a GPU type.
//!
//! Readers trust nothing: what a header promises is held against the size of the file before anything is
//! allocated, and whatever does not fit is an [`Error`] that names it. Writers leave a whole
//! file or none.

use std::fs::File;
use std::path::Path;

use crate::{Error, Result};

pub mod gguf;
pub mod npy;
pub mod output;
pub mod picture;

/// Opens a regular file that is not empty, and gives its size in bytes.
pub(crate) fn open(path: &Path) -> Result<(File, u64)> {
    // Before opening, because opening a named pipe waits for a writer.
    let found = std::fs::metadata(path).map_err(|e| Error::io(path, e))?;
    if found.is_dir() {
        return Err(Error::file(path, "this is a folder, not a file"));
    }
    if !found.is_file() {
        return Err(Error::file(path, "this is not a regular file"));
    }
    let file = File::open(path).map_err(|e| Error::io(path, e))?;
    let size = file.metadata().map_err(|e| Error::io(path, e))?.len();
    if size == 0 {
        return Err(Error::file(path, "the file is empty"));
    }
    Ok((file, size))
}
