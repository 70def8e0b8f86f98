//! One head of keys and values: what its queries see through each cache.

use super::{Inputs, Options};
use crate::codec::{CacheType, Codec, Pair, Side, center};
use crate::oracle::attend::{Attended, Rule, attend};
use crate::{Error, Result};

/// What a pair adds up in a head of keys and values.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub keys: [f64; 2],
    pub values: [f64; 2],
    /// For each head of queries, so that what they add up to does not depend on how they are grouped.
    pub queries: Vec<Sums>,
}

/// What it adds up while queries go by.
#[derive(Clone, Debug, Default)]
pub(super) struct Sums {
    pub logits: [f64; 2],
    pub output: [f64; 2],
    pub cosine: f64,
    pub kl: Vec<f64>,
    pub relative: Vec<f64>,
}

/// Keys or values after the cache, and how far they are from what they were.
struct Kept {
    ty: CacheType,
    side: Side,
    options: Options,
    vectors: std::result::Result<Vec<f32>, String>,
    errors: [f64; 2],
}

/// Ways whose keys are the same, so that logits are made once for them.
struct Alike<'a> {
    causal: bool,
    keys: usize,
    /// Those of the values of each way.
    values: Vec<&'a [f32]>,
    ways: Vec<usize>,
}

/// What each way adds up in a head of keys and values, which are counted through all layers; or the error of `go_on`.
pub(super) fn measure_head(
    inputs: &Inputs,
    head: usize,
    ways: &[(Pair, Options)],
    go_on: &dyn Fn() -> Result<()>,
) -> Result<Vec<Result<Head>>> {
    let Inputs { heads, kv_heads, tokens, queries, head_dim: dim, value_dim, .. } = *inputs;
    let (shared, rule) = (heads / kv_heads, Rule::plain(dim));
    let part = |dim: usize| head * tokens * dim..(head + 1) * tokens * dim;
    let (k, v) = (&inputs.k[part(dim)], &inputs.v[part(value_dim)]);
    let mut kept = Vec::new();
    let sides: Vec<[usize; 2]> = ways
        .iter()
        .map(|(pair, options)| {
            go_on()?;
            let keys = keep(&mut kept, pair.keys, Side::Keys, k, dim, options);
            Ok([keys, keep(&mut kept, pair.values, Side::Values, v, value_dim, options)])
        })
        .collect::<Result<_>>()?;
    let mut found: Vec<Result<Head>> = sides
        .iter()
        .map(|&[keys, values]| {
            for kept in [&kept[keys], &kept[values]] {
                if let Err(problem) = &kept.vectors {
                    let (layer, head) = (head / kv_heads, head % kv_heads);
                    return Err(Error::Input(format!("layer {layer}, head {head}, {problem}")));
                }
            }
            let sums = vec![Sums::default(); shared];
            Ok(Head { keys: kept[keys].errors, values: kept[values].errors, queries: sums })
        })
        .collect();

    let mut groups: Vec<Alike> = Vec::new();
    for (way, &[keys, values]) in sides.iter().enumerate() {
        let (true, Ok(values)) = (found[way].is_ok(), &kept[values].vectors) else { continue };
        let causal = ways[way].1.causal;
        match groups.iter_mut().find(|group| (group.causal, group.keys) == (causal, keys)) {
            Some(group) => {
                group.values.push(values);
                group.ways.push(way);
            }
            None => groups.push(Alike { causal, keys, values: vec![values], ways: vec![way] }),
        }
    }
    // The outputs of a group are one attention, over values that lie side by side.
    let groups: Vec<(&Alike, &[f32], Vec<f32>)> = groups
        .iter()
        .filter_map(|group| {
            let keys = kept[group.keys].vectors.as_deref().ok()?;
            let token =
                |t: usize| group.values.iter().flat_map(move |of| &of[t * value_dim..][..value_dim]).copied();
            Some((group, keys, (0..tokens).flat_map(token).collect()))
        })
        .collect();

    // The heads of queries follow one another as those of keys do, so layers need no account of their own.
    let size = shared * queries * dim;
    for (at, query) in inputs.q[head * size..][..size].chunks_exact(dim).enumerate() {
        for causal in [false, true] {
            let mut groups = groups.iter().filter(|(group, ..)| group.causal == causal).peekable();
            if groups.peek().is_none() {
                continue;
            }
            // Queries are of the newest positions.
            let length = if causal { tokens - queries + at % queries + 1 } else { tokens };
            let with = |keys: &[f32], values: &[f32]| {
                let width = values.len() / tokens;
                let (keys, values) = (&keys[..length * dim], &values[..length * width]);
                attend(query, keys, values, dim, width, length, &rule)
            };
            let truth = with(k, v);
            let truth_norm = norm(&truth);
            for (group, keys, values) in groups {
                go_on()?;
                let attended = with(keys, values);
                let logits = apart(&truth, truth_norm, &attended);
                for (&way, output) in group.ways.iter().zip(attended.output.chunks_exact(value_dim)) {
                    if let Ok(head) = &mut found[way] {
                        head.queries[at / queries].query(logits, length, &truth.output, output);
                    }
                }
            }
        }
    }
    Ok(found)
}

