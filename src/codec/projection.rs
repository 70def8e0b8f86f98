//! TurboQuant for inner products: one bit less for the centroids, and the signs of a random projection of what they leave
//! out, with its length. [`super::Scale::Unbiased`] is as unbiased, takes fewer bits of scales, and has two thirds of the
//! variance or less; this is here to compare with.

use half::f16;

use super::lloyd_max::Centroids;
use super::rotation::Rotation;
use super::turbo::Table;
use super::{Scale, check_head_dim, half};
use crate::random::Random;
use crate::{Error, Result};

/// The seed of the projection.
const SEED: u64 = 0x0070_726f_6a65_6374;

/// The quantizer of vectors of one dimension.
#[derive(Clone, Debug)]
pub struct Projection {
    dim: usize,
    rotation: Rotation,
    /// None at 1 bit, which is signs alone.
    table: Option<Table>,
    /// `[dim, dim]`, normally distributed.
    matrix: Vec<f32>,
}

/// One vector.
#[derive(Clone, Debug, PartialEq)]
pub struct Projected {
    /// Codes of the centroids, one less bit than all; empty if that is none.
    pub codes: Vec<u32>,
    /// The signs of the projection, true for a minus.
    pub signs: Vec<bool>,
    /// The length of the vector, and of what its centroids leave out: f16.
    pub scales: [u16; 2],
}

impl Projection {
    /// Of `bits` from 1 to 4, signs included.
    ///
    /// # Errors
    /// [`Error::Input`] for other bits, or a dimension that is not one of [`super::HEAD_DIMS`].
    pub fn new(dim: usize, bits: usize) -> Result<Self> {
        check_head_dim(dim)?;
        if !(1..=4).contains(&bits) {
            return Err(Error::Input(format!("a projection of {bits} bits: expected 1 to 4")));
        }
        let mut random = Random::new(SEED);
        // Box and Muller 1958.
        let mut normal = || {
            let (size, angle) = (1.0 - random.unit(), random.unit());
            (libm::sqrt(-2.0 * libm::log(size)) * libm::cos(std::f64::consts::TAU * angle)) as f32
        };
        let matrix = (0..dim * dim).map(|_| normal()).collect();
        let table = (bits > 1).then(|| Table::of(dim, bits - 1));
        Ok(Self { dim, rotation: Rotation::new(dim), table, matrix })
    }

    /// Encodes one vector.
    ///
    /// # Errors
    /// [`Error::Input`] for another number of values, and for one that is not finite or makes the length exceed 65504.
    pub fn encode(&self, x: &[f32]) -> Result<Projected> {
        let length = x.iter().map(|x| x * x).sum::<f32>().sqrt();
        if x.len() != self.dim || length.is_nan() || length > 65504.0 {
            return Err(Error::Input(format!(
                "a vector of {} values and length {length}: expected {} values, finite, of a length of at most 65504",
                x.len(),
                self.dim
            )));
        }
        let mut rest = x.to_vec();
        self.rotation.forward(&mut rest);
        let (mut codes, mut scale) = (Vec::new(), [0]);
        if let Some(table) = &self.table {
            codes.resize(self.dim, 0);
            table.encode(Scale::Norm, &rest, &mut codes, &mut scale);
            let mut kept = vec![0.0; self.dim];
            table.decode(&codes, &scale, &mut kept);
            rest.iter_mut().zip(kept).for_each(|(rest, kept)| *rest -= kept);
        }
        let left = rest.iter().map(|r| r * r).sum::<f32>().sqrt();
        let rows = self.matrix.chunks_exact(self.dim);
        let signs = rows.map(|row| row.iter().zip(&rest).map(|(s, r)| s * r).sum::<f32>() < 0.0).collect();
        Ok(Projected { codes, signs, scales: [scale[0], f16::from_f32(left).to_bits()] })
    }

    /// The vector whose inner products are those of the estimator: `x~ + |r| sqrt(pi / 2) / dim * S^T sign(S r)`.
    ///
    /// # Errors
    /// [`Error::Input`] for what was encoded with another dimension or other bits.
    pub fn decode(&self, of: &Projected) -> Result<Vec<f32>> {
        let (top, expected) = match &self.table {
            Some(table) => (table.centroids.len() as u32, self.dim),
            None => (0, 0),
        };
        let fits = of.codes.len() == expected && of.codes.iter().all(|&code| code < top);
        if !fits || of.signs.len() != self.dim {
            return Err(Error::Shape(format!(
                "{} codes and {} signs: expected {expected} codes below {top} and {} signs",
                of.codes.len(),
                of.signs.len(),
                self.dim
            )));
        }
        let mut x = vec![0.0; self.dim];
        if let Some(table) = &self.table {
            table.decode(&of.codes, &of.scales, &mut x);
        }
        let step = half(of.scales[1]) * (std::f64::consts::FRAC_PI_2.sqrt() / self.dim as f64) as f32;
        for (row, &minus) in self.matrix.chunks_exact(self.dim).zip(&of.signs) {
            let step = if minus { -step } else { step };
            x.iter_mut().zip(row).for_each(|(x, s)| *x += step * s);
        }
        self.rotation.back(&mut x);
        Ok(x)
    }

    /// The expected variance of an inner product of unit vectors, times the dimension: at most.
    pub fn variance(dim: usize, bits: usize) -> f64 {
        let left = if bits > 1 { Centroids::of(dim, bits - 1).distortion } else { 1.0 };
        std::f64::consts::FRAC_PI_2 * left
    }
}
