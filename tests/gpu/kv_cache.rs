//! The cache against a plain model of it: every token as a list of floats.

use half::f16;
use lowbit::internals::codec::{CacheType, Codec, Pair, Side, center};
use lowbit::internals::gpu::Context;
use lowbit::internals::kv::attend::Rule;
use lowbit::internals::kv::extent::{Extent, Places};
use lowbit::internals::kv::{Capacity, KvCache, Layout, Queries, Sequence};
use lowbit::internals::oracle;
use lowbit::internals::random::Random;

use crate::harness::device;

/// What a cache is made of, and what a model needs to know of it.
struct Plan {
    layout: Layout,
    types: Pair,
    /// `[layers, kv_heads, dim]`
    means: Option<Vec<f32>>,
    rule: Rule,
}

impl Plan {
    fn new(types: &str, layout: Layout) -> Self {
        let rule = Rule::plain(layout.head_dim as u64);
        Self { layout, types: types.parse().unwrap(), means: None, rule }
    }

    fn centred(mut self) -> Self {
        let Layout { layers, kv_heads, head_dim, .. } = self.layout;
        let means = Random::new(99).floats(layers * kv_heads * head_dim);
        self.means = Some(means.iter().map(|x| 3.0 * x).collect());
        self
    }

    fn codec(&self, side: Side) -> Codec {
        let ty = if side == Side::Keys { self.types.keys } else { self.types.values };
        match self.layout.rope {
            Some(rope) if side == Side::Keys => Codec::new(ty, side, rope).unwrap(),
            Some(_) => Codec::latent(ty, self.layout.head_dim).unwrap(),
            None => Codec::new(ty, side, self.layout.head_dim).unwrap().rotate(self.layout.rotate),
        }
    }

    /// Values of keys, of values and of queries.
    fn dims(&self) -> [usize; 3] {
        let Layout { head_dim, rope, .. } = self.layout;
        [rope.unwrap_or(head_dim), head_dim, head_dim + rope.unwrap_or(0)]
    }

    fn places(&self) -> Places {
        let together = self.codec(Side::Keys).tokens_together() as u64;
        Places::new(self.layout.sinks, self.layout.recent, together)
    }

    fn cache(&self, gpu: &Context, tokens: u64, sequences: u64) -> KvCache {
        let capacity = Capacity { tokens, sequences };
        let mut cache = KvCache::new(gpu, &self.layout, self.types, capacity).unwrap();
        if let Some(means) = &self.means {
            cache.center(gpu, means).unwrap();
        }
        cache
    }

    fn mean(&self, layer: usize, head: usize) -> Option<&[f32]> {
        let Layout { kv_heads, head_dim, .. } = self.layout;
        self.means.as_ref().map(|means| &means[(layer * kv_heads + head) * head_dim..][..head_dim])
    }
}

/// The vector of a token as it came, and as attention sees it now.
#[derive(Clone)]
struct Token {
    came: Vec<f32>,
    seen: Vec<f32>,
}

/// A sequence: `[layers][keys, values][kv_heads][tokens]`.
#[derive(Clone)]
struct Plain {
    extent: Extent,
    tokens: Vec<[Vec<Vec<Token>>; 2]>,
}

const SIDES: [Side; 2] = [Side::Keys, Side::Values];

impl Plain {
    fn new(plan: &Plan) -> Self {
        let empty = || [(); 2].map(|()| vec![Vec::new(); plan.layout.kv_heads]);
        Self { extent: Extent::default(), tokens: (0..plan.layout.layers).map(|_| empty()).collect() }
    }

    /// `[layers][keys, values]`, each `[tokens, kv_heads, dim]`.
    fn append(&mut self, plan: &Plan, new: &[[Vec<f32>; 2]], count: u64) {
        let Layout { kv_heads, sinks, .. } = plan.layout;
        let after = plan.places().grown(self.extent, count);
        let encoded = (sinks + self.extent.encoded) as usize..(sinks + after.encoded) as usize;
        for (layer, (sides, new)) in self.tokens.iter_mut().zip(new).enumerate() {
            for ((side, heads), new) in SIDES.into_iter().zip(sides).zip(new) {
                let head_dim = plan.codec(side).dim();
                for (i, vector) in new.chunks_exact(head_dim).enumerate() {
                    let came: Vec<f32> = vector.iter().map(|&x| f16::from_f32(x).to_f32()).collect();
                    heads[i % kv_heads].push(Token { seen: came.clone(), came });
                }
                let codec = plan.codec(side);
                for (head, tokens) in heads.iter_mut().enumerate().filter(|_| !encoded.is_empty()) {
                    let tokens = &mut tokens[encoded.clone()];
                    let mut vectors: Vec<f32> = tokens.iter().flat_map(|token| token.came.clone()).collect();
                    let mean = plan.mean(layer, head).filter(|_| side == Side::Keys);
                    if let Some(mean) = mean {
                        center::subtract(&mut vectors, mean);
                    }
                    let mut decoded = codec.decode(&codec.encode(&vectors).unwrap()).unwrap();
                    if let Some(mean) = mean {
                        center::add(&mut decoded, mean);
                    }
                    for (token, decoded) in tokens.iter_mut().zip(decoded.chunks_exact(head_dim)) {
                        token.seen = decoded.to_vec();
                    }
                }
            }
        }
        self.extent = after;
    }

