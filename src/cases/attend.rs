//! Cases of `attend`.

use super::{Case, Entry, Expected, FOLDED, Prepared, Random, Sample};
use crate::Result;
use crate::codec::{CacheType, Codec, Encoded, GROUP, Pair, Side, center};
use crate::gpu::dispatch::Class;
use crate::gpu::{Bound, Buffer, Context, OpKind, Spec};
use crate::kv::attend::{
    self, Attend, Heads, Kept, Rule, STAGES, Span, VARIANTS, fits, partial_width, sizes,
};
use crate::kv::layout::Page;
use crate::kv::rotate::Rotate;
use crate::oracle;

/// The kernel's place in the registry.
pub const ENTRY: Entry = Entry {
    stem: "attend",
    variants: VARIANTS,
    stages: STAGES,
    decoders: &[],
    op: OpKind::F32,
    tests,
    benches,
};

/// Types of keys and values, the dimension and the variant: each pipeline is one of these, since a driver takes seconds to
/// compile one. Every type is among the keys and among the values; every dimension and every variant's tile occurs, and every turbo
/// type with its centroids in memory (of latents too) and selected.
const PIPELINES: [(CacheType, CacheType, u64, usize); 10] = [
    (CacheType::F16, CacheType::F16, 64, 3),
    (CacheType::Q8_0, CacheType::Turbo3, 128, 5),
    (CacheType::Q4_0, CacheType::Q8_0, 96, 0),
    (CacheType::Fp8, CacheType::Fp8, 128, 2),
    (CacheType::Kivi4, CacheType::Kivi4, 256, 1),
    (CacheType::Kivi2, CacheType::Q4_0, 128, 0),
    (CacheType::Turbo4, CacheType::Kivi2, 80, 2),
    (CacheType::Turbo3, CacheType::Turbo4, 64, 7),
    (CacheType::Turbo2, CacheType::Turbo2, 32, 0),
    (CacheType::Turbo2, CacheType::Turbo2, 128, 6),
];

fn tests() -> Vec<Box<dyn Case>> {
    let lengths = [0, 1, 31, 32, 33, 64, 257];
    let case = |at: usize, (kv, each): (u64, u64), lengths: &[usize]| {
        let (keys, values, dim, turn) = PIPELINES[at];
        Attending { turn, ..Attending::new(Pair { keys, values }, Heads { kv, each, dim }, lengths, at) }
    };
    let mut cases: Vec<Attending> = (0..PIPELINES.len()).map(|at| case(at, (2, 4), &lengths)).collect();
    // Several groups of HEADS query heads, and a group that is not whole.
    for at in [1, 5] {
        cases.push(case(at, (1, 8), &[100, 96]));
        cases.push(case(at, (3, 3), &[161]));
    }
    for at in [0, 2] {
        cases.push(Attending { window: 50, sinks: 4, ..case(at, (2, 1), &[300, 40, 8, 0]) });
    }
    cases.push(Attending { window: 50, ..case(0, (2, 1), &[300, 40, 8, 0]) });
    cases.push(Attending { soft_cap: 2.0, ..case(0, (2, 1), &[300, 40, 8, 0]) });
    // Of keys that are rotated too.
    cases.push(Attending { soft_cap: 2.0, centred: true, ..case(2, (1, 2), &[300, 40, 8]) });
    cases.push(Attending { centred: true, ..case(6, (2, 4), &[65]) });
    // Keys by token are a pipeline of their own.
    let ring = || Attending { turn: 0, ..case(0, (2, 1), &[300, 40, 8, 0]) };
    cases.push(Attending { ring: Some((4, 96)), ..ring() });
    cases.push(Attending { ring: Some((0, 64)), window: 40, sinks: 2, ..ring() });
    cases.extend(latents());
    cases.extend(tiles());
    // More query heads than a row of a grid has workgroups, each one's own.
    cases.push(case(8, (1, FOLDED as u64), &[33]));
    cases.into_iter().map(|case| Box::new(case) as Box<dyn Case>).collect()
}

