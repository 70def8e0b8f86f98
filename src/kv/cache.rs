//! The cache of a model: pools of blocks for every layer, the sequences that have them, and the passes over both.
//!
//! A sequence grows by steps: [`KvCache::begin`] makes room for new tokens in every layer, or changes nothing; then each layer
//! appends its keys and values and attends. Sequences share blocks after [`KvCache::fork`] until one of them writes.

use std::ops::Range;

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::append::{Append, Pages};
use super::attend::{self, Attend, Heads, Kept, Rule, Span, Splits};
use super::blocks::Blocks;
use super::extent::{Extent, Places};
use super::keep::{Keep, Piece, Pieces, Recent};
use super::layout::Page;
use super::rotate::Rotate;
use crate::codec::{CacheType, Codec, GROUP, Pair, Side, center};
use crate::gpu::{Bound, Buffer, Context, Recorder, to_u32};
use crate::{Error, Result};

/// What a model's attention keeps of a token, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Layers with an attention of this shape.
    pub layers: usize,
    /// Query heads, a multiple of the kv heads.
    pub heads: usize,
    /// Heads of keys and values.
    pub kv_heads: usize,
    /// The head dimension, one of [`crate::codec::HEAD_DIMS`].
    pub head_dim: usize,
    /// Tokens of a block: 16 to 256, a multiple of 16, or of 32 for keys of KIVI.
    pub block: u64,
    /// First tokens of a sequence that stay f16.
    pub sinks: u64,
    /// Newest tokens of a sequence that stay f16.
    pub recent: u64,
    /// Whether what is q8_0 or q4_0 is rotated.
    pub rotate: bool,
}

impl Layout {
    /// Blocks of 64 tokens; the first 4 and the newest 64 tokens stay f16.
    pub fn new(layers: usize, heads: usize, kv_heads: usize, head_dim: usize) -> Self {
        Self { layers, heads, kv_heads, head_dim, block: 64, sinks: 4, recent: 64, rotate: false }
    }

    fn check(&self) -> Result<()> {
        let Self { layers, heads, kv_heads, block, .. } = *self;
        let fault = |text: String| Err(Error::Input(text));
        if layers == 0 || heads == 0 || kv_heads == 0 {
            return fault(format!(
                "a cache of {layers} layers, {heads} query heads and {kv_heads} kv heads keeps nothing"
            ));
        }
        if !heads.is_multiple_of(kv_heads) {
            return fault(format!("{heads} query heads are no multiple of {kv_heads} kv heads"));
        }
        if !(16..=256).contains(&block) {
            return fault(format!("a block has 16 to 256 tokens, not {block}"));
        }
        Ok(())
    }

    fn shape(&self) -> Heads {
        Heads {
            kv: self.kv_heads as u64,
            each: (self.heads / self.kv_heads) as u64,
            dim: self.head_dim as u64,
        }
    }
}

/// How much a cache has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Encoded tokens of all sequences, in whole blocks; those that stay f16 have room besides.
    pub tokens: u64,
    /// Sequences.
    pub sequences: u64,
}

/// A sequence of a cache. Another one's, or one that was freed, is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sequence {
    slot: u32,
    /// How many sequences had the slot before.
    turn: u32,
}

/// Bytes of a cache on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// All that it was given.
    pub reserved: u64,
    /// Blocks that sequences have, each counted once, and f16 tokens of sequences.
    pub in_use: u64,
    /// Blocks.
    pub blocks: u64,
    /// Blocks that no sequence has.
    pub free_blocks: u64,
}

/// A sequence's own state.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) extent: Extent,
    pub(super) blocks: Vec<u32>,
    /// Layers that the last step has not appended to.
    missing: usize,
    /// The number of the last step.
    step: u64,
}

/// The keys, or the values, of a layer.
#[derive(Debug)]
pub(super) struct Store {
    /// `[blocks, kv_heads]` pages.
    pub(super) pool: Buffer,
    /// `[slots, kv_heads, sinks + ring, dim]` halves.
    pub(super) recent: Buffer,
}

/// Keys or values of every layer.
#[derive(Debug)]
pub(super) struct Half {
    pub(super) codec: Codec,
    append: Append,
    /// How the f16 tokens lie.
    recent_page: Page,
    pub(super) stores: Vec<Store>,
}

/// What keys are centred by.
#[derive(Debug)]
struct Means {
    /// `[layers, kv_heads, dim]`
    values: Vec<f32>,
    /// Of each layer as it is subtracted, and in the basis of the keys.
    layers: Vec<[Buffer; 2]>,
}

