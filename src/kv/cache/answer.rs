//! What an attention over a full cache must be, by the oracle, for whatever times one.

use std::collections::HashMap;
use std::ops::Range;

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::timing::Source;
use super::{KvCache, Sequence};
use crate::Result;
use crate::codec::{Codec, GROUP, center};
use crate::gpu::verify::{Expected, Sample};
use crate::kv::attend::Rule;
use crate::oracle::attend::{self, attend};

/// Which tokens of a sequence are attended to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// All.
    All,
    /// Those in pages.
    Pages,
}

/// The query heads of the first and the last kv head of the newest of `asked` tokens, and what they make of a layer that `source` filled: to decode the tokens
/// of every head takes long.
///
/// # Errors
/// Those of the codecs.
pub(super) fn answer(
    cache: &KvCache,
    sequence: Sequence,
    (layer, source_layer): (usize, usize),
    source: &dyn Source,
    asked: u64,
    seen: Seen,
) -> Result<(Sample, Expected)> {
    let layout = cache.layout();
    let (kv, each, query) = (layout.kv_heads, layout.heads / layout.kv_heads, layout.query_dim());
    let extent = cache.state(sequence)?.extent;
    let sinks = cache.places.sinks.min(extent.length);
    let encoded = sinks..sinks + extent.encoded;
    let tokens = match seen {
        Seen::All => 0..extent.length,
        Seen::Pages => encoded.clone(),
    };
    let rows = asked as usize * layout.heads;
    let newest = rows - layout.heads;
    let sample = Sample::only(rows, (newest..newest + each).chain(rows - each..rows));
    let all = source.tokens(source_layer, 0..extent.length);
    let queries = source.queries(source_layer);
    let (mut values, mut bounds) = (Vec::new(), Vec::new());
    let heads = if kv > 1 { vec![0, kv - 1] } else { vec![0] };
    for head in heads {
        let dim = cache.keys.codec.dim();
        let mean = cache.means().filter(|_| !encoded.is_empty());
        let mean = mean.map(|means| &means[(layer * kv + head) * layout.head_dim..][..layout.head_dim]);
        let kept = |side: &[f16], codec: &Codec, mean: Option<&[f32]>| {
            let rows = side.chunks_exact(codec.dim()).skip(head).step_by(kv);
            let rows: Vec<f16> = rows.flatten().copied().collect();
            let dim = codec.dim();
            let mut decoded =
                decoded(codec, &rows[encoded.start as usize * dim..encoded.end as usize * dim], mean)?;
            let plain = |range: Range<u64>| rows[range.start as usize * dim..range.end as usize * dim].iter();
            if seen == Seen::All {
                let before = plain(0..encoded.start).map(|x| x.to_f32());
                let behind = plain(encoded.end..extent.length).map(|x| x.to_f32());
                decoded = before.chain(decoded).chain(behind).collect();
            }
            Ok::<_, crate::Error>(decoded)
        };
        let own_values = kept(&all[1], &cache.values.codec, None)?;
        let mut own_keys = kept(&all[0], &cache.keys.codec, mean)?;
        if layout.rope.is_some() {
            // A latent is the first part of its token's key.
            let pairs = own_values.chunks_exact(layout.head_dim).zip(own_keys.chunks_exact(dim));
            own_keys = pairs.flat_map(|(latent, rope)| [latent, rope].concat()).collect();
        }
        let own = &queries[head * each * query..][..each * query];
        let rule = attend::Rule {
            scale: Rule::plain(layout.head_dim as u64).scale.into(),
            ..attend::Rule::plain(layout.head_dim)
        };
        let count = (tokens.end - tokens.start) as usize;
        let dims = (query, layout.head_dim);
        values.extend(attend(own, &own_keys, &own_values, dims.0, dims.1, count, &rule).output);
        let size = mean.unwrap_or_default().iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
        let rotated = cache.values.codec.rotation().is_some();
        bounds.extend(attend::bound(own, &own_keys, &own_values, dims, &rule, size, rotated));
    }
    Ok((sample, Expected::Within { values, bounds }))
}

/// What a codec makes of vectors; those of a long cache repeat.
fn decoded(codec: &Codec, vectors: &[f16], mean: Option<&[f32]>) -> Result<Vec<f32>> {
    let mut known: HashMap<&[u16], Vec<f32>> = HashMap::new();
    let mut all = Vec::with_capacity(vectors.len());
    for group in vectors.chunks(GROUP * codec.dim()) {
        let bits: &[u16] = group.reinterpret_cast();
        if !known.contains_key(bits) {
            let mut own: Vec<f32> = group.iter().map(|x| x.to_f32()).collect();
            if let Some(mean) = mean {
                center::subtract(&mut own, mean);
            }
            let mut own = codec.decode(&codec.encode(&own)?)?;
            if let Some(mean) = mean {
                center::add(&mut own, mean);
            }
            known.insert(bits, own);
        }
        all.extend_from_slice(&known[bits]);
    }
    Ok(all)
}