/// Of queries that are neighbours, in tiles of them: every way that words and scales lie, each rule, and runs that are no whole tiles.
fn tiles() -> Vec<Attending> {
    let case = |at: usize, (kv, each): (u64, u64), queries, lengths: &[usize]| {
        let (keys, values, dim, _) = PIPELINES[at];
        let plain = Attending::new(Pair { keys, values }, Heads { kv, each, dim }, lengths, at);
        Attending { queries, tiled: true, turn: at, ..plain }
    };
    let lengths = [33, 200];
    let mut cases: Vec<Attending> = (0..PIPELINES.len()).map(|at| case(at, (2, 4), 9, &lengths)).collect();
    // A row of less than a tile, and heads of a query in two tiles.
    cases.push(case(1, (1, 1), 1, &[0, 1, 64, 257]));
    cases.push(case(1, (2, 5), 13, &[13, 300]));
    cases.push(case(1, (1, 71), 3, &[90]));
    cases.push(Attending { tiled: false, ..case(1, (2, 4), 9, &lengths) });
    for (window, sinks) in [(50, 4), (7, 0), (20, 2)] {
        cases.push(Attending { window, sinks, ..case(0, (2, 1), 40, &[300, 40]) });
    }
    cases.push(Attending { soft_cap: 2.0, centred: true, ..case(2, (1, 2), 20, &[300, 40]) });
    let ring = || case(0, (2, 2), 30, &[300, 40, 101]);
    cases.push(Attending { ring: Some((4, 96)), ..ring() });
    cases.push(Attending { ring: Some((0, 64)), window: 40, sinks: 2, ..ring() });
    // More splits than a row of a grid has workgroups, most of which see no token.
    cases.push(Attending { splits: Some((FOLDED as u64, 1)), ..case(8, (1, 1), 2, &[70]) });
    cases
}

/// Of latents: six pipelines, one for each way that scales and codes lie, and f16 by token.
fn latents() -> Vec<Attending> {
    let case = |ty, each, (rank, rope), lengths: &[usize], seed| {
        let heads = Heads { kv: 1, each, dim: rank };
        let plain = Attending::new(Pair { keys: CacheType::F16, values: ty }, heads, lengths, seed);
        Attending { rope: Some(rope), turn: seed, ..plain }
    };
    let (long, short) = ([0, 1, 31, 33, 257], [257, 33]);
    let f16 = |each| case(CacheType::F16, each, (512, 64), &long, 32);
    let q8_0 = |each| case(CacheType::Q8_0, each, (512, 64), &short, 31);
    let ring = || case(CacheType::F16, 3, (256, 32), &[300, 40, 8, 0], 29);
    vec![
        f16(16),
        Attending { window: 50, sinks: 4, ..f16(3) },
        Attending { window: 31, soft_cap: 2.0, ..f16(3) },
        Attending { ring: Some((4, 96)), ..ring() },
        Attending { ring: Some((0, 64)), window: 40, sinks: 2, soft_cap: 2.0, ..ring() },
        q8_0(3),
        Attending { rotated: true, ..q8_0(16) },
        case(CacheType::Fp8, 3, (256, 32), &long, 32),
        case(CacheType::Kivi2, 3, (512, 64), &short, 30),
        case(CacheType::Turbo3, 16, (512, 64), &long, 32),
        Attending { window: 100, sinks: 1, ..case(CacheType::Turbo3, 5, (512, 64), &short, 32) },
    ]
}

fn benches(bytes: u64) -> Vec<Box<dyn Case>> {
    let heads = Heads { kv: 8, each: 4, dim: 128 };
    let tokens = (bytes as usize / (2 * 2 * 8 * 128)).clamp(256, 1 << 17);
    let of_heads = [CacheType::F16, CacheType::Q8_0, CacheType::Q4_0, CacheType::Turbo3]
        .into_iter()
        .map(|ty| Box::new(Attending::new(ty.into(), heads, &[tokens], 1)) as Box<dyn Case>);
    let latents = Heads { kv: 1, each: 16, dim: 512 };
    let tokens = (bytes as usize / (2 * (512 + 64))).clamp(256, 1 << 17);
    let of_latents = [CacheType::F16, CacheType::Q8_0, CacheType::Turbo4].into_iter().map(|ty| {
        let pair = Pair { keys: CacheType::F16, values: ty };
        Box::new(Attending { rope: Some(64), ..Attending::new(pair, latents, &[tokens], 1) }) as Box<dyn Case>
    });
    // A part of a prompt behind what there is of it.
    let tokens = (tokens / 4).max(256);
    let of_prompts = [CacheType::F16, CacheType::Q8_0].into_iter().map(|ty| {
        let heads = Heads { kv: 2, ..heads };
        Box::new(Attending { queries: 64, tiled: true, ..Attending::new(ty.into(), heads, &[tokens], 1) })
            as Box<dyn Case>
    });
    of_heads.chain(of_latents).chain(of_prompts).collect()
}

