//! How an attention is shared out: its queries among workgroups, singly or in tiles of neighbours, and the tokens that they see among
//! splits.

use super::attend::Span;
use crate::Result;
use crate::gpu::{Buffer, Context, to_u32};

/// Queries among workgroups, and tokens among splits.
#[derive(Clone, Debug)]
pub struct Cut {
    /// Splits.
    pub count: u64,
    /// Tokens of a split.
    pub tokens: u64,
    /// Tokens that are read, those of a run once, and those that are seen, all queries together.
    pub(super) read: u64,
    pub(super) seen: u64,
    /// Tables: of which run each is, and what it has before its blocks, as `attend_tile` wants it.
    tables: Vec<(usize, Option<[u64; 3]>)>,
    /// The most tokens between the first that one of a table's queries sees and the last.
    longest: u64,
}

impl Cut {
    /// Each query by itself; `runs` of them belong to a sequence each.
    pub(super) fn of_queries(spans: &[Span], runs: &[u64]) -> Self {
        let tables =
            runs.iter().enumerate().flat_map(|(run, &queries)| (0..queries).map(move |_| (run, None)));
        let longest = spans.iter().map(|span| seen(span, span)).max();
        Self::new(spans, runs, tables.collect(), longest)
    }

    /// Tiles of `rows` rows, the `each` query heads of one query of a run after another.
    pub(super) fn of_tiles(spans: &[Span], runs: &[u64], each: u64, rows: u64) -> Self {
        let (mut tables, mut longest, mut query) = (Vec::new(), None, 0);
        for (run, &queries) in runs.iter().enumerate() {
            let all = queries * each;
            for first in (0..all).step_by(rows as usize) {
                let last = (first + rows).min(all) - 1;
                let [from, to] = [first, last].map(|row| &spans[(query + row / each) as usize]);
                longest = longest.max(Some(seen(from, to)));
                tables.push((run, Some([query, queries, first])));
            }
            query += queries;
        }
        Self::new(spans, runs, tables, longest)
    }

    fn new(
        spans: &[Span],
        runs: &[u64],
        tables: Vec<(usize, Option<[u64; 3]>)>,
        longest: Option<u64>,
    ) -> Self {
        let mut rest = spans;
        let mut of_run = |queries: &u64| {
            let (own, others) = rest.split_at(*queries as usize);
            rest = others;
            own.first().zip(own.last()).map_or(0, |(first, last)| seen(first, last))
        };
        Self {
            count: 1,
            tokens: 0,
            read: runs.iter().map(&mut of_run).sum(),
            seen: spans.iter().map(|span| seen(span, span)).sum(),
            tables,
            longest: longest.unwrap_or(0),
        }
    }

    /// The same in as many splits as make about `wanted` workgroups of `each` for a table, if each has something to do.
    pub(super) fn share(self, wanted: u64, each: u64) -> Self {
        /// Fewer tokens are not worth a partial sum.
        const LEAST: u64 = 256;
        let groups = self.tables.len() as u64 * each;
        let count = wanted.div_ceil(groups.max(1)).clamp(1, self.longest.div_ceil(LEAST).max(1));
        let tokens = self.longest.div_ceil(count).next_multiple_of(64).max(64);
        Self { count: self.longest.div_ceil(tokens), tokens, ..self }
    }

    /// Where tokens lie, for a kernel: `blocks` of a run are as many for each.
    ///
    /// # Errors
    /// The device's.
    pub fn table(&self, gpu: &Context, mut blocks: impl FnMut(usize) -> Vec<u32>) -> Result<Buffer> {
        let mut words = Vec::new();
        for (run, head) in &self.tables {
            for word in head.iter().flatten() {
                words.push(to_u32(*word, "the number of queries")?);
            }
            words.extend(blocks(*run));
        }
        Buffer::from_slice(gpu, "table", self.tables.len() as u64, &words)
    }
}

/// Tokens from the first that one query sees up to the last that another one does.
fn seen(first: &Span, last: &Span) -> u64 {
    u64::from(last.tokens.saturating_sub(first.first))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(lengths: &[u32], window: u32) -> Vec<Span> {
        let span = |&length: &u32| Span {
            tokens: length,
            length,
            first: length.saturating_sub(window),
            ..Span::default()
        };
        lengths.iter().map(span).collect()
    }

    #[test]
    fn tiles_cover_each_row_of_each_run_once() {
        for (each, rows) in [(1, 32), (4, 32), (5, 32), (71, 32), (8, 16)] {
            let runs = [3, 0, 40, 1];
            let lengths: Vec<u32> = [3, 40, 1].into_iter().flat_map(|run| 101..101 + run).collect();
            let cut = Cut::of_tiles(&spans(&lengths, u32::MAX), &runs, each, rows);
            let mut found = Vec::new();
            for (run, head) in &cut.tables {
                let [query, queries, first] = head.unwrap();
                assert_eq!(queries, runs[*run]);
                found.extend((first..(first + rows).min(queries * each)).map(|row| query * each + row));
            }
            assert_eq!(found, (0..44 * each).collect::<Vec<_>>(), "{each} {rows}");
            assert_eq!(cut.longest, 140);
            assert_eq!((cut.read, cut.seen), (103 + 140 + 101, lengths.iter().map(|&x| u64::from(x)).sum()));
        }
    }

    #[test]
    fn splits_cover_what_the_queries_of_a_tile_see_together() {
        let lengths: Vec<u32> = (1000..1064).collect();
        let cut = Cut::of_tiles(&spans(&lengths, 100), &[64], 4, 32);
        // Eight queries, each of which sees a window of 100.
        assert_eq!(cut.longest, 107);
        let alone = Cut::of_queries(&spans(&lengths, 100), &[64]);
        assert_eq!((alone.longest, alone.tables.len()), (100, 64));
        for wanted in [1, 100, 100_000] {
            let shared = Cut::of_queries(&spans(&[5000], u32::MAX), &[1]).share(wanted, 2);
            assert!(shared.count * shared.tokens >= 5000 && (shared.count - 1) * shared.tokens < 5000);
            assert!(shared.tokens.is_multiple_of(64) && shared.count <= 20, "{shared:?}");
        }
        let none = Cut::of_queries(&spans(&[0], u32::MAX), &[1]).share(64, 1);
        assert_eq!(none.count, 0);
    }
}
