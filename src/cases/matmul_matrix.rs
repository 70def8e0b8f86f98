//! Cases of `matmul_matrix`.

use super::matmul::{filled, shapes};
use super::matvec::Product;
use super::{Case, Entry, Expected, Prepared, Sample};
use crate::Result;
use crate::format::{ALL, DECODERS};
use crate::gpu::dispatch::Class;
use crate::gpu::{Buffer, Context, OpKind, Spec};
use crate::matmul::matmul_matrix::{MatmulMatrix, Scaled, VARIANTS};
use crate::matmul::{Operands, Path};
use crate::oracle::matmul_matrix::bound;
use crate::oracle::row_scale::scale;

/// The kernel's place in the registry.
pub const ENTRY: Entry = Entry {
    stem: "matmul_matrix",
    variants: VARIANTS,
    stages: &[],
    decoders: DECODERS,
    op: OpKind::Matrix,
    tests,
    benches,
};

/// Those of `matmul`, and values far outside the range of f16.
fn tests() -> Vec<Box<dyn Case>> {
    let large = Product::new("F32", 20, 64, 20, 1e30);
    shapes(ALL).chain([large]).map(|product| Box::new(Half(product)) as Box<dyn Case>).collect()
}

fn benches(bytes: u64) -> Vec<Box<dyn Case>> {
    filled(["Q4_0", "F32"], bytes).map(|product| Box::new(Half(product)) as Box<dyn Case>).collect()
}

/// The product of operands in f16.
struct Half(Product);

impl Case for Half {
    fn name(&self) -> String {
        self.0.label()
    }

    fn class(&self) -> Class {
        self.0.class(Path::Half)
    }

    fn decoder(&self) -> Option<&'static str> {
        Some(self.0.weights.format.decoder)
    }

    fn taken(&self, gpu: &Context, variants: &[Spec]) -> Result<Spec> {
        self.0.taken(gpu, variants, Path::Half)
    }

    fn suits(&self, spec: &Spec) -> bool {
        self.0.suits(spec)
    }

    fn prepare(&self, gpu: &Context, spec: &Spec) -> Result<Prepared> {
        let (weights, x, bias, y) = self.0.on_device(gpu)?;
        let cols = self.0.x.cols;
        let mut of_columns: Vec<f32> = self.0.x.values.chunks(cols).map(scale).collect();
        of_columns.resize(x.padded() as usize, scale(&[]));
        let of_rows: Vec<f32> = self.0.weights.values().chunks(cols).map(scale).collect();
        let plane = Buffer::from_slice(gpu, "x", x.padded(), &self.0.x.float_plane())?;
        let column_scales = Buffer::from_slice(gpu, "column_scales", x.padded(), &of_columns)?;
        let row_scales = Buffer::from_slice(gpu, "row_scales", weights.rows, &of_rows)?;
        let on = Operands { weights: &weights, x: &x, bias: &bias, y: &y };
        let with = Scaled { x: &plane, column_scales: &column_scales, row_scales: &row_scales };
        let bound = MatmulMatrix::load(gpu, spec)?.bind(gpu, &on, &with)?;
        let mut others = weights.into_buffers();
        others.extend([bias, plane, column_scales, row_scales].into_iter().chain(bound.sums));
        Ok(Prepared { passes: bound.all, outputs: vec![("y", y)], others, before: Vec::new() })
    }

    fn rows(&self) -> usize {
        self.0.weights.rows
    }

    fn expected(&self, sample: &Sample) -> Vec<Expected> {
        self.0.expected_within(sample, &self.0.x.values, bound)
    }
}
