//! What a cache type costs in an attention: queries, keys and values of a model, once as they are and once through the cache.

mod vectors;

use std::num::NonZero;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde::Serialize;

use super::{CacheType, Codec, Pair, Scale, Side, center, check_head_dim};
use crate::io::npy::read_tensor;
use crate::oracle::attend::{Attended, Rule, attend};
use crate::{Error, Result};

/// An array of any shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Its axes, the last one contiguous.
    pub shape: Vec<usize>,
    /// As many values as the shape says.
    pub values: Vec<f32>,
}

impl Tensor {
    /// Reads an array of any numbers (see [`crate::io::npy`]).
    ///
    /// # Errors
    /// Those of [`read_tensor`].
    pub fn read(path: &Path) -> Result<Self> {
        let (shape, values) = read_tensor(path)?;
        Ok(Self { shape, values })
    }
}

/// What a model's attention was given.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// Layers; 1 where the tensors have no such axis.
    pub layers: usize,
    /// Heads of queries: a multiple of `kv_heads`; neighbours share a head of keys and values.
    pub heads: usize,
    /// Heads of keys and values.
    pub kv_heads: usize,
    /// Tokens of the sequence.
    pub tokens: usize,
    /// The head dimension.
    pub head_dim: usize,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
}

impl Inputs {
    /// From `[(layers,) heads, tokens, head_dim]`; keys and values may have fewer heads than queries.
    ///
    /// # Errors
    /// [`Error::Input`] for shapes that disagree, for a head dimension that is not one of [`super::HEAD_DIMS`], and for a
    /// value that is not finite, or of keys and values above 65504, by its place.
    pub fn new(q: Tensor, k: Tensor, v: Tensor) -> Result<Self> {
        Self::named(["q", "k", "v"].map(String::from), q, k, v)
    }

    /// Reads the three of them from files, as [`Tensor::read`].
    ///
    /// # Errors
    /// Those of [`Tensor::read`] and of [`Inputs::new`], with the names of the files.
    pub fn read(q: &Path, k: &Path, v: &Path) -> Result<Self> {
        let names = [q, k, v].map(|path| path.display().to_string());
        Self::named(names, Tensor::read(q)?, Tensor::read(k)?, Tensor::read(v)?)
    }

    fn named(names: [String; 3], q: Tensor, k: Tensor, v: Tensor) -> Result<Self> {
        let [q_name, k_name, v_name] = &names;
        let mut shapes = Vec::new();
        for (name, tensor) in names.iter().zip([&q, &k, &v]) {
            let product = tensor.shape.iter().try_fold(1usize, |product, &n| product.checked_mul(n));
            let sized = product == Some(tensor.values.len()) && product != Some(0);
            shapes.push(match *tensor.shape {
                [heads, tokens, dim] if sized => [1, heads, tokens, dim],
                [layers, heads, tokens, dim] if sized => [layers, heads, tokens, dim],
                _ => {
                    return Err(Error::Input(format!(
                        "{name}: its shape is {:?}, with {} values; expected [heads, tokens, head_dim] or [layers, heads, \
                         tokens, head_dim]",
                        tensor.shape,
                        tensor.values.len()
                    )));
                }
            });
        }
        let ([layers, heads, tokens, head_dim], [_, kv_heads, ..]) = (shapes[0], shapes[1]);
        let wanted = if shapes[1] != shapes[2] {
            "keys and values have one shape"
        } else if shapes[1] != [layers, kv_heads, tokens, head_dim] {
            "all have as many layers and tokens, and one head dimension"
        } else if !heads.is_multiple_of(kv_heads) {
            "the heads of queries are a multiple of those of keys"
        } else {
            ""
        };
        if !wanted.is_empty() {
            return Err(Error::Input(format!(
                "{q_name} {:?}, {k_name} {:?} and {v_name} {:?} do not fit together: {wanted}",
                q.shape, k.shape, v.shape
            )));
        }
        check_head_dim(head_dim).map_err(|error| Error::Input(format!("{k_name}: {error}")))?;
        // What is larger no type holds: scales are f16 too.
        let most = [f32::MAX, 65504.0, 65504.0];
        for ((name, most), tensor) in names.iter().zip(most).zip([&q, &k, &v]) {
            if let Some(at) = tensor.values.iter().position(|x| x.is_nan() || x.abs() > most) {
                let (head, place) = (at / (tokens * head_dim), at % (tokens * head_dim));
                let heads = tensor.values.len() / (layers * tokens * head_dim);
                let limit = if most < f32::MAX { ", at most 65504, the largest that f16 holds" } else { "" };
                return Err(Error::Input(format!(
                    "{name}: layer {}, head {}, token {}, channel {} is {}; expected finite values{limit}",
                    head / heads,
                    head % heads,
                    place / head_dim,
                    place % head_dim,
                    tensor.values[at]
                )));
            }
        }
        Ok(Self { layers, heads, kv_heads, tokens, head_dim, q: q.values, k: k.values, v: v.values })
    }
}

