//! Cases of `matvec`; those of `matmul` are made of the same products.

use super::activation::{Column, Kind};
use super::quantized::{Quantized, SHOWN, filling, format};
use super::{Case, Entry, Expected, FOLDED, Prepared, Random, Sample};
use crate::Result;
use crate::format::{ALL, DECODERS, Format};
use crate::gpu::dispatch::Class;
use crate::gpu::{Buffer, Context, OpKind, Spec, tune};
use crate::matmul::matmul::Matmul;
use crate::matmul::matvec::{Matvec, VARIANTS};
use crate::matmul::split_sum::{Passes, paying, splits};
use crate::matmul::{self, Activations, Operands, Path, Weights};
use crate::oracle::matvec::{bound, product};

/// The kernel's place in the registry.
pub const ENTRY: Entry = Entry {
    stem: "matvec",
    variants: VARIANTS,
    stages: &[],
    decoders: DECODERS,
    op: OpKind::F32,
    tests,
    benches,
};

fn tests() -> Vec<Box<dyn Case>> {
    shapes(ALL).chain([tall()]).map(|product| Box::new(product) as Box<dyn Case>).collect()
}

fn benches(bytes: u64) -> Vec<Box<dyn Case>> {
    filled(bytes).map(|product| Box::new(product) as Box<dyn Case>).collect()
}

/// Every format once, and every kind of shape once: rows and columns around the tiles, several columns, outliers.
pub(super) fn shapes<'a>(formats: impl IntoIterator<Item = &'a Format>) -> impl Iterator<Item = Product> {
    let names: Vec<&str> = formats.into_iter().map(|format| format.name).collect();
    let mut cases: Vec<_> = names.into_iter().map(|name| (name, 19, 768, 2, 1.0)).collect();
    cases.extend([
        ("Q4_0", 1, 32, 1, 1.0),
        ("Q4_0", 16, 96, 3, 1.0),
        ("Q8_0", 65, 2080, 5, 1.0),
        ("Q8_0", 3, 4096, 8, 1e5),
        ("Q4_K", 70, 256, 9, 1e6),
    ]);
    cases.into_iter().map(|(name, rows, cols, n, size)| Product::new(name, rows, cols, n, size))
}

/// More rows than a dimension of a grid has workgroups.
pub(super) fn tall() -> Product {
    Product::new("Q4_0", FOLDED, 32, 1, 1.0)
}

/// The formats that the report shows, at a size that fills a device.
pub(super) fn filled(bytes: u64) -> impl Iterator<Item = Product> {
    SHOWN.into_iter().map(move |name| {
        let (rows, cols) = filling(format(name), bytes);
        Product::new(name, rows, cols, 1, 1.0)
    })
}

/// Weights times columns, with a bias where the number of rows is odd.
pub(super) struct Product {
    pub(super) weights: Quantized,
    pub(super) x: Column,
    pub(super) bias: Vec<f32>,
    /// Whether only variants that split it are asked.
    pub(super) split: bool,
}

impl Product {
    pub(super) fn new(name: &str, rows: usize, cols: usize, n: usize, size: f32) -> Self {
        let mut random = Random::new((rows * cols + n) as u64);
        let mut x = Column::new(n, cols, 1.0, Kind::Float);
        // Outliers: a few channels are much larger than all others.
        x.values.iter_mut().skip(3).step_by(97).for_each(|x| *x *= size);
        Self {
            weights: Quantized::new(format(name), rows, cols, &mut random),
            x,
            bias: if rows % 2 == 1 { random.floats(rows) } else { Vec::new() },
            split: false,
        }
    }

    /// The variant that users get on this path: of those that are worth it.
    pub(super) fn taken(&self, gpu: &Context, variants: &[Spec], path: Path) -> Result<Spec> {
        tune::taken(gpu, &paying(variants, self.shape())?, &self.class(path)).copied()
    }

    /// Whether `spec` is asked.
    pub(super) fn suits(&self, spec: &Spec) -> bool {
        !self.split || splits(spec) > 1
    }

    fn shape(&self) -> [u64; 3] {
        [self.weights.rows, self.weights.cols, self.x.n].map(|size| size as u64)
    }

    /// What the choice of a variant on this path depends on.
    pub(super) fn class(&self, path: Path) -> Class {
        matmul::class(path, self.weights.format, self.shape())
    }

    pub(super) fn label(&self) -> String {
        format!("{} n={}", self.weights.name(), self.x.n)
    }

    pub(super) fn on_device(&self, gpu: &Context) -> Result<(Weights, Activations, Buffer, Buffer)> {
        let weights = self.weights.upload(gpu)?;
        let y = Buffer::new(gpu, "y", weights.rows, 4 * self.x.n as u64)?;
        let x = Activations::upload(gpu, &self.x.values, self.x.cols)?;
        Ok((weights, x, Buffer::from_slice(gpu, "bias", self.bias.len() as u64, &self.bias)?, y))
    }

    /// Some rows of the product with these columns.
    pub(super) fn expected(&self, sample: &Sample, columns: &[f32]) -> Vec<Expected> {
        self.expected_within(sample, columns, bound)
    }

    /// The same with the error `bound` of weights, a column, a bias and the size of the format's blocks.
    pub(super) fn expected_within(
        &self,
        sample: &Sample,
        columns: &[f32],
        bound: impl Fn(&[f32], &[f32], f32, usize) -> f64,
    ) -> Vec<Expected> {
        let (values, cols) = (self.weights.at(sample).values(), self.x.cols);
        let (mut products, mut bounds) = (Vec::new(), Vec::new());
        for (&row, weights) in sample.rows().iter().zip(values.chunks(cols)) {
            let bias = self.bias.get(row).copied().unwrap_or(0.0);
            for x in columns.chunks(cols) {
                products.push(product(weights, x, bias));
                bounds.push(bound(weights, x, bias, self.weights.format.elements));
            }
        }
        vec![Expected::Within { values: products, bounds }]
    }
}

impl Case for Product {
    fn name(&self) -> String {
        self.label()
    }

    fn class(&self) -> Class {
        self.class(Path::Float)
    }

    fn decoder(&self) -> Option<&'static str> {
        Some(self.weights.format.decoder)
    }

    fn taken(&self, gpu: &Context, variants: &[Spec]) -> Result<Spec> {
        self.taken(gpu, variants, Path::Float)
    }

    fn suits(&self, spec: &Spec) -> bool {
        self.suits(spec)
    }

    fn turn(&self) -> Option<usize> {
        // The variant with a workgroup for each row.
        (self.weights.rows == FOLDED).then_some(1)
    }

    fn prepare(&self, gpu: &Context, spec: &Spec) -> Result<Prepared> {
        let (weights, x, bias, y) = self.on_device(gpu)?;
        let plane = Buffer::from_slice(gpu, "x", x.padded(), &self.x.float_plane())?;
        let on = Operands { weights: &weights, x: &x, bias: &bias, y: &y };
        let bound: Passes = if spec.file == "matmul/matvec" {
            Matvec::load(gpu, spec)?.bind(gpu, &on, &plane)?.into()
        } else {
            Matmul::load(gpu, spec)?.bind(gpu, &on, &plane)?
        };
        let mut others = weights.into_buffers();
        others.extend([bias, plane].into_iter().chain(bound.sums));
        Ok(Prepared { passes: bound.all, outputs: vec![("y", y)], others, before: Vec::new() })
    }

    fn rows(&self) -> usize {
        self.weights.rows
    }

    fn expected(&self, sample: &Sample) -> Vec<Expected> {
        self.expected(sample, &self.x.values)
    }
}
