//! SHA-256: which file this is.

use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// The SHA-256 of `bytes`, as 64 hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    hex(Sha256::digest(bytes).as_slice())
}

/// The SHA-256 of what comes piece by piece.
#[derive(Clone, Debug, Default)]
pub struct Hasher(Sha256);

impl Hasher {
    /// The next piece.
    pub fn update(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.update(bytes);
    }

    /// That of all pieces, as 64 hexadecimal digits.
    pub fn finish(self) -> String {
        hex(self.0.finalize().as_slice())
    }
}

/// The SHA-256 of a file, read piece by piece; with the name of a part (see [`super::split_part`]), of the file and then a colon
/// and that name.
///
/// # Errors
/// [`Error::Io`]; [`Error::File`] for what is not a regular file, or is empty.
pub fn sha256_file(path: &Path) -> Result<String> {
    let (archive, part) = super::split_part(path);
    let (mut file, _) = super::open(&archive)?;
    let mut hash = Hasher::default();
    let mut piece = vec![0; 1 << 20];
    loop {
        match file.read(&mut piece) {
            Ok(0) => {
                part.iter().for_each(|part| hash.update(format!(":{part}")));
                return Ok(hash.finish());
            }
            Ok(length) => hash.update(&piece[..length]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => (),
            Err(error) => return Err(Error::io(path, error)),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