/// A KV cache in few bits, in blocks.
#[derive(Debug)]
pub struct KvCache {
    pub(super) layout: Layout,
    pub(super) types: Pair,
    pub(super) places: Places,
    pub(super) keys: Half,
    pub(super) values: Half,
    means: Option<Means>,
    blocks: Blocks,
    /// By slot: how many sequences had it, and the one that has it.
    slots: Vec<(u32, Option<State>)>,
    steps: u64,
    keep: Keep,
    rotate: Rotate,
    paged: Attend,
    recent: Attend,
    sizes: Buffer,
    no_sizes: Buffer,
    software: bool,
}

/// Sequences that grow together by some tokens: made by [`KvCache::begin`].
#[derive(Debug)]
pub struct Step {
    number: u64,
    sequences: Vec<Sequence>,
    list: Vec<Piece>,
    pieces: Buffer,
    /// `[sequences, blocks]`
    table: Vec<u32>,
    width: usize,
    on_device: Buffer,
    /// Fresh tokens of all sequences.
    tokens: u64,
    appended: Vec<bool>,
    queries: Queries,
    view: Option<View>,
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
        self.view = None;
    }

    /// New tokens of all its sequences together.
    pub fn tokens(&self) -> u64 {
        self.tokens
    }
}

/// What the queries of a step see.
#[derive(Debug)]
struct View {
    rule: Rule,
    queries: u64,
    paged: Option<Part>,
    recent: Option<Part>,
    partial: Buffer,
    /// Queries in the basis of the keys.
    turned: Option<Buffer>,
}

/// Tokens that lie alike.
#[derive(Debug)]
struct Part {
    table: Buffer,
    spans: Buffer,
    splits: Splits,
    tokens: u64,
}

impl Half {
    fn new(gpu: &Context, layout: &Layout, ty: CacheType, side: Side, room: Room) -> Result<Self> {
        let codec = Codec::new(ty, side, layout.head_dim)?.rotate(layout.rotate);
        let append = Append::load(gpu, &codec, layout.block)?;
        let (kv_heads, dim) = (layout.kv_heads as u64, layout.head_dim as u64);
        let page = append.page().len();
        let name = side.name();
        let bytes = room.blocks * kv_heads * page * 4;
        if bytes > gpu.adapter.max_binding_bytes {
            let fit = gpu.adapter.max_binding_bytes / (kv_heads * page * 4) * layout.block;
            return Err(Error::Input(format!(
                "{name} of {} tokens take {bytes} bytes in a layer, and a binding of {} has at most {}: {fit} tokens fit",
                room.blocks * layout.block,
                gpu.adapter.name,
                gpu.adapter.max_binding_bytes
            )));
        }
        let halves = Codec::new(CacheType::F16, side, layout.head_dim)?;
        let store = |_| {
            Ok(Store {
                pool: Buffer::new(gpu, &format!("pages of {name}"), room.blocks * kv_heads, 4 * page)?,
                recent: Buffer::new(
                    gpu,
                    &format!("recent {name}"),
                    room.slots * kv_heads * room.recent,
                    2 * dim,
                )?,
            })
        };
        Ok(Self {
            recent_page: Page::of(&halves, Side::Values, room.recent.max(32))?,
            stores: (0..layout.layers).map(store).collect::<Result<_>>()?,
            codec,
            append,
        })
    }

    pub(super) fn page(&self) -> &Page {
        self.append.page()
    }
}

/// What stores are made for.
#[derive(Clone, Copy)]
struct Room {
    blocks: u64,
    slots: u64,
    /// F16 tokens of a sequence.
    recent: u64,
}

impl KvCache {
    /// An empty cache, all of whose memory is reserved.
    ///
    /// # Errors
    /// [`Error::Input`] for a layout that is none, and for a capacity beyond what an adapter binds; [`Error::OutOfMemory`].
    pub fn new(gpu: &Context, layout: &Layout, types: Pair, capacity: Capacity) -> Result<Self> {
        layout.check()?;
        let Capacity { tokens, sequences } = capacity;
        if tokens == 0 || sequences == 0 {
            return Err(Error::Input(format!(
                "a cache needs room for at least one token of one sequence, not for {tokens} of {sequences}"
            )));
        }
        let together = Codec::new(types.keys, Side::Keys, layout.head_dim)?.tokens_together() as u64;
        let places = Places::new(layout.sinks, layout.recent, together);
        let blocks = to_u32(tokens.div_ceil(layout.block), "the number of blocks")?;
        let slots = to_u32(sequences, "the number of sequences")?;
        let room = Room { blocks: blocks.into(), slots: slots.into(), recent: places.sinks + places.ring };
        let keys = Half::new(gpu, layout, types.keys, Side::Keys, room)?;
        let values = Half::new(gpu, layout, types.values, Side::Values, room)?;
        let halves = |side| Codec::new(CacheType::F16, side, layout.head_dim);
        let shape = layout.shape();
        let spec = attend::fastest(gpu, &keys.codec, &values.codec, shape)?;
        let dim = layout.head_dim;
        let sizes = attend::sizes(types.keys, types.values, dim);
        Ok(Self {
            paged: Attend::load(gpu, &spec, &keys.codec, &values.codec, false)?,
            recent: Attend::load(gpu, &attend::SHORT, &halves(Side::Keys)?, &halves(Side::Values)?, true)?,
            sizes: Buffer::from_slice(gpu, "sizes", 16, &sizes)?,
            no_sizes: Buffer::from_slice(gpu, "sizes", 16, &[0.0f32; 16])?,
            keep: Keep::load(gpu)?,
            rotate: Rotate::load(gpu)?,
            blocks: Blocks::new(blocks),
            slots: vec![(0, None); slots as usize],
            steps: 0,
            software: gpu.adapter.is_software(),
            layout: layout.clone(),
            means: None,
            types,
            places,
            keys,
            values,
        })
    }

