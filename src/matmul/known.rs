//! A product whose result is known: for whatever times one, since nothing is timed that was not verified.

use std::collections::BTreeMap;

use super::Weights;
use crate::Result;
use crate::format::Format;
use crate::gpu::verify::{Expected, Sample};
use crate::gpu::{Bound, Context, Spec};
use crate::oracle::{matmul_matrix, matvec, matvec_integer};
use crate::random::Random;

/// Rows of weights that differ; larger matrices repeat them. A prime, so that tiles of rows never look alike.
const DIFFERENT: u64 = 61;

/// What a variant multiplies, by which errors differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Float,
    Integer,
    Half,
}

impl Kind {
    fn of(spec: &Spec) -> Self {
        match spec.file {
            "matmul/matvec_integer" | "matmul/matmul_integer" => Self::Integer,
            "matmul/matmul_matrix" => Self::Half,
            _ => Self::Float,
        }
    }
}

/// Random operands, `[rows, cols]` weights of a few rows that repeat and columns, and what an oracle says of some rows of their
/// product.
pub(crate) struct Known {
    format: &'static Format,
    rows: u64,
    cols: u64,
    blocks: Vec<u8>,
    weights: Vec<f32>,
    /// `[n, cols]`.
    pub x: Vec<f32>,
    sample: Sample,
    answers: BTreeMap<Kind, Expected>,
}

impl Known {
    /// Of `rows` rows and `n` columns.
    ///
    /// # Errors
    /// [`crate::Error::Input`] for rows that are no whole blocks of the format.
    pub fn new(format: &'static Format, rows: u64, cols: u64, n: u64) -> Result<Self> {
        let mut random = Random::new(rows ^ cols);
        let values = random.floats((rows.min(DIFFERENT) * cols) as usize);
        let mut blocks = vec![0; values.len() / format.elements * format.bytes];
        format.quantize(&values, &mut blocks)?;
        let mut weights = vec![0.0; values.len()];
        format.dequantize(&blocks, &mut weights)?;
        let (x, sample) = (random.floats((n * cols) as usize), Sample::of(rows as usize, []));
        Ok(Self { format, rows, cols, blocks, weights, x, sample, answers: BTreeMap::new() })
    }

    /// The rows of the product that are compared: the ends, and some by chance.
    pub fn sample(&self) -> &Sample {
        &self.sample
    }

    /// The same with those rows compared at which `passes` can go wrong too.
    pub fn around(self, passes: &[Bound]) -> Self {
        Self { sample: Sample::of(self.rows as usize, passes), answers: BTreeMap::new(), ..self }
    }

    /// The weights, uploaded.
    ///
    /// # Errors
    /// Those of [`Weights::new`].
    pub fn upload(&self, gpu: &Context) -> Result<Weights> {
        let weights = Weights::new(gpu, self.format, self.rows, self.cols)?;
        // Whole repetitions, as many as make a piece.
        let different = self.rows.min(DIFFERENT);
        let times = (weights.rows_in_a_piece() / different).clamp(1, self.rows.div_ceil(different));
        let blocks = self.blocks.repeat(times as usize);
        let step = different * times;
        for first in (0..self.rows).step_by(step as usize) {
            let bytes = step.min(self.rows - first) * weights.row_bytes();
            weights.write_rows(gpu, first, &blocks[..bytes as usize])?;
        }
        Ok(weights)
    }

    /// A row of the weights as they are once they are quantized.
    pub fn row(&self, row: usize) -> &[f32] {
        let cols = self.cols as usize;
        &self.weights[row % DIFFERENT as usize * cols..][..cols]
    }

    /// What the product must be in the rows of the sample, as `spec` makes it.
    pub fn expected(&mut self, spec: &Spec) -> &Expected {
        let kind = Kind::of(spec);
        if !self.answers.contains_key(&kind) {
            let answer = self.answer(kind);
            self.answers.insert(kind, answer);
        }
        &self.answers[&kind]
    }

    fn answer(&self, kind: Kind) -> Expected {
        let cols = self.cols as usize;
        let columns: Vec<Vec<f32>> = match kind {
            Kind::Integer => self.x.chunks(cols).map(matvec_integer::rounded).collect(),
            Kind::Float | Kind::Half => self.x.chunks(cols).map(<[f32]>::to_vec).collect(),
        };
        let bound = if kind == Kind::Half { matmul_matrix::bound } else { matvec::bound };
        let (mut values, mut bounds) = (Vec::new(), Vec::new());
        for weights in self.sample.rows().iter().map(|&row| self.row(row)) {
            for x in &columns {
                values.push(matvec::product(weights, x, 0.0));
                bounds.push(bound(weights, x, 0.0, self.format.elements));
            }
        }
        Expected::Within { values, bounds }
    }
}