/// How the attention is made, and what is kept as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Options {
    /// Token t sees tokens 0 to t; else each sees all.
    pub causal: bool,
    /// So many first tokens are kept in f16.
    pub sinks: usize,
    /// So many of the newest tokens are kept in f16.
    pub window: usize,
    /// Subtract the mean of the keys from them, for each head.
    pub center: bool,
    /// Rotate in front of q8_0 and q4_0.
    pub rotate: bool,
    /// The scale of TurboQuant; the usual one of each side if there is none.
    pub scale: Option<Scale>,
}

/// Of one number for each query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    /// The mean.
    pub mean: f64,
    /// What 99 % do not exceed.
    pub p99: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    fn of(mut numbers: Vec<f64>) -> Self {
        numbers.sort_by(f64::total_cmp);
        let Some(&max) = numbers.last() else { return Self::default() };
        let mean = numbers.iter().sum::<f64>() / numbers.len() as f64;
        Self { mean, p99: numbers[(numbers.len() * 99).div_ceil(100) - 1], max }
    }
}

/// What a pair of types costs, over all queries of all layers and heads.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Quality {
    /// The types.
    #[serde(skip)]
    pub types: Pair,
    /// Bits of a value of a long sequence, scales included.
    #[serde(skip)]
    pub bits_per_value: f64,
    /// Squared error of the keys over their squares.
    pub keys_error: f64,
    /// Squared error of the values over their squares.
    pub values_error: f64,
    /// Root mean square of the errors of logits, less their mean for each query, which no softmax sees.
    pub logit_error: f64,
    /// Kullback-Leibler divergence of the attention through the cache from the true one, in nats.
    pub kl: Spread,
    /// Mean cosine between the outputs.
    pub cosine: f64,
    /// Relative L2 of the outputs: the root of their squared errors over their squares, of all queries together.
    pub output_error: f64,
    /// Relative L2 of each query's output.
    pub output: Spread,
}

/// What a pair costs in all layers, and in each of them.
#[derive(Clone, Debug, PartialEq)]
pub struct ByLayer {
    /// Over all queries.
    pub all: Quality,
    /// Over those of a layer, in order.
    pub layers: Vec<Quality>,
}

/// Measures each pair of types, in f64, by the definition.
///
/// # Errors
/// [`Error::Input`] for a vector whose scale no f16 holds.
pub fn measure(inputs: &Inputs, types: &[Pair], options: &Options) -> Result<Vec<Quality>> {
    let ways: Vec<(Pair, Options)> = types.iter().map(|&types| (types, *options)).collect();
    compare(inputs, &ways, &|_, _| ()).into_iter().map(|found| found.map(|found| found.all)).collect()
}