    /// Subtracts a mean from keys before they are encoded, `[layers, kv_heads, head_dim]`, and takes it into account in attention:
    /// what all keys of a model share need not be quantized. Only while no sequence is there.
    ///
    /// # Errors
    /// [`Error::Input`] for means of another shape, ones that are not finite, and a cache with sequences; the device's.
    pub fn center(&mut self, gpu: &Context, means: &[f32]) -> Result<()> {
        let Layout { layers, kv_heads, head_dim, .. } = self.layout;
        if means.len() != layers * kv_heads * head_dim || means.iter().any(|mean| !mean.is_finite()) {
            return Err(Error::Input(format!(
                "{} means are given, where [{layers}, {kv_heads}, {head_dim}] finite ones are expected",
                means.len()
            )));
        }
        if self.sequences().next().is_some() {
            return Err(Error::Input(
                "keys cannot be centred by another mean while there are sequences".into(),
            ));
        }
        let of_layer = |means: &[f32]| {
            let mut rotated = means.to_vec();
            if let Some(rotation) = self.keys.codec.rotation() {
                rotated.chunks_exact_mut(head_dim).for_each(|mean| rotation.forward(mean));
            }
            Ok([
                Buffer::from_slice(gpu, "mean", kv_heads as u64, means)?,
                Buffer::from_slice(gpu, "rotated mean", kv_heads as u64, &rotated)?,
            ])
        };
        let on_device = means.chunks_exact(kv_heads * head_dim).map(of_layer).collect::<Result<_>>()?;
        self.means = Some(Means { values: means.to_vec(), layers: on_device });
        Ok(())
    }

    /// The means that keys are centred by, if they are.
    pub fn means(&self) -> Option<&[f32]> {
        self.means.as_ref().map(|means| means.values.as_slice())
    }

    /// The layout.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The types of keys and values.
    pub fn types(&self) -> Pair {
        self.types
    }

    /// The sequences that there are.
    pub fn sequences(&self) -> impl Iterator<Item = Sequence> {
        let there = |(slot, (turn, state)): (usize, &(u32, Option<State>))| {
            state.is_some().then_some(Sequence { slot: slot as u32, turn: *turn })
        };
        self.slots.iter().enumerate().filter_map(there)
    }

    /// Tokens of a sequence.
    ///
    /// # Errors
    /// [`Error::Input`] for a sequence that is not there.
    pub fn length(&self, sequence: Sequence) -> Result<u64> {
        Ok(self.state(sequence)?.extent.length)
    }

    /// What it takes on the device.
    pub fn memory(&self) -> Memory {
        let halves = [&self.keys, &self.values];
        let stores = || halves.iter().flat_map(|half| &half.stores);
        let reserved = stores().map(|store| store.pool.bytes() + store.recent.bytes()).sum();
        let used = self.blocks.count() - self.blocks.free();
        let page: u64 = halves.iter().map(|half| 4 * half.page().len()).sum();
        let of_block = page * (self.layout.kv_heads * self.layout.layers) as u64;
        let recent: u64 =
            stores().map(|store| store.recent.bytes()).sum::<u64>() / self.slots.len().max(1) as u64;
        Memory {
            reserved,
            in_use: used * of_block + self.sequences().count() as u64 * recent,
            blocks: self.blocks.count(),
            free_blocks: self.blocks.free(),
        }
    }

    /// A new sequence of no tokens.
    ///
    /// # Errors
    /// [`Error::Input`] if there are as many as the cache has room for.
    pub fn create(&mut self) -> Result<Sequence> {
        let Some(slot) = self.slots.iter().position(|(_, state)| state.is_none()) else {
            return Err(Error::Input(format!(
                "the cache has room for {} sequences, and all are taken: free one, or make a cache of more",
                self.slots.len()
            )));
        };
        let (turn, state) = &mut self.slots[slot];
        *state = Some(State { extent: Extent::default(), blocks: Vec::new(), missing: 0, step: 0 });
        Ok(Sequence { slot: slot as u32, turn: *turn })
    }

