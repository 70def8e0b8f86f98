//! Files in, files out; never a GPU type.
//!
//! Readers trust nothing: what a header promises is held against the size of the file before anything is
//! allocated, and whatever does not fit is an [`Error`] that names it. Writers leave a whole
//! file or none.

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::{Error, Result};

pub mod arrays;
pub(crate) mod csv;
pub mod gguf;
pub(crate) mod hash;
#[cfg(feature = "hdf5")]
mod hdf5;
pub(crate) mod kind;
pub(crate) mod labels;
pub mod npy;
mod number;
pub(crate) mod onnx;
pub(crate) mod output;
#[cfg(feature = "parquet")]
mod parquet;
mod parts;
#[cfg(feature = "cli")]
pub(crate) mod picture;
pub mod safetensors;
pub(crate) mod saved;
pub(crate) mod stream;
pub(crate) mod table;
pub mod vecs;

/// The most key-value pairs of metadata. Models have about 50.
const MAX_PAIRS: u64 = 1 << 16;

/// The most tensors. The largest models have about 100,000 when every expert is one of its own.
const MAX_TENSORS: u64 = 1 << 20;

/// The longest key in bytes; GGUF's own limit.
const MAX_KEY: u64 = 0xffff;

/// The longest name of a tensor in bytes. llama.cpp takes 63, its relatives some more.
const MAX_NAME: u64 = 1024;

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

/// The file that a path is of, and the name of what is wanted of it: a member of a `.npz` archive, a dataset of an HDF5 file or a column of a table,
/// behind a colon, as in `data.npz:points`. A file that is called like the whole comes first.
pub fn split_part(path: &Path) -> (PathBuf, Option<String>) {
    let whole = || (path.to_owned(), None);
    let Some(text) = path.to_str().filter(|_| !path.exists()) else { return whole() };
    let lower = text.to_ascii_lowercase();
    let ends = [".csv:", ".tsv:", ".txt:", ".npz:", ".parquet:", ".h5:", ".hdf5:"];
    let end = ends.iter().filter_map(|end| Some(lower.rfind(end)? + end.len() - 1)).max();
    let parts = end.and_then(|end| {
        let (file, name) = text.split_at_checked(end)?;
        Some((file.into(), Some(name.strip_prefix(':')?.to_owned())))
    });
    parts.unwrap_or_else(whole)
}

/// A file that is read by position, from any thread.
// Not mapped into memory: that would need unsafe code, and a file that shrinks while it is read would end the process
// with SIGBUS, where here it is an error.
#[derive(Debug)]
struct Positioned {
    path: PathBuf,
    file: File,
    /// Elsewhere than on Unix, reading at a position is two steps.
    #[cfg(not(unix))]
    turn: std::sync::Mutex<()>,
}

impl Positioned {
    fn new(path: &Path, file: File) -> Self {
        Self {
            path: path.to_owned(),
            file,
            #[cfg(not(unix))]
            turn: std::sync::Mutex::default(),
        }
    }

    #[cfg(unix)]
    fn read_exact(&self, at: u64, out: &mut [u8]) -> std::io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.file, out, at)
    }

    #[cfg(not(unix))]
    fn read_exact(&self, at: u64, out: &mut [u8]) -> std::io::Result<()> {
        use std::io::{Read, Seek, SeekFrom};
        // The lock guards a position that every reader sets anew, so a panic of another one spoils nothing.
        let _turn = self.turn.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        (&self.file).seek(SeekFrom::Start(at))?;
        (&self.file).read_exact(out)
    }

    /// Reads values of `width` bytes; `swap` turns the bytes of each around.
    fn read_values(&self, at: u64, width: usize, swap: bool, out: &mut [u8]) -> Result<()> {
        self.read_exact(at, out).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => Error::file(&self.path, "the file has become shorter"),
            _ => Error::io(&self.path, error),
        })?;
        if swap {
            swap_bytes(width, out);
        }
        Ok(())
    }

    /// Reads a part of the tensor `name`, whose data has `bytes` bytes from `offset` on: `range` is in bytes from the
    /// data's beginning, and as long as `out`.
    fn read(&self, name: &str, offset: u64, bytes: u64, range: Range<u64>, out: &mut [u8]) -> Result<()> {
        let Range { start, end } = range;
        let name = || quoted(name);
        if start > end || end > bytes {
            return Err(Error::Input(format!(
                "tensor {}: the bytes {start}..{end} are not within its {bytes}",
                name()
            )));
        }
        if end - start != out.len() as u64 {
            return Err(Error::Shape(format!(
                "tensor {}: the bytes {start}..{end} do not fit into {}",
                name(),
                out.len()
            )));
        }
        // A tensor of another file may lie anywhere.
        let at = offset.saturating_add(start);
        self.read_exact(at, out).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => {
                Error::file(&self.path, format!("tensor {}: the file has become shorter", name()))
            }
            _ => Error::io(&self.path, error),
        })
    }
}

