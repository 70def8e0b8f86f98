//! Oracle of `matmul_integer`: the same products as [`super::matvec_integer`], for many columns.

pub use super::matvec_integer::rounded;
