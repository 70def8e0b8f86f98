//! TurboQuant (Zandieh and others 2025): the vector is rotated; each coordinate of the unit vector becomes the nearest
//! Lloyd-Max centroid for its dimension.
//!
//! With r the rotated vector: n = the sum of r * r, added by halves (value i gets value i + h, for h half of the next power
//! of two, a quarter, and so on to 1). Below 2^-52 the vector is zero: codes and scale are 0. Else the code's magnitude is
//! how many boundaries b have r * r > b^2 * n, with b^2 rounded to f32, so no root is needed; the code names the centroids
//! in ascending order. Scales: `[1]`, as f16: sqrt(n), or n / sum of r * c, added by halves too; value = scale * c, rotated
//! back.

use half::f16;

use super::Scale;
use super::half;
use super::lloyd_max::Centroids;

/// Below it a norm becomes 0 as f16.
const LEAST: f32 = 1.0 / (1u64 << 52) as f32;

/// The centroids of a dimension and width, and the boundaries' squares.
#[derive(Clone, Debug)]
pub struct Table {
    pub centroids: Vec<f32>,
    pub squares: Vec<f32>,
}

impl Table {
    pub fn of(dim: usize, bits: usize) -> Self {
        let centroids = Centroids::of(dim, bits);
        Self { centroids: centroids.values(), squares: centroids.squares() }
    }

    /// Of a vector that is rotated. The scale is infinite if f16 cannot hold it.
    pub fn encode(&self, scale: Scale, r: &[f32], codes: &mut [u32], scales: &mut [u16]) {
        let n = sum(r.iter().map(|r| r * r));
        if n < LEAST {
            codes.fill(0);
            scales[0] = 0;
            return;
        }
        let above = self.centroids.len() / 2;
        for (code, r) in codes.iter_mut().zip(r) {
            let size = self.squares.iter().filter(|&&square| r * r > square * n).count();
            *code = if *r < 0.0 { above - 1 - size } else { above + size } as u32;
        }
        let scale = match scale {
            Scale::Norm => n.sqrt(),
            Scale::Unbiased => {
                n / sum(r.iter().zip(&*codes).map(|(r, &code)| r * self.centroids[code as usize]))
            }
        };
        scales[0] = f16::from_f32(scale).to_bits();
    }

    pub fn decode(&self, codes: &[u32], scales: &[u16], r: &mut [f32]) {
        for (r, &code) in r.iter_mut().zip(codes) {
            *r = half(scales[0]) * self.centroids[code as usize];
        }
    }
}

/// The sum, added by halves.
fn sum(terms: impl Iterator<Item = f32>) -> f32 {
    let mut terms: Vec<f32> = terms.collect();
    let mut half = terms.len().next_power_of_two() / 2;
    while half > 0 {
        for i in half..terms.len() {
            terms[i - half] += terms[i];
        }
        terms.truncate(half);
        half /= 2;
    }
    terms.first().copied().unwrap_or(0.0)
}