    fn truncate(&mut self, plan: &Plan, length: u64) {
        let (extent, decoded) = plan.places().cut(self.extent, length);
        let plain = (plan.layout.sinks + extent.encoded) as usize;
        for tokens in self.tokens.iter_mut().flatten().flatten() {
            tokens.truncate(length as usize);
            for (position, token) in tokens.iter_mut().enumerate().skip(plain) {
                if decoded.as_ref().is_some_and(|range| range.contains(&(position as u64))) {
                    token.came = token.seen.iter().map(|&x| f16::from_f32(x).to_f32()).collect();
                }
                token.seen = token.came.clone();
            }
        }
        self.extent = extent;
    }

    /// Whether `found`, the outputs of the newest of `length` tokens, is what f64 attention over the tokens gives.
    fn check(&self, plan: &Plan, layer: usize, queries: &[f32], length: u64, found: &[f32], name: &str) {
        let Layout { heads, kv_heads, head_dim: dim, .. } = plan.layout;
        let [_, _, query] = plan.dims();
        let row = heads / kv_heads * dim;
        let rule = oracle::attend::Rule {
            scale: plan.rule.scale.into(),
            soft_cap: plan.rule.soft_cap.into(),
            window: plan.rule.window.try_into().unwrap(),
            sinks: plan.rule.sinks as usize,
        };
        let all = oracle::attend::Rule { window: usize::MAX, ..rule };
        let rotated = plan.codec(Side::Values).rotation().is_some();
        for head in 0..kv_heads {
            let take = |side: usize| -> Vec<f32> {
                let tokens = self.tokens[layer][side][head][..length as usize].iter().enumerate();
                let seen = tokens.filter(|(position, _)| rule.sees(length as usize, *position));
                seen.flat_map(|(_, token)| token.seen.clone()).collect()
            };
            let (mut keys, values) = (take(0), take(1));
            if let Some(rope) = plan.layout.rope {
                let both = values.chunks_exact(dim).zip(keys.chunks_exact(rope));
                keys = both.flat_map(|(latent, rope)| [latent, rope].concat()).collect();
            }
            let each = heads / kv_heads * query;
            let queries = &queries[head * each..][..each];
            let mean = plan.mean(layer, head).unwrap_or_default();
            let mean = mean.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
            let expected =
                oracle::attend::attend(queries, &keys, &values, query, dim, values.len() / dim, &all);
            let bounds = oracle::attend::bound(queries, &keys, &values, (query, dim), &all, mean, rotated);
            for (i, (&expected, bound)) in expected.output.iter().zip(bounds).enumerate() {
                let found = f64::from(found[head * row + i]);
                assert!(
                    (found - expected).abs() <= bound,
                    "{name}: {} layer {layer}, kv head {head}, {length} tokens, value {i}: {found}, not {expected} within {bound}",
                    plan.types
                );
            }
        }
    }
}

/// A cache and the plain model of each of its sequences.
struct Both<'a> {
    gpu: &'a Context,
    plan: &'a Plan,
    cache: KvCache,
    sequences: Vec<(Sequence, Plain)>,
    random: Random,
}

impl<'a> Both<'a> {
    fn new(gpu: &'a Context, plan: &'a Plan, tokens: u64, sequences: u64) -> Self {
        let cache = plan.cache(gpu, tokens, sequences);
        Self { gpu, plan, cache, sequences: Vec::new(), random: Random::new(17) }
    }

    fn create(&mut self) {
        let sequence = self.cache.create().unwrap();
        self.sequences.push((sequence, Plain::new(self.plan)));
    }

