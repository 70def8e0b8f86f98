//! Everything that needs a device. A machine without one fails these tests; they are never skipped.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod checkpoint;
mod classify_cli;
mod cli;
mod core;
mod harness;
mod judge;
mod kmeans;
mod network;
mod plan;
mod quantize;

mod activation;
mod assign;
mod average_pool;
mod centroid;
mod copy;
mod dense;
mod dense_integer;
mod dequantize;
mod distance;
mod dot_i8;
mod extent;
mod fma_f16;
mod fma_f32;
mod gather;
mod histogram;
mod lloyd;
mod matmul;
mod matmul_cli;
mod matmul_integer;
mod matmul_matrix;
mod matvec;
mod matvec_integer;
mod max_pool;
mod pointwise;
mod product;
mod radix_sort;
mod rank;
mod read_xor;
mod roofline;
mod row_scale;
mod seed;
mod shared;
mod softmax;
mod write;