/// Measures pairs of types, each with options of its own, against one true attention. All cores take part, and the bits of
/// the result do not depend on how many there are. `progress` hears how many of how many heads are done.
///
/// What is refused is so for its pair alone: [`Error::Input`] for a vector that f16 does not hold once it is centred, or
/// whose scale it does not hold.
pub fn compare(
    inputs: &Inputs,
    ways: &[(Pair, Options)],
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Vec<Result<ByLayer>> {
    let heads = inputs.layers * inputs.kv_heads;
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || {
        let mut found = Vec::new();
        loop {
            let head = next.fetch_add(1, Ordering::Relaxed);
            if head >= heads {
                return found;
            }
            found.push((head, measure_head(inputs, head, ways)));
            progress(done.fetch_add(1, Ordering::Relaxed) + 1, heads);
        }
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(heads);
    let mut found = thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut found = work();
        for other in others {
            match other.join() {
                Ok(more) => found.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        found
    });
    found.sort_by_key(|&(head, _)| head);
    let mut of_ways: Vec<Vec<Result<Head>>> = ways.iter().map(|_| Vec::new()).collect();
    for (way, head) in found.into_iter().flat_map(|(_, of)| of.into_iter().enumerate()) {
        of_ways[way].push(head);
    }
    let by_layer = |(&(types, _), heads): (&(Pair, Options), Vec<Result<Head>>)| {
        let heads = heads.into_iter().collect::<Result<Vec<Head>>>()?;
        let layers = heads.chunks(inputs.kv_heads).map(|of| Quality::of(types, inputs.head_dim, of));
        Ok(ByLayer { layers: layers.collect(), all: Quality::of(types, inputs.head_dim, &heads) })
    };
    ways.iter().zip(of_ways).map(by_layer).collect()
}

/// What a pair adds up in a head of keys and values.
#[derive(Clone, Debug)]
struct Head {
    keys: [f64; 2],
    values: [f64; 2],
    /// For each head of queries, so that what they add up to does not depend on how they are grouped.
    queries: Vec<Sums>,
}

/// What it adds up while queries go by.
#[derive(Clone, Debug, Default)]
struct Sums {
    logits: [f64; 2],
    output: [f64; 2],
    cosine: f64,
    kl: Vec<f64>,
    relative: Vec<f64>,
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

fn measure_head(inputs: &Inputs, head: usize, ways: &[(Pair, Options)]) -> Vec<Result<Head>> {
    let Inputs { heads, kv_heads, tokens, head_dim: dim, .. } = *inputs;
    let (size, shared, rule) = (tokens * dim, heads / kv_heads, Rule::plain(dim));
    let (k, v) = (&inputs.k[head * size..][..size], &inputs.v[head * size..][..size]);
    let mut kept = Vec::new();
    let sides: Vec<[usize; 2]> = ways
        .iter()
        .map(|(pair, options)| {
            let keys = keep(&mut kept, pair.keys, Side::Keys, k, dim, options);
            [keys, keep(&mut kept, pair.values, Side::Values, v, dim, options)]
        })
        .collect();
    let mut found: Vec<Result<Head>> = sides
        .iter()
        .map(|&[keys, values]| {
            for kept in [&kept[keys], &kept[values]] {
                if let Err(problem) = &kept.vectors {
                    let (layer, head) = (head / kv_heads, head % kv_heads);
                    return Err(Error::Input(format!("layer {layer}, head {head}, {problem}")));
                }
            }
            let queries = vec![Sums::default(); shared];
            Ok(Head { keys: kept[keys].errors, values: kept[values].errors, queries })
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
            let token = |t: usize| group.values.iter().flat_map(move |of| &of[t * dim..][..dim]).copied();
            Some((group, keys, (0..tokens).flat_map(token).collect()))
        })
        .collect();

    // The heads of queries follow one another as those of keys do, so layers need no account of their own.
    for (at, query) in inputs.q[head * shared * size..][..shared * size].chunks_exact(dim).enumerate() {
        for causal in [false, true] {
            let mut groups = groups.iter().filter(|(group, ..)| group.causal == causal).peekable();
            if groups.peek().is_none() {
                continue;
            }
            let length = if causal { at % tokens + 1 } else { tokens };
            let with = |keys: &[f32], values: &[f32]| {
                let width = values.len() / tokens;
                let (keys, values) = (&keys[..length * dim], &values[..length * width]);
                attend(query, keys, values, dim, width, length, &rule)
            };
            let truth = with(k, v);
            let truth_norm = norm(&truth);
            for (group, keys, values) in groups {
                let attended = with(keys, values);
                let logits = apart(&truth, truth_norm, &attended);
                for (&way, output) in group.ways.iter().zip(attended.output.chunks_exact(dim)) {
                    if let Ok(head) = &mut found[way] {
                        head.queries[at / tokens].query(logits, length, &truth.output, output);
                    }
                }
            }
        }
    }
    found
}

impl Quality {
    fn of(types: Pair, dim: usize, heads: &[Head]) -> Self {
        let (mut keys, mut values, mut sums) = ([0.0; 2], [0.0; 2], Sums::default());
        for head in heads {
            add(&mut keys, head.keys);
            add(&mut values, head.values);
            for of in &head.queries {
                add(&mut sums.logits, of.logits);
                add(&mut sums.output, of.output);
                sums.cosine += of.cosine;
                sums.kl.extend(&of.kl);
                sums.relative.extend(&of.relative);
            }
        }
        let quotient = |[error, size]: [f64; 2]| if size > 0.0 { error / size } else { error };
        Self {
            types,
            bits_per_value: types.bits_per_value(dim),
            keys_error: quotient(keys),
            values_error: quotient(values),
            logit_error: quotient(sums.logits).sqrt(),
            cosine: sums.cosine / sums.kl.len().max(1) as f64,
            kl: Spread::of(sums.kl),
            output_error: quotient(sums.output).sqrt(),
            output: Spread::of(sums.relative),
        }
    }
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

fn add(sums: &mut [f64; 2], more: [f64; 2]) {
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
    let mut codec = Codec::new(ty, side, dim)?.rotate(options.rotate);
    if let Some(scale) = options.scale {
        codec = codec.scale(scale);
    }
    let plain = Codec::new(CacheType::F16, side, dim)?;
    let tokens = x.len() / dim;
    let first = options.sinks.min(tokens);
    let inside = tokens - first - options.window.min(tokens - first);
    let end = first + inside / codec.tokens_together() * codec.tokens_together();
    let parts = [(&plain, 0..first), (&codec, first..end), (&plain, end..tokens)];
    let mut kept = Vec::new();
    for (codec, part) in parts {
        // The codec counts tokens from the first one that it was given.
        let place = |error| match error {
            Error::Input(problem) if part.start > 0 => {
                Error::Input(format!("from token {} on, {problem}", part.start))
            }
            other => other,
        };
        let encoded = codec.encode(&x[part.start * dim..part.end * dim]).map_err(place)?;
        kept.extend(codec.decode(&encoded)?);
    }
    if let Some(mean) = mean {
        for token in kept.chunks_exact_mut(dim) {
            for (key, mean) in token.iter_mut().zip(&mean) {
                *key += mean;
            }
        }
    }
    Ok(kept)
}
