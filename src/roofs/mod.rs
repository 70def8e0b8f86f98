//! Hosts of the kernels whose rates are the roofs: what memory and arithmetic give to those that do nothing else.

pub mod copy;
pub mod dot_i8;
pub mod fma_f16;
pub mod fma_f32;
pub mod read_xor;
pub mod write;
