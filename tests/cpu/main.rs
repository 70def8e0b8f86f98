//! Everything that needs no device.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod api;
mod architectures;
#[cfg(any(feature = "hdf5", feature = "parquet"))]
mod assets;
mod audit;
mod calibration;
mod checkpoint;
mod codec;
mod codes;
mod comparer;
mod csv;
mod duet;
mod files;
mod format;
mod gate;
mod geometry;
mod gguf;
#[cfg(feature = "hdf5")]
mod hdf5;
mod identify;
mod invariance;
mod io;
mod kv;
mod names;
mod numpy;
mod onnx;
mod oracle;
#[cfg(feature = "parquet")]
mod parquet;
mod parts;
mod plan;
mod precedence;
mod quantize;
mod registers;
mod safetensors;
mod seeds;
mod shaders;
mod source;
mod tree;
mod vecs;
