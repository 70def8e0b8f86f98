//! Steps of a cache: room for new tokens, and their keys and values in each layer.

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::attention::View;
use super::{KvCache, Sequence, SideStore, Store};
use crate::codec::{Codec, LARGEST, beyond, center};
use crate::gpu::{Bound, Buffer, Context, Recorder, to_u32};
use crate::kv::append::Pages;
use crate::kv::extent::Extent;
use crate::kv::keep::{Piece, Pieces, Recent};
use crate::{Error, Result};

/// Sequences that grow together by some tokens: made by [`KvCache::begin`].
#[derive(Debug)]
#[must_use = "its sequences wait until every layer was appended to, or the step is abandoned"]
pub struct Step {
    /// The cache's.
    cache: u64,
    number: u64,
    pub(super) sequences: Vec<Sequence>,
    /// How far they were before it.
    before: Vec<Extent>,
    pub(super) list: Vec<Piece>,
    pieces: Buffer,
    /// `[sequences, blocks]`
    pub(super) table: Vec<u32>,
    pub(super) width: usize,
    on_device: Buffer,
    /// Fresh tokens of all sequences.
    tokens: u64,
    pub(super) appended: Vec<bool>,
    /// Whether an appending ended half-way.
    torn: bool,
    pub(super) queries: Queries,
    pub(super) views: Vec<View>,
}

/// What a step will do to a sequence.
struct Plan {
    sequence: Sequence,
    tokens: u64,
    before: Extent,
    extent: Extent,
    /// Its blocks then.
    blocks: Vec<u32>,
    /// Which of them are copies of shared ones, and how many come behind.
    copied: Vec<usize>,
    new: u64,
}

/// Which tokens of a step ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queries {
    /// The newest one of each sequence.
    Newest,
    /// Every new one, those of a sequence one behind another; each sees itself and those before it.
    New,
}

impl Step {
    /// That these tokens ask; without it the newest ones do.
    pub fn ask(&mut self, queries: Queries) {
        self.queries = queries;
        self.views.clear();
    }

    /// New tokens of all its sequences together.
    pub fn tokens(&self) -> u64 {
        self.tokens
    }
}

impl KvCache {
    /// Makes room for new tokens of some sequences in every layer, which then have to be appended to each layer; with no new
    /// tokens the step is for attention alone.
    ///
    /// # Errors
    /// [`Error::Input`], and nothing has changed, if there are not enough free blocks, if a sequence is not there, is given
    /// twice or is in the middle of a step ([`Error::Full`] for the first); the device's.
    pub fn begin(&mut self, gpu: &Context, grow: &[(Sequence, u64)]) -> Result<Step> {
        self.sizes.check(gpu)?;
        let block = self.layout.block;
        if grow.is_empty() {
            return Err(Error::Input("a step of no sequences does nothing".into()));
        }
        let (mut plans, mut left, mut needed): (Vec<Plan>, Vec<u32>, u64) = (Vec::new(), Vec::new(), 0);
        for (i, &(sequence, tokens)) in grow.iter().enumerate() {
            let state = self.whole(sequence)?;
            if grow[..i].iter().any(|(other, _)| *other == sequence) {
                return Err(Error::Input(format!("{} is given twice", self.name(sequence))));
            }
            to_u32(state.extent.length.saturating_add(tokens), "the number of tokens of a sequence")?;
            let extent = self.places.grown(state.extent, tokens);
            let there = state.blocks.len() as u64;
            // Blocks that are there and shared are copied first: another sequence must not see what is written. Whoever
            // copies one leaves it to the others.
            let mut copied = Vec::new();
            if extent.encoded > state.extent.encoded {
                for at in state.extent.encoded / block..extent.encoded.div_ceil(block).min(there) {
                    let own = state.blocks[at as usize];
                    let gone = left.iter().filter(|&&block| block == own).count() as u64;
                    if self.blocks.owners(own) > 1 + gone {
                        left.push(own);
                        copied.push(at as usize);
                    }
                }
            }
            let new = extent.encoded.div_ceil(block).saturating_sub(there);
            needed += copied.len() as u64 + new;
            plans.push(Plan {
                sequence,
                tokens,
                before: state.extent,
                extent,
                blocks: state.blocks.clone(),
                copied,
                new,
            });
        }
        to_u32(
            grow.iter().fold(0, |all: u64, (_, tokens)| all.saturating_add(*tokens)),
            "the number of new tokens",
        )?;
        let taken = self.blocks.take(needed, block)?;
        let (mut fresh, mut copies) = (taken.iter().copied(), Vec::new());
        for plan in &mut plans {
            for (&at, own) in plan.copied.iter().zip(fresh.by_ref()) {
                copies.push((std::mem::replace(&mut plan.blocks[at], own), own));
            }
            plan.blocks.extend(fresh.by_ref().take(plan.new as usize));
        }
        // Everything that can fail comes before anything is changed.
        let step = self.copy_blocks(gpu, &copies).and_then(|()| self.step(gpu, &plans));
        let step = match step {
            Ok(step) => step,
            Err(error) => {
                taken.into_iter().for_each(|block| self.blocks.release(block));
                return Err(error);
            }
        };
        self.steps = step.number;
        left.into_iter().for_each(|block| self.blocks.release(block));
        for plan in plans {
            let Some(state) = &mut self.slots[plan.sequence.slot as usize] else { continue };
            (state.extent, state.blocks, state.step) = (plan.extent, plan.blocks, step.number);
            state.missing = if step.tokens > 0 { self.layout.layers } else { 0 };
        }
        Ok(step)
    }

