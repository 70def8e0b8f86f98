//! A cache type for the keys or the values of a head.

use super::lloyd_max::LEAST_DIM;
use super::rotation::Rotation;
use super::turbo::Table;
use super::{CacheType, GROUP, check_head_dim, check_latent_dim, f16, fp8, kivi, pack, q4_0, q8_0};
use crate::{Error, Result};

/// The largest value that f16 holds; no larger one enters a cache.
pub const LARGEST: f32 = 65504.0;

/// Which half of the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The keys.
    Keys,
    /// The values.
    Values,
}

impl Side {
    /// `keys` or `values`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Keys => "keys",
            Self::Values => "values",
        }
    }
}

/// What TurboQuant keeps as a vector's scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// |x|: the least squared error.
    Norm,
    /// |x|^2 / <x, x~>: inner products without a bias (EDEN, Vargaftik and others 2022).
    Unbiased,
}

/// The vectors of one head, `[tokens, dim]`, in a cache type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoded {
    /// How many vectors.
    pub tokens: usize,
    /// Codes, `[tokens, words]`, as [`super::pack`] lays them.
    pub codes: Vec<u32>,
    /// f16, as the type's file says: `[tokens, halves]`, and for keys of KIVI `[tokens / 32, channels, 2]`.
    pub scales: Vec<u16>,
}

/// Turns the keys or values of a head, or latents, into a cache type and back.
#[derive(Clone, Debug)]
pub struct Codec {
    ty: CacheType,
    side: Side,
    latent: bool,
    dim: usize,
    scale: Scale,
    rotation: Option<Rotation>,
    /// Of TurboQuant.
    table: Option<Table>,
}

impl Codec {
    /// With the usual options: TurboQuant rotates, and its keys have the unbiased scale, its values the norm.
    ///
    /// # Errors
    /// [`Error::Input`] for a head dimension that is not one of [`super::HEAD_DIMS`].
    pub fn new(ty: CacheType, side: Side, head_dim: usize) -> Result<Self> {
        check_head_dim(head_dim)?;
        Self::any(ty, side, head_dim)
    }

    /// The same of any head dimension; only those of [`super::HEAD_DIMS`] has a device.
    ///
    /// # Errors
    /// [`Error::Input`] for a dimension of 0, and one that TurboQuant has no centroids for, below
    /// [`super::lloyd_max::LEAST_DIM`].
    pub fn any(ty: CacheType, side: Side, head_dim: usize) -> Result<Self> {
        let least = if ty.is_turbo() { LEAST_DIM } else { 1 };
        if head_dim < least {
            return Err(Error::Input(format!(
                "{ty} has vectors of {least} values or more; found {head_dim}"
            )));
        }
        let scale = if side == Side::Keys { Scale::Unbiased } else { Scale::Norm };
        Ok(Self::of(ty, side, head_dim, scale))
    }

    /// For latents: vectors of `rank` values that are keys and values at once, and are kept as values are. TurboQuant has the
    /// unbiased scale, since logits come of them.
    ///
    /// # Errors
    /// [`Error::Input`] for a rank that is not one of [`super::LATENT_DIMS`].
    pub fn latent(ty: CacheType, rank: usize) -> Result<Self> {
        check_latent_dim(rank)?;
        Ok(Self { latent: true, ..Self::of(ty, Side::Values, rank, Scale::Unbiased) })
    }

    fn of(ty: CacheType, side: Side, dim: usize, scale: Scale) -> Self {
        let turbo = ty.is_turbo();
        let rotation = turbo.then(|| Rotation::new(dim));
        let table = turbo.then(|| Table::of(dim, ty.code_bits()));
        Self { ty, side, latent: false, dim, scale, rotation, table }
    }

    /// With this scale of TurboQuant; the other types have only one.
    pub fn scale(mut self, scale: Scale) -> Self {
        self.scale = scale;
        self
    }

    /// With a rotation in front of q8_0 or q4_0, or without; of the other types TurboQuant always rotates, the rest never.
    pub fn rotate(mut self, rotate: bool) -> Self {
        if matches!(self.ty, CacheType::Q8_0 | CacheType::Q4_0) {
            self.rotation = rotate.then(|| Rotation::new(self.dim));
        }
        self
    }