    /// Appends to these sequences (by place) and attends, at the newest tokens or, if `every`, at every new one.
    fn step(&mut self, grow: &[(usize, u64)], every: bool, name: &str) -> lowbit::internals::Result<()> {
        let Layout { layers, heads, kv_heads, head_dim, .. } = self.plan.layout;
        let list: Vec<(Sequence, u64)> =
            grow.iter().map(|&(at, tokens)| (self.sequences[at].0, tokens)).collect();
        let mut step = self.cache.begin(self.gpu, &list)?;
        let [keys, values, query] = self.plan.dims();
        let new: Vec<Vec<[Vec<f32>; 2]>> = grow
            .iter()
            .map(|&(_, tokens)| {
                let mut vectors = |dim: usize, offset: f32| -> Vec<f32> {
                    let floats = self.random.floats(tokens as usize * kv_heads * dim);
                    floats.into_iter().map(|x| 2.0 * x + offset).collect()
                };
                (0..layers).map(|_| [vectors(keys, 0.5), vectors(values, 0.0)]).collect()
            })
            .collect();
        for layer in 0..layers {
            let [keys, values] =
                [0, 1].map(|side| new.iter().flat_map(|new| new[layer][side].clone()).collect::<Vec<f32>>());
            if step.tokens() > 0 {
                self.cache.append(self.gpu, &mut step, layer, &keys, &values)?;
            }
        }
        for (&(at, tokens), new) in grow.iter().zip(&new) {
            self.sequences[at].1.append(self.plan, new, tokens);
            let length = self.sequences[at].1.extent.length;
            assert_eq!(self.cache.length(self.sequences[at].0).unwrap(), length);
        }
        let mut asked: Vec<(usize, u64)> = Vec::new();
        for &(at, tokens) in grow {
            let length = self.sequences[at].1.extent.length;
            let first = if every { length - tokens + 1 } else { length };
            asked.extend((first..=length).map(|length| (at, length)));
        }
        if every {
            step.ask(Queries::New);
        }
        for layer in 0..layers {
            let [asks, each] = [query, head_dim].map(|dim| heads * dim);
            let queries = self.random.floats(asked.len() * asks);
            let found = self.cache.attend(self.gpu, &mut step, layer, &queries, &self.plan.rule)?;
            for (i, &(at, length)) in asked.iter().enumerate() {
                let (queries, found) = (&queries[i * asks..][..asks], &found[i * each..][..each]);
                self.sequences[at].1.check(self.plan, layer, queries, length, found, name);
            }
        }
        Ok(())
    }

    fn fork(&mut self, from: usize) {
        let sequence = self.cache.fork(self.gpu, self.sequences[from].0).unwrap();
        let plain = self.sequences[from].1.clone();
        self.sequences.push((sequence, plain));
    }

    fn truncate(&mut self, at: usize, length: u64) {
        let (sequence, plain) = &mut self.sequences[at];
        self.cache.truncate(self.gpu, *sequence, length).unwrap();
        plain.truncate(self.plan, length);
    }
}

fn layout(head_dim: usize, sinks: u64, recent: u64, block: u64) -> Layout {
    Layout { block, sinks, recent, ..Layout::new(1, 8, 2, head_dim) }
}

#[test]
fn every_type_at_the_lengths_that_matter() {
    let gpu = device();
    // As few pipelines as have every type as keys and as values, every dimension, and every block.
    let pairs = [
        ("f16", 64, 64),
        ("q8_0:turbo3", 128, 64),
        ("q4_0:q8_0", 96, 16),
        ("fp8", 128, 48),
        ("kivi4", 256, 256),
        ("kivi2:q4_0", 128, 32),
        ("turbo4:kivi2", 80, 128),
        ("turbo3:turbo4", 64, 64),
        ("turbo2", 32, 80),
    ];
    for (types, dim, block) in pairs {
        let plan = Plan::new(types, Layout { heads: 2, ..layout(dim, 0, 0, block) });
        let mut both = Both::new(&gpu, &plan, 512, 2);
        both.create();
        both.create();
        // 1, 31, 32, 33, one block, one more, across blocks.
        for tokens in [1, 30, 1, 1, 31, 1, 128] {
            both.step(&[(0, tokens)], false, "alone").unwrap();
        }
        both.step(&[(1, 33), (0, 1)], false, "two at once").unwrap();
    }
}

#[test]
fn a_long_prompt_is_one_step() {
    let gpu = device();
    let plan = Plan::new("kivi4:turbo3", layout(64, 4, 128, 256));
    let mut both = Both::new(&gpu, &plan, 8192, 1);
    both.create();
    both.step(&[(0, 4097)], false, "prompt").unwrap();
    both.step(&[(0, 1)], false, "decode").unwrap();
    both.truncate(0, 3000);
    both.step(&[(0, 0)], false, "rolled back").unwrap();
    both.step(&[(0, 70)], true, "every new token").unwrap();
}

#[test]
fn windows_caps_and_sinks_hold_across_pages_and_ring() {
    let gpu = device();
    for (window, sinks, soft_cap) in
        [(50, 0, 0.0), (50, 4, 3.0), (150, 20, 0.0), (1, 0, 0.0), (100_000, 3, 1.0)]
    {
        let mut plan = Plan::new("kivi4:turbo3", layout(64, 4, 20, 32)).centred();
        plan.rule = Rule { window, sinks, soft_cap, ..plan.rule };
        let mut both = Both::new(&gpu, &plan, 1024, 1);
        both.create();
        for tokens in [3, 5, 60, 131, 1] {
            both.step(&[(0, tokens)], tokens < 10, "window").unwrap();
        }
    }
}