    fn step(&self, gpu: &Context, plans: &[Plan]) -> Result<Step> {
        let width = plans.iter().map(|plan| plan.blocks.len()).max().unwrap_or(0).max(1);
        let (mut list, mut table, mut tokens) = (Vec::new(), Vec::new(), 0);
        for plan in plans {
            // `begin` has checked that these are u32.
            list.push(Piece {
                slot: plan.sequence.slot,
                row: tokens as u32,
                base: plan.before.length as u32,
                tokens: plan.tokens as u32,
                first: plan.before.encoded as u32,
                end: plan.extent.encoded as u32,
            });
            tokens += plan.tokens;
            table.extend(plan.blocks.iter().copied().chain(std::iter::repeat(0)).take(width));
        }
        let count = plans.len() as u64;
        Ok(Step {
            cache: self.number,
            number: self.steps + 1,
            pieces: Buffer::from_slice(gpu, "pieces", count, &list)?,
            on_device: Buffer::from_slice(gpu, "table", count, &table)?,
            appended: vec![tokens == 0; self.layout.layers],
            torn: false,
            queries: Queries::Newest,
            views: Vec::new(),
            sequences: plans.iter().map(|plan| plan.sequence).collect(),
            before: plans.iter().map(|plan| plan.before).collect(),
            list,
            table,
            width,
            tokens,
        })
    }

    /// Takes back a step that not every layer was appended to: its sequences are as they were before it. Where some layers
    /// have already overwritten f16 tokens that the shorter sequence needs (never in a step of up to
    /// [`ROLLBACK`](crate::kv::extent::ROLLBACK) tokens of a sequence that was not longer before), it is empty instead, and among those that
    /// are returned. Sequences that were freed meanwhile are left out.
    ///
    /// # Errors
    /// [`Error::Input`] for a step of another cache.
    pub fn abandon(&mut self, step: Step) -> Result<Vec<Sequence>> {
        self.check_cache(&step)?;
        let begun = step.tokens > 0 && step.appended.contains(&true);
        let mut emptied = Vec::new();
        for (&sequence, &before) in step.sequences.iter().zip(&step.before) {
            let Ok(state) = self.state(sequence) else { continue };
            if state.step != step.number || state.missing == 0 {
                continue;
            }
            let mut extent = before;
            if begun {
                extent.held = state.extent.held.min(before.length);
                if !self.places.hold(&extent) {
                    extent = Extent::default();
                    emptied.push(sequence);
                }
            }
            self.put_back(sequence, extent);
        }
        Ok(emptied)
    }

