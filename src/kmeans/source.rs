//! Where points come from: a matrix, a file, whatever gives its rows.

use std::ops::Range;

use super::element::Element;
use crate::io::npy::Matrix;
use crate::io::vecs::Vectors;
use crate::{Error, Result};

/// Rows read at a time where the device does not matter.
pub(super) const GRAIN: u64 = 4096;

/// Rows of numbers on the host or in a file.
pub trait Source: Sync {
    /// How many there are.
    fn rows(&self) -> u64;
    /// The length of each.
    fn cols(&self) -> usize;
    /// Reads these rows into `out`, `[rows, cols]`.
    ///
    /// # Errors
    /// Those of reading.
    fn read(&self, rows: Range<u64>, out: &mut [f32]) -> Result<()>;

    /// The type of its values: as it is, they lie on a device, if that is f32, f16, u8 or i8.
    fn element(&self) -> Element {
        Element::F32
    }

    /// Reads these rows into `out`, `[rows, cols]` little-endian values of [`Source::element`]. A source of another type
    /// than f32 has to have its own.
    ///
    /// # Errors
    /// Those of reading.
    fn read_packed(&self, rows: Range<u64>, out: &mut [u8]) -> Result<()> {
        let mut values = vec![0.0; out.len() / 4];
        self.read(rows, &mut values)?;
        out.as_chunks_mut().0.iter_mut().zip(values).for_each(|(out, value)| *out = value.to_le_bytes());
        Ok(())
    }
}

impl Source for Matrix {
    fn rows(&self) -> u64 {
        self.rows as u64
    }

    fn cols(&self) -> usize {
        self.cols
    }

    fn read(&self, rows: Range<u64>, out: &mut [f32]) -> Result<()> {
        let values = (rows.start as usize * self.cols)..(rows.end as usize * self.cols);
        let (count, all) = (self.values.len(), (self.rows, self.cols));
        if all.0.checked_mul(all.1) != Some(count) {
            return Err(Error::Input(format!("{count} values, which are not {} rows of {}", all.0, all.1)));
        }
        let from = self.values.get(values).filter(|from| from.len() == out.len());
        let problem = || Error::Input(format!("there are no rows {rows:?} in a matrix of {}", all.0));
        out.copy_from_slice(from.ok_or_else(problem)?);
        Ok(())
    }
}

impl Source for Vectors {
    fn rows(&self) -> u64 {
        Self::rows(self)
    }

    fn cols(&self) -> usize {
        Self::cols(self)
    }

    fn read(&self, rows: Range<u64>, out: &mut [f32]) -> Result<()> {
        Self::read(self, rows, out)
    }

    fn element(&self) -> Element {
        Self::element(self)
    }

    fn read_packed(&self, rows: Range<u64>, out: &mut [u8]) -> Result<()> {
        Self::read_packed(self, rows, out)
    }
}
