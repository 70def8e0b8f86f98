//! A full cache against the clock: the attention of its newest tokens, and the encoding of a prompt.

use std::ops::Range;
use std::time::Duration;

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::answer::{Seen, answer};
use super::{Capacity, KvCache, Layout, Queries, Sequence};
use crate::codec::Pair;
use crate::gpu::verify::{Answer, check};
use crate::gpu::{Bound, Buffer, Context, Recorder, Spec, Timing, Work, time, to_u32};
use crate::kv::attend::{self, Attend, Rule, Span};
use crate::random::Random;
use crate::{Error, Result};

/// Where the vectors of a trial come from.
pub trait Source {
    /// Keys and values of a layer at these positions, each `[positions, kv_heads, head_dim]`.
    fn tokens(&self, layer: usize, positions: Range<u64>) -> [Vec<f16>; 2];
    /// The queries of a layer's next token, `[heads, head_dim]`.
    fn queries(&self, layer: usize) -> Vec<f32>;
}

/// Most tokens of a step.
const STEP: u64 = 4096;

/// Tokens of a step: those that an adapter encodes in a fraction of a second.
fn step(gpu: &Context) -> u64 {
    if gpu.adapter.is_software() { STEP / 4 } else { STEP }
}

/// Uniform numbers, the same ones in each layer; a position has its own, however many are asked for at once.
#[derive(Debug)]
pub struct Noise {
    /// Values of a token's keys, and of its values.
    rows: [usize; 2],
    vectors: [Vec<f16>; 2],
    queries: Vec<f32>,
}

impl Noise {
    /// For caches of this layout and up to so many tokens.
    pub fn new(layout: &Layout, tokens: u64) -> Self {
        let keys = layout.rope.unwrap_or(layout.head_dim);
        let rows = [keys, layout.head_dim].map(|dim| layout.kv_heads * dim);
        let mut random = Random::new(23);
        let mut vectors = |row: usize| {
            let floats = random.floats(tokens.clamp(1, STEP) as usize * row);
            let mut halves = vec![f16::ZERO; floats.len()];
            halves.convert_from_f32_slice(&floats);
            halves
        };
        Self {
            rows,
            vectors: [vectors(rows[0]), vectors(rows[1])],
            queries: Random::new(24).floats(layout.heads * layout.query_dim()),
        }
    }
}

impl Source for Noise {
    fn tokens(&self, _layer: usize, positions: Range<u64>) -> [Vec<f16>; 2] {
        let count = (positions.end - positions.start) as usize;
        let take = |side: usize| {
            let (row, vectors) = (self.rows[side], &self.vectors[side]);
            let first = positions.start as usize * row % vectors.len();
            vectors[first..].iter().chain(vectors.iter().cycle()).copied().take(count * row).collect()
        };
        [take(0), take(1)]
    }

    fn queries(&self, _layer: usize) -> Vec<f32> {
        self.queries.clone()
    }
}

/// What was timed.
#[derive(Clone, Copy, Debug)]
pub struct Timed {
    /// The time, of all layers.
    pub timing: Timing,
    /// Attention: codes and scales, and what is f16, each read once. Encoding: what is read and what is written.
    pub work: Work,
    /// Tokens that are attended to, or appended.
    pub tokens: u64,
}

/// A cache with one sequence, its layers there as often as keeps an adapter's own caches from serving them.
#[derive(Debug)]
pub struct Trial {
    cache: KvCache,
    sequence: Sequence,
    asked: u64,
    copies: usize,
    queries: Vec<Buffer>,
    /// Of each copy, the attention of the newest tokens.
    attention: Vec<Vec<Bound>>,
    /// Of each copy, the first step.
    prompt: Vec<Vec<Bound>>,
}

/// Bytes over which runs rotate.
fn rotation(gpu: &Context) -> u64 {
    if gpu.adapter.is_software() { 128 << 20 } else { 1 << 30 }
}

/// Most copies of a cache: in software, where filling them is what takes long, and elsewhere.
const MOST_COPIES: [f64; 2] = [4.0, 64.0];