    /// Copies the shared blocks that will be written, in every layer.
    fn copy_blocks(&self, gpu: &Context, copies: &[(u32, u32)]) -> Result<()> {
        let heads = u64::from(to_u32(self.layout.kv_heads, "the number of kv heads")?);
        let run = |&(from, to): &(u32, u32)| {
            let [from, to] = [from, to].map(|block| u64::from(block) * heads);
            (from..from + heads, to)
        };
        let runs: Vec<_> = copies.iter().map(run).collect();
        if runs.is_empty() {
            return Ok(());
        }
        self.stores().try_for_each(|store| store.pool.copy_rows(gpu, &runs))
    }

    /// Appends the new tokens of a step to a layer: keys and values are `[tokens, kv_heads, head_dim]` (rope keys and
    /// latents if it keeps those), those of its sequences
    /// one behind another. They are rounded to f16.
    ///
    /// # Errors
    /// [`Error::Input`], and nothing has changed, for values of another shape, and for those that the types cannot hold: not
    /// finite, above 65504, or rotated of a scale above it. Those of [`KvCache::append_from`]. After the device's, and where it was
    /// ended ([`Context::heed`]), the step can only be abandoned.
    pub fn append(
        &mut self,
        gpu: &Context,
        step: &mut Step,
        layer: usize,
        keys: &[f32],
        values: &[f32],
    ) -> Result<()> {
        let kv_heads = self.layout.kv_heads;
        let mut buffers = Vec::new();
        for (half, given) in [(&self.keys, keys), (&self.values, values)] {
            let (name, dim) = (half.codec.side().name(), half.codec.dim());
            let row = kv_heads * dim;
            if given.len() as u64 != step.tokens * row as u64 {
                return Err(Error::Shape(format!(
                    "{name} of {} values are given, where [{}, {kv_heads}, {dim}] are expected",
                    given.len(),
                    step.tokens
                )));
            }
            let mean = self
                .means_of(half)
                .map(|means| &means.values[layer.min(self.layout.layers - 1) * row..][..row]);
            check(&half.codec, given, mean, kv_heads)?;
            let mut halves = vec![f16::ZERO; given.len()];
            halves.convert_from_f32_slice(given);
            let words: &[u16] = halves.reinterpret_cast();
            buffers.push(Buffer::from_slice(gpu, name, step.tokens, words)?);
        }
        let passes = self.append_from(gpu, step, layer, [&buffers[0], &buffers[1]])?;
        let run = Recorder::run(gpu, &passes);
        if run.is_err() {
            // Which of its tokens the layer has is not known, so it still lacks them, and the step cannot go on.
            step.torn = true;
            self.count_missing(step, 1);
        }
        run
    }

    /// As [`KvCache::append`], of keys and values on the device, `[tokens, kv_heads * head_dim]` f16, which are not looked at.
    /// The passes have to be submitted in their order, before those that attend and before the next call that begins, forks,
    /// truncates or saves.
    ///
    /// # Errors
    /// [`Error::Input`], and nothing has changed, if the layer is not there or has been appended to, or if a sequence has
    /// changed since the step began, and for buffers of another size.
    #[doc(hidden)]
    pub fn append_from(
        &mut self,
        gpu: &Context,
        step: &mut Step,
        layer: usize,
        tokens: [&Buffer; 2],
    ) -> Result<Vec<Bound>> {
        self.check_step(step, layer)?;
        if step.appended[layer] {
            return Err(Error::Input(if step.tokens == 0 {
                "the step has no new tokens to append".into()
            } else {
                format!("layer {layer} has been appended to in this step")
            }));
        }
        let kv_heads = self.layout.kv_heads as u64;
        for (half, fresh) in [&self.keys, &self.values].into_iter().zip(tokens) {
            let dim = half.codec.dim() as u64;
            exactly(half.codec.side().name(), fresh, [step.tokens, 2 * kv_heads * dim])?;
        }
        let mut passes = Vec::new();
        for (half, fresh) in [&self.keys, &self.values].into_iter().zip(tokens) {
            let store = &half.stores[layer];
            let recent = self.recent_of(half, store);
            let pieces = Pieces { list: &step.list, buffer: &step.pieces, fresh };
            let pages = Pages { table: &step.on_device, pool: &store.pool };
            let mean = self.means_of(half).map(|means| &means.layers[layer][0]);
            passes.push(half.append.bind(gpu, &recent, &pieces, mean, &pages)?);
            passes.push(self.keep.bind(gpu, &recent, &pieces)?);
        }
        step.appended[layer] = true;
        self.count_missing(step, -1);
        Ok(passes)
    }

