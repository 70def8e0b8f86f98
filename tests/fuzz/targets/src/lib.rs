//! The files of lowbit that are fuzzed, and what they need: with all of it, wgpu would be built and instrumented too.
//!
//! From the root of the checkout, with cargo-fuzz installed:
//! `RUSTC_BOOTSTRAP=1 cargo fuzz run --fuzz-dir tests/fuzz/targets gguf CORPUS tests/fuzz/seeds/gguf`. New inputs go to
//! the folder CORPUS; what finds something becomes a seed, which `cargo test` reads from then on.

#[path = "../../../../src/calibration/mod.rs"]
mod calibration;
#[path = "../../../../src/error.rs"]
mod error;
#[path = "../../../../src/io/mod.rs"]
mod io;
#[path = "../../../../src/network/mod.rs"]
mod network;

pub use error::{Error, Result};

/// As in lowbit's own `internals`.
pub mod internals {
    pub mod calibration {
        pub use crate::calibration::*;
    }
    pub mod io {
        pub use crate::io::*;
        pub mod onnx {
            pub use crate::io::onnx::*;
        }
    }
    pub mod network {
        pub use crate::network::*;
    }
}

use std::path::{Path, PathBuf};

/// A file of these bytes, in memory where there is such a folder; each process has one.
pub fn file(bytes: &[u8]) -> PathBuf {
    let folder = Some(Path::new("/dev/shm")).filter(|folder| folder.is_dir());
    let folder = folder.map_or_else(std::env::temp_dir, Path::to_owned);
    let path = folder.join(format!("lowbit-fuzz-{}", std::process::id()));
    std::fs::write(&path, bytes).expect("there is room for a small file");
    path
}
