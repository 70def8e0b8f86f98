//! The attention of a step's queries, over pages and over what is f16.

use super::step::{Queries, Step, exactly};
use super::{KvCache, Layout};
use crate::codec::{CacheType, Codec, Side};
use crate::gpu::{Bound, Buffer, Context, Recorder};
use crate::kv::attend::{self, Attend, Kept, Rule, Span, TILE_ROWS};
use crate::kv::cut::Cut;
use crate::kv::extent::{Extent, Places};
use crate::{Error, Result};

/// What the queries of a step see by one rule; models have one or two.
#[derive(Debug)]
pub(super) struct View {
    rule: Rule,
    queries: u64,
    /// Whether neighbouring queries of a sequence share loads.
    many: bool,
    splits: u64,
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
    cut: Cut,
    /// Its first split, among those of both.
    first: u64,
}

impl KvCache {
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
        let dim = self.layout.query_dim();
        let row = heads * dim;
        if !queries.len().is_multiple_of(row) {
            return Err(Error::Shape(format!(
                "queries of {} values are no rows of [{heads}, {dim}]",
                queries.len()
            )));
        }
        if let Some(at) = queries.iter().position(|query| !query.is_finite()) {
            return Err(Error::NotFinite(format!(
                "queries: row {}, head {}, channel {} is {}",
                at / row,
                at % row / dim,
                at % dim,
                queries[at]
            )));
        }
        let count = (queries.len() / dim) as u64;
        let given = Buffer::from_slice(gpu, "queries", count, queries)?;
        let output = Buffer::new(gpu, "output", count, 4 * head_dim as u64)?;
        let passes = self.attend_into(gpu, step, layer, &given, &output, rule)?;
        Recorder::run(gpu, &passes)?;
        output.read(gpu)
    }

    /// As [`KvCache::attend`], of queries on the device into an output there, both `[queries * heads, head_dim]` f32
    /// (queries of latents are longer, by their part for the rope key). The
    /// passes have to be submitted in their order, before the next ones of the same step.
    ///
    /// # Errors
    /// [`Error::Input`] if the layer is not there or was not appended to, if a sequence has changed since the step began or has no
    /// tokens, for another number of queries, and for a rule that is none; the device's.
    #[doc(hidden)]
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
        let (count, rows) = (queries.rows() / self.layout.heads as u64, queries.rows());
        exactly("queries", queries, [count * self.layout.heads as u64, 4 * self.layout.query_dim() as u64])?;
        exactly("output", output, [rows, 4 * self.layout.head_dim as u64])?;
        let known = step.views.iter().position(|view| view.rule == *rule && view.queries == count);
        let at = match known {
            Some(at) => at,
            None => {
                step.views.push(self.view(gpu, step, count, rule)?);
                step.views.len() - 1
            }
        };
        let view = &step.views[at];
        let shape = self.layout.shape();
        let [over_pages, over_recent] = self.attends(gpu, view.many)?;
        let mut passes = Vec::new();
        if let Some(part) = &view.paged {
            let own = match &view.turned {
                Some(turned) => {
                    passes.push(self.rotate.bind(gpu, queries, turned, shape.dim)?);
                    turned
                }
                None => queries,
            };
            let kept = self.pages(layer, &part.table, &part.spans);
            let splits = (part.first, view.splits);
            passes.push(over_pages.bind(gpu, own, &kept, &view.partial, shape, *rule, &part.cut, splits)?);
        }
        if let Some(part) = &view.recent {
            let kept = Kept {
                keys: &self.keys.stores[layer].recent,
                values: &self.values.stores[layer].recent,
                table: &part.table,
                spans: &part.spans,
                key_page: self.keys.recent_page,
                value_page: self.values.recent_page,
                sizes: &self.no_sizes,
                mean: None,
            };
            let splits = (part.first, view.splits);
            passes.push(over_recent.bind(
                gpu,
                queries,
                &kept,
                &view.partial,
                shape,
                *rule,
                &part.cut,
                splits,
            )?);
        }
        let paged = view.paged.as_ref().map_or(0, |part| part.cut.count);
        let rotated = if self.values.codec.rotation().is_some() { paged } else { 0 };
        passes.push(over_pages.bind_merge(gpu, &view.partial, output, shape, (view.splits, rotated))?);
        Ok(passes)
    }

    /// The pages of a layer.
    pub(super) fn pages<'a>(&'a self, layer: usize, table: &'a Buffer, spans: &'a Buffer) -> Kept<'a> {
        Kept {
            keys: &self.keys.stores[layer].pool,
            values: &self.values.stores[layer].pool,
            table,
            spans,
            key_page: *self.keys.page(),
            value_page: *self.values.page(),
            sizes: &self.sizes,
            mean: self.means.as_ref().map(|means| &means.layers[layer][1]),
        }
    }

    /// What attends to pages, and to what is f16: for a query of each sequence, or for `many` of one.
    ///
    /// # Errors
    /// The device's.
    fn attends(&self, gpu: &Context, many: bool) -> Result<[&Attend; 2]> {
        if !many {
            return Ok([&self.paged, &self.recent]);
        }
        if let Some([paged, recent]) = self.many.get() {
            return Ok([paged, recent]);
        }
        let halves = [Side::Keys, Side::Values].map(|side| self.layout.codec(CacheType::F16, side));
        let [half_keys, half_values] = halves;
        let load = |keys: &Codec, values: &Codec, by_token| {
            let spec = attend::fastest(gpu, keys, values, self.layout.shape(), TILE_ROWS)?;
            Attend::load(gpu, &spec, keys, values, by_token)
        };
        let made =
            [load(&self.keys.codec, &self.values.codec, false)?, load(&half_keys?, &half_values?, true)?];
        let [paged, recent] = self.many.get_or_init(|| made);
        Ok([paged, recent])
    }

    /// Where the tokens lie that each query sees.
    fn view(&self, gpu: &Context, step: &Step, queries: u64, rule: &Rule) -> Result<View> {
        let mut lengths: Vec<(usize, u64)> = Vec::new();
        for (i, (sequence, piece)) in step.sequences.iter().zip(&step.list).enumerate() {
            let length = self.state(*sequence)?.extent.length;
            if length == 0 && (piece.tokens > 0 || step.queries == Queries::Newest) {
                return Err(Error::Input(format!("{} has no tokens to attend to", self.name(*sequence))));
            }
            let new = u64::from(piece.tokens);
            let first = if step.queries == Queries::Newest { length } else { length - new + 1 };
            lengths.extend((first..=length).map(|length| (i, length)));
        }
        if queries != lengths.len() as u64 || queries == 0 {
            return Err(Error::Shape(format!(
                "queries of {queries} tokens are given, where those of {} are expected",
                lengths.len()
            )));
        }
        let runs: Vec<(usize, u64)> =
            lengths.chunk_by(|a, b| a.0 == b.0).map(|run| (run[0].0, run.len() as u64)).collect();
        let shape = self.layout.shape();
        // There are no tiles of latents.
        let many = self.layout.rope.is_none()
            && runs.iter().any(|(_, run)| *run > 1 && run * shape.each >= TILE_ROWS);
        let [over_pages, over_recent] = self.attends(gpu, many)?;
        let (mut paged, mut recent) = (Vec::new(), Vec::new());
        for &(at, length) in &lengths {
            let [pages, ring] = self.spans(&self.state(step.sequences[at])?.extent, length, rule);
            paged.push(pages);
            recent.push(ring);
        }
        let of_runs: Vec<u64> = runs.iter().map(|(_, run)| *run).collect();
        let paged_cut = over_pages.cut(gpu, &paged, &of_runs, shape);
        let recent_cut = over_recent.cut(gpu, &recent, &of_runs, shape);
        let in_pages = paged_cut.count;
        let all = in_pages + recent_cut.count;
        let part = |spans: &[Span], cut: Cut, first, blocks: &dyn Fn(usize) -> Vec<u32>| {
            if cut.count == 0 {
                return Ok(None);
            }
            let table = cut.table(gpu, |run| blocks(runs[run].0))?;
            let spans = Buffer::from_slice(gpu, "spans", queries, spans)?;
            Ok::<_, Error>(Some(Part { table, spans, cut, first }))
        };
        let blocks = |at: usize| step.table[at * step.width..][..step.width].to_vec();
        let slot = |at: usize| vec![step.sequences[at].slot];
        let partial = queries * all * self.layout.heads as u64;
        // Queries are in the basis of what they are multiplied with.
        let met = if self.layout.rope.is_some() { &self.values } else { &self.keys };
        let turned = met.codec.rotation().is_some() && in_pages > 0;
        let query = 4 * self.layout.query_dim() as u64;
        let heads = queries * self.layout.heads as u64;
        Ok(View {
            rule: *rule,
            queries,
            many,
            splits: all,
            paged: part(&paged, paged_cut, 0, &blocks)?,
            recent: part(&recent, recent_cut, in_pages, &slot)?,
            partial: Buffer::new(gpu, "partial", partial, 16 * attend::partial_width(shape.dim))?,
            turned: turned.then(|| Buffer::new(gpu, "rotated queries", heads, query)).transpose()?,
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
}