    /// A new sequence with the tokens of another. Their blocks are shared until one of the two writes into them.
    ///
    /// # Errors
    /// [`Error::Input`] if the sequence is not there or in the middle of a step, or if there is no room for one more; the device's.
    pub fn fork(&mut self, gpu: &Context, from: Sequence) -> Result<Sequence> {
        let state = self.whole(from)?.clone();
        let to = self.create()?;
        let rows = self.layout.kv_heads as u64 * (self.places.sinks + self.places.ring);
        let own = |sequence: Sequence| u64::from(sequence.slot) * rows;
        let copied = self
            .stores()
            .try_for_each(|store| store.recent.copy_rows(gpu, &[(own(from)..own(from) + rows, own(to))]));
        if let Err(error) = copied {
            self.slots[to.slot as usize].1 = None;
            return Err(error);
        }
        state.blocks.iter().for_each(|&block| self.blocks.share(block));
        self.slots[to.slot as usize].1 = Some(state);
        Ok(to)
    }

    /// Takes the newest tokens away, so that `length` are left; a sequence that has no more stays as it is. Up to
    /// [`ROLLBACK`](super::extent::ROLLBACK) tokens leave what there would be if they had never come; of more, tokens that stay
    /// may be encoded that would not be yet. Keys of KIVI whose group of 32 is no longer whole become f16 again, as decoded.
    ///
    /// # Errors
    /// [`Error::Input`] if the sequence is not there or in the middle of a step; the device's.
    pub fn truncate(&mut self, gpu: &Context, sequence: Sequence, length: u64) -> Result<()> {
        let state = self.whole(sequence)?;
        let (extent, decoded) = self.places.cut(state.extent, length);
        if let Some(positions) = decoded {
            let block = state.blocks[(extent.encoded / self.layout.block) as usize];
            self.decode(gpu, sequence, block, positions)?;
        }
        let needed = extent.encoded.div_ceil(self.layout.block) as usize;
        let Some(state) = &mut self.slots[sequence.slot as usize].1 else { return Ok(()) };
        state.extent = extent;
        state.step = 0;
        let left = state.blocks.split_off(needed.min(state.blocks.len()));
        left.into_iter().rev().for_each(|block| self.blocks.release(block));
        Ok(())
    }

    /// Ends a sequence; its blocks that no other has are free again.
    ///
    /// # Errors
    /// [`Error::Input`] if it is not there: it may have been freed before.
    pub fn free(&mut self, sequence: Sequence) -> Result<()> {
        self.state(sequence)?;
        let (turn, state) = &mut self.slots[sequence.slot as usize];
        *turn = turn.wrapping_add(1);
        let blocks = state.take().map(|state| state.blocks).unwrap_or_default();
        blocks.into_iter().rev().for_each(|block| self.blocks.release(block));
        Ok(())
    }

    /// Makes room for new tokens of some sequences in every layer, which then have to be appended to each layer; with no new
    /// tokens the step is for attention alone.
    ///
    /// # Errors
    /// [`Error::Input`], and nothing has changed, if there are not enough free blocks, if a sequence is not there, is given
    /// twice or is in the middle of a step; the device's.
    pub fn begin(&mut self, gpu: &Context, grow: &[(Sequence, u64)]) -> Result<Step> {
        let block = self.layout.block;
        if grow.is_empty() {
            return Err(Error::Input("a step of no sequences does nothing".into()));
        }
        let mut plans = Vec::new();
        for (i, &(sequence, tokens)) in grow.iter().enumerate() {
            let state = self.whole(sequence)?;
            if grow[..i].iter().any(|(other, _)| *other == sequence) {
                return Err(Error::Input(format!("{} is given twice", self.name(sequence))));
            }
            to_u32(state.extent.length.saturating_add(tokens), "the number of tokens of a sequence")?;
            let extent = self.places.grown(state.extent, tokens);
            let written = if extent.encoded > state.extent.encoded {
                state.extent.encoded / block..extent.encoded.div_ceil(block)
            } else {
                0..0
            };
            let there = state.blocks.len() as u64;
            // Those that are there and shared are copied first: another sequence must not see what is written.
            let copied: Vec<usize> = (written.start..written.end.min(there))
                .map(|at| at as usize)
                .filter(|&at| self.blocks.is_shared(state.blocks[at]))
                .collect();
            plans.push((extent, copied, extent.encoded.div_ceil(block).saturating_sub(there)));
        }
        let needed = plans.iter().map(|(_, copied, new)| copied.len() as u64 + new).sum();
        let mut taken = self.blocks.take(needed, block)?;
        if let Err(error) = self.copy_blocks(gpu, grow, &plans, &taken) {
            taken.into_iter().for_each(|block| self.blocks.release(block));
            return Err(error);
        }
        self.steps += 1;
        let mut list = Vec::new();
        let mut row = 0;
        for (&(sequence, tokens), (extent, copied, new)) in grow.iter().zip(&plans) {
            let Some(state) = &mut self.slots[sequence.slot as usize].1 else { continue };
            for (&at, own) in copied.iter().zip(taken.drain(..copied.len())) {
                self.blocks.release(std::mem::replace(&mut state.blocks[at], own));
            }
            state.blocks.extend(taken.drain(..*new as usize));
            let [base, first, end] = [state.extent.length, state.extent.encoded, extent.encoded];
            list.push(Piece {
                slot: sequence.slot,
                row: to_u32(row, "the number of new tokens")?,
                base: base as u32,
                tokens: tokens as u32,
                first: first as u32,
                end: end as u32,
            });
            row += tokens;
            state.extent = *extent;
            state.step = self.steps;
            state.missing = if tokens > 0 { self.layout.layers } else { 0 };
        }
        self.step(gpu, grow, list, row)
    }

