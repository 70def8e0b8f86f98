//! Thresholds: which sizes are worth codes of their own.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{BINS, Contents, Histogram, LEVELS};
use crate::{Error, Result};

/// The least threshold that [`Method::Entropy`] and [`Method::Mse`] try, in bins: one bin for each level.
const LEAST: usize = 128;

/// How a threshold is chosen from a histogram. As text: `entropy`, `min-max`, `percentile:99.99`, `mse`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
#[non_exhaustive]
pub enum Method {
    /// The threshold of the least Kullback-Leibler divergence of the values from their codes (Migacz, NVIDIA, GTC
    /// 2017).
    ///
    /// For i from 128 to 2047: P is `bins[..i]` with all that is beyond added to its last bin; Q is `bins[..i]`, merged
    /// into 128 levels (bin b into level `b * 128 / i`, rounded down) and each level's mass spread evenly over those of
    /// its bins that are not empty; both normalized. The threshold is `i + 0.5` bins for the i of the least KL(P||Q) over
    /// all i bins, the lowest of equals.
    ///
    /// Bin 0 counts as bin 1 does: a Relu's zeros have a code at any scale, and would drown everything else. Where P
    /// has what Q has not, KL is infinite. A candidate with at most one bin that is not empty is passed over: its KL
    /// would be 0 whatever it clips. Where no candidate is left, as for two values, it is [`Method::MinMax`].
    Entropy,
    /// The largest size.
    MinMax,
    /// The size that this share of the values, in percent, does not exceed, and at least a bin; within a bin, values
    /// count as evenly spread.
    Percentile(f64),
    /// The threshold of `128..=2048` bins with the least expected squared error of the codes, where the values of a bin
    /// count as its centre; the lowest of equals.
    Mse,
}

impl Method {
    /// The percentile that is taken where none is given.
    pub const PERCENTILE: f64 = 99.99;

    /// The threshold: the largest size that has a code of its own. 0 for a tensor of zeros ([`Contents::Zero`]), amax for
    /// a constant one.
    ///
    /// # Errors
    /// [`Error::Input`] for a histogram without values, or one whose parts do not agree, or a percentile that is not
    /// above 0 and up to 100.
    #[doc(hidden)]
    pub fn range(&self, histogram: &Histogram) -> Result<f64> {
        histogram.check()?;
        self.check()?;
        let amax = f64::from(histogram.amax);
        let bins = match (histogram.contents(), self) {
            (Contents::Zero, _) => return Ok(0.0),
            (Contents::Constant, _) | (_, Self::MinMax) => return Ok(amax),
            (_, Self::Entropy) => match entropy(&histogram.bins) {
                Some(i) => i as f64 + 0.5,
                None => return Ok(amax),
            },
            (_, Self::Percentile(percent)) => percentile(histogram, *percent),
            (_, Self::Mse) => mse(&histogram.bins) as f64,
        };
        Ok((bins * histogram.width()).min(amax))
    }

    fn check(&self) -> Result<()> {
        match *self {
            Self::Percentile(percent) if !(percent > 0.0 && percent <= 100.0) => Err(Error::Input(format!(
                "the percentile is {percent}; it must be above 0 and at most 100, such as {}",
                Self::PERCENTILE
            ))),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Entropy => out.write_str("entropy"),
            Self::MinMax => out.write_str("min-max"),
            Self::Percentile(percent) => write!(out, "percentile:{percent}"),
            Self::Mse => out.write_str("mse"),
        }
    }
}

impl FromStr for Method {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let unknown = || {
            let text = crate::io::quoted(text);
            Error::Input(format!(
                "no method is called {text}; there are entropy, min-max, percentile:99.99 and mse"
            ))
        };
        let method = match text.split_once(':') {
            Some(("percentile", percent)) => Self::Percentile(percent.parse().map_err(|_| unknown())?),
            None if text == "entropy" => Self::Entropy,
            None if text == "min-max" || text == "minmax" => Self::MinMax,
            None if text == "percentile" => Self::Percentile(Self::PERCENTILE),
            None if text == "mse" => Self::Mse,
            _ => return Err(unknown()),
        };
        method.check().map(|()| method)
    }
}

impl From<Method> for String {
    fn from(method: Method) -> Self {
        method.to_string()
    }
}

impl TryFrom<String> for Method {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

/// The candidate of the least divergence.
fn entropy(bins: &[u64]) -> Option<usize> {
    let mut counts: Vec<f64> = bins.iter().map(|&count| count as f64).collect();
    counts[0] = counts[1];
    // The same for every candidate: what it leaves out comes back as its last bin's.
    let all: f64 = counts.iter().sum();
    let share = |count: f64| count / all;
    // Only the last bin of P changes with the candidate, so the logarithms of the others are taken once.
    let logs: Vec<f64> = counts.iter().map(|&count| share(count).ln()).collect();
    let mut inside: f64 = counts[..LEAST - 1].iter().sum();
    let mut occupied = counts[..LEAST - 1].iter().filter(|&&count| count > 0.0).count();
    let mut best = (f64::INFINITY, None);
    for i in LEAST..BINS {
        let last = i - 1;
        inside += counts[last];
        occupied += usize::from(counts[last] > 0.0);
        // Where the last bin is empty, P has there what is beyond, if anything is; Q has nothing.
        if occupied < 2 || (counts[last] == 0.0 && all > inside) {
            continue;
        }
        let mut divergence = 0.0;
        for level in 0..LEAST {
            let (from, to) = ((level * i).div_ceil(LEAST), ((level + 1) * i).div_ceil(LEAST));
            let members = &counts[from..to];
            let mass: f64 = members.iter().sum();
            if mass == 0.0 {
                continue;
            }
            let bins = members.iter().filter(|&&count| count > 0.0).count();
            let q = (mass / bins as f64 / inside).ln();
            for bin in (from..to).filter(|&bin| counts[bin] > 0.0) {
                divergence += if bin == last {
                    let p = share(counts[bin] + (all - inside));
                    p * (p.ln() - q)
                } else {
                    share(counts[bin]) * (logs[bin] - q)
                };
            }
        }
        if divergence < best.0 {
            best = (divergence, Some(i));
        }
    }
    best.1
}

/// The threshold in bins.
fn percentile(histogram: &Histogram, percent: f64) -> f64 {
    let wanted = percent / 100.0 * histogram.count as f64;
    let mut below = 0.0;
    for (bin, &count) in histogram.bins.iter().enumerate().filter(|(_, count)| **count > 0) {
        let count = count as f64;
        if below + count >= wanted {
            return (bin as f64 + (wanted - below) / count).max(1.0);
        }
        below += count;
    }
    BINS as f64
}

/// The threshold in bins.
fn mse(bins: &[u64]) -> usize {
    let centres: Vec<(f64, f64)> =
        (0..BINS).filter(|&bin| bins[bin] > 0).map(|bin| (bin as f64 + 0.5, bins[bin] as f64)).collect();
    let error = |threshold: usize| -> f64 {
        let scale = threshold as f64 / LEVELS;
        let squared = |&(value, count): &(f64, f64)| {
            let code = (value / scale).round_ties_even().min(LEVELS);
            count * (value - code * scale).powi(2)
        };
        centres.iter().map(squared).sum()
    };
    let mut best = (f64::INFINITY, BINS);
    for threshold in LEAST..=BINS {
        let error = error(threshold);
        if error < best.0 {
            best = (error, threshold);
        }
    }
    best.1
}
