//! Calibration: from what a tensor holds to the scale of its int8 codes. Never a GPU type.
//!
//! A [`Histogram`] of a tensor's sizes and a [`Method`] give a [`Range`]: codes are `round(x / scale)`, from -127 to 127,
//! and what is larger than the threshold `127 * scale` is clipped. A [`Cache`] keeps scales in TensorRT's text format, a
//! [`Manifest`] beside it says what they were made of. Weights need no histogram: [`channels`].

use serde::{Deserialize, Serialize};

use crate::{Error, Result, io};

mod cache;
mod manifest;
mod method;

pub use cache::{Cache, Header};
pub use manifest::{Data, Manifest, Model, manifest_path};
pub use method::Method;

/// Bins of a histogram.
pub const BINS: usize = 2048;

/// Codes of each sign.
pub const LEVELS: f64 = 127.0;

/// A tensor whose largest size is less counts as all zero: 2^-100. The number of bins in a unit stays finite, and numbers
/// that devices may flush to zero stay in the first bin.
pub const LEAST_AMAX: f32 = 7.888_609e-31;

/// How often sizes |x| occur, in 2048 bins of equal width over [0, amax].
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// `[BINS]`; the last one includes amax.
    pub bins: Vec<u64>,
    /// The largest size.
    pub amax: f32,
    /// The least value.
    pub min: f32,
    /// The largest value.
    pub max: f32,
    /// How many values.
    pub count: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { bins: vec![0; BINS], amax: 0.0, min: 0.0, max: 0.0, count: 0 }
    }
}

/// What kind of values a tensor had. Only the last two kinds can be quantized, and only the last one says much about
/// values to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Contents {
    /// Nothing but zeros, or nothing of a size that matters ([`LEAST_AMAX`]).
    Zero,
    /// One value, not zero.
    Constant,
    /// Several values.
    Varied,
}

impl Histogram {
    /// The histogram of `values`, as the kernels make it.
    ///
    /// # Errors
    /// [`Error::Input`] if there are none, or one is NaN or infinite.
    pub fn of(values: &[f32]) -> Result<Self> {
        let strange = values.iter().filter(|value| !value.is_finite()).count();
        if strange > 0 {
            return Err(Error::NotFinite(format!(
                "{strange} values are NaN or infinite; calibration takes finite ones"
            )));
        }
        let min = values.iter().copied().min_by(f32::total_cmp);
        let max = values.iter().copied().max_by(f32::total_cmp);
        let (Some(min), Some(max)) = (min, max) else { return Err(Error::Input(NO_VALUES.into())) };
        let mut made = Self { min, max, amax: min.abs().max(max.abs()), ..Self::default() };
        let scale = made.bins_per_unit();
        for value in values {
            made.bins[((value.abs() * scale) as usize).min(BINS - 1)] += 1;
        }
        made.count = values.len() as u64;
        Ok(made)
    }

    /// Bins in a unit, as f32; 0, so that all values are in the first bin, where amax is below [`LEAST_AMAX`].
    pub fn bins_per_unit(&self) -> f32 {
        if self.amax < LEAST_AMAX { 0.0 } else { BINS as f32 / self.amax }
    }

    /// What kind of values these are.
    pub fn contents(&self) -> Contents {
        match self {
            _ if self.amax < LEAST_AMAX => Contents::Zero,
            _ if self.min == self.max => Contents::Constant,
            _ => Contents::Varied,
        }
    }

    /// The share of values whose size is above `threshold`; those of the bin that it cuts count in proportion.
    pub fn clipped(&self, threshold: f64) -> f64 {
        let all: u64 = self.bins.iter().sum();
        let at = threshold / self.width();
        if all == 0 || self.contents() == Contents::Zero {
            return 0.0;
        }
        let above = |(bin, &count): (usize, &u64)| count as f64 * (bin as f64 + 1.0 - at).clamp(0.0, 1.0);
        self.bins.iter().enumerate().map(above).sum::<f64>() / all as f64
    }

    /// The width of a bin.
    fn width(&self) -> f64 {
        f64::from(self.amax) / BINS as f64
    }

