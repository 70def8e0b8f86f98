//! Everything that needs no device.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod audit;
mod calibration;
mod checkpoint;
mod codec;
mod comparer;
mod csv;
mod duet;
mod format;
mod gate;
mod gguf;
mod identify;
mod io;
mod kv;
mod names;
mod onnx;
mod oracle;
mod plan;
mod quantize;
mod registers;
mod safetensors;
mod seeds;
mod shaders;
mod source;
mod vecs;