/// Multi-head latent attention, in pages and in the ring.
fn latents(types: &str) -> Plan {
    let layout = Layout { heads: 16, kv_heads: 1, rope: Some(64), ..layout(512, 2, 30, 32) };
    // As of a head of 192, which is what latents stand for.
    let mut plan = Plan::new(types, layout);
    plan.rule = Rule::plain(192);
    plan
}

/// Random steps, forks, rollbacks and ends: every sequence stays what the plain model says, and blocks come back.
#[test]
fn random_histories_agree_with_a_plain_model() {
    let gpu = device();
    let plans = [
        Plan::new("kivi4:turbo3", Layout { layers: 2, ..layout(64, 4, 20, 32) }).centred(),
        Plan::new("kivi2:kivi4", layout(64, 0, 0, 64)),
        Plan::new("q4_0:q8_0", Layout { rotate: true, ..layout(64, 3, 0, 16) }).centred(),
        Plan::new("turbo4:f16", layout(64, 0, 9, 48)),
        latents("f16:turbo3"),
    ];
    for (seed, plan) in plans.iter().enumerate() {
        let mut both = Both::new(&gpu, plan, 40 * plan.layout.block, 5);
        let mut dice = Random::new(seed as u64 + 40);
        let mut counts = [0; 5];
        for _ in 0..60 {
            let there = both.sequences.len();
            let pick = |dice: &mut Random| dice.below(there as u64) as usize;
            match dice.below(10) {
                _ if there == 0 => both.create(),
                0 if there < 5 => both.create(),
                1 | 2 if there < 5 => {
                    let from = pick(&mut dice);
                    both.fork(from);
                    counts[0] += 1;
                }
                3 | 4 => {
                    let at = pick(&mut dice);
                    let length = both.sequences[at].1.extent.length;
                    let back = if dice.below(2) == 0 { dice.below(40) } else { dice.below(length + 1) };
                    both.truncate(at, length.saturating_sub(back));
                    counts[1] += 1;
                }
                5 if there > 1 => {
                    let (sequence, _) = both.sequences.remove(pick(&mut dice));
                    both.cache.free(sequence).unwrap();
                    counts[2] += 1;
                }
                _ => {
                    let mut grow = Vec::new();
                    for at in 0..there {
                        let most = if dice.below(4) == 0 { 150 } else { 3 };
                        let empty = both.sequences[at].1.extent.length == 0;
                        let tokens = dice.below(most) + u64::from(empty);
                        if dice.below(3) > 0 {
                            grow.push((at, tokens));
                        }
                    }
                    if grow.is_empty() {
                        continue;
                    }
                    let before: Vec<Extent> = both.sequences.iter().map(|(_, plain)| plain.extent).collect();
                    let memory = both.cache.memory();
                    let total: u64 = grow.iter().map(|(_, tokens)| tokens).sum();
                    let every = total > 0 && total < 8;
                    match both.step(&grow, every, &format!("plan {seed}")) {
                        Ok(()) => counts[3] += 1,
                        Err(error) => {
                            // Nothing has changed, and the next check will see it.
                            assert!(error.to_string().contains("the cache is full"), "{error}");
                            assert_eq!(both.cache.memory(), memory);
                            for ((sequence, _), extent) in both.sequences.iter().zip(before) {
                                assert_eq!(both.cache.length(*sequence).unwrap(), extent.length);
                            }
                            counts[4] += 1;
                        }
                    }
                }
            }
        }
        assert!(counts[..4].iter().all(|&count| count > 0), "{counts:?}");
        for (sequence, _) in std::mem::take(&mut both.sequences) {
            both.cache.free(sequence).unwrap();
        }
        let memory = both.cache.memory();
        assert_eq!((memory.free_blocks, memory.in_use), (memory.blocks, 0));
    }
}