    /// Whether the parts agree with one another.
    fn check(&self) -> Result<()> {
        let fault = |problem: String| Err(Error::Input(format!("the histogram {problem}")));
        if self.bins.len() != BINS {
            return fault(format!("has {} bins; {BINS} are expected", self.bins.len()));
        }
        let counted = self.bins.iter().try_fold(0u64, |sum, &count| sum.checked_add(count));
        if counted != Some(self.count) {
            return fault(format!("counts {counted:?} values in its bins, and {} in all", self.count));
        }
        if self.count == 0 {
            return Err(Error::Input(NO_VALUES.into()));
        }
        let Self { min, max, amax, .. } = *self;
        if !(min <= max && min.abs().max(max.abs()) == amax && amax.is_finite()) {
            return fault(format!(
                "goes from {min:e} to {max:e}, with sizes up to {amax:e}: these do not fit"
            ));
        }
        Ok(())
    }
}

const NO_VALUES: &str = "there are no values; calibration needs at least one row";

/// How a tensor is quantized, and what of it is lost: a row of the table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Range {
    /// The tensor's name.
    pub name: String,
    /// The least value.
    pub min: f32,
    /// The largest value.
    pub max: f32,
    /// The largest size.
    pub amax: f32,
    /// The largest size that has a code of its own; at most `amax`.
    pub threshold: f32,
    /// A step between codes, `threshold / 127`; 0 for a tensor of zeros, which cannot be quantized.
    pub scale: f32,
    /// The share of values beyond the threshold, from the histogram.
    pub clipped: f64,
    /// What was found.
    pub contents: Contents,
    /// What chose the threshold.
    pub method: Method,
}

impl Range {
    /// The range of the tensor `name` by `method`.
    ///
    /// # Errors
    /// [`Error::Input`] for a histogram without values, or one whose parts do not agree.
    pub fn of(name: &str, histogram: &Histogram, method: Method) -> Result<Self> {
        let threshold = method
            .range(histogram)
            .map_err(|error| error.reworded(|problem| format!("tensor {}: {problem}", io::quoted(name))))?;
        Ok(Self {
            name: name.to_owned(),
            min: histogram.min,
            max: histogram.max,
            amax: histogram.amax,
            threshold: threshold as f32,
            scale: (threshold / LEVELS) as f32,
            clipped: histogram.clipped(threshold),
            contents: histogram.contents(),
            method,
        })
    }
}

/// How weights are quantized: symmetric, each output channel by its largest size.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Channels {
    /// The tensor's name.
    pub name: String,
    /// The least weight.
    pub min: f32,
    /// The largest weight.
    pub max: f32,
    /// A step between codes for each output channel: `amax / 127`, at least the least normal f32, and 1 for a channel of
    /// zeros, so that it can be divided by.
    pub scales: Vec<f32>,
    /// How many channels are all zero.
    pub zero: usize,
}

/// The scales of `weights`, which are as many for each of `outputs` channels, channel after channel.
///
/// # Errors
/// [`Error::Input`] if they are none or cannot be split so, or if one is NaN or infinite.
pub fn channels(name: &str, weights: &[f32], outputs: usize) -> Result<Channels> {
    let fault = |problem: String| Err(Error::Input(format!("weights {}: {problem}", io::quoted(name))));
    if outputs == 0 || weights.is_empty() || !weights.len().is_multiple_of(outputs) {
        return fault(format!("{} values are not of {outputs} output channels", weights.len()));
    }
    let size = weights.len() / outputs;
    if let Some(at) = weights.iter().position(|weight| !weight.is_finite()) {
        return fault(format!("a value of output channel {} is {}", at / size, weights[at]));
    }
    let mut made =
        Channels { name: name.to_owned(), min: f32::MAX, max: f32::MIN, scales: Vec::new(), zero: 0 };
    for channel in weights.chunks(size) {
        let bounds = (made.min, made.max);
        (made.min, made.max) = channel.iter().fold(bounds, |(min, max), &w| (min.min(w), max.max(w)));
        let amax = channel.iter().fold(0f32, |amax, weight| amax.max(weight.abs()));
        if amax == 0.0 {
            made.zero += 1;
            made.scales.push(1.0);
        } else {
            made.scales.push(((f64::from(amax) / LEVELS) as f32).max(f32::MIN_POSITIVE));
        }
    }
    Ok(made)
}
