//! Whether what a device computed is what an oracle says: on whole outputs, or on a sample of their rows where an oracle would
//! take too long for all. Nothing is timed that did not go through here, as the very pipeline and at the very size.
//!
//! What the GPU gave ([`Measured`]) and what the CPU expects ([`Expected`]) are different types, so that no test can compare a
//! thing with itself.

use super::buffer::POISON;
use super::{Bound, Buffer, Context, Recorder};
use crate::random::Random;
use crate::{Error, Result};

/// What a GPU wrote, as 32-bit words.
#[derive(Debug, PartialEq, Eq)]
pub struct Measured(Vec<u32>);

impl Measured {
    /// Words that did not come from a GPU: for the comparer's own tests.
    #[doc(hidden)]
    pub fn forged(words: Vec<u32>) -> Self {
        Self(words)
    }

    /// All that `buffer` holds.
    ///
    /// # Errors
    /// The device's.
    pub fn read(gpu: &Context, buffer: &Buffer) -> Result<Self> {
        buffer.read(gpu).map(Self)
    }

    /// Only these rows.
    pub fn at(&self, sample: &Sample) -> Self {
        Self(sample.pick(&self.0))
    }
}

/// What an oracle says an output must be.
#[derive(Clone, Debug)]
pub enum Expected {
    /// Exactly these words.
    Exact(Vec<u32>),
    /// f32 values within `bound` of these, each with its own bound.
    Within {
        /// The oracle's values.
        values: Vec<f64>,
        /// Largest absolute error of each.
        bounds: Vec<f64>,
    },
    /// One of several words for each: labels where two centroids are equally near.
    OneOf(Vec<Vec<u32>>),
}

/// Whether `measured` is what was `expected`; the first difference otherwise.
pub fn compare(measured: &Measured, expected: &Expected) -> std::result::Result<(), String> {
    let words = &measured.0;
    let length = match expected {
        Expected::Exact(values) => values.len(),
        Expected::Within { values, .. } => values.len(),
        Expected::OneOf(sets) => sets.len(),
    };
    if words.len() != length {
        return Err(format!("{} values, {length} expected", words.len()));
    }
    match expected {
        Expected::Exact(values) => match words.iter().zip(values).position(|(got, want)| got != want) {
            None => Ok(()),
            Some(i) => Err(format!("[{i}] is {:#x}, {:#x} expected", words[i], values[i])),
        },
        Expected::Within { values, bounds } => {
            for (i, ((&word, &want), &bound)) in words.iter().zip(values).zip(bounds).enumerate() {
                let got = f64::from(f32::from_bits(word));
                // A NaN anywhere must fail, so the test is for what is right, not for what is wrong.
                let right = (got - want).abs() <= bound;
                if !right {
                    return Err(format!("[{i}] is {got:e}, {want:e} +- {bound:e} expected"));
                }
            }
            Ok(())
        }
        Expected::OneOf(sets) => match words.iter().zip(sets).position(|(got, set)| !set.contains(got)) {
            None => Ok(()),
            Some(i) => Err(format!("[{i}] is {}, one of {:?} expected", words[i], sets[i])),
        },
    }
}

/// Some rows of an output, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    rows: Vec<usize>,
    of: usize,
}

/// Rows at each end, on each side of an edge, and by chance.
const ENDS: usize = 3;
const BY_CHANCE: usize = 48;
/// Edges at each end of those that there are.
const EDGES: usize = 4;

impl Sample {
    /// All of so many rows.
    pub fn all(of: usize) -> Self {
        Self { rows: (0..of).collect(), of }
    }

