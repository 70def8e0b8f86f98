//! Host of `keep`: tokens that stay as they are, the first ones of a sequence (sinks) and the last ones (a ring).

use std::ops::Range;

use crate::gpu::{Bound, Buffer, Context, Kernel, Spec, Work, params, to_u32};
use crate::{Error, Result};

/// The shader.
pub const SPEC: Spec = Spec::new("kv/keep");

params! {
    struct KeepParams {
        rows: u32,
        kv_heads: u32,
        sinks: u32,
        ring: u32,
        base: u32,
        tokens: u32,
        first: u32,
        end: u32,
        words: u32,
    }
}

/// The keys, or the values, of one sequence that are kept as halves: `[kv_heads, sinks + ring, dim]`, two to a word.
///
/// Position p has slot p if it is a sink, else `sinks + (p - sinks) % ring`.
#[derive(Clone, Copy, Debug)]
pub struct Recent<'a> {
    /// Where they lie.
    pub buffer: &'a Buffer,
    /// Heads of keys and values.
    pub kv_heads: u64,
    /// The head dimension, which is even.
    pub dim: u64,
    /// First tokens that are never encoded.
    pub sinks: u64,
    /// Last tokens that it has room for.
    pub ring: u64,
}

/// New tokens, `[tokens, kv_heads, dim]` halves, two to a word.
#[derive(Clone, Copy, Debug)]
pub struct Fresh<'a> {
    /// Where they lie.
    pub buffer: &'a Buffer,
    /// How many.
    pub tokens: u64,
    /// The position of the first one in the sequence.
    pub base: u64,
}

impl Fresh<'_> {
    /// Refuses positions that end behind the last token, or before they begin.
    pub(super) fn check(&self, positions: &Range<u64>, what: &str) -> Result<()> {
        let end = self.base.saturating_add(self.tokens);
        if positions.start <= positions.end && positions.end <= end {
            return Ok(());
        }
        Err(Error::Input(format!(
            "{what}: positions {}..{} are not among the tokens below {end}",
            positions.start, positions.end
        )))
    }
}

/// The compiled kernel.
#[derive(Debug)]
pub struct Keep(Kernel<KeepParams>);

impl Keep {
    /// Compiles it.
    ///
    /// # Errors
    /// The device's.
    pub fn load(gpu: &Context) -> Result<Self> {
        Kernel::load(gpu, &SPEC).map(Self)
    }

    /// Binds the copy of fresh tokens at these positions into their slots. Those that the ring held before are lost: they
    /// are encoded first.
    ///
    /// # Errors
    /// [`Error::Input`] for positions that are not fresh; the device's.
    pub fn bind(
        &self,
        gpu: &Context,
        recent: &Recent<'_>,
        fresh: &Fresh<'_>,
        positions: Range<u64>,
    ) -> Result<Bound> {
        fresh.check(&positions, "kept tokens")?;
        if positions.start < fresh.base {
            return Err(Error::Input(format!(
                "kept tokens: position {} is before the first fresh one, {}",
                positions.start, fresh.base
            )));
        }
        let words = recent.dim / 2;
        let count = positions.end - positions.start;
        let params = KeepParams {
            rows: to_u32(count * recent.kv_heads * words, "the number of words to keep")?,
            kv_heads: to_u32(recent.kv_heads, "the number of kv heads")?,
            sinks: to_u32(recent.sinks, "the number of sinks")?,
            ring: to_u32(recent.ring, "the number of recent tokens")?,
            base: to_u32(fresh.base, "the position of a token")?,
            tokens: to_u32(fresh.tokens, "the number of tokens")?,
            first: to_u32(positions.start, "the position of a token")?,
            end: to_u32(positions.end, "the position of a token")?,
            words: to_u32(words, "the head dimension")?,
        };
        let kept = count.min(recent.sinks + recent.ring) * recent.kv_heads * words;
        let work = Work { bytes: 8 * kept, ops: 0 };
        self.0.bind(gpu, &[("fresh", fresh.buffer), ("recent", recent.buffer)], params, work)
    }
}