    /// So many more layers lack the tokens of a step.
    fn count_missing(&mut self, step: &Step, layers: isize) {
        for sequence in &step.sequences {
            if let Some(state) = &mut self.slots[sequence.slot as usize] {
                state.missing = state.missing.saturating_add_signed(layers);
            }
        }
    }

    fn recent_of<'a>(&self, half: &SideStore, store: &'a Store) -> Recent<'a> {
        Recent {
            buffer: &store.recent,
            kv_heads: self.layout.kv_heads as u64,
            dim: half.codec.dim() as u64,
            sinks: self.places.sinks,
            ring: self.places.ring,
        }
    }

    fn check_cache(&self, step: &Step) -> Result<()> {
        if step.cache == self.number {
            return Ok(());
        }
        Err(Error::Input("the step was begun by another cache".into()))
    }

    pub(super) fn check_step(&self, step: &Step, layer: usize) -> Result<()> {
        self.check_cache(step)?;
        if step.torn {
            return Err(Error::Input("a layer was appended to half-way: abandon the step".into()));
        }
        if layer >= self.layout.layers {
            return Err(Error::Input(format!("there is no layer {layer} among {}", self.layout.layers)));
        }
        for &sequence in &step.sequences {
            if self.state(sequence).map_err(|error| Error::Input(format!("{error}; abandon the step")))?.step
                != step.number
            {
                return Err(Error::Input(format!(
                    "{} has begun another step or was truncated since this one: begin again",
                    self.name(sequence)
                )));
            }
        }
        Ok(())
    }
}

/// Refuses a buffer of other rows, or of rows of other bytes.
pub(super) fn exactly(what: &str, buffer: &Buffer, [rows, bytes]: [u64; 2]) -> Result<()> {
    if buffer.rows() == rows && buffer.bytes() == rows * bytes {
        return Ok(());
    }
    Err(Error::Shape(format!(
        "{what}: {} rows of {} bytes in all are given, where {rows} rows of {bytes} each are expected",
        buffer.rows(),
        buffer.bytes()
    )))
}

/// Refuses what a type cannot hold: `[tokens, kv_heads, dim]`, from which `mean` (`[kv_heads, dim]`) is subtracted.
fn check(codec: &Codec, given: &[f32], mean: Option<&[f32]>, kv_heads: usize) -> Result<()> {
    /// Half of what a scale can be: that of rotated values is at most the norm, or with TurboQuant a little more.
    const LONG: f64 = 32752.0;
    let dim = codec.dim();
    for (i, vector) in given.chunks_exact(dim).enumerate() {
        let (token, head) = (i / kv_heads, i % kv_heads);
        let mut own = vector.to_vec();
        if let Some(mean) = mean {
            center::subtract(&mut own, &mean[head * dim..][..dim]);
        }
        // A comparison with what is no number is never true.
        let fits = |x: f32| x.abs() <= LARGEST;
        if let Some(at) = (0..dim).find(|&at| !(fits(vector[at]) && fits(own[at]))) {
            let less = if mean.is_some() { format!(", {} less the mean", own[at]) } else { String::new() };
            let (side, value) = (codec.side().name(), vector[at]);
            return Err(beyond(
                value,
                format!(
                    "{side}: token {token}, head {head}, channel {at} is {value}{less}; a cache holds finite values of at most \
                     65504"
                ),
            ));
        }
        let norm = own.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
        if codec.rotation().is_some() && norm > LONG {
            let halves: Vec<f32> = own.iter().map(|&x| f16::from_f32(x).to_f32()).collect();
            codec.encode(&halves).map_err(|_| {
                Error::Input(format!(
                    "{}: the scale of token {token}, head {head} is above 65504, which f16 does not hold: use f16 for such values",
                    codec.side().name()
                ))
            })?;
        }
    }
    Ok(())
}
