//! Cases of `append`.

use half::f16;

use super::{Case, Entry, Expected, FOLDED, Prepared, Random, Sample};
use crate::Result;
use crate::codec::{CacheType, Codec, Encoded, GROUP, HEAD_DIMS, Scale, Side};
use crate::gpu::{Buffer, Context, OpKind, Spec};
use crate::kv::append::{Append, BY_CHANNEL, ENCODERS, Pages, SPEC, encoder};
use crate::kv::keep::{Piece, Pieces, Recent};
use crate::kv::layout::Page;
use crate::oracle;
use crate::oracle::keep::slot;

/// The kernel's place in the registry.
pub const ENTRY: Entry = Entry {
    stem: "append",
    variants: &[SPEC],
    stages: &[BY_CHANNEL],
    decoders: ENCODERS,
    op: OpKind::F32,
    tests,
    benches,
};

const SIDES: [Side; 2] = [Side::Keys, Side::Values];

fn tests() -> Vec<Box<dyn Case>> {
    let mut cases: Vec<Box<dyn Case>> = Vec::new();
    let mut add = |codec: Result<Codec>, block, window, cuts: &[u64], centered| {
        cases.extend(
            codec.ok().map(|codec| Box::new(Appending::new(codec, block, window, cuts, centered)) as _),
        );
    };
    for (i, dim) in HEAD_DIMS.into_iter().enumerate() {
        for ty in CacheType::ALL {
            for side in SIDES {
                let codec = || Codec::new(ty, side, dim);
                // Tokens 35.. come from the ring up to 70, then from what is fresh; pieces of 1, 31, 33 across a block.
                let cuts: &[u64] = match codec().map_or(1, |codec| codec.tokens_together()) {
                    GROUP => &[32, 32, 64, 128],
                    _ => &[35, 36, 36, 67, 100],
                };
                add(codec(), if i % 2 == 0 { 32 } else { 64 }, (i as u64 % 3, 64, 70), cuts, i % 2 == 1);
            }
        }
    }
    for ty in CacheType::ALL {
        // From the first token on, all fresh: sinks too.
        for cuts in [&[0, 1][..], &[0, 0, 32], &[0, 31, 33]] {
            add(Codec::new(ty, Side::Values, 64), 256, (4, 0, 0), cuts, false);
        }
    }
    for ty in [CacheType::Q8_0, CacheType::Q4_0] {
        for dim in [80, 128] {
            add(
                Codec::new(ty, Side::Keys, dim).map(|codec| codec.rotate(true)),
                64,
                (4, 40, 44),
                &[3, 80],
                true,
            );
        }
    }
    let shorter = [CacheType::Q8_0, CacheType::Turbo3].map(|ty| (256, ty));
    for (rank, ty) in CacheType::ALL.map(|ty| (512, ty)).into_iter().chain(shorter) {
        add(Codec::latent(ty, rank), 64, (2, 64, 70), &[35, 36, 36, 67, 80], false);
    }
    for ty in [CacheType::Q8_0, CacheType::Turbo2] {
        add(
            Codec::latent(ty, 512).map(|codec| codec.rotate(true).scale(Scale::Norm)),
            32,
            (4, 40, 44),
            &[3, 40],
            false,
        );
    }
    for (side, scale) in [(Side::Keys, Scale::Norm), (Side::Values, Scale::Unbiased)] {
        let codec = Codec::new(CacheType::Turbo3, side, 96).map(|codec| codec.scale(scale));
        add(codec, 32, (0, 8, 40), &[33, 80], false);
    }
    // Many sequences that get nothing are workgroups too.
    for ty in [CacheType::Q8_0, CacheType::Kivi4] {
        let codec = Codec::new(ty, Side::Keys, 32).ok();
        let case = codec.map(|codec| {
            let together = codec.tokens_together().max(2);
            let others = FOLDED / (2 * 2048 / together);
            Appending { others, ..Appending::new(codec, 32, (4, 0, 0), &[0, 2048], false) }
        });
        cases.extend(case.map(|case| Box::new(case) as _));
    }
    cases
}

fn benches(bytes: u64) -> Vec<Box<dyn Case>> {
    let tokens = (bytes / (2 * 8 * 128)).clamp(256, 4_096).next_multiple_of(256);
    let types = [CacheType::Q8_0, CacheType::Q4_0, CacheType::Kivi4, CacheType::Turbo3];
    let codecs = types.into_iter().flat_map(|ty| Codec::new(ty, Side::Keys, 128));
    codecs.map(|codec| Box::new(Appending::new(codec, 256, (0, 0, 0), &[0, tokens], false)) as _).collect()
}

