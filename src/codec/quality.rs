//! What a cache type costs in an attention: queries, keys and values of a model, once as they are and once through the cache.

use std::path::Path;

use super::{CacheType, Codec, Pair, Scale, Side, center, check_head_dim};
use crate::io::npy::read_examples;
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
    /// Reads a .npy file of float32 or float16.
    ///
    /// # Errors
    /// Those of [`read_examples`].
    pub fn read(path: &Path) -> Result<Self> {
        let (matrix, example) = read_examples(path)?;
        Ok(Self { shape: [vec![matrix.rows], example].concat(), values: matrix.values })
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
        let (mut shapes, mut sized) = (Vec::new(), true);
        for tensor in [&q, &k, &v] {
            let product = tensor.shape.iter().try_fold(1usize, |product, &n| product.checked_mul(n));
            sized &= product == Some(tensor.values.len()) && product != Some(0);
            shapes.push(match *tensor.shape {
                [heads, tokens, dim] => [1, heads, tokens, dim],
                [layers, heads, tokens, dim] => [layers, heads, tokens, dim],
                _ => [0; 4],
            });
        }
        let ([layers, heads, tokens, head_dim], [_, kv_heads, ..]) = (shapes[0], shapes[1]);
        let grouped = kv_heads > 0 && heads.is_multiple_of(kv_heads);
        let agree = shapes[1] == [layers, kv_heads, tokens, head_dim] && shapes[1] == shapes[2];
        if !(sized && grouped && agree && layers > 0) {
            return Err(Error::Input(format!(
                "q {:?}, k {:?} and v {:?} do not fit together: each is [heads, tokens, head_dim] or [layers, heads, \
                 tokens, head_dim], k and v alike, and q has as many heads or a multiple of them",
                q.shape, k.shape, v.shape
            )));
        }
        check_head_dim(head_dim)?;
        for (name, most, tensor) in [("q", f32::MAX, &q), ("k", 65504.0, &k), ("v", 65504.0, &v)] {
            if let Some(at) = tensor.values.iter().position(|x| x.is_nan() || x.abs() > most) {
                let (head, place) = (at / (tokens * head_dim), at % (tokens * head_dim));
                let heads = tensor.values.len() / (layers * tokens * head_dim);
                return Err(Error::Input(format!(
                    "{name}: layer {}, head {}, token {}, channel {} is {}; expected finite values of at most {most}",
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
#[derive(Clone, Copy, Debug, Default, PartialEq)]
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
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quality {
    /// The types.
    pub types: Pair,
    /// Bits of a value of a long sequence, scales included.
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

/// What a pair adds up while queries go by.
#[derive(Clone, Debug, Default)]
struct Sums {
    keys: [f64; 2],
    values: [f64; 2],
    logits: [f64; 2],
    output: [f64; 2],
    cosine: f64,
    kl: Vec<f64>,
    relative: Vec<f64>,
}

/// Measures each pair of types, in f64, by the definition.
///
/// # Errors
/// [`Error::Input`] for a vector whose scale no f16 holds.
pub fn measure(inputs: &Inputs, types: &[Pair], options: &Options) -> Result<Vec<Quality>> {
    let Inputs { layers, heads, kv_heads, tokens, head_dim: dim, .. } = *inputs;
    let (size, shared, rule) = (tokens * dim, heads / kv_heads, Rule::plain(dim));
    let mut sums = vec![Sums::default(); types.len()];
    for kv in 0..layers * kv_heads {
        let (k, v) = (&inputs.k[kv * size..][..size], &inputs.v[kv * size..][..size]);
        let mut kept = Vec::new();
        for (pair, sums) in types.iter().zip(&mut sums) {
            let keys = through(pair.keys, Side::Keys, k, dim, options)?;
            let values = through(pair.values, Side::Values, v, dim, options)?;
            add(&mut sums.keys, errors(k, &keys));
            add(&mut sums.values, errors(v, &values));
            kept.push((keys, values));
        }
        // The heads of queries follow one another as those of keys do, so layers need no account of their own.
        for (at, query) in inputs.q[kv * shared * size..][..shared * size].chunks_exact(dim).enumerate() {
            let length = if options.causal { at % tokens + 1 } else { tokens };
            let with = |keys: &[f32], values: &[f32]| attend(query, keys, values, dim, dim, length, &rule);
            let truth = with(k, v);
            for ((keys, values), sums) in kept.iter().zip(&mut sums) {
                sums.query(&truth, &with(keys, values), length);
            }
        }
    }
    let quality = |(&types, sums): (&Pair, Sums)| {
        let quotient = |[error, size]: [f64; 2]| if size > 0.0 { error / size } else { error };
        Quality {
            types,
            bits_per_value: types.bits_per_value(dim),
            keys_error: quotient(sums.keys),
            values_error: quotient(sums.values),
            logit_error: quotient(sums.logits).sqrt(),
            cosine: sums.cosine / sums.kl.len().max(1) as f64,
            kl: Spread::of(sums.kl),
            output_error: quotient(sums.output).sqrt(),
            output: Spread::of(sums.relative),
        }
    };
    Ok(types.iter().zip(sums).map(quality).collect())
}

impl Sums {
    fn query(&mut self, truth: &Attended, found: &Attended, length: usize) {
        let apart: Vec<f64> = truth.logits[..length].iter().zip(&found.logits).map(|(a, b)| b - a).collect();
        let mean = apart.iter().sum::<f64>() / length as f64;
        add(&mut self.logits, [apart.iter().map(|x| (x - mean).powi(2)).sum(), length as f64]);

        // By logarithms: a share may be too small for f64.
        let (norm, other) = (norm(truth), norm(found));
        let kl = truth.probabilities.iter().zip(truth.logits.iter().zip(&found.logits));
        let kl = kl.filter(|(p, _)| **p > 0.0).map(|(p, (a, b))| p * ((a - norm) - (b - other)));
        self.kl.push(kl.sum::<f64>().max(0.0));

        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let (a, b) = (&truth.output, &found.output);
        let (size, error) = (dot(a, a), a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>());
        add(&mut self.output, [error, size]);
        self.relative.push(if size > 0.0 { (error / size).sqrt() } else { error.sqrt() });
        let sizes = (size * dot(b, b)).sqrt();
        self.cosine += if sizes > 0.0 { dot(a, b) / sizes } else { f64::from(error == 0.0) };
    }
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
        kept.extend(codec.decode(&codec.encode(&x[part.start * dim..part.end * dim])?)?);
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