/// Turns the bytes of each value of `width` bytes around.
fn swap_bytes(width: usize, values: &mut [u8]) {
    match width {
        2 => values.as_chunks_mut::<2>().0.iter_mut().for_each(|value| value.reverse()),
        4 => values.as_chunks_mut::<4>().0.iter_mut().for_each(|value| value.reverse()),
        _ => values.chunks_exact_mut(width).for_each(<[u8]>::reverse),
    }
}

/// The indices of `items` in the order of their names, and an item whose name another one has too.
fn sorted_by_name<T>(items: &[T], name: impl Fn(&T) -> &str) -> (Vec<usize>, Option<&T>) {
    let name = |index: &usize| items.get(*index).map(&name);
    let mut order: Vec<usize> = (0..items.len()).collect();
    order.sort_by_key(name);
    let twice = order.windows(2).find_map(|pair| match pair {
        [a, b] if name(a) == name(b) => items.get(*b),
        _ => None,
    });
    (order, twice)
}

/// The tensor that is called `wanted`, of those that `by_name` has in the order of their names, or an error with up to
/// three names that are near.
fn find<'t, T>(
    path: &Path,
    tensors: &'t [T],
    by_name: &[usize],
    wanted: &str,
    name: impl Fn(&T) -> &str,
) -> Result<&'t T> {
    let of = |&index: &usize| tensors.get(index);
    let found = by_name.binary_search_by(|index| of(index).map(&name).cmp(&Some(wanted)));
    if let Some(tensor) = found.ok().and_then(|at| by_name.get(at)).and_then(of) {
        return Ok(tensor);
    }
    let near: Vec<_> = near(wanted, tensors.iter().map(name)).into_iter().map(quoted).collect();
    let hint = match near.as_slice() {
        [] => format!("`lowbit inspect` lists all {}", tensors.len()),
        near => format!("near it are {}", near.join(", ")),
    };
    Err(Error::file(path, format!("no tensor is called {}; {hint}", quoted(wanted))))
}

/// Up to three of `names` that could have been meant, the nearest first: those that differ by few letters, or that
/// `wanted` is a part of.
fn near<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let lower = |text: &str| text.to_ascii_lowercase().into_bytes();
    let (key, wanted) = (wanted.to_ascii_lowercase(), lower(wanted));
    let most = (wanted.len() / 3).max(2);
    let mut found: Vec<(usize, &str)> = names
        .filter_map(|name| {
            let distance = if !key.is_empty() && name.to_ascii_lowercase().contains(&key) {
                name.len() - key.len()
            } else if name.len().abs_diff(wanted.len()) > most {
                return None;
            } else {
                Some(edit_distance(&wanted, &lower(name))).filter(|&distance| distance <= most)?
            };
            Some((distance, name))
        })
        .collect();
    found.sort();
    found.into_iter().take(3).map(|(_, name)| name).collect()
}

/// The least number of letters to insert, remove or replace (Levenshtein's distance).
fn edit_distance(a: &[u8], b: &[u8]) -> usize {
    // The distances of what has been seen of `a` to each beginning of `b`.
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut left = i + 1;
        let mut diagonal = i;
        for (above, y) in row.iter_mut().skip(1).zip(b) {
            let here = (diagonal + usize::from(x != y)).min(left + 1).min(*above + 1);
            diagonal = std::mem::replace(above, here);
            left = here;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

/// What is wrong with a key or a tensor's name.
fn check_name(name: &str, what: &str, limit: u64) -> std::result::Result<(), String> {
    match name.len() as u64 {
        0 => Err(format!("{what} is empty")),
        length if length > limit => Err(format!("{what} has {length} bytes; {limit} can be")),
        _ => Ok(()),
    }
}

/// What a crate says of a file, of which it may have parts: fit for a terminal, and not too long.
#[cfg(any(feature = "hdf5", feature = "parquet"))]
fn printable(text: &str) -> String {
    const LONGEST: usize = 200;
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect()
}

/// A name from a file, fit for a terminal: quoted, no control characters, not too long.
pub(crate) fn quoted(name: &str) -> String {
    const LONGEST: usize = 64;
    let text: String = name.chars().flat_map(char::escape_debug).take(LONGEST + 1).collect();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("'{}…'", text.get(..end).unwrap_or("")),
        None => format!("'{text}'"),
    }
}
