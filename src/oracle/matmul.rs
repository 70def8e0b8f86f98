//! Oracle of `matmul`: the same products as [`super::matvec`], for many columns.

pub use super::matvec::{bound, product};
