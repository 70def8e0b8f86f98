//! The cache of a model: pools of blocks for every layer, the sequences that have them, and the passes over both.
//!
//! A sequence grows by steps: [`KvCache::begin`] makes room for new tokens in every layer, or changes nothing; then each layer
//! appends its keys and values and attends. Sequences share blocks after [`KvCache::fork`] until one of them writes.

mod answer;
mod attention;
mod state;
mod step;
pub mod timing;

pub use step::{Queries, Step};

use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use half::f16;

use super::append::Append;
use super::attend::{self, Attend, Heads};
use super::blocks::Blocks;
use super::extent::{Extent, Places};
use super::keep::Keep;
use super::layout::Page;
use super::rotate::Rotate;
use crate::codec::{CacheType, Codec, GROUP, LARGEST, Pair, Side, center};
use crate::gpu::{Buffer, Context, to_u32};
use crate::{Error, Result};

/// Caches that were ever made: a sequence of one is none of another.
static CACHES: AtomicU64 = AtomicU64::new(0);

/// Most sinks, and most recent tokens.
const MOST_RECENT: u64 = 1 << 20;

/// What a model's attention keeps of a token, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Layers with an attention of this shape.
    pub layers: usize,
    /// Query heads, a multiple of the kv heads.
    pub heads: usize,
    /// Heads of keys and values.
    pub kv_heads: usize,
    /// The head dimension, one of [`crate::codec::HEAD_DIMS`]; of latents their rank, one of [`crate::codec::LATENT_DIMS`].
    pub head_dim: usize,
    /// Multi-head latent attention (DeepSeek-V2): values are latents, which are keys too, and keys are rope keys of so many
    /// channels. There is one kv head, and a query is `head_dim` values for the latent, then those for the rope key.
    pub rope: Option<usize>,
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
        let (block, sinks, recent) = (64, 4, 64);
        Self { layers, heads, kv_heads, head_dim, rope: None, block, sinks, recent, rotate: false }
    }

    fn check(&self) -> Result<()> {
        let Self { layers, heads, kv_heads, block, .. } = *self;
        let fault = |text: String| Err(Error::Input(text));
        for (what, count) in [("sinks", self.sinks), ("recent tokens", self.recent)] {
            if count > MOST_RECENT {
                return fault(format!(
                    "{count} {what} stay f16; at most {MOST_RECENT} can: use f16 as the type for more"
                ));
            }
        }
        for count in [layers, heads, kv_heads] {
            to_u32(count, "the number of layers or heads")?;
        }
        if layers == 0 || heads == 0 || kv_heads == 0 {
            return fault(format!(
                "a cache of {layers} layers, {heads} query heads and {kv_heads} kv heads keeps nothing"
            ));
        }
        if !heads.is_multiple_of(kv_heads) {
            return fault(format!("{heads} query heads are no multiple of {kv_heads} kv heads"));
        }
        if self.rope.is_some() && kv_heads != 1 {
            return fault(format!("latents are one kv head for all query heads, not {kv_heads}"));
        }
        if !(16..=256).contains(&block) {
            return fault(format!("a block has 16 to 256 tokens, not {block}"));
        }
        Ok(())
    }

    /// Values of a query.
    fn query_dim(&self) -> usize {
        self.head_dim + self.rope.unwrap_or(0)
    }

    fn codec(&self, ty: CacheType, side: Side) -> Result<Codec> {
        match (self.rope, side) {
            (None, _) => Ok(Codec::new(ty, side, self.head_dim)?.rotate(self.rotate)),
            (Some(rope), Side::Keys) => Codec::new(ty, side, rope),
            (Some(_), Side::Values) => Ok(Codec::latent(ty, self.head_dim)?.rotate(self.rotate)),
        }
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
    /// The number of its cache, of all in the process.
    cache: u64,
    slot: u32,
    /// Its number in the cache.
    number: u64,
}

/// Bytes of a cache on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Of its blocks and f16 tokens.
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
struct State {
    number: u64,
    extent: Extent,
    blocks: Vec<u32>,
    /// Layers that the last step has not appended to.
    missing: usize,
    /// The number of the last step.
    step: u64,
}

