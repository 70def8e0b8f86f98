//! Everything that needs a device. A machine without one fails these tests; they are never skipped.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cli;
mod core;
mod harness;
mod kmeans;
mod plan;
mod quantize;

mod activation;
mod assign;
mod centroid;
mod copy;
mod dequantize;
mod distance;
mod dot_i8;
mod extent;
mod fma_f16;
mod fma_f32;
mod histogram;
mod lloyd;
mod matmul;
mod matmul_cli;
mod matmul_integer;
mod matmul_matrix;
mod matvec;
mod matvec_integer;
mod product;
mod radix_sort;
mod read_xor;
mod roofline;
mod row_scale;
mod seed;
mod shared;
mod write;
