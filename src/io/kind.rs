//! What a file is by its first bytes, so that nothing is taken for what it is not.

use std::ffi::OsStr;
use std::io::Read;
use std::path::Path;

use super::safetensors::begins_safetensors;
use crate::{Error, Result};

/// What is looked at.
const PEEK: u64 = 1 << 16;

/// Fewer bytes of text than this, without the end of a line, may as well be values.
const LEAST_TEXT: usize = 16;

/// A kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One array of numpy's.
    Npy,
    /// A zip archive, such as numpy's `.npz`.
    Zip,
    /// Tensors of ggml's.
    Gguf,
    /// Tensors of Hugging Face's.
    Safetensors,
    /// UTF-8 text, such as a table.
    Text,
    /// A table of Apache Parquet's.
    Parquet,
    /// Arrays of HDF5's.
    Hdf5,
    /// A format that is not read, by its name.
    Foreign(&'static str),
    /// Nothing that is known.
    Unknown,
}

/// How files of formats begin that are not read where numbers are: at a place, with these bytes.
const FOREIGN: [(usize, &[u8], &str); 24] = [
    (0, b"\x1f\x8b\x08", "compressed by gzip"),
    (0, b"BZh", "compressed by bzip2"),
    (0, b"\xfd7zXZ\0", "compressed by xz"),
    (0, b"\x28\xb5\x2f\xfd", "compressed by zstd"),
    (0, b"\x04\x22\x4d\x18", "compressed by lz4"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (0, b"Rar!\x1a\x07", "a RAR archive"),
    (257, b"ustar", "a tar archive"),
    (0, b"ARROW1", "an Arrow file"),
    (0, b"FEA1", "a Feather file"),
    (0, b"Obj\x01", "an Avro file"),
    (0, b"CDF\x01", "a NetCDF file"),
    (0, b"CDF\x02", "a NetCDF file"),
    (0, b"MATLAB 5.0 MAT-file", "a MATLAB file"),
    (0, b"SQLite format 3\0", "an SQLite database"),
    (0, b"\x89PNG\r\n\x1a\n", "a PNG picture"),
    (0, b"\xff\xd8\xff", "a JPEG picture"),
    (0, b"GIF8", "a GIF picture"),
    (8, b"WEBP", "a WebP picture"),
    (8, b"WAVE", "a WAV recording"),
    (0, b"%PDF-", "a PDF document"),
    (0, b"\x7fELF", "a program"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Excel or other Office file"),
    (0, b"ggml", "a model of an old ggml format"),
];

/// The ending of a name, and what a file of that name has to be.
const ENDINGS: [(&str, &str); 28] = [
    ("npy", "a .npy array"),
    ("npz", "a .npz archive"),
    ("zip", "a zip archive"),
    ("csv", "a table of text"),
    ("tsv", "a table of text"),
    ("txt", "text"),
    ("json", "JSON text"),
    ("jsonl", "JSON text"),
    ("xml", "XML text"),
    ("gguf", "a GGUF file"),
    ("safetensors", "a safetensors file"),
    ("onnx", "an ONNX model"),
    ("gz", "compressed by gzip"),
    ("bz2", "compressed by bzip2"),
    ("xz", "compressed by xz"),
    ("zst", "compressed by zstd"),
    ("tar", "a tar archive"),
    ("h5", "an HDF5 file"),
    ("hdf5", "an HDF5 file"),
    ("mat", "a MATLAB file"),
    ("parquet", "a Parquet file"),
    ("feather", "a Feather file"),
    ("xlsx", "an Excel file"),
    ("pkl", "a Python pickle"),
    ("pt", "a PyTorch file"),
    ("pth", "a PyTorch file"),
    ("png", "a PNG picture"),
    ("jpg", "a JPEG picture"),
];

impl Kind {
    /// What a file is by its content.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read, [`Error::File`] if it is empty or no regular file.
    pub fn of(path: &Path) -> Result<Self> {
        let (file, size) = super::open(path)?;
        let mut begin = Vec::new();
        file.take(PEEK).read_to_end(&mut begin).map_err(|e| Error::io(path, e))?;
        let (kind, more) = (Self::sniff(&begin, size > PEEK), size > PEEK);
        // A table of a few bytes may as well be values, but for its name.
        let table = Self::promised(path).is_some_and(|name| name.ends_with("text"));
        Ok(if kind == Self::Unknown && table && is_text(&begin, more, 1) { Self::Text } else { kind })
    }

    /// What begins so; `more` if more follows.
    pub fn sniff(begin: &[u8], more: bool) -> Self {
        let has = |at: usize, magic: &[u8]| begin.get(at..).is_some_and(|begin| begin.starts_with(magic));
        if has(0, super::npy::MAGIC) {
            return Self::Npy;
        }
        if [b"PK\x03\x04", b"PK\x05\x06"].iter().any(|magic| has(0, *magic)) {
            return Self::Zip;
        }
        if has(0, b"GGUF") {
            return Self::Gguf;
        }
        if has(0, b"PAR1") {
            return Self::Parquet;
        }
        // Behind a block of the user's own it is not searched for.
        if has(0, b"\x89HDF\r\n\x1a\n") {
            return Self::Hdf5;
        }
        if begins_safetensors(begin) {
            return Self::Safetensors;
        }
        if let Some((.., name)) = FOREIGN.iter().find(|&&(at, magic, _)| has(at, magic)) {
            return Self::Foreign(name);
        }
        // Python's pickle: its version, then a frame, a list, a dictionary, or a name of what is to be called.
        if let [0x80, 2..=5, 0x95 | b']' | b'}' | b'(' | b'c', ..] = begin {
            return Self::Foreign("a Python pickle");
        }
        if is_wide_text(begin) {
            return Self::Foreign("text in UTF-16");
        }
        if !is_text(begin, more, LEAST_TEXT) {
            return Self::Unknown;
        }
        // Names of columns may stand in brackets of any kind.
        match begin.trim_ascii_start() {
            [b'{', ..] => Self::Foreign("JSON text"),
            [b'[', rest @ ..] => match rest.trim_ascii_start().first() {
                Some(b'[' | b'{' | b'"' | b'-' | b'0'..=b'9') => Self::Foreign("JSON text"),
                _ => Self::Text,
            },
            [b'<', b'?' | b'!', ..] => Self::Foreign("XML or HTML text"),
            _ => Self::Text,
        }
    }

    /// In words, with an article; none if unknown.
    pub fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::Npy => "a .npy file",
            Self::Zip => "a zip archive, as .npz files are",
            Self::Gguf => "a GGUF file",
            Self::Safetensors => "a safetensors file",
            Self::Text => "text",
            Self::Parquet => "a Parquet file",
            Self::Hdf5 => "an HDF5 file",
            Self::Foreign(name) => name,
            Self::Unknown => return None,
        })
    }

    /// What a file has to be that is called so; none for names that say nothing, or that raw values may have.
    pub fn promised(path: &Path) -> Option<&'static str> {
        let extension = path.extension().and_then(OsStr::to_str)?.to_ascii_lowercase();
        ENDINGS.iter().find(|(ending, _)| *ending == extension).map(|(_, name)| *name)
    }
}

/// Whether bytes are UTF-8 without control characters but white space: at least so many, or with the end of a line.
fn is_text(begin: &[u8], more: bool, least: usize) -> bool {
    let text = match str::from_utf8(begin) {
        Ok(text) => text,
        // A character may be cut in two at the end of what is looked at.
        Err(error) if more && error.error_len().is_none() => {
            str::from_utf8(&begin[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    let control = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\x0c');
    (text.len() >= least || text.contains('\n')) && !text.contains(control)
}

/// Whether bytes are UTF-16 of mostly Latin text, with its mark.
fn is_wide_text(begin: &[u8]) -> bool {
    // The upper bytes of characters.
    let (upper, length) = match begin {
        [0xff, 0xfe, text @ ..] => (text.get(1..).unwrap_or_default(), text.len()),
        [0xfe, 0xff, text @ ..] => (text, text.len()),
        _ => return false,
    };
    length >= 4 && upper.iter().step_by(2).take(16).all(|&byte| byte == 0)
}
