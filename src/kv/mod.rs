//! KV caches in few bits, in pages, and the attention of a decode step over them.

pub mod append;
pub mod attend;
pub mod keep;
pub mod layout;
pub mod rotate;