/// Sequences of some lengths. Tokens of the whole sequence that do not lie here are before those that do.
struct Attending {
    types: Pair,
    heads: Heads,
    lengths: Vec<usize>,
    /// So many of the newest tokens of each sequence ask.
    queries: usize,
    /// Only as those variants that share loads among queries.
    tiled: bool,
    /// Splits and tokens of each, if not as many as is usual.
    splits: Option<(u64, u64)>,
    seed: usize,
    turn: usize,
    window: u32,
    sinks: u32,
    soft_cap: f32,
    /// Tokens lie in one page, so many first ones in order, the others in a ring of so many.
    ring: Option<(usize, usize)>,
    /// A mean is subtracted from the keys.
    centred: bool,
    /// Values are latents, and keys their rope keys, of so many values.
    rope: Option<u64>,
    /// Latents of q8_0 or q4_0 are rotated.
    rotated: bool,
}

/// Tokens of a block.
const BLOCK: usize = 64;

/// Up to so many tokens, each head is compared with its oracle.
const SHORT: usize = 16_384;

impl Attending {
    fn new(types: Pair, heads: Heads, lengths: &[usize], seed: usize) -> Self {
        let lengths = lengths.to_vec();
        Self {
            types,
            heads,
            lengths,
            queries: 1,
            tiled: false,
            splits: None,
            seed,
            turn: 0,
            window: u32::MAX,
            sinks: 0,
            soft_cap: 0.0,
            ring: None,
            centred: false,
            rope: None,
            rotated: false,
        }
    }

    fn codec(&self, side: Side) -> Result<Codec> {
        let (ty, dim) = (self.types, self.dim(side));
        match (side, self.rope) {
            (Side::Keys, _) => Codec::new(ty.keys, side, dim),
            (Side::Values, None) => Codec::new(ty.values, side, dim),
            (Side::Values, Some(_)) => Codec::latent(ty.values, dim).map(|codec| codec.rotate(self.rotated)),
        }
    }

    fn dim(&self, side: Side) -> usize {
        if side == Side::Keys {
            self.rope.unwrap_or(self.heads.dim) as usize
        } else {
            self.heads.dim as usize
        }
    }

    /// Values of a query.
    fn query(&self) -> u64 {
        self.heads.dim + self.rope.unwrap_or(0)
    }

    /// `[queries, kv * each, query]`.
    fn queries(&self) -> Vec<f32> {
        let Heads { kv, each, .. } = self.heads;
        Random::new(self.seed as u64)
            .floats(self.lengths.len() * self.queries * (kv * each * self.query()) as usize)
    }

    /// Tokens of a sequence that lie here, and their positions.
    fn positions(&self, sequence: usize) -> Vec<usize> {
        let length = self.lengths[sequence];
        match self.ring {
            None => (0..length).collect(),
            Some((sinks, ring)) => {
                let sinks = sinks.min(length);
                (0..sinks).chain(length - ring.min(length - sinks)..length).collect()
            }
        }
    }

    /// What a token of a sequence sees that has `newer` ones behind it.
    fn span(&self, sequence: usize, newer: usize) -> Span {
        let whole = self.lengths[sequence] as u32;
        let all = self.positions(sequence).len() as u32;
        let (length, tokens) = (whole.saturating_sub(newer as u32), all.saturating_sub(newer as u32));
        match self.ring {
            None => {
                let first = if self.sinks == 0 { length.saturating_sub(self.window) } else { 0 };
                Span { tokens, length, first, ..Span::default() }
            }
            Some((sinks, ring)) => {
                let sinks = (sinks as u32).min(whole);
                let base = whole - (all - sinks);
                let ring = ring as u32;
                Span { tokens, sinks, ring, start: (base - sinks) % ring, base, length, first: 0 }
            }
        }
    }