/// The keys, or the values, of a layer.
#[derive(Debug)]
struct Store {
    /// `[blocks, kv_heads]` pages.
    pool: Buffer,
    /// `[slots, kv_heads, sinks + ring, dim]` halves.
    recent: Buffer,
}

/// Keys or values of every layer.
#[derive(Debug)]
struct SideStore {
    codec: Codec,
    append: Append,
    /// How the f16 tokens lie.
    recent_page: Page,
    stores: Vec<Store>,
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
    layout: Layout,
    types: Pair,
    places: Places,
    keys: SideStore,
    values: SideStore,
    means: Option<Means>,
    blocks: Blocks,
    slots: Vec<Option<State>>,
    /// Its own number, and those of the last sequence and the last step.
    number: u64,
    created: u64,
    steps: u64,
    keep: Keep,
    rotate: Rotate,
    paged: Attend,
    recent: Attend,
    /// The same for neighbouring queries of a sequence, once there are some.
    many: OnceLock<[Attend; 2]>,
    sizes: Buffer,
    no_sizes: Buffer,
}

impl SideStore {
    fn new(gpu: &Context, layout: &Layout, ty: CacheType, side: Side, room: Room) -> Result<Self> {
        let codec = layout.codec(ty, side)?;
        let append = Append::load(gpu, &codec, layout.block)?;
        let (kv_heads, dim) = (layout.kv_heads as u64, codec.dim() as u64);
        let page = append.page().len();
        let name = side.name();
        let most = gpu.adapter.max_binding_bytes;
        let fit = |count: u64, each: Option<u64>| {
            let bytes = each.and_then(|each| each.checked_mul(count));
            if bytes.is_some_and(|bytes| bytes <= most) {
                None
            } else {
                Some(most / each.unwrap_or(u64::MAX))
            }
        };
        if let Some(blocks) = fit(room.blocks, kv_heads.checked_mul(4 * page)) {
            return Err(Error::Input(format!(
                "{name} of {} tokens in a layer are more than a binding of {} has, which is {most} bytes: {} tokens fit",
                room.blocks.saturating_mul(layout.block),
                gpu.adapter.name,
                blocks.saturating_mul(layout.block)
            )));
        }
        if let Some(sequences) = fit(room.slots, kv_heads.checked_mul(2 * dim * room.recent)) {
            return Err(Error::Input(format!(
                "the f16 {name} of {} sequences in a layer are more than a binding of {} has, which is {most} bytes: those of \
                 {sequences} fit",
                room.slots, gpu.adapter.name
            )));
        }
        let halves = layout.codec(CacheType::F16, side)?;
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

    fn page(&self) -> &Page {
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
        let together = layout.codec(types.keys, Side::Keys)?.tokens_together() as u64;
        let places = Places::new(layout.sinks, layout.recent, together);
        let blocks = to_u32(tokens.div_ceil(layout.block), "the number of blocks")?;
        let slots = to_u32(sequences, "the number of sequences")?;
        let room = Room { blocks: blocks.into(), slots: slots.into(), recent: places.kept() };
        let keys = SideStore::new(gpu, layout, types.keys, Side::Keys, room)?;
        let values = SideStore::new(gpu, layout, types.values, Side::Values, room)?;
        let halves = |side| layout.codec(CacheType::F16, side);
        let shape = layout.shape();
        let variant = attend::fastest(gpu, &keys.codec, &values.codec, shape, 1)?;
        let dim = layout.head_dim;
        let sizes = attend::sizes(types.keys, types.values, dim);
        Ok(Self {
            many: OnceLock::new(),
            paged: Attend::load(gpu, &variant, &keys.codec, &values.codec, false)?,
            recent: Attend::load(gpu, &attend::SHORT, &halves(Side::Keys)?, &halves(Side::Values)?, true)?,
            sizes: Buffer::from_slice(gpu, "sizes", 16, &sizes)?,
            no_sizes: Buffer::from_slice(gpu, "sizes", 16, &[0.0f32; 16])?,
            keep: Keep::load(gpu)?,
            rotate: Rotate::load(gpu)?,
            blocks: Blocks::new(blocks),
            slots: vec![None; slots as usize],
            number: CACHES.fetch_add(1, Ordering::Relaxed),
            created: 0,
            steps: 0,
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
    /// [`Error::Input`] for means of another shape, ones that are not finite, latents, and a cache with sequences; the device's.
    pub fn center(&mut self, gpu: &Context, means: &[f32]) -> Result<()> {
        let Layout { layers, kv_heads, head_dim, .. } = self.layout;
        if means.len() != layers * kv_heads * head_dim || means.iter().any(|mean| !mean.is_finite()) {
            return Err(Error::Shape(format!(
                "{} means are given, where [{layers}, {kv_heads}, {head_dim}] finite ones are expected",
                means.len()
            )));
        }
        if self.layout.rope.is_some() {
            return Err(Error::Input("latents are values too: they cannot be centred".into()));
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
        let there = |(slot, state): (usize, &Option<State>)| {
            state.as_ref().map(|state| Sequence {
                cache: self.number,
                slot: slot as u32,
                number: state.number,
            })
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
    /// [`Error::Full`] if there are as many as the cache has room for.
    pub fn create(&mut self) -> Result<Sequence> {
        let Some(slot) = self.slots.iter().position(Option::is_none) else {
            return Err(Error::Full(format!(
                "the cache has room for {} sequences, and all are taken: free one, or make a cache of more",
                self.slots.len()
            )));
        };
        self.created += 1;
        let (extent, blocks) = (Extent::default(), Vec::new());
        self.slots[slot] = Some(State { number: self.created, extent, blocks, missing: 0, step: 0 });
        Ok(Sequence { cache: self.number, slot: slot as u32, number: self.created })
    }

    /// A new sequence with the tokens of another. Their blocks are shared until one of the two writes into them.
    ///
    /// # Errors
    /// [`Error::Input`] if the sequence is not there or in the middle of a step, or if there is no room for one more; the device's.
    pub fn fork(&mut self, gpu: &Context, from: Sequence) -> Result<Sequence> {
        let state = self.whole(from)?.clone();
        let to = self.create()?;
        let rows = self.layout.kv_heads as u64 * self.places.kept();
        let own = |sequence: Sequence| u64::from(sequence.slot) * rows;
        let copied = self
            .stores()
            .try_for_each(|store| store.recent.copy_rows(gpu, &[(own(from)..own(from) + rows, own(to))]));
        if let Err(error) = copied {
            self.slots[to.slot as usize] = None;
            return Err(error);
        }
        state.blocks.iter().for_each(|&block| self.blocks.share(block));
        self.slots[to.slot as usize] = Some(State { number: to.number, step: 0, ..state });
        Ok(to)
    }

    /// Takes the newest tokens away, so that `length` are left. Up to
    /// [`ROLLBACK`](super::extent::ROLLBACK) tokens, counted from the longest that it has been, leave what there would be if they
    /// had never come; of more, tokens that stay may be encoded that would not be yet, and those of KIVI whose group of 32 is no
    /// longer whole become f16 again, as decoded.
    ///
    /// # Errors
    /// [`Error::Input`] if the sequence is not there, in the middle of a step, or of fewer tokens; the device's.
    pub fn truncate(&mut self, gpu: &Context, sequence: Sequence, length: u64) -> Result<()> {
        let state = self.whole(sequence)?;
        if length > state.extent.length {
            let (name, there) = (self.name(sequence), state.extent.length);
            return Err(Error::Input(format!("{name} has {there} tokens: {length} of them cannot be left")));
        }
        if length == state.extent.length {
            return Ok(());
        }
        let (extent, decoded) = self.places.cut(state.extent, length);
        if let Some(positions) = decoded {
            let block = state.blocks[(extent.encoded / self.layout.block) as usize];
            self.decode(gpu, sequence, block, positions)?;
        }
        self.put_back(sequence, extent);
        Ok(())
    }

    /// A sequence is so far now, between steps; blocks that it has no more tokens in are released.
    fn put_back(&mut self, sequence: Sequence, extent: Extent) {
        let needed = extent.encoded.div_ceil(self.layout.block) as usize;
        let Some(state) = &mut self.slots[sequence.slot as usize] else { return };
        (state.extent, state.step, state.missing) = (extent, 0, 0);
        let left = state.blocks.split_off(needed.min(state.blocks.len()));
        left.into_iter().rev().for_each(|block| self.blocks.release(block));
    }

    /// Ends a sequence, also in the middle of a step; its blocks that no other has are free again.
    ///
    /// # Errors
    /// [`Error::Input`] if it is not there: it may have been freed before.
    pub fn free(&mut self, sequence: Sequence) -> Result<()> {
        self.state(sequence)?;
        let blocks = self.slots[sequence.slot as usize].take().map(|state| state.blocks).unwrap_or_default();
        blocks.into_iter().rev().for_each(|block| self.blocks.release(block));
        Ok(())
    }

    /// Decodes these positions of a sequence's block into its ring, in every layer.
    fn decode(&self, gpu: &Context, sequence: Sequence, block: u32, positions: Range<u64>) -> Result<()> {
        let Layout { kv_heads, block: tokens, .. } = self.layout;
        let Places { sinks, ring, .. } = self.places;
        let heads = kv_heads as u64;
        let first = (positions.start - sinks) % tokens;
        let count = (positions.end - positions.start) as usize;
        // All is read before anything is written: the ring still has tokens of the longer sequence.
        let mut rows = Vec::new();
        for half in [&self.keys, &self.values] {
            let dim = half.codec.dim();
            for (layer, store) in half.stores.iter().enumerate() {
                let page = half.page();
                let pages = u64::from(block) * heads..(u64::from(block) + 1) * heads;
                let words: Vec<u32> = store.pool.read_rows(gpu, pages)?;
                for (head, words) in words.chunks_exact(page.len() as usize).enumerate() {
                    // Whole groups, up to the last token in question.
                    let encoded = page.take(words, (first + count as u64).next_multiple_of(GROUP as u64));
                    let mut decoded = half.codec.decode(&encoded)?.split_off(first as usize * dim);
                    decoded.truncate(count * dim);
                    if let Some(means) = self.means_of(half) {
                        let at = (layer * kv_heads + head) * dim;
                        center::add(&mut decoded, &means.values[at..][..dim]);
                    }
                    for (position, token) in positions.clone().zip(decoded.chunks_exact(dim)) {
                        let own = u64::from(sequence.slot) * heads + head as u64;
                        let row = own * self.places.kept() + sinks + (position - sinks) % ring;
                        // A scale that was rounded may put the largest values a little above what f16 holds.
                        let held = |&x: &f32| f16::from_f32(x.clamp(-LARGEST, LARGEST)).to_bits();
                        rows.push((store, row, token.iter().map(held).collect::<Vec<u16>>()));
                    }
                }
            }
        }
        rows.iter().try_for_each(|(store, row, token)| store.recent.write_rows(gpu, *row, token))
    }

    fn stores(&self) -> impl Iterator<Item = &Store> {
        self.keys.stores.iter().chain(&self.values.stores)
    }

    /// What these are centred by: keys, if anything.
    fn means_of(&self, half: &SideStore) -> Option<&Means> {
        self.means.as_ref().filter(|_| half.codec.side() == Side::Keys)
    }

    fn name(&self, sequence: Sequence) -> String {
        format!("sequence {}", sequence.number)
    }

    fn state(&self, sequence: Sequence) -> Result<&State> {
        match self.slots.get(sequence.slot as usize) {
            Some(Some(state)) if state.number == sequence.number && sequence.cache == self.number => {
                Ok(state)
            }
            _ => Err(Error::Input(format!(
                "{} is not in this cache: it may have been freed",
                self.name(sequence)
            ))),
        }
    }

    /// The state of a sequence that is not in the middle of a step.
    fn whole(&self, sequence: Sequence) -> Result<&State> {
        let state = self.state(sequence)?;
        if state.missing == 0 {
            return Ok(state);
        }
        Err(Error::Input(format!(
            "{} has {} of {} layers that its last step was not appended to: append to them, or abandon the step",
            self.name(sequence),
            state.missing,
            self.layout.layers
        )))
    }
}
