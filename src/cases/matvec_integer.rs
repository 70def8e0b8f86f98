//! Cases of `matvec_integer`; those of `matmul_integer` are made of the same products.

use super::matvec::{Product, filled, shapes, tall};
use super::{Case, Entry, Expected, Prepared, Sample};
use crate::Result;
use crate::format::{ALL, INTEGER_DECODERS};
use crate::gpu::dispatch::Class;
use crate::gpu::{Buffer, Context, OpKind, Spec};
use crate::matmul::matmul_integer::MatmulInteger;
use crate::matmul::matvec_integer::{MatvecInteger, VARIANTS};
use crate::matmul::split_sum::Passes;
use crate::matmul::{Operands, Path};
use crate::oracle::matvec_integer::rounded;

/// The kernel's place in the registry.
pub const ENTRY: Entry = Entry {
    stem: "matvec_integer",
    variants: VARIANTS,
    stages: &[],
    decoders: INTEGER_DECODERS,
    op: OpKind::I8,
    tests,
    benches,
};

fn tests() -> Vec<Box<dyn Case>> {
    let formats = ALL.iter().filter(|format| format.integer);
    shapes(formats).chain([tall()]).map(|product| Box::new(Rounded(product)) as Box<dyn Case>).collect()
}

fn benches(bytes: u64) -> Vec<Box<dyn Case>> {
    filled(bytes).map(|product| Box::new(Rounded(product)) as Box<dyn Case>).collect()
}

/// The product with columns that are int8 already.
pub(super) struct Rounded(pub(super) Product);

impl Case for Rounded {
    fn name(&self) -> String {
        self.0.label()
    }

    fn class(&self) -> Class {
        self.0.class(Path::Integer)
    }

    fn decoder(&self) -> Option<&'static str> {
        Some(self.0.weights.format.decoder)
    }

    fn taken(&self, gpu: &Context, variants: &[Spec]) -> Result<Spec> {
        self.0.taken(gpu, variants, Path::Integer)
    }

    fn suits(&self, spec: &Spec) -> bool {
        self.0.suits(spec)
    }

    fn turn(&self) -> Option<usize> {
        self.0.turn()
    }

    fn prepare(&self, gpu: &Context, spec: &Spec) -> Result<Prepared> {
        let (weights, x, bias, y) = self.0.on_device(gpu)?;
        let (codes, scales) = self.0.x.integer_planes();
        let codes = Buffer::from_slice(gpu, "x", x.padded(), &codes)?;
        let scales = Buffer::from_slice(gpu, "x_scales", x.padded(), &scales)?;
        let on = Operands { weights: &weights, x: &x, bias: &bias, y: &y };
        let bound: Passes = if spec.file == "matmul/matvec_integer" {
            MatvecInteger::load(gpu, spec)?.bind(gpu, &on, (&codes, &scales))?.into()
        } else {
            MatmulInteger::load(gpu, spec)?.bind(gpu, &on, (&codes, &scales))?
        };
        let mut others = weights.into_buffers();
        others.extend([bias, codes, scales].into_iter().chain(bound.sums));
        Ok(Prepared { passes: bound.all, outputs: vec![("y", y)], others, before: Vec::new() })
    }

    fn rows(&self) -> usize {
        self.0.weights.rows
    }

    fn expected(&self, sample: &Sample) -> Vec<Expected> {
        let columns = self.0.x.values.chunks(self.0.x.cols);
        self.0.expected(sample, &columns.flat_map(rounded).collect::<Vec<_>>())
    }
}
