//! Cases of `matvec_fixed`: the products of `matvec`, of formats whose codes are int8.

use super::matvec::{Product, filled, shapes, tall};
use super::{Case, Entry, Expected, Prepared, Sample};
use crate::Result;
use crate::format::{ALL, INTEGER_DECODERS};
use crate::gpu::dispatch::Class;
use crate::gpu::{Buffer, Context, OpKind, Spec};
use crate::matmul::matvec_fixed::VARIANTS;
use crate::matmul::matvec_integer::MatvecInteger;
use crate::matmul::{Operands, Path};

/// The kernel's place in the registry.
pub const ENTRY: Entry = Entry {
    stem: "matvec_fixed",
    variants: VARIANTS,
    stages: &[],
    decoders: INTEGER_DECODERS,
    op: OpKind::F32,
    tests,
    benches,
};

fn tests() -> Vec<Box<dyn Case>> {
    let formats = ALL.iter().filter(|format| format.integer);
    of(shapes(formats).chain([tall()]))
}

fn benches(bytes: u64) -> Vec<Box<dyn Case>> {
    of(filled(bytes))
}

fn of(products: impl Iterator<Item = Product>) -> Vec<Box<dyn Case>> {
    let fixed = |(turn, product)| Box::new(Fixed { product, turn }) as Box<dyn Case>;
    products.enumerate().map(fixed).collect()
}

/// The product with its columns in fixed point.
struct Fixed {
    product: Product,
    turn: usize,
}

impl Case for Fixed {
    fn name(&self) -> String {
        self.product.label()
    }

    fn class(&self) -> Class {
        self.product.class(Path::Float)
    }

    fn decoder(&self) -> Option<&'static str> {
        Some(self.product.weights.format.decoder)
    }

    fn taken(&self, gpu: &Context, variants: &[Spec]) -> Result<Spec> {
        self.product.taken(gpu, variants, Path::Float)
    }

    fn turn(&self) -> Option<usize> {
        // Granules that are written out take software seconds to compile.
        Some(self.turn)
    }

    fn prepare(&self, gpu: &Context, spec: &Spec) -> Result<Prepared> {
        let (weights, x, bias, y) = self.product.on_device(gpu)?;
        let (digits, scales) = self.product.x.fixed_planes();
        let digits = Buffer::from_slice(gpu, "x", x.padded(), &digits)?;
        let scales = Buffer::from_slice(gpu, "x_scales", x.padded(), &scales)?;
        let on = Operands { weights: &weights, x: &x, bias: &bias, y: &y };
        let pass = MatvecInteger::load(gpu, spec)?.bind(gpu, &on, (&digits, &scales))?;
        let mut others = weights.into_buffers();
        others.extend([bias, digits, scales]);
        Ok(Prepared { passes: vec![pass], outputs: vec![("y", y)], others, before: Vec::new() })
    }

    fn rows(&self) -> usize {
        self.product.weights.rows
    }

    fn expected(&self, sample: &Sample) -> Vec<Expected> {
        // The bound of f32, which what x loses in fixed point is within.
        self.product.expected(sample, &self.product.x.values)
    }
}