/// Pieces of a sequence that are appended one after another.
struct Appending {
    codec: Codec,
    kv_heads: u64,
    block: u64,
    sinks: u64,
    ring: u64,
    /// The position of the first fresh token.
    base: u64,
    /// Where the pieces end, counted behind the sinks; the first one begins at the first.
    cuts: Vec<u64>,
    /// `[positions, kv_heads, dim]`
    vectors: Vec<f16>,
    mean: Option<Vec<f32>>,
    table: Vec<u32>,
    blocks: u64,
    /// Sequences before it that get nothing.
    others: usize,
}

impl Appending {
    fn new(
        codec: Codec,
        block: u64,
        (sinks, ring, base): (u64, u64, u64),
        cuts: &[u64],
        centered: bool,
    ) -> Self {
        let end = cuts[cuts.len() - 1];
        let dim = codec.dim();
        let kv_heads = match dim {
            128 => 8,
            _ if codec.is_latent() => 1,
            _ => 2,
        };
        let mut random = Random::new(end + dim as u64);
        let values = ((sinks + end) * kv_heads) as usize * dim;
        let mut vectors = random.floats(values);
        for (i, vector) in vectors.chunks_exact_mut(dim).enumerate() {
            // A channel with outliers; tokens of zeros, of one value, of small values, of two that are equally large.
            vector[5] *= 20.0;
            match i % 37 {
                3 => vector.fill(0.0),
                5 => vector.fill(-0.75),
                7 => vector.iter_mut().for_each(|x| *x *= 1e-6),
                11 => vector[dim - 3] = -vector[5],
                13 => vector[..dim / 2].fill(-0.0),
                17 => vector.iter_mut().for_each(|x| *x *= 1e3),
                _ => (),
            }
        }
        let entries = end.div_ceil(block);
        // Pages lie in the pool backwards, with one between that is another sequence's.
        let blocks = 2 * entries + 1;
        let table = (0..entries).map(|entry| (blocks - 1 - 2 * entry) as u32).collect();
        let mean = centered.then(|| random.floats(kv_heads as usize * dim));
        Self {
            codec,
            kv_heads,
            block,
            sinks,
            ring,
            base,
            cuts: cuts.to_vec(),
            vectors: vectors.into_iter().map(f16::from_f32).collect(),
            mean,
            table,
            blocks,
            others: 1,
        }
    }

    fn page(&self) -> Result<Page> {
        Page::of(&self.codec, self.codec.side(), self.block)
    }

    /// The vector of a position and head.
    fn vector(&self, position: u64, head: u64) -> &[f16] {
        let dim = self.codec.dim();
        &self.vectors[(position * self.kv_heads + head) as usize * dim..][..dim]
    }

    /// What the ring and the sinks hold before the fresh tokens, behind those of another sequence.
    fn recent(&self) -> Vec<u32> {
        let (dim, slots) = (self.codec.dim(), self.sinks + self.ring);
        let mut halves = vec![f16::NAN; (2 * self.kv_heads * slots) as usize * dim];
        for position in (0..self.base).filter(|&position| position < self.sinks || self.ring > 0) {
            for head in 0..self.kv_heads {
                let to =
                    ((self.kv_heads + head) * slots + slot(position, self.sinks, self.ring)) as usize * dim;
                halves[to..to + dim].copy_from_slice(self.vector(position, head));
            }
        }
        words_of(&halves)
    }

    fn before(&self, page: &Page) -> Vec<u32> {
        Random::new(self.blocks).words((self.blocks * self.kv_heads * page.len()) as usize)
    }

