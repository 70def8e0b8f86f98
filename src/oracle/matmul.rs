//! Oracle of `matmul`: the same products as [`super::matvec`], for many columns. A product that is cut into splits
//! passes no more additions: those of its split, and at most one for each other split that has pairs of weights at all.

pub use super::matvec::{bound, product};
