//! Quantized classifiers.

pub mod rank;
