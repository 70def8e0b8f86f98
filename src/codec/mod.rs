//! Cache types: how the keys and values of a head are kept, one file each, the only owner of its layout.
//!
//! Codes and scales lie apart: codes in rows of words ([`pack`]), a row for each token; scales as halves (f16). Encoding is
//! f32 arithmetic in a stated order, each operation rounded by itself, so that a kernel can repeat every code to the bit:
//! no exponential, no logarithm, no root before a code is known. Where a group is a scale and a whole number, the file says
//! so; conversions to f16 round to nearest, of two to the even one.
//!
//! A vector may have any number of values ([`Codec::any`]), and none is added to it: its last group has what is left (72 values
//! are groups of 32, 32 and 8, each with its own scale), the row of each plane ends in a whole word, whose unused bits are 0
//! and are never read, and a rotation is of blocks, the largest power of two that divides the dimension. [`CacheType::bits`]
//! counts all that is stored, and whoever states a size of a cache has it from there. Devices hold [`HEAD_DIMS`].
//!
//! [`Codec`] encodes and decodes, [`quality`](crate::quality) says what that costs in an attention, [`center`] and [`rotation`] make it cost
//! less.

pub mod center;

mod f16;
mod fp8;
mod kivi;
pub mod lloyd_max;
pub mod pack;
pub mod projection;
mod q4_0;
mod q8_0;
pub mod rotation;
mod turbo;
mod vectors;

pub(crate) use vectors::beyond;
pub use vectors::{Codec, Encoded, LARGEST, Scale, Side};

use std::fmt;
use std::str::FromStr;

use crate::io::quoted;
use crate::{Error, Result};

/// The head dimensions that caches on a device are made for.
pub const HEAD_DIMS: [usize; 6] = [32, 64, 80, 96, 128, 256];

/// The ranks of latents that caches are made for: vectors that are keys and values at once (multi-head latent attention).
pub const LATENT_DIMS: [usize; 2] = [256, 512];

/// Values that share a scale: neighbouring channels of a token, or for keys of KIVI tokens of a channel.
pub const GROUP: usize = 32;

/// How a cache keeps keys or values. Shaders know a type by its number here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum CacheType {
    /// IEEE half precision.
    F16,
    /// A scale and 32 codes of 8 bits, as in GGUF files.
    Q8_0,
    /// A scale and 32 codes of 4 bits, as in GGUF files.
    Q4_0,
    /// E4M3 (OCP FP8) with a scale for each vector.
    Fp8,
    /// KIVI, 4 bits: keys by channel, values by token, each group with its scale and minimum.
    Kivi4,
    /// KIVI, 2 bits.
    Kivi2,
    /// TurboQuant, 4 bits: rotated, then Lloyd-Max centroids.
    Turbo4,
    /// TurboQuant, 3 bits.
    Turbo3,
    /// TurboQuant, 2 bits.
    Turbo2,
}

