//! KV caches in few bits, in pages, and the attention of a decode step over them.

pub mod append;
pub mod attend;
pub mod blocks;
pub mod cache;
pub mod extent;
pub mod keep;
pub mod layout;
pub mod rotate;
pub mod timing;

pub use cache::{Capacity, KvCache, Layout, Memory, Queries, Sequence, Step};
