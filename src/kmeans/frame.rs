//! How points are transformed before they are clustered, and centroids taken back.

use crate::io::npy::Matrix;

/// What is done to rows before they are clustered: in f32, as the device does it to points of other types.
#[derive(Clone, Debug)]
pub enum Transform {
    /// Less the mean of their columns: between far-away points, distances would lose the digits that tell them apart.
    Centred(Vec<f32>),
    /// Times the reciprocal of their norm.
    Unit,
    /// Nothing.
    Plain,
}

impl Transform {
    /// Rows of `d` values so transformed, padded with zeros to whole vec4s.
    pub fn apply(&self, values: &[f32], d: usize) -> Vec<f32> {
        let width = d.next_multiple_of(4);
        let mut padded = vec![0.0; values.len() / d.max(1) * width];
        for (row, target) in values.chunks_exact(d.max(1)).zip(padded.chunks_exact_mut(width.max(1))) {
            target[..d].copy_from_slice(row);
            self.apply_to(&mut target[..d]);
        }
        padded
    }

    /// Transforms a row without padding where it lies.
    pub fn apply_to(&self, row: &mut [f32]) {
        match self {
            Self::Centred(mean) => row.iter_mut().zip(mean).for_each(|(value, by)| *value -= by),
            Self::Unit => {
                let scale = reciprocal(norm(row));
                row.iter_mut().for_each(|value| *value = (f64::from(*value) * scale) as f32);
            }
            Self::Plain => {}
        }
    }

    /// Takes a row of centroids, without padding, back to where the data lies; directions stay directions.
    pub fn undo(&self, row: &mut [f32]) {
        if let Self::Centred(mean) = self {
            for (value, by) in row.iter_mut().zip(mean) {
                *value += by;
            }
        }
    }

    /// Rows of `d` centroids without padding, taken back to where the data lies.
    pub(super) fn undone(&self, centroids: &[f32], d: usize) -> Vec<f32> {
        let mut values = centroids.to_vec();
        values.chunks_mut(d.max(1)).for_each(|row| self.undo(row));
        values
    }

    /// Whether centroids, without padding, are the same numbers after their way back to where the data lies.
    pub(super) fn keeps(&self, centroids: &[f32], back: &Matrix) -> bool {
        let again = match self {
            Self::Centred(_) => {
                let mut values = back.values.clone();
                values.chunks_mut(back.cols.max(1)).for_each(|row| self.apply_to(row));
                values
            }
            // Directions stay directions.
            Self::Unit | Self::Plain => return true,
        };
        again == centroids
    }
}

/// Rows of `d` values, padded with zeros to whole vec4s.
pub fn pad(values: &[f32], d: usize) -> Vec<f32> {
    Transform::Plain.apply(values, d)
}

/// The reciprocal of a norm, with the digits of an f32 but not its range, as rows of the smallest numbers need: a product
/// with it is rounded once, as that of two f32.
pub(super) fn reciprocal(norm: f64) -> f64 {
    let bits = (1.0 / norm).to_bits();
    f64::from_bits((bits + (1 << 28)) & !((1 << 29) - 1))
}

/// The euclidean norm of a row.
pub fn norm(row: &[f32]) -> f64 {
    row.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt()
}