    /// Of every query.
    fn spans(&self) -> Vec<Span> {
        let of = |sequence| (0..self.queries).rev().map(move |newer| self.span(sequence, newer));
        (0..self.lengths.len()).flat_map(of).collect()
    }

    /// The vectors of a kv head of a sequence, `[tokens, dim]`, in whole groups; those of keys a little apart from 0.
    fn vectors(&self, side: Side, sequence: usize, head: u64) -> Vec<f32> {
        let count = self.positions(sequence).len().next_multiple_of(GROUP) * self.dim(side);
        let number = (self.seed * 64 + sequence) as u64 * 64 + 2 * head + u64::from(side == Side::Keys);
        Random::new(number + 1000).floats(count).iter().map(|x| 2.0 * x + 0.25).collect()
    }

    /// What is subtracted from the keys of a kv head, or nothing.
    fn mean(&self, head: u64) -> Option<Vec<f32>> {
        let dim = self.heads.dim as usize;
        self.centred.then(|| Random::new(head + 7).floats(dim).iter().map(|x| 4.0 * x).collect())
    }

    /// The vectors as they are kept, and what they are then.
    fn encode(&self, side: Side, vectors: &[f32], head: u64) -> Result<(Encoded, Vec<f32>)> {
        let (codec, mean) = (self.codec(side)?, self.mean(head).filter(|_| side == Side::Keys));
        let mut vectors = vectors.to_vec();
        if let Some(mean) = &mean {
            center::subtract(&mut vectors, mean);
        }
        let encoded = codec.encode(&vectors)?;
        let mut decoded = codec.decode(&encoded)?;
        if let Some(mean) = &mean {
            decoded
                .chunks_exact_mut(mean.len())
                .flat_map(|x| x.iter_mut().zip(mean))
                .for_each(|(x, m)| *x += m);
        }
        Ok((encoded, decoded))
    }

    /// The pages of one side, `[blocks, kv_heads]`: of each sequence its own, backwards. A ring is one block.
    fn pool(&self, side: Side, page: &Page) -> Result<Vec<u32>> {
        let mut blocks = Vec::new();
        for sequence in 0..self.lengths.len() {
            let span = self.span(sequence, 0);
            let mut of_heads = Vec::new();
            for head in 0..self.heads.kv {
                let dim = page.dim as usize;
                let mut vectors = self.vectors(side, sequence, head);
                if let Some((sinks, ring)) = self.ring {
                    let own = std::mem::replace(&mut vectors, vec![0.0; page.block as usize * dim]);
                    for token in 0..span.tokens as usize {
                        let slot = match token.checked_sub(span.sinks as usize) {
                            Some(behind) => sinks + (span.start as usize + behind) % ring,
                            None => token,
                        };
                        vectors[slot * dim..][..dim].copy_from_slice(&own[token * dim..][..dim]);
                    }
                }
                let pages: Vec<Vec<u32>> = vectors
                    .chunks(page.block as usize * dim)
                    .map(|vectors| self.encode(side, vectors, head).map(|(encoded, _)| page.put(&encoded)))
                    .collect::<Result<_>>()?;
                of_heads.push(pages);
            }
            for block in (0..of_heads[0].len()).rev() {
                of_heads.iter().for_each(|pages| blocks.push(pages[block].clone()));
            }
        }
        Ok(blocks.concat())
    }

    /// Blocks of each sequence.
    fn blocks(&self, sequence: usize, block: u64) -> u32 {
        let groups = self.positions(sequence).len().next_multiple_of(GROUP);
        if self.ring.is_some() { 1 } else { groups.div_ceil(block as usize) as u32 }
    }

    fn rule(&self) -> Rule {
        let plain = Rule::plain(self.query());
        Rule { window: self.window, sinks: self.sinks, soft_cap: self.soft_cap, ..plain }
    }
}

impl Case for Attending {
    fn name(&self) -> String {
        let Self { types, heads: Heads { kv, each, dim }, lengths, window, sinks, soft_cap, ring, .. } = self;
        let mut name = format!("{types} kv={kv} G={each} d={dim} tokens={lengths:?}");
        if self.queries > 1 {
            name += &format!(" queries={}", self.queries);
        }
        if *window < u32::MAX {
            name += &format!(" window={window} sinks={sinks}");
        }
        if *soft_cap > 0.0 {
            name += &format!(" cap={soft_cap}");
        }
        if self.centred {
            name += " centred";
        }
        if let Some(rope) = self.rope {
            name += &format!(" latents rope={rope}{}", if self.rotated { " rotated" } else { "" });
        }
        if let Some(ring) = ring {
            name += &format!(" ring={ring:?}");
        }
        name
    }