    fn step(&self, gpu: &Context, grow: &[(Sequence, u64)], list: Vec<Piece>, tokens: u64) -> Result<Step> {
        let sequences: Vec<Sequence> = grow.iter().map(|(sequence, _)| *sequence).collect();
        let blocks = |sequence: &Sequence| self.state(*sequence).map(|state| state.blocks.as_slice());
        let lists = sequences.iter().map(blocks).collect::<Result<Vec<_>>>()?;
        let width = lists.iter().map(|list| list.len()).max().unwrap_or(0).max(1);
        let padded = |list: &&[u32]| list.iter().copied().chain(std::iter::repeat(0)).take(width).collect();
        let table: Vec<u32> = lists.iter().flat_map(|list| -> Vec<u32> { padded(&list) }).collect();
        let count = sequences.len() as u64;
        Ok(Step {
            number: self.steps,
            pieces: Buffer::from_slice(gpu, "pieces", count, &list)?,
            on_device: Buffer::from_slice(gpu, "table", count, &table)?,
            appended: vec![tokens == 0; self.layout.layers],
            queries: Queries::Newest,
            view: None,
            sequences,
            list,
            table,
            width,
            tokens,
        })
    }

    /// Copies the shared blocks that will be written, in every layer.
    fn copy_blocks(
        &self,
        gpu: &Context,
        grow: &[(Sequence, u64)],
        plans: &[(Extent, Vec<usize>, u64)],
        taken: &[u32],
    ) -> Result<()> {
        let heads = self.layout.kv_heads as u64;
        let (mut runs, mut next) = (Vec::new(), 0);
        for (&(sequence, _), (_, copied, new)) in grow.iter().zip(plans) {
            let state = self.state(sequence)?;
            for &at in copied {
                let [from, to] = [state.blocks[at], taken[next]].map(|block| u64::from(block) * heads);
                runs.push((from..from + heads, to));
                next += 1;
            }
            next += *new as usize;
        }
        if runs.is_empty() {
            return Ok(());
        }
        self.stores().try_for_each(|store| store.pool.copy_rows(gpu, &runs))
    }

    /// Appends the new tokens of a step to a layer: keys and values are `[tokens, kv_heads, head_dim]`, those of its sequences
    /// one behind another. They are rounded to f16.
    ///
    /// # Errors
    /// [`Error::Input`], and nothing has changed, for values of another shape, and for those that the types cannot hold: not
    /// finite, above 65504, or of a TurboQuant scale above it. Those of [`KvCache::append_from`].
    pub fn append(
        &mut self,
        gpu: &Context,
        step: &mut Step,
        layer: usize,
        keys: &[f32],
        values: &[f32],
    ) -> Result<()> {
        let Layout { kv_heads, head_dim, .. } = self.layout;
        let row = kv_heads * head_dim;
        let mut buffers = Vec::new();
        for (half, given) in [(&self.keys, keys), (&self.values, values)] {
            let name = half.codec.side().name();
            if given.len() as u64 != step.tokens * row as u64 {
                return Err(Error::Input(format!(
                    "{name} of {} values are given, where [{}, {kv_heads}, {head_dim}] are expected",
                    given.len(),
                    step.tokens
                )));
            }
            let mean = self.means.as_ref().filter(|_| half.codec.side() == Side::Keys);
            let mean = mean.map(|means| &means.values[layer.min(self.layout.layers - 1) * row..][..row]);
            check(&half.codec, given, mean, kv_heads)?;
            let mut halves = vec![f16::ZERO; given.len()];
            halves.convert_from_f32_slice(given);
            let words: &[u16] = halves.reinterpret_cast();
            buffers.push(Buffer::from_slice(gpu, name, step.tokens, words)?);
        }
        let passes = self.append_from(gpu, step, layer, [&buffers[0], &buffers[1]])?;
        let mut record = Recorder::new(gpu);
        passes.iter().for_each(|pass| record.dispatch(pass));
        record.submit()
    }

