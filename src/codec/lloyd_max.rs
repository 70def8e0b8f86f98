//! The scalar quantizer with the least squared error (Lloyd 1957, Max 1960) for a coordinate of a random unit vector, whose
//! density in d dimensions is `Gamma(d/2) / (sqrt(pi) Gamma((d-1)/2)) * (1 - x^2)^((d-3)/2)` on [-1, 1].

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Fewer dimensions have no density that is finite at its ends and falls towards them.
pub const LEAST_DIM: usize = 4;

/// Panels of Simpson's rule for each interval.
const PANELS: usize = 512;

/// Beyond this many standard deviations there is no mass worth counting.
const REACH: f64 = 9.0;

/// The upper half of the centroids; the lower half has the other sign.
#[derive(Clone, Debug)]
pub struct Centroids {
    /// The centroids above 0, ascending.
    pub upper: Vec<f64>,
    /// The expected squared error of a unit vector.
    pub distortion: f64,
}

impl Centroids {
    /// Those of codes of 1 to 4 bits in `dim` dimensions, at least [`LEAST_DIM`]: Lloyd's algorithm until nothing moves.
    pub fn new(dim: usize, bits: usize) -> Self {
        let (d, count) = (dim as f64, 1usize << (bits - 1));
        let sigma = 1.0 / d.sqrt();
        let power = |exponent: f64, x: f64| libm::exp(exponent * libm::log1p(-x * x));
        let density = |x: f64| power((d - 3.0) / 2.0, x);
        // The integral of x * density from x to 1.
        let moment = |x: f64| if x >= 1.0 { 0.0 } else { power((d - 1.0) / 2.0, x) / (d - 1.0) };
        let end = (REACH * sigma).min(1.0);
        let mass = |low: f64, high: f64| {
            let step = (high - low) / PANELS as f64;
            let inner: f64 = (1..PANELS)
                .map(|i| density(low + step * i as f64) * if i % 2 == 1 { 4.0 } else { 2.0 })
                .sum();
            let last = if high >= 1.0 { 0.0 } else { density(high) };
            (density(low) + inner + last) * step / 3.0
        };
        // A coordinate of a unit vector is at most 1, which in few dimensions is near.
        let reach = (sigma * 2.8).min(end);
        let mut upper: Vec<f64> = (0..count).map(|i| reach * (i as f64 + 0.5) / count as f64).collect();
        loop {
            let edges = edges(&upper, end);
            let masses: Vec<f64> = edges.windows(2).map(|edge| mass(edge[0], edge[1])).collect();
            let means: Vec<f64> = edges
                .windows(2)
                .zip(&masses)
                .map(|(edge, mass)| (moment(edge[0]) - moment(edge[1])) / mass)
                .collect();
            let moved = upper.iter().zip(&means).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            upper = means;
            if moved.is_nan() || moved <= 1e-12 * sigma {
                let total: f64 = masses.iter().sum();
                let kept: f64 = upper.iter().zip(&masses).map(|(c, mass)| c * c * mass).sum();
                return Self { upper, distortion: 1.0 - d * kept / total };
            }
        }
    }

    /// The same, made once.
    pub fn of(dim: usize, bits: usize) -> Self {
        static KNOWN: Mutex<BTreeMap<(usize, usize), Centroids>> = Mutex::new(BTreeMap::new());
        // Nothing that holds the lock leaves a part of an entry behind.
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry((dim, bits)).or_insert_with(|| Self::new(dim, bits)).clone()
    }

    /// All centroids, ascending, as codes name them.
    pub fn values(&self) -> Vec<f32> {
        let lower = self.upper.iter().rev().map(|&c| -c as f32);
        lower.chain(self.upper.iter().map(|&c| c as f32)).collect()
    }

    /// The squares of the boundaries above 0, which are midpoints.
    pub fn squares(&self) -> Vec<f32> {
        self.upper.windows(2).map(|pair| (0.25 * (pair[0] + pair[1]).powi(2)) as f32).collect()
    }
}

/// 0, the midpoints, the end.
fn edges(upper: &[f64], end: f64) -> Vec<f64> {
    let midpoints = upper.windows(2).map(|pair| 0.5 * (pair[0] + pair[1]));
    std::iter::once(0.0).chain(midpoints).chain([end]).collect()
}
