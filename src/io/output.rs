//! Output files that are whole or not there at all.

use std::fs::{self, File, Permissions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tempfile::NamedTempFile;

use crate::{Error, Result};

/// Writes a file: the new contents appear under `path` all at once, when they are complete and on the disk.
///
/// Until then they are in a hidden file of the same folder, which is removed if anything fails; an older file
/// at `path` stays as it was. A new file gets the permissions that [`File::create`] would give it, an older
/// one keeps its own, and a link keeps pointing at the file it names. A device or a pipe, such as
/// `/dev/stdout`, is written directly.
///
/// # Errors
/// Those of [`check_writable`]; [`Error::Io`] if `write` or the disk fails.
pub fn write_whole(path: &Path, write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<()> {
    let io = |e| Error::io(path, e);
    let (target, folder, permissions) = match Place::of(path)? {
        Place::File { target, folder, permissions } => (target, folder, permissions),
        Place::Stream => {
            let mut out = BufWriter::new(File::options().write(true).open(path).map_err(io)?);
            return write(&mut out).and_then(|()| out.flush()).map_err(io);
        }
    };
    let temporary = create_temporary(path, &folder)?;
    let _unfinished = Unfinished::of(&temporary);
    if let Some(permissions) = permissions {
        temporary.as_file().set_permissions(permissions).map_err(io)?;
    }
    // The file itself: errors of its wrapper name the hidden file.
    let mut out = BufWriter::new(temporary.as_file());
    write(&mut out).and_then(|()| out.flush()).map_err(io)?;
    drop(out);
    temporary.as_file().sync_all().map_err(io)?;
    temporary.persist(target).map_err(|e| io(e.error))?;
    Ok(())
}

/// Hidden files whose contents are not whole.
static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Removes the hidden files of outputs that are not whole, in a process that is about to end.
pub fn remove_unfinished() {
    for path in UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
        // It may be whole by now, and have its name.
        let _ = fs::remove_file(path);
    }
}

/// A hidden file is on the list as long as this lives.
struct Unfinished(PathBuf);

impl Unfinished {
    fn of(file: &NamedTempFile) -> Self {
        let path = file.path().to_owned();
        UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner).push(path.clone());
        Self(path)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner).retain(|path| *path != self.0);
    }
}

/// Finds out whether [`write_whole`] could write `path`, and changes nothing: for before long work.
///
/// # Errors
/// [`Error::File`] if `path` is a folder, a read-only file or in a folder that does not exist;
/// [`Error::Io`] if no file can be created in its folder.
pub fn check_writable(path: &Path) -> Result<()> {
    match Place::of(path)? {
        Place::Stream => Ok(()),
        Place::File { folder, .. } => create_temporary(path, &folder).map(drop),
    }
}

/// Refuses a path whose name does not end in `.ending`, as what is written there does; a device or a pipe has no ending.
///
/// # Errors
/// [`Error::File`], which says `what` is written.
pub fn check_ending(path: &Path, ending: &str, what: &str) -> Result<()> {
    let ends = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(ending));
    if ends || (path.exists() && !path.is_file()) {
        return Ok(());
    }
    Err(Error::file(path, format!("{what}: give a name that ends in .{ending}")))
}

/// Where an output goes.
enum Place {
    /// A device or a pipe: renaming a file over it would destroy it.
    Stream,
    /// A file, new or old.
    File {
        /// Its path; if the given one is a link, that of the file behind the link.
        target: PathBuf,
        /// Its folder.
        folder: PathBuf,
        /// Those of the old file, if there is one.
        permissions: Option<Permissions>,
    },
}

impl Place {
    fn of(path: &Path) -> Result<Self> {
        let is_folder = || Error::file(path, "this is a folder; give the name of a file to write");
        // A `Path` forgets a trailing slash, but the final rename would not.
        let last = path.as_os_str().as_encoded_bytes().last();
        if last.is_some_and(|&c| std::path::is_separator(char::from(c))) {
            return Err(is_folder());
        }
        let (target, permissions) = match fs::metadata(path) {
            Ok(old) if old.is_dir() => return Err(is_folder()),
            Ok(old) if !old.is_file() => return Ok(Self::Stream),
            // A rename needs no permission from the file that it replaces, so ask here.
            Ok(old) if old.permissions().readonly() => {
                return Err(Error::file(path, "this file exists and is read-only"));
            }
            Ok(old) => {
                let target = fs::canonicalize(path).map_err(|e| Error::io(path, e))?;
                (target, Some(old.permissions()))
            }
            // Any other reason than a missing file shows again when the temporary file is created.
            Err(_) => (path.to_owned(), None),
        };
        let folder = match target.parent() {
            Some(folder) if target.file_name().is_some() => folder,
            _ => return Err(Error::file(path, "this is not the name of a file")),
        };
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder }.to_owned();
        match fs::metadata(&folder) {
            Ok(found) if found.is_dir() => Ok(Self::File { target, folder, permissions }),
            Ok(_) => Err(Error::file(path, format!("{} is not a folder", folder.display()))),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                Err(Error::file(path, format!("the folder {} does not exist", folder.display())))
            }
            Err(e) => Err(Error::io(path, e)),
        }
    }
}

/// Creates the file that becomes `path`. It is removed when it is dropped.
fn create_temporary(path: &Path, folder: &Path) -> Result<NamedTempFile> {
    // `File::create_new`, for the ordinary permissions; tempfile's own files are only for their owner.
    tempfile::Builder::new()
        .prefix(".lowbit-")
        .make_in(folder, |name| File::create_new(name))
        .map_err(|e| Error::io(path, e))
}