    fn class(&self) -> Class {
        attend::class(self.types.keys, self.types.values, self.heads)
    }

    fn turn(&self) -> Option<usize> {
        Some(self.turn)
    }

    fn suits(&self, spec: &Spec) -> bool {
        let (Ok(keys), Ok(values)) = (self.codec(Side::Keys), self.codec(Side::Values)) else { return false };
        (!self.tiled || attend::is_tiled(spec)) && fits(spec, &keys, &values).is_ok_and(|fits| fits)
    }

    fn prepare(&self, gpu: &Context, spec: &Spec) -> Result<Prepared> {
        let Heads { kv, each, dim } = self.heads;
        let (keys, values) = (self.codec(Side::Keys)?, self.codec(Side::Values)?);
        let block = self.ring.map_or(BLOCK, |(sinks, ring)| (sinks + ring).next_multiple_of(GROUP)) as u64;
        // A ring is kept as it comes, by token.
        let key_side = if self.ring.is_some() { Side::Values } else { Side::Keys };
        let key_page = Page::of(&keys, key_side, block)?;
        let value_page = Page::of(&values, Side::Values, block)?;
        let spans = self.spans();
        let asked = spans.len() as u64;
        let attend = Attend::load(gpu, spec, &keys, &values, self.ring.is_some())?;
        let runs = vec![self.queries as u64; self.lengths.len()];
        let mut cut = attend.cut(gpu, &spans, &runs, self.heads);
        let pool = |side, page: &Page, label| {
            let words = self.pool(side, page)?;
            // A sequence of no tokens still needs a page to look at.
            let rows = (words.len() as u64 / page.len()).max(kv);
            let mut padded = words;
            padded.resize((rows * page.len()) as usize, 0);
            Buffer::from_slice(gpu, label, rows, &padded)
        };
        let counts: Vec<u32> = (0..self.lengths.len()).map(|s| self.blocks(s, block)).collect();
        let width = counts.iter().copied().max().unwrap_or(0).max(1);
        let blocks = |sequence: usize| {
            let (count, first) = (counts[sequence], counts[..sequence].iter().sum::<u32>());
            (0..width).map(|i| if i < count { first + count - 1 - i } else { 0 }).collect()
        };
        let buffers = [
            pool(Side::Keys, &key_page, "keys")?,
            pool(Side::Values, &value_page, "values")?,
            cut.table(gpu, blocks)?,
            Buffer::from_slice(gpu, "spans", asked, &spans)?,
            Buffer::from_slice(gpu, "sizes", 16, &sizes(keys.ty(), values.ty(), dim as usize))?,
        ];
        let [keys_buffer, values_buffer, table, spans, sizes] = &buffers;
        let none = || vec![0.0; self.query() as usize];
        let mut means: Vec<f32> = (0..kv).flat_map(|head| self.mean(head).unwrap_or_else(none)).collect();
        // Whose basis queries have, in their first values.
        let basis = if self.rope.is_some() { &values } else { &keys };
        if let Some(rotation) = basis.rotation().filter(|_| self.centred) {
            means.chunks_exact_mut(dim as usize).for_each(|mean| rotation.forward(mean));
        }
        let mean = Buffer::from_slice(gpu, "mean", kv, &means)?;
        let kept = Kept {
            keys: keys_buffer,
            values: values_buffer,
            table,
            spans,
            key_page,
            value_page,
            sizes,
            mean: self.centred.then_some(&mean),
        };
        let most = self.lengths.iter().copied().max().unwrap_or(0) as u64;
        let usual = if most > 4096 { most.div_ceil(16) } else { 128 };
        let (count, tokens) = self.splits.unwrap_or((most.div_ceil(usual).max(1), usual));
        (cut.count, cut.tokens) = (count, tokens);
        let queries = Buffer::from_slice(gpu, "queries", asked * kv * each, &self.queries())?;
        let rows = asked * kv * count * each;
        let partial = Buffer::new(gpu, "partial", rows, 16 * partial_width(dim))?;
        let output = Buffer::new(gpu, "output", asked * kv * each, 4 * dim)?;
        let turned = Buffer::new(gpu, "rotated queries", queries.rows(), 4 * self.query())?;
        let mut passes = Vec::new();
        let own = if basis.rotation().is_some() {
            passes.push(Rotate::load(gpu)?.bind(gpu, &queries, &turned, dim)?);
            &turned
        } else {
            &queries
        };
        passes.push(attend.bind(gpu, own, &kept, &partial, self.heads, self.rule(), &cut, (0, count))?);
        let rotated = if values.rotation().is_some() { count } else { 0 };
        passes.push(attend.bind_merge(gpu, &partial, &output, self.heads, (count, rotated))?);
        Ok(Prepared {
            passes,
            outputs: vec![("output", output)],
            others: buffers.into_iter().chain([queries, turned, partial, mean]).collect(),
            before: Vec::new(),
        })
    }