impl Trial {
    /// Fills a cache of `layout` and `types` with `tokens` tokens, in steps. `means`: what keys are centred by,
    /// `[layers, kv_heads, head_dim]`. The newest `asked` tokens ask, the newest one's queries for each: a step of generation, or a
    /// part of a prompt.
    ///
    /// # Errors
    /// [`Error::Input`] for fewer tokens than ask; those of [`KvCache::new`], [`KvCache::center`] and [`KvCache::begin`].
    pub fn new(
        gpu: &Context,
        layout: &Layout,
        types: Pair,
        tokens: u64,
        means: Option<&[f32]>,
        asked: u64,
        source: &dyn Source,
    ) -> Result<Self> {
        if asked == 0 || asked > tokens {
            return Err(Error::Input(format!("{asked} of {tokens} tokens ask: from one to all of them can")));
        }
        let values = 2.0 * (layout.layers * layout.kv_heads * layout.head_dim) as f64 * tokens as f64;
        let bytes = values * types.bits_per_value(layout.head_dim) / 8.0;
        let most = MOST_COPIES[usize::from(!gpu.adapter.is_software())];
        let copies = (rotation(gpu) as f64 / bytes).ceil().clamp(1.0, most) as usize;
        let all = Layout { layers: layout.layers * copies, ..layout.clone() };
        let mut cache = KvCache::new(gpu, &all, types, Capacity { tokens, sequences: 1 })?;
        if let Some(means) = means {
            cache.center(gpu, &means.repeat(copies))?;
        }
        let sequence = cache.create()?;
        let mut prompt: Vec<Vec<Bound>> = (0..copies).map(|_| Vec::new()).collect();
        let most = step(gpu);
        let before = if asked > 1 { tokens - asked } else { tokens };
        let steps = (0..before).step_by(most as usize).map(|first| (first, most.min(before - first)));
        let mut asking = None;
        for (first, count) in steps.chain((asked > 1).then_some((before, asked))) {
            let mut step = cache.begin(gpu, &[(sequence, count)])?;
            for layer in 0..layout.layers {
                let [keys, values] = source.tokens(layer, first..first + count);
                let keys = Buffer::from_slice::<u16>(gpu, "keys", count, keys.reinterpret_cast())?;
                let values = Buffer::from_slice::<u16>(gpu, "values", count, values.reinterpret_cast())?;
                for (copy, prompt) in prompt.iter_mut().enumerate() {
                    let layer = copy * layout.layers + layer;
                    let passes = cache.append_from(gpu, &mut step, layer, [&keys, &values])?;
                    Recorder::run(gpu, &passes)?;
                    if first == 0 {
                        prompt.extend(passes);
                    }
                }
            }
            // What was uploaded is let go of.
            gpu.wait()?;
            asking = Some(step);
        }

        let (heads, dim) = (layout.heads as u64, layout.head_dim as u64);
        let queries = |layer| {
            let all = source.queries(layer).repeat(asked as usize);
            Buffer::from_slice(gpu, "queries", asked * heads, &all)
        };
        let queries = (0..layout.layers).map(queries).collect::<Result<Vec<_>>>()?;
        let output = Buffer::new(gpu, "output", asked * heads, 4 * dim)?;
        let mut step = match asking {
            Some(mut step) if asked > 1 => {
                step.ask(Queries::New);
                step
            }
            _ => cache.begin(gpu, &[(sequence, 0)])?,
        };
        let (mut attention, rule) = (Vec::new(), Rule::plain(dim));
        for copy in 0..copies {
            let mut passes = Vec::new();
            for (layer, queries) in queries.iter().enumerate() {
                let layer = copy * layout.layers + layer;
                passes.extend(cache.attend_into(gpu, &mut step, layer, queries, &output, &rule)?);
            }
            attention.push(passes);
        }
        // What is timed is verified: these very passes, at this very size, over what the cache's own steps encoded.
        let layer = layout.layers - 1;
        let (sample, expected) = answer(&cache, sequence, (layer, layer), source, asked, Seen::All)?;
        let answer = Answer { name: "output", buffer: &output, sample: Some(&sample), expected: &expected };
        check(gpu, &format!("attention of {types} over {tokens} tokens"), &attention[0], &[answer])?;
        Ok(Self { cache, sequence, asked, copies, queries, attention, prompt })
    }

    /// Times the attention of the newest tokens in all layers.
    ///
    /// # Errors
    /// The device's.
    pub fn attend(&self, gpu: &Context, budget: Duration) -> Result<Timed> {
        let reads = self.attention[0]
            .iter()
            .filter(|pass| attend::VARIANTS.iter().any(|spec| spec.file == pass.label()));
        Ok(Timed {
            work: reads.map(Bound::work).sum(),
            timing: time(gpu, &turns(&self.attention), budget)?,
            tokens: self.cache.length(self.sequence)?,
        })
    }

    /// Times the first step, a prompt of up to 4096 tokens (1024 in software), in all layers.
    ///
    /// # Errors
    /// The device's.
    pub fn append(&self, gpu: &Context, budget: Duration) -> Result<Timed> {
        Ok(Timed {
            work: self.prompt[0].iter().map(Bound::work).sum(),
            timing: time(gpu, &turns(&self.prompt), budget)?,
            tokens: self.cache.length(self.sequence)?.min(step(gpu)),
        })
    }

    /// The variant that attends to pages.
    pub fn variant(&self) -> Spec {
        let many = self.cache.many.get().filter(|_| self.asked > 1);
        many.map_or(&self.cache.paged, |[paged, _]| paged).variant()
    }

