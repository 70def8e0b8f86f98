//! KV caches in few bits, in pages, and the attention of a decode step over them.
//!
//! ```
//! use lowbit::gpu::{Context, Options};
//! use lowbit::kv::{Capacity, KvCache, Layout, Rule};
//!
//! # fn main() -> lowbit::Result<()> {
//! let gpu = Context::open(&Options::default())?;
//! // 1 layer, 4 query heads that share 2 kv heads of 64 channels; keys of 8 bits, values of 4.
//! let layout = Layout::new(1, 4, 2, 64);
//! let room = Capacity { tokens: 1024, sequences: 2 };
//! let mut cache = KvCache::new(&gpu, &layout, "q8_0:q4_0".parse()?, room)?;
//!
//! // A prompt of 100 tokens: keys and values are [tokens, kv heads, channels].
//! let sequence = cache.create()?;
//! let mut step = cache.begin(&gpu, &[(sequence, 100)])?;
//! let (keys, values) = (vec![0.5; 100 * 2 * 64], vec![0.25; 100 * 2 * 64]);
//! cache.append(&gpu, &mut step, 0, &keys, &values)?;
//!
//! // The newest token's queries, [query heads, channels]; what comes out is of the same shape.
//! let queries = vec![1.0; 4 * 64];
//! let output = cache.attend(&gpu, &mut step, 0, &queries, &Rule::plain(64))?;
//! assert!(output.iter().all(|x| (x - 0.25f32).abs() < 0.02));
//!
//! // Another continuation of the same prompt shares its blocks; tokens that a draft got wrong are taken back.
//! let other = cache.fork(&gpu, sequence)?;
//! cache.truncate(&gpu, sequence, 96)?;
//! assert_eq!((cache.length(sequence)?, cache.length(other)?), (96, 100));
//! # Ok(())
//! # }
//! ```

pub(crate) mod append;
pub(crate) mod attend;
pub(crate) mod blocks;
pub(crate) mod cache;
pub(crate) mod cut;
pub(crate) mod extent;
pub(crate) mod keep;
pub(crate) mod layout;
pub(crate) mod rotate;
mod trial;

pub(crate) use cache::timing;

pub use crate::codec::{CacheType, Pair, Side};
pub use attend::Rule;
pub use cache::{Capacity, KvCache, Layout, Memory, Queries, Sequence, Step};
