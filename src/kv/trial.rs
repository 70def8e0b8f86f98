//! A cache of made-up tokens on which variants of `attend` are tried.

use std::time::Duration;

use super::attend::{Attend, Heads, Kept, Rule, Span, partial_width, sizes};
use super::layout::Page;
use crate::codec::{Codec, Side};
use crate::gpu::verify::{Answer, Expected, Sample};
use crate::gpu::{Buffer, Context, Spec, tune};
use crate::oracle;
use crate::random::Random;
use crate::{Error, Result};

/// Tokens of a trial, of a block, and pages that differ; the others repeat them.
const TOKENS: u64 = 16_384;
const BLOCK: u64 = 64;
const PAGES: u64 = 7;

/// Most queries that are tried: those of several tiles.
const QUERIES: u64 = 64;

/// A cache of tokens in order, and what some heads must make of it.
pub(super) struct Trial<'a> {
    keys: &'a Codec,
    values: &'a Codec,
    heads: Heads,
    pages: [Page; 2],
    /// What each of the newest tokens sees.
    spans: Vec<Span>,
    /// Keys, values, spans, sizes, and queries.
    buffers: [Buffer; 5],
    sample: Sample,
    output: Expected,
}

impl<'a> Trial<'a> {
    pub(super) fn new(
        gpu: &Context,
        keys: &'a Codec,
        values: &'a Codec,
        heads: Heads,
        queries: u64,
    ) -> Result<Self> {
        let asked = queries.min(QUERIES);
        let lengths = TOKENS + 1 - asked..=TOKENS;
        let pages = [Page::of(keys, Side::Keys, BLOCK)?, Page::of(values, Side::Values, BLOCK)?];
        let blocks = TOKENS / BLOCK;
        let mut random = Random::new(0);
        let mut pool = |codec: &Codec, page: &Page| {
            let (mut words, mut decoded) = (Vec::new(), Vec::new());
            for _ in 0..PAGES {
                let encoded = codec.encode(&random.floats((BLOCK * page.dim) as usize))?;
                words.push(page.put(&encoded));
                decoded.push(codec.decode(&encoded)?);
            }
            let all = (0..blocks * heads.kv).flat_map(|at| &words[(at % PAGES) as usize]).copied();
            let all: Vec<u32> = all.collect();
            Ok::<_, Error>((Buffer::from_slice(gpu, "pages", blocks * heads.kv, &all)?, decoded))
        };
        let ((key_pool, of_keys), (value_pool, of_values)) =
            (pool(keys, &pages[0])?, pool(values, &pages[1])?);
        let (latent, rows) = (values.is_latent(), asked * heads.kv * heads.each);
        let query = (pages[0].dim + if latent { pages[1].dim } else { 0 }) as usize;
        let queries = random.floats(rows as usize * query);
        let each = heads.each as usize;
        // To decode the tokens of every kv head takes long.
        let sample = Sample::only(rows as usize, (0..each).chain(rows as usize - each..rows as usize));
        let (mut of_output, mut bounds) = (Vec::new(), Vec::new());
        let mut groups: Vec<usize> = sample.rows().iter().map(|row| row / each).collect();
        groups.dedup();
        for group in groups {
            let (query_token, head) = (group as u64 / heads.kv, group as u64 % heads.kv);
            let page = |block: u64| ((block * heads.kv + head) % PAGES) as usize;
            let (mut own_keys, mut own_values) = (Vec::new(), Vec::new());
            for block in 0..blocks {
                let rows = of_keys[page(block)].chunks(pages[0].dim as usize);
                for (key, value) in rows.zip(of_values[page(block)].chunks(pages[1].dim as usize)) {
                    // A latent is the first part of its token's key.
                    own_keys.extend(if latent { value } else { &[] });
                    own_keys.extend(key);
                    own_values.extend(value);
                }
            }
            let own = &queries[group * each * query..][..each * query];
            let rule = oracle::attend::Rule::plain(heads.dim as usize);
            let rule = oracle::attend::Rule { scale: Rule::plain(heads.dim).scale.into(), ..rule };
            let dims = (query, heads.dim as usize);
            let tokens = (lengths.start() + query_token) as usize;
            own_keys.truncate(tokens * query);
            own_values.truncate(tokens * dims.1);
            of_output.extend(
                oracle::attend::attend(own, &own_keys, &own_values, query, dims.1, tokens, &rule).output,
            );
            let rotated = values.rotation().is_some();
            bounds.extend(oracle::attend::bound(own, &own_keys, &own_values, dims, &rule, 0.0, rotated));
        }
        // Queries come in the basis of what they are multiplied with.
        let basis = if latent { values } else { keys };
        let mut turned = queries;
        if let Some(rotation) = basis.rotation() {
            turned.chunks_exact_mut(query).for_each(|query| rotation.forward(&mut query[..basis.dim()]));
        }
        let span = |length: u64| Span { tokens: length as u32, length: length as u32, ..Span::default() };
        let spans: Vec<Span> = lengths.map(span).collect();
        let buffers = [
            key_pool,
            value_pool,
            Buffer::from_slice(gpu, "spans", asked, &spans)?,
            Buffer::from_slice(gpu, "sizes", 16, &sizes(keys.ty(), values.ty(), heads.dim as usize))?,
            Buffer::from_slice(gpu, "queries", rows, &turned)?,
        ];
        let output = Expected::Within { values: of_output, bounds };
        Ok(Self { keys, values, heads, pages, spans, buffers, sample, output })
    }

    /// Checks a variant with the merging behind it, and times it alone.
    pub(super) fn attempt(&self, gpu: &Context, spec: &Spec) -> Result<tune::Score> {
        let heads = self.heads;
        let attend = Attend::load(gpu, spec, self.keys, self.values, false)?;
        let [keys, values, spans, sizes, queries] = &self.buffers;
        let [key_page, value_page] = self.pages;
        let asked = self.spans.len() as u64;
        let cut = attend.cut(gpu, &self.spans, &[asked], heads);
        let (count, table) = (cut.count, &cut.table(gpu, |_| (0..(TOKENS / BLOCK) as u32).collect())?);
        let kept = Kept { keys, values, table, spans, key_page, value_page, sizes, mean: None };
        let rows = asked * heads.kv * heads.each;
        let partial = Buffer::new(gpu, "partial", rows * count, 16 * partial_width(heads.dim))?;
        let output = Buffer::new(gpu, "output", rows, 4 * heads.dim)?;
        let pass =
            attend.bind(gpu, queries, &kept, &partial, heads, Rule::plain(heads.dim), &cut, (0, count))?;
        let rotated = if self.values.rotation().is_some() { count } else { 0 };
        let merge = attend.bind_merge(gpu, &partial, &output, heads, (count, rotated))?;
        let sample = Some(&self.sample);
        let answer = Answer { name: "output", buffer: &output, sample, expected: &self.output };
        tune::trial(gpu, spec, &[&pass, &merge], &[answer], &[&pass], Duration::from_millis(30))
    }
}