#[test]
fn saved_sequences_come_back_to_the_bit() {
    let (gpu, folder) = (device(), tempfile::tempdir().unwrap());
    let path = folder.path().join("state.safetensors");
    let plan = Plan::new("kivi4:turbo3", Layout { layers: 2, ..layout(64, 4, 20, 32) }).centred();
    let mut both = Both::new(&gpu, &plan, 1024, 4);
    (0..2).for_each(|_| both.create());
    both.step(&[(0, 150), (1, 37)], false, "before").unwrap();
    both.fork(0);
    both.step(&[(2, 40)], false, "before").unwrap();
    both.truncate(0, 149);
    let sequences: Vec<Sequence> = both.sequences.iter().map(|(sequence, _)| *sequence).collect();
    both.cache.save(&gpu, &sequences, &path).unwrap();

    // Into another cache, where the first slot and some blocks are taken.
    let mut other = Both::new(&gpu, &plan, 1024, 4);
    other.create();
    other.step(&[(0, 60)], false, "another").unwrap();
    let used = |cache: &KvCache| cache.memory().blocks - cache.memory().free_blocks;
    let own = used(&other.cache);
    let restored = other.cache.restore(&gpu, &path).unwrap();
    // Shared blocks are still shared.
    assert_eq!(used(&other.cache), own + used(&both.cache));
    for (sequence, (_, plain)) in restored.into_iter().zip(&both.sequences) {
        other.sequences.push((sequence, plain.clone()));
    }
    other.step(&[(1, 0), (2, 0), (3, 0)], false, "restored").unwrap();
    other.step(&[(1, 33), (2, 1), (3, 5), (0, 2)], false, "restored and grown").unwrap();

    let refused = |plan: &Plan, tokens, part: &str| {
        let mut cache = plan.cache(&gpu, tokens, 4);
        let before = cache.memory();
        let error = cache.restore(&gpu, &path).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
        assert_eq!((cache.memory(), cache.sequences().count()), (before, 0));
    };
    let like = |types: &str, recent| Plan::new(types, Layout { layers: 2, ..layout(64, 4, recent, 32) });
    refused(&like("kivi4:turbo3", 20), 1024, "centered is 'true' in it, and 'false' here");
    refused(&like("kivi4:turbo3", 21).centred(), 1024, "recent is '20' in it, and '21' here");
    refused(&like("kivi4", 20).centred(), 1024, "types is 'kivi4:turbo3' in it, and 'kivi4' here");
    refused(&plan, 64, "the cache has room for 2");
    let mut cache = plan.cache(&gpu, 1024, 2);
    let error = cache.restore(&gpu, &path).unwrap_err();
    assert!(error.to_string().contains("room for 2 sequences"), "{error}");
    assert_eq!(cache.memory().in_use, 0);

    let whole = std::fs::read(&path).unwrap();
    let mut spoilt = whole.clone();
    let at = spoilt.len() - 5;
    spoilt[at] ^= 1;
    std::fs::write(&path, spoilt).unwrap();
    refused(&plan, 1024, "it is damaged");
    std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    refused(&plan, 1024, "this is no state of a KV cache");
}