    /// The time of the pages of all layers if each query head loads keys and values for itself, over the time of the variant
    /// in use: what sharing loads is worth. None of keys that are centred, and of a sequence without pages. The cache is one that
    /// `source` filled.
    ///
    /// # Errors
    /// The device's.
    pub fn sharing(&self, gpu: &Context, source: &dyn Source, budget: Duration) -> Result<Option<f64>> {
        let state = self.cache.state(self.sequence)?;
        let (tokens, length) = (state.extent.encoded, state.extent.length);
        if tokens == 0 || self.cache.means().is_some() {
            return Ok(None);
        }
        let heads = self.cache.layout.shape();
        let span = Span {
            tokens: to_u32(tokens, "the number of tokens")?,
            base: to_u32(self.cache.places.sinks, "the number of sinks")?,
            length: to_u32(length, "the number of tokens")?,
            ..Span::default()
        };
        let spans = Buffer::from_slice(gpu, "spans", 1, &[span])?;
        let (keys, values) = (&self.cache.keys.codec, &self.cache.values.codec);
        let alone = Attend::load(gpu, &attend::VARIANTS[0], keys, values, false)?;
        let mut found = [0.0; 2];
        let last = self.queries.len() - 1;
        let (sample, expected) = answer(&self.cache, self.sequence, (last, last), source, 1, Seen::Pages)?;
        // Queries come in the basis of what they are multiplied with.
        let layout = &self.cache.layout;
        let met = if layout.rope.is_some() { values } else { keys };
        let turned = |layer: usize| {
            let mut queries = source.queries(layer);
            if let Some(rotation) = met.rotation() {
                let each = queries.chunks_exact_mut(layout.query_dim());
                each.for_each(|query| rotation.forward(&mut query[..met.dim()]));
            }
            Buffer::from_slice(gpu, "queries", layout.heads as u64, &queries)
        };
        let turned = (0..=last).map(turned).collect::<Result<Vec<_>>>()?;
        let output = Buffer::new(gpu, "output", heads.kv * heads.each, 4 * heads.dim)?;
        for (found, attend) in found.iter_mut().zip([&alone, &self.cache.paged]) {
            let cut = attend.cut(gpu, &[span], &[1], heads);
            let (count, table) = (cut.count, cut.table(gpu, |_| state.blocks.clone())?);
            let rows = heads.kv * heads.each * count;
            let partial = Buffer::new(gpu, "partial", rows, 16 * attend::partial_width(heads.dim))?;
            let mut runs = Vec::new();
            for layer in 0..self.cache.layout.layers {
                let kept = self.cache.pages(layer, &table, &spans);
                let queries = &turned[layer % turned.len()];
                let rule = Rule::plain(heads.dim);
                runs.push(attend.bind(gpu, queries, &kept, &partial, heads, rule, &cut, (0, count))?);
            }
            let rotated = if values.rotation().is_some() { count } else { 0 };
            let merge = attend.bind_merge(gpu, &partial, &output, heads, (count, rotated))?;
            let answer =
                Answer { name: "output", buffer: &output, sample: Some(&sample), expected: &expected };
            check(gpu, "attention over pages", [&runs[last], &merge], &[answer])?;
            let layers = runs.len() / self.copies;
            let turns: Vec<Vec<&Bound>> = runs.chunks(layers).map(|runs| runs.iter().collect()).collect();
            *found = time(gpu, &turns, budget)?.us;
        }
        Ok(Some(found[0] / found[1]))
    }
}

fn turns(runs: &[Vec<Bound>]) -> Vec<Vec<&Bound>> {
    runs.iter().map(|passes| passes.iter().collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_the_same_however_it_is_cut() {
        let layout = Layout {
            layers: 1,
            heads: 2,
            kv_heads: 2,
            head_dim: 3,
            rope: None,
            block: 32,
            sinks: 0,
            recent: 0,
            rotate: false,
        };
        for tokens in [5, STEP + 9] {
            let noise = Noise::new(&layout, tokens);
            let [keys, values] = noise.tokens(0, 0..tokens);
            assert_eq!((keys.len(), values.len()), (6 * tokens as usize, 6 * tokens as usize));
            for step in [1000, 1024, STEP, tokens] {
                let cut = (0..tokens).step_by(step as usize);
                let parts: Vec<_> = cut.map(|at| noise.tokens(0, at..tokens.min(at + step))).collect();
                for (side, whole) in [&keys, &values].into_iter().enumerate() {
                    let joined: Vec<f16> = parts.iter().flat_map(|part| part[side].iter().copied()).collect();
                    assert_eq!(joined, *whole, "{tokens} tokens, {step} at once");
                }
            }
        }
    }
}
