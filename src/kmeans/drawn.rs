//! Batches: rows of a source that are drawn again and again.

use std::sync::{PoisonError, RwLock};

use super::element::Element;
use super::source::Source;
use super::views::Rows;
use super::weights::Chances;
use crate::Result;
use crate::random::Random;

/// A batch of rows of a source, of which others can be drawn.
pub(super) struct Drawn<'a> {
    of: &'a dyn Source,
    chances: Chances,
    rows: RwLock<Vec<u64>>,
}

impl<'a> Drawn<'a> {
    /// `size` rows: the first one, until others are drawn.
    pub fn new(of: &'a dyn Source, size: usize, weights: Option<&[f32]>) -> Self {
        Self { of, chances: Chances::new(of.rows(), weights), rows: RwLock::new(vec![0; size]) }
    }

    /// Draws as many rows again, each from all, by their weights.
    pub fn draw(&self, random: &mut Random) {
        let mut rows = self.rows.write().unwrap_or_else(PoisonError::into_inner);
        rows.iter_mut().for_each(|row| *row = self.chances.draw(random));
        // In the order in which they lie in a file.
        rows.sort_unstable();
    }
}

impl Source for Drawn<'_> {
    fn rows(&self) -> u64 {
        self.rows.read().unwrap_or_else(PoisonError::into_inner).len() as u64
    }

    fn cols(&self) -> usize {
        self.of.cols()
    }

    fn read(&self, rows: std::ops::Range<u64>, out: &mut [f32]) -> Result<()> {
        let drawn = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        Rows { of: self.of, rows: &drawn }.read(rows, out)
    }

    fn element(&self) -> Element {
        self.of.element()
    }

    fn read_packed(&self, rows: std::ops::Range<u64>, out: &mut [u8]) -> Result<()> {
        let drawn = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        Rows { of: self.of, rows: &drawn }.read_packed(rows, out)
    }
}