    /// The type.
    pub fn ty(&self) -> CacheType {
        self.ty
    }

    /// Keys or values.
    pub fn side(&self) -> Side {
        self.side
    }

    /// Whether its values are latents, which are keys too.
    pub fn is_latent(&self) -> bool {
        self.latent
    }

    fn name(&self) -> &'static str {
        if self.latent { "latents" } else { self.side.name() }
    }

    /// The head dimension, or the rank of latents.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// What TurboQuant keeps as a vector's scale.
    pub fn kept_scale(&self) -> Scale {
        self.scale
    }

    /// The rotation, if vectors are rotated: the basis of [`Codec::decode_rotated`].
    pub fn rotation(&self) -> Option<&Rotation> {
        self.rotation.as_ref()
    }

    /// How many tokens are encoded together: 32 for keys of KIVI, else 1.
    pub fn tokens_together(&self) -> usize {
        if self.by_channel() { GROUP } else { 1 }
    }

    /// Words of the codes of a token.
    pub fn words(&self) -> usize {
        self.ty.planes().iter().map(|&bits| pack::words(bits, self.dim)).sum()
    }

    /// Halves of the scales of [`Codec::tokens_together`].
    pub fn halves(&self) -> usize {
        match self.ty {
            CacheType::F16 => 0,
            CacheType::Q8_0 | CacheType::Q4_0 => self.dim.div_ceil(GROUP),
            CacheType::Kivi4 | CacheType::Kivi2 if self.by_channel() => 2 * self.dim,
            CacheType::Kivi4 | CacheType::Kivi2 => 2 * self.dim.div_ceil(GROUP),
            CacheType::Fp8 | CacheType::Turbo4 | CacheType::Turbo3 | CacheType::Turbo2 => 1,
        }
    }

    fn by_channel(&self) -> bool {
        self.side == Side::Keys && self.ty.is_kivi()
    }

    /// Encodes `[tokens, dim]`.
    ///
    /// # Errors
    /// Those of [`Codec::append`].
    pub fn encode(&self, vectors: &[f32]) -> Result<Encoded> {
        let mut encoded = Encoded::default();
        self.append(vectors, &mut encoded)?;
        Ok(encoded)
    }

    /// Encodes further tokens behind the ones that are there, which do not matter to them.
    ///
    /// # Errors
    /// [`Error::Input`], and nothing is appended, for tokens that are not whole or not a multiple of
    /// [`Codec::tokens_together`], and for a value that is not finite or above 65504, by its place; and for a vector whose
    /// TurboQuant scale is above that.
    pub fn append(&self, vectors: &[f32], encoded: &mut Encoded) -> Result<()> {
        let (side, dim, together) = (self.name(), self.dim, self.tokens_together());
        if !vectors.len().is_multiple_of(dim * together) {
            return Err(Error::Shape(format!(
                "{side}: {} values are no whole groups of {together} x {dim}, which {} encodes together",
                vectors.len(),
                self.ty
            )));
        }
        self.check(encoded)?;
        let tokens = encoded.tokens;
        if let Some(at) = vectors.iter().position(|x| x.is_nan() || x.abs() > LARGEST) {
            return Err(beyond(
                vectors[at],
                format!(
                    "{side}: token {}, channel {} is {}; a cache holds finite values of at most 65504",
                    tokens + at / dim,
                    at % dim,
                    vectors[at]
                ),
            ));
        }
        let (words, halves) = (self.words(), self.halves());
        let mut codes = vec![0; together * dim];
        let mut vector = vec![0.0; together * dim];
        for (step, x) in vectors.chunks_exact(together * dim).enumerate() {
            vector.copy_from_slice(x);
            if let Some(rotation) = &self.rotation {
                rotation.forward(&mut vector);
            }
            let first = encoded.scales.len();
            encoded.scales.resize(first + halves, 0);
            let scales = &mut encoded.scales[first..];
            codes.fill(0);
            self.encode_one(&vector, &mut codes, scales);
            if scales.iter().any(|&scale| !::half::f16::from_bits(scale).is_finite()) {
                encoded.scales.truncate(tokens / together * halves);
                encoded.codes.truncate(tokens * words);
                return Err(Error::Input(format!(
                    "{side}: the scale of token {} is above 65504, which f16 does not hold: use f16 for such values",
                    tokens + step * together
                )));
            }
            for codes in codes.chunks_exact(dim) {
                let first = encoded.codes.len();
                encoded.codes.resize(first + words, 0);
                pack::put(self.ty.planes(), codes, &mut encoded.codes[first..]);
            }
        }
        encoded.tokens += vectors.len() / dim;
        Ok(())
    }

    fn encode_one(&self, x: &[f32], codes: &mut [u32], scales: &mut [u16]) {
        let bits = self.ty.code_bits();
        match (self.ty, &self.table) {
            (_, Some(table)) => table.encode(self.scale, x, codes, scales),
            (CacheType::Q8_0, _) => q8_0::encode(x, codes, scales),
            (CacheType::Q4_0, _) => q4_0::encode(x, codes, scales),
            (CacheType::Fp8, _) => fp8::encode(x, codes, scales),
            (CacheType::Kivi4 | CacheType::Kivi2, _) if self.by_channel() => {
                kivi::encode_keys(bits, x, codes, scales);
            }
            (CacheType::Kivi4 | CacheType::Kivi2, _) => kivi::encode(bits, x, codes, scales),
            _ => f16::encode(x, codes),
        }
    }

    /// The vectors, `[tokens, dim]`.
    ///
    /// # Errors
    /// [`Error::Input`] for codes or scales that are not as many as the tokens have.
    pub fn decode(&self, encoded: &Encoded) -> Result<Vec<f32>> {
        let mut vectors = self.decode_rotated(encoded)?;
        if let Some(rotation) = &self.rotation {
            vectors.chunks_exact_mut(self.dim).for_each(|vector| rotation.back(vector));
        }
        Ok(vectors)
    }

    /// The vectors in the basis that they are kept in: the query is rotated into it once, the output out of it once.
    ///
    /// # Errors
    /// Those of [`Codec::decode`].
    pub fn decode_rotated(&self, encoded: &Encoded) -> Result<Vec<f32>> {
        self.check(encoded)?;
        let (words, halves, together) = (self.words(), self.halves(), self.tokens_together());
        let mut vectors = vec![0.0; encoded.tokens * self.dim];
        let mut codes = vec![0; self.dim];
        for (token, x) in vectors.chunks_exact_mut(self.dim).enumerate() {
            pack::take(self.ty.planes(), &encoded.codes[token * words..][..words], &mut codes);
            let scales = &encoded.scales[token / together * halves..][..halves];
            match (self.ty, &self.table) {
                (_, Some(table)) => table.decode(&codes, scales, x),
                (CacheType::Q8_0, _) => q8_0::decode(&codes, scales, x),
                (CacheType::Q4_0, _) => q4_0::decode(&codes, scales, x),
                (CacheType::Fp8, _) => fp8::decode(&codes, scales, x),
                (CacheType::Kivi4 | CacheType::Kivi2, _) if self.by_channel() => {
                    kivi::decode_keys(&codes, scales, x);
                }
                (CacheType::Kivi4 | CacheType::Kivi2, _) => kivi::decode(&codes, scales, x),
                _ => f16::decode(&codes, x),
            }
        }
        Ok(vectors)
    }

    fn check(&self, encoded: &Encoded) -> Result<()> {
        let (tokens, together) = (encoded.tokens, self.tokens_together());
        let words = tokens.checked_mul(self.words());
        let halves = (tokens / together).checked_mul(self.halves());
        let whole = tokens.is_multiple_of(together);
        if whole && words == Some(encoded.codes.len()) && halves == Some(encoded.scales.len()) {
            return Ok(());
        }
        Err(Error::Input(format!(
            "{tokens} tokens of {} {}, dimension {}, have {} words and {} halves of scales for each {together}; found {} \
             and {}",
            self.ty,
            self.name(),
            self.dim,
            self.words(),
            self.halves(),
            encoded.codes.len(),
            encoded.scales.len()
        )))
    }
}

/// The error for a value that no f16 holds.
pub(crate) fn beyond(value: f32, problem: String) -> Error {
    if value.is_finite() { Error::Input(problem) } else { Error::NotFinite(problem) }
}
