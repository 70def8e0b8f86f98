//! The definition of each kernel in f64 or i64, with no GPU in sight.

pub mod activation;
pub mod assign;
pub mod centroid;
pub mod copy;
pub mod dequantize;
pub mod distance;
pub mod dot_i8;
pub mod fma_f16;
pub mod fma_f32;
pub mod lloyd;
pub mod matmul;
pub mod matmul_integer;
pub mod matmul_matrix;
pub mod matvec;
pub mod matvec_integer;
pub mod network;
pub mod radix_sort;
pub mod read_xor;
pub mod row_scale;
pub mod seed;
pub mod write;