    /// The words of the pool.
    fn pool(&self) -> Result<Vec<u32>> {
        let page = self.page()?;
        let mut pool = self.before(&page);
        let (first, end) = (self.cuts[0], self.cuts[self.cuts.len() - 1]);
        let (dim, together) = (self.codec.dim(), self.codec.tokens_together() as u64);
        for head in 0..self.kv_heads {
            let vectors: Vec<f16> =
                (first..end).flat_map(|token| self.vector(self.sinks + token, head)).copied().collect();
            let mean = self.mean.as_ref().map(|mean| &mean[head as usize * dim..][..dim]);
            let Encoded { codes, scales, .. } = oracle::append::append(&self.codec, &vectors, mean)?;
            for token in first..end {
                let entry = u64::from(self.table[(token / self.block) as usize]);
                let words = &mut pool[((entry * self.kv_heads + head) * page.len()) as usize..];
                let (at, row) = (token % self.block, token - first);
                for word in 0..page.words {
                    words[page.word(at, word) as usize] = codes[(row * page.words + word) as usize];
                }
                if !row.is_multiple_of(together) {
                    continue;
                }
                let halves = self.codec.halves() as u64;
                for half in 0..halves {
                    let place = page.half(at, half);
                    let bits = u32::from(scales[(row / together * halves + half) as usize]);
                    let shift = 16 * (place % 2);
                    let word = &mut words[(page.code_words() + place / 2) as usize];
                    *word = *word & !(0xffff << shift) | bits << shift;
                }
            }
        }
        Ok(pool)
    }
}

/// Two halves to a word.
fn words_of(halves: &[f16]) -> Vec<u32> {
    let word = |pair: &[f16]| u32::from(pair[0].to_bits()) | u32::from(pair[1].to_bits()) << 16;
    halves.chunks_exact(2).map(word).collect()
}

impl Case for Appending {
    fn name(&self) -> String {
        let Self { codec, block, sinks, ring, base, cuts, mean, others, .. } = self;
        let (ty, side, dim) = (codec.ty(), codec.side(), codec.dim());
        let side = if codec.is_latent() { "latents".to_owned() } else { format!("{side:?}") };
        let rotated = if codec.rotation().is_some() { " rotated" } else { "" };
        let centered = if mean.is_some() { " centered" } else { "" };
        format!(
            "{ty} {side} d={dim}{rotated}{centered} block={block} sinks={sinks} ring={ring} fresh from {base} at {cuts:?} \
             behind {others}"
        )
    }

    fn decoder(&self) -> Option<&'static str> {
        Some(encoder(self.codec.ty()))
    }

    fn prepare(&self, gpu: &Context, _: &Spec) -> Result<Prepared> {
        let append = Append::load(gpu, &self.codec, self.block)?;
        let (page, dim) = (append.page(), self.codec.dim() as u64);
        let slots = 2 * self.kv_heads * (self.sinks + self.ring);
        let recent = Buffer::from_slice(gpu, "recent", slots, &self.recent())?;
        let fresh = words_of(&self.vectors[(self.base * self.kv_heads * dim) as usize..]);
        let tokens = self.sinks + self.cuts[self.cuts.len() - 1] - self.base;
        let fresh = Buffer::from_slice(gpu, "fresh", tokens, &fresh)?;
        let all = self.others as u64 + 1;
        let other = vec![u32::MAX; self.others * self.table.len()];
        let table = Buffer::from_slice(gpu, "table", all, &[other, self.table.clone()].concat())?;
        let mean = self
            .mean
            .as_ref()
            .map(|mean| Buffer::from_slice(gpu, "mean", self.kv_heads, mean))
            .transpose()?;
        let pool = Buffer::new(gpu, "pool", self.blocks, 4 * self.kv_heads * page.len())?;
        let from =
            Recent { buffer: &recent, kv_heads: self.kv_heads, dim, sinks: self.sinks, ring: self.ring };
        let pages = Pages { table: &table, pool: &pool };
        let (mut passes, mut lists) = (Vec::new(), Vec::new());
        for cut in self.cuts.windows(2) {
            // Sequences that get nothing, then this one.
            let [first, end] = [cut[0] as u32, cut[1] as u32];
            let piece = Piece { slot: 1, row: 0, base: self.base as u32, tokens: tokens as u32, first, end };
            let mut list = vec![Piece::default(); self.others];
            list.push(piece);
            let buffer = Buffer::from_slice(gpu, "pieces", all, &list)?;
            let pieces = Pieces { list: &list, buffer: &buffer, fresh: &fresh };
            passes.push(append.bind(gpu, &from, &pieces, mean.as_ref(), &pages)?);
            lists.push(buffer);
        }
        let before = vec![("pool", self.before(page))];
        let others = [recent, fresh, table].into_iter().chain(mean).chain(lists).collect();
        Ok(Prepared { passes, outputs: vec![("pool", pool)], others, before })
    }

    fn expected(&self, _: &Sample) -> Vec<Expected> {
        // A codec that refuses the case expects no words at all.
        vec![Expected::Exact(self.pool().unwrap_or_default())]
    }
}
