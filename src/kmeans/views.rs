//! Parts of a source, read through it: some of its rows, some of its columns.

use std::ops::Range;

use super::element::Element;
use super::source::{GRAIN, Source};
use crate::{Error, Result};

/// Some rows of a source.
pub struct Rows<'a> {
    /// The source.
    pub of: &'a dyn Source,
    /// The rows, in the order in which they appear here; rising ones are read in fewer steps.
    pub rows: &'a [u64],
}

impl Rows<'_> {
    /// Reads each of these rows into its `width` places of `out`.
    fn each<T>(
        &self,
        rows: Range<u64>,
        width: usize,
        out: &mut [T],
        read: impl Fn(Range<u64>, &mut [T]) -> Result<()>,
    ) -> Result<()> {
        let problem =
            || Error::Input(format!("there are no rows {rows:?} in a choice of {}", self.rows.len()));
        let chosen = self.rows.get(rows.start as usize..rows.end as usize).ok_or_else(problem)?;
        let mut out = out.chunks_exact_mut(width.max(1));
        chosen.iter().try_for_each(|&row| read(row..row + 1, out.next().ok_or_else(problem)?))
    }

    /// What to say of centroids that are fitted to these rows.
    pub(super) fn notice(&self) -> String {
        let (rows, n) = (self.rows.len(), self.of.rows());
        format!("centroids fitted to a uniform sample of {rows} of the {n} points")
    }
}

impl Source for Rows<'_> {
    fn rows(&self) -> u64 {
        self.rows.len() as u64
    }

    fn cols(&self) -> usize {
        self.of.cols()
    }

    fn read(&self, rows: Range<u64>, out: &mut [f32]) -> Result<()> {
        self.each(rows, self.cols(), out, |row, out| self.of.read(row, out))
    }

    fn element(&self) -> Element {
        self.of.element()
    }

    fn read_packed(&self, rows: Range<u64>, out: &mut [u8]) -> Result<()> {
        let bytes = self.cols() * self.element().bytes();
        self.each(rows, bytes, out, |row, out| self.of.read_packed(row, out))
    }
}

/// The rows of a source of f32, times a power of two.
pub(super) struct Scaled<'a> {
    pub of: &'a dyn Source,
    pub factor: f32,
}

impl Scaled<'_> {
    /// The rows themselves where the factor is 1: they may have a type of their own.
    pub fn source(&self) -> &dyn Source {
        if self.factor == 1.0 { self.of } else { self }
    }
}

impl Source for Scaled<'_> {
    fn rows(&self) -> u64 {
        self.of.rows()
    }

    fn cols(&self) -> usize {
        self.of.cols()
    }

    fn read(&self, rows: Range<u64>, out: &mut [f32]) -> Result<()> {
        self.of.read(rows, out)?;
        out.iter_mut().for_each(|value| *value *= self.factor);
        Ok(())
    }
}

/// Neighbouring rows of a source.
pub(super) struct Window<'a> {
    pub of: &'a dyn Source,
    pub rows: Range<u64>,
}

impl Window<'_> {
    /// These rows of the window, as the source numbers them.
    fn within(&self, rows: Range<u64>) -> Range<u64> {
        self.rows.start + rows.start..self.rows.start + rows.end
    }
}

impl Source for Window<'_> {
    fn rows(&self) -> u64 {
        self.rows.end - self.rows.start
    }

    fn cols(&self) -> usize {
        self.of.cols()
    }

    fn read(&self, rows: Range<u64>, out: &mut [f32]) -> Result<()> {
        self.of.read(self.within(rows), out)
    }

    fn element(&self) -> Element {
        self.of.element()
    }

    fn read_packed(&self, rows: Range<u64>, out: &mut [u8]) -> Result<()> {
        self.of.read_packed(self.within(rows), out)
    }
}

/// Neighbouring columns of a source.
pub struct Columns<'a> {
    /// The source.
    pub of: &'a dyn Source,
    /// Which columns, within those of the source.
    pub columns: Range<usize>,
}

impl Source for Columns<'_> {
    fn rows(&self) -> u64 {
        self.of.rows()
    }

    fn cols(&self) -> usize {
        self.columns.len()
    }

    fn read(&self, rows: Range<u64>, out: &mut [f32]) -> Result<()> {
        let (d, width) = (self.of.cols().max(1), self.columns.len().max(1));
        if self.columns.start > self.columns.end || self.columns.end > self.of.cols() {
            let (columns, all) = (&self.columns, self.of.cols());
            return Err(Error::Shape(format!("there are no columns {columns:?} in rows of {all}")));
        }
        // Whole rows are read, but never many at a time: they may be much longer than the columns.
        let mut whole = vec![0.0; GRAIN.min(rows.end - rows.start) as usize * d];
        let mut start = rows.start;
        for out in out.chunks_mut(GRAIN as usize * width) {
            let count = out.len() / width;
            let whole = &mut whole[..count * d];
            self.of.read(start..start + count as u64, whole)?;
            for (row, out) in whole.chunks_exact(d).zip(out.chunks_exact_mut(width)) {
                out.copy_from_slice(&row[self.columns.clone()]);
            }
            start += count as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::npy::Matrix;

    #[test]
    fn rows_and_columns_are_those_of_the_source() {
        let (n, d) = (2 * GRAIN as usize + 5, 3);
        let all = Matrix { rows: n, cols: d, values: (0..n * d).map(|i| i as f32).collect() };
        let columns = Columns { of: &all, columns: 1..3 };
        let mut out = vec![0.0; 2 * (n - 1)];
        columns.read(1..n as u64, &mut out).unwrap();
        for (row, pair) in (1..n).zip(out.chunks(2)) {
            assert_eq!(pair, &all.values[row * d + 1..row * d + 3]);
        }
        let rows = Rows { of: &columns, rows: &[7, 2, 8000] };
        let mut out = vec![0.0; 4];
        rows.read(1..3, &mut out).unwrap();
        assert_eq!(out, [7.0, 8.0, 24_001.0, 24_002.0]);
        assert!(rows.read(2..4, &mut out).is_err());
        assert!(columns.read(n as u64 - 1..n as u64 + 1, &mut out).is_err());
    }
}