    /// As [`KvCache::append`], of keys and values on the device, `[tokens, kv_heads * head_dim]` f16, which are not looked at.
    /// The passes have to be submitted, in their order and before those that attend.
    ///
    /// # Errors
    /// [`Error::Input`], and nothing has changed, if the layer is not there or has been appended to, or if a sequence has
    /// changed since the step began; [`Error::Binding`] for buffers of another size.
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
        let mut passes = Vec::new();
        for (half, fresh) in [&self.keys, &self.values].into_iter().zip(tokens) {
            let store = &half.stores[layer];
            let recent = self.recent_of(store);
            let pieces = Pieces { list: &step.list, buffer: &step.pieces, fresh };
            let pages = Pages { table: &step.on_device, pool: &store.pool };
            let mean = self.means.as_ref().filter(|_| half.codec.side() == Side::Keys);
            let mean = mean.map(|means| &means.layers[layer][0]);
            passes.push(half.append.bind(gpu, &recent, &pieces, mean, &pages)?);
            passes.push(self.keep.bind(gpu, &recent, &pieces)?);
        }
        step.appended[layer] = true;
        for sequence in &step.sequences {
            if let Some(state) = &mut self.slots[sequence.slot as usize].1 {
                state.missing = state.missing.saturating_sub(1);
            }
        }
        Ok(passes)
    }

    fn recent_of<'a>(&self, store: &'a Store) -> Recent<'a> {
        Recent {
            buffer: &store.recent,
            kv_heads: self.layout.kv_heads as u64,
            dim: self.layout.head_dim as u64,
            sinks: self.places.sinks,
            ring: self.places.ring,
        }
    }

    /// The attention of `queries`, `[sequences, heads, head_dim]` for the newest token of each sequence of a step, or as
    /// [`Step::ask`] has it: `softmax(scale q k) v`.
    ///
    /// # Errors
    /// Those of [`KvCache::attend_into`]; [`Error::Input`] for queries that are not finite.
    pub fn attend(
        &self,
        gpu: &Context,
        step: &mut Step,
        layer: usize,
        queries: &[f32],
        rule: &Rule,
    ) -> Result<Vec<f32>> {
        let Layout { heads, head_dim, .. } = self.layout;
        let row = heads * head_dim;
        if !queries.len().is_multiple_of(row) {
            return Err(Error::Input(format!(
                "queries of {} values are no rows of [{heads}, {head_dim}]",
                queries.len()
            )));
        }
        if let Some(at) = queries.iter().position(|query| !query.is_finite()) {
            return Err(Error::Input(format!(
                "queries: row {}, head {}, channel {} is {}",
                at / row,
                at % row / head_dim,
                at % head_dim,
                queries[at]
            )));
        }
        let count = (queries.len() / head_dim) as u64;
        let given = Buffer::from_slice(gpu, "queries", count, queries)?;
        let output = Buffer::new(gpu, "output", count, 4 * head_dim as u64)?;
        let passes = self.attend_into(gpu, step, layer, &given, &output, rule)?;
        let mut record = Recorder::new(gpu);
        passes.iter().for_each(|pass| record.dispatch(pass));
        record.submit()?;
        output.read(gpu)
    }

    /// As [`KvCache::attend`], of queries on the device into an output there, both `[queries * heads, head_dim]` f32. The
    /// passes have to be submitted in their order, before the next ones of the same step.
    ///
    /// # Errors
    /// [`Error::Input`] if the layer is not there or was not appended to, if a sequence has changed since the step began or has no
    /// tokens, for another number of queries, and for a rule that is none; the device's.
    pub fn attend_into(
        &self,
        gpu: &Context,
        step: &mut Step,
        layer: usize,
        queries: &Buffer,
        output: &Buffer,
        rule: &Rule,
    ) -> Result<Vec<Bound>> {
        self.check_step(step, layer)?;
        if !step.appended[layer] {
            return Err(Error::Input(format!(
                "layer {layer} was not appended to in this step: it comes first"
            )));
        }
        if !rule.scale.is_finite() || !rule.soft_cap.is_finite() || rule.soft_cap < 0.0 || rule.window == 0 {
            return Err(Error::Input(format!(
                "{rule:?}: scale and cap are finite, the cap is 0 or more, and a window sees at least one token"
            )));
        }
        let count = queries.rows() / self.layout.heads as u64;
        if step.view.as_ref().is_none_or(|view| view.rule != *rule || view.queries != count) {
            step.view = Some(self.view(gpu, step, count, rule)?);
        }
        let Some(view) = &step.view else { return Ok(Vec::new()) };
        let shape = self.layout.shape();
        let (keys, values) = (&self.keys.stores[layer], &self.values.stores[layer]);
        let mut passes = Vec::new();
        if let Some(part) = &view.paged {
            let own = match &view.turned {
                Some(turned) => {
                    passes.push(self.rotate.bind(gpu, queries, turned, shape.dim)?);
                    turned
                }
                None => queries,
            };
            let kept = Kept {
                keys: &keys.pool,
                values: &values.pool,
                table: &part.table,
                spans: &part.spans,
                key_page: *self.keys.page(),
                value_page: *self.values.page(),
                sizes: &self.sizes,
                mean: self.means.as_ref().map(|means| &means.layers[layer][1]),
            };
            let Part { splits, tokens, .. } = *part;
            passes.push(self.paged.bind(gpu, own, &kept, &view.partial, shape, *rule, splits, tokens)?);
        }
        if let Some(part) = &view.recent {
            let kept = Kept {
                keys: &keys.recent,
                values: &values.recent,
                table: &part.table,
                spans: &part.spans,
                key_page: self.keys.recent_page,
                value_page: self.values.recent_page,
                sizes: &self.no_sizes,
                mean: None,
            };
            let Part { splits, tokens, .. } = *part;
            passes.push(self.recent.bind(
                gpu,
                queries,
                &kept,
                &view.partial,
                shape,
                *rule,
                splits,
                tokens,
            )?);
        }
        let splits = |part: &Option<Part>| part.as_ref().map_or(0, |part| part.splits.count);
        let (paged, recent) = (splits(&view.paged), splits(&view.recent));
        let rotated = if self.values.codec.rotation().is_some() { paged } else { 0 };
        passes.push(self.paged.bind_merge(gpu, &view.partial, output, shape, (paged + recent, rotated))?);
        Ok(passes)
    }

    /// Where the tokens lie that each query sees.
    fn view(&self, gpu: &Context, step: &Step, queries: u64, rule: &Rule) -> Result<View> {
        let mut lengths: Vec<(usize, u64)> = Vec::new();
        for (i, (sequence, piece)) in step.sequences.iter().zip(&step.list).enumerate() {
            let length = self.state(*sequence)?.extent.length;
            if length == 0 {
                return Err(Error::Input(format!("{} has no tokens to attend to", self.name(*sequence))));
            }
            let new = u64::from(piece.tokens);
            let first = if step.queries == Queries::Newest { length } else { length - new + 1 };
            lengths.extend((first..=length).map(|length| (i, length)));
        }
        if queries != lengths.len() as u64 || queries == 0 {
            return Err(Error::Input(format!(
                "queries of {queries} tokens are given, where those of {} are expected",
                lengths.len()
            )));
        }
        let (mut paged, mut recent, mut tables, mut slots) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for &(at, length) in &lengths {
            let sequence = step.sequences[at];
            let [pages, ring] = self.spans(&self.state(sequence)?.extent, length, rule);
            paged.push(pages);
            recent.push(ring);
            tables.extend_from_slice(&step.table[at * step.width..][..step.width]);
            slots.push(sequence.slot);
        }
        let seen = |spans: &[Span]| -> (u64, u64) {
            let seen = spans.iter().map(|span| u64::from(span.tokens.saturating_sub(span.first)));
            (seen.clone().max().unwrap_or(0), seen.sum())
        };
        let shape = self.layout.shape();
        let ((longest, in_pages), (in_ring, in_rings)) = (seen(&paged), seen(&recent));
        let paged_splits = self.paged.splits(longest, queries * shape.kv, shape.each, self.software);
        let recent_splits = self.recent.splits(in_ring, queries * shape.kv, shape.each, self.software);
        let all = paged_splits.0 + recent_splits.0;
        let part = |spans: &[Span], table: &[u32], first, (count, tokens): (u64, u64), total| {
            if count == 0 {
                return Ok(None);
            }
            let splits = Splits { count, first, all, tokens };
            let table = Buffer::from_slice(gpu, "table", table.len() as u64, table)?;
            Ok::<_, Error>(Some(Part {
                table,
                spans: Buffer::from_slice(gpu, "spans", queries, spans)?,
                splits,
                tokens: total,
            }))
        };
        let partial = queries * all * self.layout.heads as u64;
        let turned = self.keys.codec.rotation().is_some() && paged_splits.0 > 0;
        let heads = queries * self.layout.heads as u64;
        Ok(View {
            rule: *rule,
            queries,
            paged: part(&paged, &tables, 0, paged_splits, in_pages)?,
            recent: part(&recent, &slots, paged_splits.0, recent_splits, in_rings)?,
            partial: Buffer::new(gpu, "partial", partial, 16 * attend::partial_width(shape.dim))?,
            turned: turned.then(|| Buffer::new(gpu, "rotated queries", heads, 4 * shape.dim)).transpose()?,
        })
    }

    /// What the newest of `length` tokens sees in pages, and in f16.
    fn spans(&self, extent: &Extent, length: u64, rule: &Rule) -> [Span; 2] {
        let Places { sinks, ring, .. } = self.places;
        let behind = length.saturating_sub(sinks);
        let encoded = extent.encoded.min(behind);
        // A window begins in the middle of the pages, if its own sinks are all in f16.
        let first = if u64::from(rule.sinks) <= sinks {
            length.saturating_sub(rule.window.into()).saturating_sub(sinks).min(encoded)
        } else {
            0
        };
        let own = sinks.min(length);
        let [tokens, base, length_, first] = [encoded, sinks, length, first].map(|x| x as u32);
        let pages = Span { tokens, base, length: length_, first, ..Span::default() };
        let recent = Span {
            tokens: (own + behind - encoded) as u32,
            sinks: own as u32,
            ring: ring as u32,
            start: if ring > 0 { (extent.encoded % ring) as u32 } else { 0 },
            base: (sinks + extent.encoded) as u32,
            length: length_,
            first: 0,
        };
        [pages, recent]
    }

    /// Decodes these positions of a sequence's block into its ring, in every layer.
    fn decode(&self, gpu: &Context, sequence: Sequence, block: u32, positions: Range<u64>) -> Result<()> {
        let Layout { kv_heads, head_dim, block: tokens, .. } = self.layout;
        let Places { sinks, ring, .. } = self.places;
        let heads = kv_heads as u64;
        let first = (positions.start - sinks) % tokens;
        let count = (positions.end - positions.start) as usize;
        for half in [&self.keys, &self.values] {
            for (layer, store) in half.stores.iter().enumerate() {
                let page = half.page();
                let rows = u64::from(block) * heads..(u64::from(block) + 1) * heads;
                let words: Vec<u32> = store.pool.read_rows(gpu, rows)?;
                for (head, words) in words.chunks_exact(page.len() as usize).enumerate() {
                    // Whole groups, up to the last token in question.
                    let encoded = page.take(words, (first + count as u64).next_multiple_of(GROUP as u64));
                    let mut decoded = half.codec.decode(&encoded)?.split_off(first as usize * head_dim);
                    decoded.truncate(count * head_dim);
                    if let Some(means) = self.means.as_ref().filter(|_| half.codec.side() == Side::Keys) {
                        let at = (layer * kv_heads + head) * head_dim;
                        center::add(&mut decoded, &means.values[at..][..head_dim]);
                    }
                    for (position, token) in positions.clone().zip(decoded.chunks_exact(head_dim)) {
                        let own = u64::from(sequence.slot) * heads + head as u64;
                        let row = own * (sinks + ring) + sinks + (position - sinks) % ring;
                        let halves: Vec<u16> = token.iter().map(|&x| f16::from_f32(x).to_bits()).collect();
                        store.recent.write_rows(gpu, row, &halves)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn stores(&self) -> impl Iterator<Item = &Store> {
        self.keys.stores.iter().chain(&self.values.stores)
    }

    fn name(&self, sequence: Sequence) -> String {
        format!("sequence {} (slot {})", sequence.turn, sequence.slot)
    }

    pub(super) fn state(&self, sequence: Sequence) -> Result<&State> {
        match self.slots.get(sequence.slot as usize) {
            Some((turn, Some(state))) if *turn == sequence.turn => Ok(state),
            _ => Err(Error::Input(format!(
                "{} is not in this cache: it may have been freed",
                self.name(sequence)
            ))),
        }
    }

    /// The state of a sequence that is not in the middle of a step.
    pub(super) fn whole(&self, sequence: Sequence) -> Result<&State> {
        let state = self.state(sequence)?;
        if state.missing == 0 {
            return Ok(state);
        }
        Err(Error::Input(format!(
            "{} has {} of {} layers that its last step was not appended to: append to them, or free the sequence",
            self.name(sequence),
            state.missing,
            self.layout.layers
        )))
    }

    fn check_step(&self, step: &Step, layer: usize) -> Result<()> {
        if layer >= self.layout.layers {
            return Err(Error::Input(format!("there is no layer {layer} among {}", self.layout.layers)));
        }
        for &sequence in &step.sequences {
            if self.state(sequence)?.step != step.number {
                return Err(Error::Input(format!(
                    "{} has begun another step or was truncated since this one: begin again",
                    self.name(sequence)
                )));
            }
        }
        Ok(())
    }
}

/// Refuses what a type cannot hold: `[tokens, kv_heads, dim]`, from which `mean` (`[kv_heads, dim]`) is subtracted.
fn check(codec: &Codec, given: &[f32], mean: Option<&[f32]>, kv_heads: usize) -> Result<()> {
    const LARGEST: f32 = 65504.0;
    /// Half of what a scale can be: a TurboQuant scale is a little more than the norm.
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
            return Err(Error::Input(format!(
                "{}: token {token}, head {head}, channel {at} is {}{less}; a cache holds finite values of at most 65504",
                codec.side().name(),
                vector[at]
            )));
        }
        let norm = own.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
        if codec.ty().is_turbo() && norm > LONG {
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