impl Sums {
    /// With the squared error of the query's logits, and the divergence.
    fn query(&mut self, [logits, kl]: [f64; 2], length: usize, a: &[f64], b: &[f64]) {
        add(&mut self.logits, [logits, length as f64]);
        self.kl.push(kl);
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let (size, error) = (dot(a, a), a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>());
        add(&mut self.output, [error, size]);
        self.relative.push(if size > 0.0 { (error / size).sqrt() } else { error.sqrt() });
        let sizes = (size * dot(b, b)).sqrt();
        self.cosine += if sizes > 0.0 { dot(a, b) / sizes } else { f64::from(error == 0.0) };
    }
}

/// The squared error of centred logits, and the divergence of the found attention from the true one, whose logits have this
/// norm.
fn apart(truth: &Attended, truth_norm: f64, found: &Attended) -> [f64; 2] {
    let both = || truth.logits.iter().zip(&found.logits);
    let mean = both().map(|(a, b)| b - a).sum::<f64>() / truth.logits.len() as f64;
    let logits = both().map(|(a, b)| (b - a - mean).powi(2)).sum();

    // By logarithms: a share may be too small for f64.
    let found_norm = norm(found);
    let kl = truth.probabilities.iter().zip(both()).filter(|(p, _)| **p > 0.0);
    let kl = kl.map(|(p, (a, b))| p * ((a - truth_norm) - (b - found_norm)));
    [logits, kl.sum::<f64>().max(0.0)]
}

/// The logarithm of the sum of exponentials of the logits.
fn norm(of: &Attended) -> f64 {
    let most = of.logits.iter().fold(f64::NEG_INFINITY, |most, &logit| most.max(logit));
    most + of.logits.iter().map(|logit| (logit - most).exp()).sum::<f64>().ln()
}

pub(super) fn add(sums: &mut [f64; 2], more: [f64; 2]) {
    sums[0] += more[0];
    sums[1] += more[1];
}

/// The squared error and the sum of squares.
fn errors(truth: &[f32], found: &[f32]) -> [f64; 2] {
    let mut sums = [0.0; 2];
    for (&a, &b) in truth.iter().zip(found) {
        let (a, b) = (f64::from(a), f64::from(b));
        add(&mut sums, [(a - b).powi(2), a * a]);
    }
    sums
}

/// The place in `kept` of what the cache makes of `x`. It is made once, whatever the options say that does not concern it.
fn keep(kept: &mut Vec<Kept>, ty: CacheType, side: Side, x: &[f32], dim: usize, options: &Options) -> usize {
    let rotates = matches!(ty, CacheType::Q8_0 | CacheType::Q4_0);
    let (center, rotate) = (options.center && side == Side::Keys, options.rotate && rotates);
    let options = Options { causal: false, center, rotate, ..*options };
    if let Some(at) = kept.iter().position(|of| (of.ty, of.side, of.options) == (ty, side, options)) {
        return at;
    }
    let vectors = through(ty, side, x, dim, &options).map_err(|error| error.to_string());
    let errors = vectors.as_ref().map_or([0.0; 2], |vectors| errors(x, vectors));
    kept.push(Kept { ty, side, options, vectors, errors });
    kept.len() - 1
}

/// What the cache gives back for one head. What is no whole group of tokens stays in f16 too.
fn through(ty: CacheType, side: Side, x: &[f32], dim: usize, options: &Options) -> Result<Vec<f32>> {
    let mut x = x.to_vec();
    let mean = (options.center && side == Side::Keys).then(|| center::mean(&x, dim));
    if let Some(mean) = &mean {
        center::subtract(&mut x, mean);
    }
    let mut codec = Codec::any(ty, side, dim)?.rotate(options.rotate);
    if let Some(scale) = options.scale {
        codec = codec.scale(scale);
    }
    let plain = Codec::any(CacheType::F16, side, dim)?;
    let tokens = x.len() / dim;
    let first = options.sinks.min(tokens);
    let inside = tokens - first - options.window.min(tokens - first);
    let end = first + inside / codec.tokens_together() * codec.tokens_together();
    let parts = [(&plain, 0..first), (&codec, first..end), (&plain, end..tokens)];
    let mut kept = Vec::new();
    for (codec, part) in parts {
        // The codec counts tokens from the first one that it was given.
        let place = |error: Error| match part.start {
            0 => error,
            start => error.reworded(|problem| format!("from token {start} on, {problem}")),
        };
        let encoded = codec.encode(&x[part.start * dim..part.end * dim]).map_err(place)?;
        kept.extend(codec.decode(&encoded)?);
    }
    if let Some(mean) = mean {
        center::add(&mut kept, &mean);
    }
    Ok(kept)
}
