//! What a cache type costs in an attention: queries, keys and values of a model, once as they are and once through the cache.

mod head;
mod inputs;
mod vectors;

pub use inputs::{Inputs, Tensor};

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde::Serialize;

use crate::Result;
use crate::codec::{Pair, Scale};
use crate::percentile::{percentile, sorted};
use head::{Head, Sums, add, measure_head};

/// How the attention is made, and what is kept as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Options {
    /// A query sees the tokens up to its own position, and queries have the newest positions; else each sees all.
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
    fn of(numbers: Vec<f64>) -> Self {
        let numbers = sorted(numbers);
        let mean = numbers.iter().sum::<f64>() / numbers.len().max(1) as f64;
        let at = |share| percentile(&numbers, share).unwrap_or_default();
        Self { mean, p99: at(0.99), max: at(1.0) }
    }
}

/// What a pair of types costs, over all queries of all layers and heads.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Quality {
    /// The types.
    #[serde(skip)]
    pub types: Pair,
    /// Bits of a value of a long sequence, scales and what fills up words included.
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
/// [`Error::Input`](crate::Error::Input) for a vector whose scale no f16 holds.
pub fn measure(inputs: &Inputs, types: &[Pair], options: &Options) -> Result<Vec<Quality>> {
    let ways: Vec<(Pair, Options)> = types.iter().map(|&types| (types, *options)).collect();
    compare(inputs, &ways, &|_, _| (), &|| Ok(()))?
        .into_iter()
        .map(|found| found.map(|found| found.all))
        .collect()
}

/// Measures pairs of types, each with options of its own, against one true attention. All cores take part, and the bits of
/// the result do not depend on how many there are. `progress` hears how many of how many heads are done, and `go_on` is asked between queries,
/// which ends the work by an error.
///
/// What is refused is so for its pair alone: [`Error::Input`](crate::Error::Input) for a vector that f16 does not hold once it is centred, or
/// whose scale it does not hold.
pub fn compare(
    inputs: &Inputs,
    ways: &[(Pair, Options)],
    progress: &(dyn Fn(usize, usize) + Sync),
    go_on: &(dyn Fn() -> Result<()> + Sync),
) -> Result<Vec<Result<ByLayer>>> {
    let heads = inputs.layers * inputs.kv_heads;
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || {
        let mut found = Vec::new();
        loop {
            let head = next.fetch_add(1, Ordering::Relaxed);
            if head >= heads {
                return Ok(found);
            }
            // The other threads end with this one.
            let measured = measure_head(inputs, head, ways, go_on)
                .inspect_err(|_| next.store(heads, Ordering::Relaxed))?;
            found.push((head, measured));
            progress(done.fetch_add(1, Ordering::Relaxed) + 1, heads);
        }
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(heads);
    let all: Vec<Result<Vec<_>>> = thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut all = vec![work()];
        for other in others {
            match other.join() {
                Ok(more) => all.push(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        all
    });
    let mut found: Vec<_> = all.into_iter().collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
    found.sort_by_key(|&(head, _)| head);
    let mut of_ways: Vec<Vec<Result<Head>>> = ways.iter().map(|_| Vec::new()).collect();
    for (way, head) in found.into_iter().flat_map(|(_, of)| of.into_iter().enumerate()) {
        of_ways[way].push(head);
    }
    let by_layer = |(&(types, _), heads): (&(Pair, Options), Vec<Result<Head>>)| {
        let heads = heads.into_iter().collect::<Result<Vec<Head>>>()?;
        let layers = heads.chunks(inputs.kv_heads).map(|of| Quality::of(types, inputs, of));
        Ok(ByLayer { layers: layers.collect(), all: Quality::of(types, inputs, &heads) })
    };
    Ok(ways.iter().zip(of_ways).map(by_layer).collect())
}

impl Quality {
    fn of(types: Pair, inputs: &Inputs, heads: &[Head]) -> Self {
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
            bits_per_value: types.bits_per_value_of(inputs.head_dim, inputs.value_dim),
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
