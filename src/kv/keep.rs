//! Host of `keep`: tokens that stay as they are, the first ones of a sequence (sinks) and the last ones (a ring).

use crate::gpu::{Bound, Buffer, Context, Kernel, Spec, Work, params, to_u32};
use crate::{Error, Result};

/// The shader.
pub const SPEC: Spec = Spec::new("kv/keep");

params! {
    struct KeepParams {
        rows: u32,
        sequences: u32,
        steps: u32,
        kv_heads: u32,
        slots: u32,
        sinks: u32,
        ring: u32,
        tokens: u32,
        words: u32,
    }
}

/// The keys, or the values, of sequences that are kept as halves: `[slots, kv_heads, sinks + ring, dim]`, two to a word.
///
/// Position p has place p if it is a sink, else `sinks + (p - sinks) % ring`.
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

impl Recent<'_> {
    /// Sequences that it has room for.
    pub(super) fn slots(&self) -> u64 {
        self.buffer.bytes() / (2 * self.kv_heads * (self.sinks + self.ring) * self.dim).max(1)
    }
}

params! {
    /// What a call adds to one sequence, as the shaders have it.
    #[derive(PartialEq, Eq)]
    pub struct Piece {
        /// The sequence's place among the recent tokens.
        slot: u32,
        /// The row of its first fresh token.
        row: u32,
        /// The position of that.
        base: u32,
        /// Fresh tokens.
        tokens: u32,
        /// The first token to encode, counted from the first one behind the sinks.
        first: u32,
        /// Behind the last one to encode.
        end: u32,
    }
}

impl Piece {
    /// How many of the fresh tokens are kept.
    fn kept(&self, recent: &Recent<'_>) -> u64 {
        let tokens = u64::from(self.tokens);
        let sinks = recent.sinks.saturating_sub(self.base.into()).min(tokens);
        sinks + (tokens - sinks).min(recent.ring)
    }
}

/// Pieces of sequences on the device.
#[derive(Clone, Copy, Debug)]
pub struct Pieces<'a> {
    /// Theirs, one for each sequence.
    pub list: &'a [Piece],
    /// The same on the device; they may change behind a [`Bound`], to smaller ones of other sequences and positions.
    pub buffer: &'a Buffer,
    /// New tokens, `[tokens, kv_heads, dim]` halves, two to a word.
    pub fresh: &'a Buffer,
}

impl Pieces<'_> {
    /// Refuses tokens that are not among the fresh ones, and slots that are not there.
    pub(super) fn check(&self, recent: &Recent<'_>) -> Result<()> {
        let (rows, slots) = (self.fresh.rows(), recent.slots());
        for piece in self.list {
            let end = u64::from(piece.row) + u64::from(piece.tokens);
            if end > rows {
                return Err(Error::Input(format!(
                    "tokens {}..{end} are not among the {rows} given",
                    piece.row
                )));
            }
            if u64::from(piece.slot) >= slots && recent.sinks + recent.ring > 0 {
                return Err(Error::Input(format!(
                    "slot {} is not among the {slots} for sequences",
                    piece.slot
                )));
            }
        }
        Ok(())
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

    /// Binds the copy of fresh tokens into their places. Those that the ring held there are lost: they are encoded first.
    ///
    /// # Errors
    /// [`Error::Input`] for tokens that are not fresh; the device's.
    pub fn bind(&self, gpu: &Context, recent: &Recent<'_>, pieces: &Pieces<'_>) -> Result<Bound> {
        pieces.check(recent)?;
        let words = recent.dim / 2;
        let kept = pieces.list.iter().map(|piece| piece.kept(recent));
        let (steps, all) = (kept.clone().max().unwrap_or(0), kept.sum::<u64>());
        let sequences = pieces.list.len() as u64;
        let rows = sequences * steps * recent.kv_heads * words;
        let params = KeepParams {
            rows: to_u32(rows, "the number of words to keep")?,
            sequences: to_u32(sequences, "the number of sequences")?,
            steps: to_u32(steps, "the number of tokens")?,
            kv_heads: to_u32(recent.kv_heads, "the number of kv heads")?,
            slots: to_u32(recent.slots(), "the number of sequences")?,
            sinks: to_u32(recent.sinks, "the number of sinks")?,
            ring: to_u32(recent.ring, "the number of recent tokens")?,
            tokens: to_u32(pieces.fresh.rows(), "the number of tokens")?,
            words: to_u32(words, "the head dimension")?,
        };
        let work = Work { bytes: 8 * all * recent.kv_heads * words, ops: 0 };
        let buffers = [("pieces", pieces.buffer), ("fresh", pieces.fresh), ("recent", recent.buffer)];
        self.0.bind(gpu, &buffers, params, work)
    }
}