    /// Of so many rows the first and the last ones, some by chance, and those around the edges of `passes`: where a window
    /// begins, or a row of a folded grid.
    pub fn of<'a>(of: usize, passes: impl IntoIterator<Item = &'a Bound>) -> Self {
        // A pass may count tiles or splits of the rows.
        let edges = passes.into_iter().flat_map(|pass| {
            let edges = pass.edges();
            let last = edges.len().saturating_sub(EDGES);
            let some = edges.iter().take(EDGES).chain(edges.iter().skip(last.max(EDGES)));
            let rows = pass.rows().max(1);
            some.map(|&edge| (u128::from(edge) * of as u128 / u128::from(rows)) as usize).collect::<Vec<_>>()
        });
        Self::around(of, &edges.collect::<Vec<_>>())
    }

    /// The same for edges that are rows themselves.
    fn around(of: usize, edges: &[usize]) -> Self {
        let mut random = Random::new(of as u64);
        let ends = (0..ENDS).chain(of.saturating_sub(ENDS)..of);
        let sides = edges.iter().flat_map(|&edge| edge.saturating_sub(ENDS - 1)..edge + ENDS - 1);
        let chance = (0..BY_CHANCE).map(|_| random.below(of.max(1) as u64) as usize);
        Self::only(of, ends.chain(sides).chain(chance))
    }

    /// Of so many rows these, as far as there are.
    pub fn only(of: usize, rows: impl IntoIterator<Item = usize>) -> Self {
        let mut rows: Vec<usize> = rows.into_iter().filter(|&row| row < of).collect();
        rows.sort_unstable();
        rows.dedup();
        Self { rows, of }
    }

    /// Their numbers.
    pub fn rows(&self) -> &[usize] {
        &self.rows
    }

    /// Of how many.
    pub fn whole(&self) -> usize {
        self.of
    }

    /// What a buffer holds in these rows.
    ///
    /// # Errors
    /// The device's.
    pub fn read<T: bytemuck::Pod>(&self, gpu: &Context, buffer: &Buffer) -> Result<Vec<T>> {
        let mut values = Vec::new();
        for &row in &self.rows {
            values.extend(buffer.read_rows::<T>(gpu, row as u64..row as u64 + 1)?);
        }
        Ok(values)
    }

    /// Their part of `values`, `[rows, …]`.
    pub fn pick<T: Clone>(&self, values: &[T]) -> Vec<T> {
        let width = values.len() / self.of.max(1);
        self.rows.iter().flat_map(|&row| &values[row * width..][..width]).cloned().collect()
    }
}

/// An output, and what it must be.
#[derive(Clone, Debug)]
pub struct Answer<'a> {
    /// What it is called.
    pub name: &'a str,
    /// Where it lies.
    pub buffer: &'a Buffer,
    /// The rows that are compared; all of them if none.
    pub sample: Option<&'a Sample>,
    /// What those must be.
    pub expected: &'a Expected,
}

/// Runs `passes` over outputs that were poisoned before, and compares them with their answers.
///
/// # Errors
/// [`Error::Mismatch`] with the first difference, for `what`; the device's.
pub fn check<'a>(
    gpu: &'a Context,
    what: &str,
    passes: impl IntoIterator<Item = &'a Bound>,
    answers: &[Answer<'_>],
) -> Result<()> {
    let fault = |problem: String| Error::Mismatch { case: what.to_owned(), problem };
    // What is not written must not look as if it had been.
    for answer in answers {
        answer.spoil(gpu)?;
    }
    Recorder::run(gpu, passes)?;
    for answer in answers {
        let found = compare(&answer.read(gpu)?, answer.expected);
        found.map_err(|problem| fault(format!("{}{problem}", answer.name)))?;
    }
    Ok(())
}

impl Answer<'_> {
    /// Poisons what is compared.
    fn spoil(&self, gpu: &Context) -> Result<()> {
        let Some(sample) = self.sample else { return self.buffer.poison(gpu) };
        let row = vec![POISON; (self.buffer.bytes() / self.buffer.rows().max(1) / 4) as usize];
        sample.rows.iter().try_for_each(|&at| self.buffer.write_rows(gpu, at as u64, &row))
    }

    fn read(&self, gpu: &Context) -> Result<Measured> {
        match self.sample {
            None => Measured::read(gpu, self.buffer),
            Some(sample) => sample.read(gpu, self.buffer).map(Measured),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_has_the_ends_the_edges_and_rows_by_chance() {
        let sample = Sample::around(70_000, &[35_000, 65_535]);
        for row in [0, 1, 2, 34_998, 34_999, 35_000, 35_001, 65_534, 65_535, 69_998, 69_999] {
            assert!(sample.rows().contains(&row), "{row}");
        }
        assert!((50..100).contains(&sample.rows().len()));
        assert!(sample.rows().windows(2).all(|pair| pair[0] < pair[1]));
        assert!(sample.rows().iter().all(|&row| row < 70_000));
        // Each tenth has a few, so that no part of an output can be wrong unseen.
        assert!((0..10).all(|i| sample.rows().iter().any(|row| row / 7_000 == i)));
        assert_eq!(Sample::around(4, &[0, 4]).rows(), [0, 1, 2, 3]);
        assert_eq!(Sample::around(0, &[]).rows(), [0; 0]);
    }

    #[test]
    fn a_sample_picks_whole_rows() {
        let sample = Sample { rows: vec![0, 2], of: 3 };
        assert_eq!(sample.pick(&[1, 2, 3, 4, 5, 6]), [1, 2, 5, 6]);
        assert_eq!(Sample::all(3).pick(&[1, 2, 3]), [1, 2, 3]);
        assert_eq!(Sample::all(0).pick(&[0u32; 0]), [0u32; 0]);
    }
}