    fn rows(&self) -> usize {
        self.lengths.len() * self.queries * (self.heads.kv * self.heads.each) as usize
    }

    fn sample(&self, passes: &[Bound]) -> Sample {
        let (rows, each) = (self.rows(), self.heads.each as usize);
        match self.lengths.iter().sum::<usize>() {
            ..SHORT => Sample::of(rows, passes),
            // To decode a long sequence for every head takes an oracle long.
            _ => Sample::only(rows, (0..each).chain(rows - each..rows)),
        }
    }

    fn expected(&self, sample: &Sample) -> Vec<Expected> {
        let Heads { kv, each, dim } = self.heads;
        let (dim, query) = (dim as usize, self.query() as usize);
        let group = each as usize * query;
        let (mut values, mut bounds) = (Vec::new(), Vec::new());
        let queries = self.queries();
        let rotated = self.codec(Side::Values).is_ok_and(|codec| codec.rotation().is_some());
        let rule = oracle::attend::Rule {
            scale: f64::from(self.rule().scale),
            soft_cap: self.soft_cap.into(),
            window: self.window.try_into().unwrap_or(usize::MAX),
            sinks: self.sinks as usize,
        };
        for (i, queries) in queries.chunks_exact(group).enumerate() {
            let own = |&&row: &&usize| row / each as usize == i;
            let chosen = sample.rows().iter().filter(own).map(|row| row % each as usize);
            let queries: Vec<f32> =
                chosen.flat_map(|row| &queries[row * query..][..query]).copied().collect();
            if queries.is_empty() {
                continue;
            }
            let queries = queries.as_slice();
            let (query_token, head) = (i / kv as usize, i as u64 % kv);
            let sequence = query_token / self.queries;
            let decoded = |side| self.encode(side, &self.vectors(side, sequence, head), head);
            let (Ok((_, keys)), Ok((_, of_values))) = (decoded(Side::Keys), decoded(Side::Values)) else {
                continue;
            };
            let mean = self.mean(head).unwrap_or_default();
            let mean = mean.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
            // In the whole sequence; what does not lie here is as if it were not seen.
            let newer = self.queries - 1 - query_token % self.queries;
            let (positions, length) =
                (self.positions(sequence), self.lengths[sequence].saturating_sub(newer));
            let seen: Vec<usize> =
                (0..positions.len()).filter(|&token| rule.sees(length, positions[token])).collect();
            let key_dim = self.dim(Side::Keys);
            let value = |t: usize| of_values[t * dim..][..dim].to_vec();
            // A latent is the first part of its token's key.
            let key = |t: usize| {
                let latent = if self.rope.is_some() { value(t) } else { Vec::new() };
                [&latent, &keys[t * key_dim..][..key_dim]].concat()
            };
            let keys: Vec<f32> = seen.iter().flat_map(|&t| key(t)).collect();
            let of_values: Vec<f32> = seen.iter().flat_map(|&t| value(t)).collect();
            let all = oracle::attend::Rule { window: usize::MAX, ..rule };
            let found = oracle::attend::attend(queries, &keys, &of_values, query, dim, seen.len(), &all);
            values.extend(found.output);
            let dims = (query, dim);
            bounds.extend(oracle::attend::bound(queries, &keys, &of_values, dims, &all, mean, rotated));
        }
        vec![Expected::Within { values, bounds }]
    }
}