impl CacheType {
    /// Every type.
    pub const ALL: [Self; 9] = [
        Self::F16,
        Self::Q8_0,
        Self::Q4_0,
        Self::Fp8,
        Self::Kivi4,
        Self::Kivi2,
        Self::Turbo4,
        Self::Turbo3,
        Self::Turbo2,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::Q8_0 => "q8_0",
            Self::Q4_0 => "q4_0",
            Self::Fp8 => "fp8",
            Self::Kivi4 => "kivi4",
            Self::Kivi2 => "kivi2",
            Self::Turbo4 => "turbo4",
            Self::Turbo3 => "turbo3",
            Self::Turbo2 => "turbo2",
        }
    }

    /// Bits of a code.
    #[doc(hidden)]
    pub fn code_bits(self) -> usize {
        match self {
            Self::F16 => 16,
            Self::Q8_0 | Self::Fp8 => 8,
            Self::Q4_0 | Self::Kivi4 | Self::Turbo4 => 4,
            Self::Turbo3 => 3,
            Self::Kivi2 | Self::Turbo2 => 2,
        }
    }

    /// Whether it is KIVI: a scale and a minimum for each group, keys by channel.
    #[doc(hidden)]
    pub fn is_kivi(self) -> bool {
        matches!(self, Self::Kivi4 | Self::Kivi2)
    }

    /// Whether it is TurboQuant: rotated, with centroids.
    #[doc(hidden)]
    pub fn is_turbo(self) -> bool {
        matches!(self, Self::Turbo4 | Self::Turbo3 | Self::Turbo2)
    }

    /// Whether rope keys beside latents can have it: scales of groups, no rotation.
    #[doc(hidden)]
    pub fn is_for_rope(self) -> bool {
        matches!(self, Self::F16 | Self::Q8_0 | Self::Q4_0)
    }

    /// Bits that a vector takes, with its scales and what fills up its last words. Of keys of KIVI, whose scales are for 32
    /// tokens, it is a part of them. Nothing but the type, the side and the dimension matters: whatever states the size of a
    /// cache counts by this.
    pub fn bits(self, side: Side, dim: usize) -> u64 {
        let words: usize = self.planes().iter().map(|&bits| pack::words(bits, dim)).sum();
        let groups = dim.div_ceil(GROUP);
        let halves = match (self, side) {
            (Self::F16, _) => 0,
            (Self::Q8_0 | Self::Q4_0, _) => groups,
            (Self::Kivi4 | Self::Kivi2, Side::Values) => 2 * groups,
            // A scale and a minimum for each channel of 32 tokens are a bit for each of its values.
            (Self::Kivi4 | Self::Kivi2, Side::Keys) => return (32 * words + 2 * 16 * dim / GROUP) as u64,
            (Self::Fp8 | Self::Turbo4 | Self::Turbo3 | Self::Turbo2, _) => 1,
        };
        (32 * words + 16 * halves) as u64
    }

    /// The widths of the planes that its codes lie in, one after another: 3 bits are 2 and 1.
    #[doc(hidden)]
    pub fn planes(self) -> &'static [usize] {
        match self.code_bits() {
            16 => &[16],
            8 => &[8],
            4 => &[4],
            3 => &[2, 1],
            _ => &[2],
        }
    }
}

impl fmt::Display for CacheType {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for CacheType {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|ty| ty.name() == text).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|ty| ty.name()).collect();
            Error::Input(format!(
                "no cache type is called {}; there are {}, and pairs of keys:values",
                quoted(text),
                names.join(", ")
            ))
        })
    }
}

/// The types of keys and of values: `q8_0:turbo3`, and `q8_0` for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pair {
    /// That of the keys.
    pub keys: CacheType,
    /// That of the values.
    pub values: CacheType,
}

impl Pair {
    /// Bits that a value takes, in the mean over keys and values of one dimension.
    pub fn bits_per_value(self, head_dim: usize) -> f64 {
        self.bits_per_value_of(head_dim, head_dim)
    }

    /// Bits that a value takes, in the mean over all values of keys of one dimension and values of another.
    pub fn bits_per_value_of(self, key_dim: usize, value_dim: usize) -> f64 {
        let bits = self.keys.bits(Side::Keys, key_dim) + self.values.bits(Side::Values, value_dim);
        bits as f64 / (key_dim + value_dim).max(1) as f64
    }
}

impl serde::Serialize for Pair {
    fn serialize<S: serde::Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl From<CacheType> for Pair {
    fn from(both: CacheType) -> Self {
        Self { keys: both, values: both }
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        if self.keys == self.values {
            return self.keys.fmt(f);
        }
        f.pad(&format!("{}:{}", self.keys, self.values))
    }
}

impl FromStr for Pair {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split_once(':') {
            Some((keys, values)) => Ok(Self { keys: keys.parse()?, values: values.parse()? }),
            None => text.parse().map(CacheType::into),
        }
    }
}

/// Refuses a head dimension that is not one of [`HEAD_DIMS`].
///
/// # Errors
/// [`Error::Input`], which names the nearest.
pub fn check_head_dim(head_dim: usize) -> Result<()> {
    check_dim("a head dimension", &HEAD_DIMS, head_dim)
}

/// Refuses a rank of latents that is not one of [`LATENT_DIMS`].
///
/// # Errors
/// [`Error::Input`], which names the nearest.
pub fn check_latent_dim(rank: usize) -> Result<()> {
    check_dim("a latent rank", &LATENT_DIMS, rank)
}

fn check_dim(what: &str, known: &[usize], dim: usize) -> Result<()> {
    if known.contains(&dim) {
        return Ok(());
    }
    let nearest = known.iter().min_by_key(|known| known.abs_diff(dim)).unwrap_or(&dim);
    Err(Error::Unsupported(format!(
        "{what} of {dim} is not supported: the nearest of {known:?} is {nearest}"
    )))
}

/// What the bits of a half stand for.
fn half(bits: u16) -> f32 {
    ::half::f16::from_bits(bits).to_f32()
}
