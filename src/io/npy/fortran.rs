//! Fortran order: the first axis is contiguous, and values go to their places in C order as they are read.

use std::ops::Range;

use super::array::{Array, FORTRAN_BLOCK, Stored};
use crate::Result;

impl<F: Stored> Array<F> {
    /// Of a matrix whose columns are contiguous: a run of each column.
    pub(super) fn read_columns(
        &self,
        rows: u64,
        cols: u64,
        first: u64,
        width: usize,
        out: &mut [u8],
    ) -> Result<()> {
        let end = first + (out.len() / width) as u64;
        let mut run = Vec::new();
        for col in 0..cols {
            // The rows of which the value in this column has its index in first..end.
            let row_of = |index: u64| index.saturating_sub(col).div_ceil(cols);
            let (begin, after) = (row_of(first), row_of(end));
            run.resize((after - begin) as usize * width, 0);
            self.read_at(col * rows + begin, width, &mut run)?;
            for (row, value) in (begin..after).zip(run.chunks_exact(width)) {
                let to = (row * cols + col - first) as usize * width;
                out[to..to + width].copy_from_slice(value);
            }
        }
        Ok(())
    }

    /// Of an array of more axes of which the first is contiguous: everything from the first value that is wanted to the last,
    /// of which each that is wanted goes to its place.
    pub(super) fn read_scattered(&self, first: u64, width: usize, out: &mut [u8]) -> Result<()> {
        let count = (out.len() / width) as u64;
        let wanted = first..first + count;
        let (least, most) = self.span(wanted.clone());
        let mut block = vec![0; ((most - least) as usize * width).min(FORTRAN_BLOCK / width * width)];
        let mut at = least;
        while at < most {
            let many = (block.len() / width).min((most - at) as usize);
            let bytes = &mut block[..many * width];
            self.read_at(at, width, bytes)?;
            for (place, value) in (at..).zip(bytes.chunks_exact(width)) {
                let index = self.index_of(place);
                if wanted.contains(&index) {
                    let to = (index - first) as usize * width;
                    out[to..to + width].copy_from_slice(value);
                }
            }
            at += many as u64;
        }
        Ok(())
    }

    /// The places in the file from the first to behind the last of the values with these indices.
    fn span(&self, indices: Range<u64>) -> (u64, u64) {
        let all = self.shape.iter().product();
        let places = indices.clone().map(|index| self.place_of(index));
        // All of them: no need to look.
        if indices.end - indices.start == all {
            return (0, all);
        }
        places.fold((all, 0), |(least, most), place| (least.min(place), most.max(place + 1)))
    }

    /// Where in the file the value is that has this index, counted row after row.
    fn place_of(&self, index: u64) -> u64 {
        let (mut rest, mut place) = (index, 0);
        let mut stride: u64 = self.shape.iter().product();
        for &n in self.shape.iter().rev() {
            stride /= n;
            place += rest % n * stride;
            rest /= n;
        }
        place
    }

    /// The index, counted row after row, of the value at this place in the file.
    fn index_of(&self, place: u64) -> u64 {
        let (mut rest, mut index) = (place, 0);
        let mut stride: u64 = self.shape.iter().product();
        for &n in &self.shape {
            stride /= n;
            index += rest % n * stride;
            rest /= n;
        }
        index
    }
}
