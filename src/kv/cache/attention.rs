//! The attention of a step's queries, over pages and over what is f16.

use super::step::{Queries, Step, exactly};
use super::{KvCache, Layout};
use crate::gpu::{Bound, Buffer, Context, Recorder};
use crate::kv::attend::{self, Kept, Rule, Span, Splits};
use crate::kv::extent::{Extent, Places};
use crate::{Error, Result};

/// What the queries of a step see by one rule; models have one or two.
#[derive(Debug)]
pub(super) struct View {
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
            let Part { splits, tokens, .. } = *part;
            passes.push(self.paged.bind(gpu, own, &kept, &view.partial, shape, *rule, splits, tokens)?);
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
        let paged_splits = self.paged.splits(gpu, longest, queries * shape.kv, shape.each);
        let recent_splits = self.recent.splits(gpu, in_ring, queries * shape.kv, shape.each);
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
        // Queries are in the basis of what they are multiplied with.
        let met = if self.layout.rope.is_some() { &self.values } else { &self.keys };
        let turned = met.codec.rotation().is_some() && paged_splits.0 > 0;
        let query = 4 * self.layout.query_dim() as u64;
        let heads = queries * self.layout.heads as u64;
        Ok(View {
            rule: *rule,
            queries,
            paged: part(&paged, &tables, 0, paged_splits, in_pages)?,
            recent: part(&recent, &slots, paged_splits.0, recent_splits, in_rings)?,
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