fn error_of<T>(result: lowbit::internals::Result<T>) -> String {
    match result {
        Ok(_) => panic!("it was accepted"),
        Err(error) => {
            assert_eq!(error.exit_code(), 2, "{error}");
            error.to_string()
        }
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let gpu = device();
    let usual = || Layout::new(2, 4, 2, 64);
    let types = Pair::from(CacheType::Q8_0);
    let room = Capacity { tokens: 128, sequences: 2 };
    let layouts = [
        (Layout { heads: 5, ..usual() }, "5 query heads are no multiple of 2 kv heads"),
        (Layout { kv_heads: 0, ..usual() }, "0 kv heads"),
        (Layout { layers: 0, ..usual() }, "0 layers"),
        (Layout { head_dim: 100, ..usual() }, "the nearest"),
        (Layout { rope: Some(64), ..usual() }, "latents are one kv head for all query heads, not 2"),
        (Layout { rope: Some(64), kv_heads: 1, ..usual() }, "64"),
        (Layout { recent: u64::MAX, ..usual() }, "recent tokens stay f16; at most"),
        (Layout { block: 8, ..usual() }, "a block has 16 to 256 tokens"),
        (Layout { block: 40, ..usual() }, "a block of 40 tokens is no multiple of 16"),
    ];
    for (layout, part) in layouts {
        let error = error_of(KvCache::new(&gpu, &layout, types, room));
        assert!(error.contains(part), "{error}");
    }
    let many = Capacity { tokens: 64, sequences: 1 << 30 };
    let error = error_of(KvCache::new(&gpu, &usual(), types, many));
    assert!(error.contains("the f16 keys of 1073741824 sequences"), "{error}");
    let kivi = error_of(KvCache::new(&gpu, &Layout { block: 48, ..usual() }, CacheType::Kivi2.into(), room));
    assert!(kivi.contains("no multiple of 32, as kivi2 needs it"), "{kivi}");
    for (tokens, sequences, part) in
        [(0, 1, "at least one token"), (1, 0, "at least one token"), (1 << 30, 1, "tokens fit")]
    {
        let error = error_of(KvCache::new(&gpu, &usual(), types, Capacity { tokens, sequences }));
        assert!(error.contains(part), "{error}");
    }

    let mut cache = KvCache::new(&gpu, &usual(), types, room).unwrap();
    let error = error_of(cache.center(&gpu, &[0.0; 255]));
    assert!(error.contains("255 means are given, where [2, 2, 64]"), "{error}");
    let error = error_of(cache.center(&gpu, &[f32::NAN; 256]));
    assert!(error.contains("finite"), "{error}");
    let (a, b) = (cache.create().unwrap(), cache.create().unwrap());
    assert!(error_of(cache.create()).contains("room for 2 sequences"));
    assert!(error_of(cache.center(&gpu, &[0.0; 256])).contains("while there are sequences"));
    assert!(error_of(cache.begin(&gpu, &[])).contains("no sequences"));
    assert!(error_of(cache.begin(&gpu, &[(a, 1), (a, 1)])).contains("is given twice"));
    let memory = cache.memory();
    assert!(
        error_of(cache.begin(&gpu, &[(a, 1), (b, 300)]))
            .contains("the cache is full: 4 more blocks of 64 tokens")
    );
    assert!(error_of(cache.begin(&gpu, &[(a, u64::MAX)])).contains("the number of tokens of a sequence"));
    assert_eq!((cache.memory(), cache.length(a).unwrap()), (memory, 0));

    // Queries of an empty sequence; of no finite size; of another number.
    let rule = Rule::plain(64);
    let mut step = cache.begin(&gpu, &[(a, 0)]).unwrap();
    assert!(error_of(cache.attend(&gpu, &mut step, 0, &[0.0; 256], &rule)).contains("has no tokens"));
    assert!(error_of(cache.append(&gpu, &mut step, 0, &[], &[])).contains("no new tokens"));
    let mut step = cache.begin(&gpu, &[(a, 2)]).unwrap();
    assert!(error_of(cache.attend(&gpu, &mut step, 0, &[0.0; 256], &rule)).contains("was not appended to"));
    let good = [0.5; 256];
    let mut bad = good;
    for (value, part) in [
        (f32::NAN, "token 1, head 1, channel 5 is NaN"),
        (f32::NEG_INFINITY, "channel 5 is -inf"),
        (65505.0, "channel 5 is 65505; a cache holds finite values of at most 65504"),
    ] {
        bad[128 + 64 + 5] = value;
        assert!(error_of(cache.append(&gpu, &mut step, 0, &bad, &good)).contains(part));
        let error = error_of(cache.append(&gpu, &mut step, 0, &good, &bad));
        assert!(error.contains(part) && error.contains("values"), "{error}");
    }
    assert!(
        error_of(cache.append(&gpu, &mut step, 0, &good[1..], &good))
            .contains("where [2, 2, 64] are expected")
    );
    assert!(error_of(cache.append(&gpu, &mut step, 2, &good, &good)).contains("no layer 2 among 2"));
    // What was refused has changed nothing: the layer can still be appended to.
    cache.append(&gpu, &mut step, 0, &good, &good).unwrap();
    assert!(
        error_of(cache.append(&gpu, &mut step, 0, &good, &good)).contains("layer 0 has been appended to")
    );
    for refused in [
        error_of(cache.begin(&gpu, &[(a, 1)])),
        error_of(cache.fork(&gpu, a)),
        error_of(cache.truncate(&gpu, a, 1)),
        error_of(cache.save(&gpu, &[a], "nowhere".as_ref())),
    ] {
        assert!(refused.contains("has 1 of 2 layers that its last step was not appended to"), "{refused}");
    }
    cache.append(&gpu, &mut step, 1, &good, &good).unwrap();
    assert!(error_of(cache.attend(&gpu, &mut step, 0, &[0.0; 255], &rule)).contains("no rows of [4, 64]"));
    assert!(
        error_of(cache.attend(&gpu, &mut step, 0, &[0.0; 512], &rule))
            .contains("queries of 2 tokens are given")
    );
    let mut queries = [0.0; 256];
    queries[70] = f32::INFINITY;
    assert!(error_of(cache.attend(&gpu, &mut step, 0, &queries, &rule)).contains("head 1, channel 6 is inf"));
    for rule in
        [Rule { scale: f32::NAN, ..rule }, Rule { soft_cap: -1.0, ..rule }, Rule { window: 0, ..rule }]
    {
        assert!(
            error_of(cache.attend(&gpu, &mut step, 0, &[0.0; 256], &rule)).contains("at least one token")
        );
    }
    cache.attend(&gpu, &mut step, 0, &[0.0; 256], &Rule { window: 1_000_000, ..rule }).unwrap();
    let longer = cache.length(a).unwrap() + 1;
    assert!(error_of(cache.truncate(&gpu, a, longer)).contains("cannot be left"));
    cache.truncate(&gpu, a, longer - 1).unwrap();
    cache.truncate(&gpu, a, 1).unwrap();
    assert!(error_of(cache.attend(&gpu, &mut step, 0, &[0.0; 256], &rule)).contains("begin again"));
    cache.free(a).unwrap();
    for refused in [
        error_of(cache.free(a)),
        error_of(cache.truncate(&gpu, a, 0)),
        error_of(cache.fork(&gpu, a)),
        error_of(cache.length(a)),
        error_of(cache.begin(&gpu, &[(a, 1)])),
    ] {
        assert!(refused.contains("is not in this cache"), "{refused}");
    }
    // The slot's next sequence is another one.
    let next = cache.create().unwrap();
    assert!(next != a && cache.length(next).unwrap() == 0);
    assert!(cache.length(a).is_err());
}

/// Groups of one value, vectors of zeros, the largest values: kept without a fault.
#[test]
fn vectors_that_divide_by_nothing_are_kept() {
    let gpu = device();
    for types in ["kivi4:turbo3", "q4_0:q8_0"] {
        let plan = Plan::new(types, layout(64, 0, 0, 32));
        let mut cache = plan.cache(&gpu, 128, 1);
        let sequence = cache.create().unwrap();
        let mut step = cache.begin(&gpu, &[(sequence, 64)]).unwrap();
        let keys: Vec<f32> = (0..64 * 128).map(|i| if i / 128 < 32 { 0.0 } else { -0.75 }).collect();
        let values: Vec<f32> = (0..64 * 128).map(|i| if i / 64 % 2 == 0 { 0.0 } else { 4000.0 }).collect();
        cache.append(&gpu, &mut step, 0, &keys, &values).unwrap();
        let found = cache.attend(&gpu, &mut step, 0, &[0.0; 512], &plan.rule).unwrap();
        for (i, &x) in found.iter().enumerate() {
            let expected = if i / 256 == 0 { 0.0 } else { 4000.0 };
            // Rotated, a vector of one value has many, which 3 bits change much.
            let bound = if plan.types.values == CacheType::Q8_0 { 0.001 } else { 0.8 } * expected;
            assert!((x - expected).abs() <= bound, "{types}: {x}, not {expected}");
        }
    }
    // A norm beyond f16, of values that are not.
    let plan = Plan::new("kivi4:turbo3", layout(64, 0, 0, 32));
    let mut cache = plan.cache(&gpu, 128, 1);
    let sequence = cache.create().unwrap();
    let mut step = cache.begin(&gpu, &[(sequence, 1)]).unwrap();
    let error = error_of(cache.append(&gpu, &mut step, 0, &[0.0; 128], &[60000.0; 128]));
    assert!(error.contains("the scale of token 0, head 0 is above 65504"), "{error}");
}

/// A step that is not finished: taken back without a trace, or what it cost is said.
#[test]
fn an_abandoned_step_leaves_what_was_there() {
    let gpu = device();
    for types in ["q8_0", "kivi4:turbo3"] {
        let plan = Plan::new(types, Layout { layers: 2, ..layout(64, 4, 20, 32) });
        let mut both = Both::new(&gpu, &plan, 2048, 4);
        (0..3).for_each(|_| both.create());
        both.step(&[(0, 90), (1, 40), (2, 7)], false, "before").unwrap();
        both.fork(0);
        let memory = both.cache.memory();
        let sequences: Vec<Sequence> = both.sequences.iter().map(|(sequence, _)| *sequence).collect();
        let vectors = |tokens: usize| vec![0.5; tokens * 2 * 64];
        // Nothing appended; one layer appended; one sequence freed meanwhile.
        for (tokens, append) in [(300, false), (20, true), (1, true)] {
            let grow = [(sequences[0], tokens), (sequences[1], tokens), (sequences[3], 0)];
            let mut step = both.cache.begin(&gpu, &grow).unwrap();
            if append {
                let vectors = vectors(2 * tokens as usize);
                both.cache.append(&gpu, &mut step, 1, &vectors, &vectors).unwrap();
            }
            // Those without new tokens are in the step too.
            assert!(error_of(both.cache.begin(&gpu, &[(sequences[3], 1)])).contains("abandon the step"));
            assert_eq!(both.cache.abandon(step).unwrap(), []);
            // A block that was shared may be a copy now.
            let now = both.cache.memory().in_use;
            assert!(now >= memory.in_use && now <= 2 * memory.in_use, "{now}");
            both.step(&[(0, 0), (1, 0), (2, 0), (3, 0)], false, "abandoned").unwrap();
        }
        both.step(&[(0, 50), (1, 3), (3, 1)], false, "gone on").unwrap();

        // A layer that has overwritten what the other one still needs: the sequence is empty, and named.
        let mut step = both.cache.begin(&gpu, &[(sequences[2], 2), (sequences[0], 300)]).unwrap();
        let long = vectors(302);
        both.cache.append(&gpu, &mut step, 0, &long, &long).unwrap();
        assert_eq!(both.cache.abandon(step).unwrap(), [sequences[0]]);
        assert_eq!(both.cache.length(sequences[0]).unwrap(), 0);
        both.step(&[(2, 0), (1, 0), (3, 0)], false, "one emptied").unwrap();

        // A sequence that ends in the middle of a step does not take the others with it.
        let mut step = both.cache.begin(&gpu, &[(sequences[1], 1), (sequences[2], 1)]).unwrap();
        both.cache.free(sequences[1]).unwrap();
        let error = error_of(both.cache.append(&gpu, &mut step, 0, &vectors(2), &vectors(2)));
        assert!(error.contains("it may have been freed; abandon the step"), "{error}");
        assert_eq!(both.cache.abandon(step).unwrap(), []);
        both.step(&[(2, 5)], false, "the others").unwrap();
    }
}

#[test]
fn sequences_and_steps_of_another_cache_are_refused() {
    let gpu = device();
    let plan = Plan::new("q8_0", layout(64, 0, 0, 64));
    let (mut a, mut b) = (plan.cache(&gpu, 64, 1), plan.cache(&gpu, 64, 1));
    let (of_a, of_b) = (a.create().unwrap(), b.create().unwrap());
    assert!(error_of(a.truncate(&gpu, of_b, 0)).contains("is not in this cache"));
    let mut step = b.begin(&gpu, &[(of_b, 1)]).unwrap();
    let _ = a.begin(&gpu, &[(of_a, 1)]).unwrap();
    let vectors = [0.0; 128];
    assert!(error_of(a.append(&gpu, &mut step, 0, &vectors, &vectors)).contains("begun by another cache"));
    b.append(&gpu, &mut step, 0, &vectors, &vectors).unwrap();
    assert!(error_of(a.abandon(step)).contains("begun by another cache"));
}

/// Two forks that both write into a block that they share: one copy is enough.
#[test]
fn whoever_writes_last_into_a_shared_block_keeps_it() {
    let gpu = device();
    let plan = Plan::new("q8_0", layout(64, 0, 0, 64));
    let mut both = Both::new(&gpu, &plan, 128, 2);
    both.create();
    both.step(&[(0, 10)], false, "before").unwrap();
    both.fork(0);
    both.step(&[(0, 2), (1, 3)], false, "both at once").unwrap();
    assert_eq!(both.cache.memory().free_blocks, 0);
}

#[test]
fn buffers_of_another_size_are_refused() {
    use lowbit::internals::gpu::Buffer;
    let gpu = device();
    let plan = Plan::new("q8_0", layout(64, 0, 0, 64));
    let mut cache = plan.cache(&gpu, 64, 1);
    let sequence = cache.create().unwrap();
    let mut step = cache.begin(&gpu, &[(sequence, 3)]).unwrap();
    let buffer = |rows, bytes| Buffer::new(&gpu, "given", rows, bytes).unwrap();
    // f32 instead of f16, and a token too few.
    for (rows, bytes) in [(3, 512), (2, 256)] {
        let error = error_of(cache.append_from(&gpu, &mut step, 0, [&buffer(rows, bytes), &buffer(3, 256)]));
        assert!(error.contains("keys:") && error.contains("3 rows of 256 each are expected"), "{error}");
    }
    cache.append_from(&gpu, &mut step, 0, [&buffer(3, 256), &buffer(3, 256)]).unwrap();
    let error = error_of(cache.attend_into(&gpu, &mut step, 0, &buffer(8, 256), &buffer(7, 256), &plan.rule));
    assert!(error.contains("output:"), "{error}");
    let error = error_of(cache.attend_into(&gpu, &mut step, 0, &buffer(9, 256), &buffer(9, 256), &plan.rule));
    assert!(error.contains("queries:"), "{error}");
}

#[test]
fn codes_that_decode_above_f16_come_back_as_its_largest() {
    let gpu = device();
    let plan = Plan::new("kivi2:q8_0", layout(64, 0, 0, 32));
    let mut both = Both::new(&gpu, &plan, 256, 1);
    let sequence = both.cache.create().unwrap();
    let mut step = both.cache.begin(&gpu, &[(sequence, 256)]).unwrap();
    let keys: Vec<f32> = (0..256 * 128).map(|i| if i / 128 % 2 == 0 { 65504.0 } else { -65504.0 }).collect();
    both.cache.append(&gpu, &mut step, 0, &keys, &vec![1.0; 256 * 128]).unwrap();
    both.cache.truncate(&gpu, sequence, 20).unwrap();
    let mut step = both.cache.begin(&gpu, &[(sequence, 0)]).unwrap();
    let found = both.cache.attend(&gpu, &mut step, 0, &[1e-3; 512], &plan.rule).unwrap();
    assert!(found.iter().all(|x| (x - 1.0).abs() < 0.01), "{found:?}");
}
