//! Cases of `pointwise`.

use super::{Case, Entry, Expected, Prepared, Random, Sample};
use crate::Result;
use crate::classify::layout::Layout;
use crate::classify::pointwise::{self, Operands};
use crate::classify::steps::Step;
use crate::gpu::{Buffer, Context, OpKind, Spec};
use crate::network::{Affine, Arithmetic, Element, Op, Unary};
use crate::oracle;

/// The kernel's place in the registry.
pub const ENTRY: Entry = Entry {
    stem: "pointwise",
    variants: pointwise::VARIANTS,
    stages: pointwise::STAGES,
    decoders: &[],
    op: OpKind::F32,
    tests,
    benches,
};

const SIZES: [(u64, usize, usize); 5] = [(0, 4, 1), (1, 1, 1), (64, 4, 1), (65, 7, 3), (997, 30, 1)];

fn tests() -> Vec<Box<dyn Case>> {
    let mut all: Vec<Box<dyn Case>> = Vec::new();
    for (batch, channels, positions) in SIZES {
        let layout = Layout { channels, positions };
        all.extend((0..KINDS).map(|kind| Box::new(Stepping::new(batch, layout, kind)) as Box<dyn Case>));
    }
    all
}

fn benches(bytes: u64) -> Vec<Box<dyn Case>> {
    let layout = Layout { channels: 64, positions: 1 };
    vec![Box::new(Stepping::new((bytes / 512).clamp(1_024, 1 << 20), layout, 0))]
}

/// Kinds of chains: arithmetic with two inputs, quantization, dequantization, functions.
const KINDS: usize = 4;

struct Stepping {
    batch: u64,
    layout: Layout,
    kind: usize,
    x: Vec<f32>,
    other: Vec<f32>,
    codes: Vec<i8>,
    /// A value for each channel.
    constant: Vec<f32>,
    affine: Affine,
}

impl Stepping {
    fn new(batch: u64, layout: Layout, kind: usize) -> Self {
        let mut random = Random::new(batch + kind as u64);
        let count = batch as usize * layout.elements();
        let codes = (0..count).map(|_| random.below(256) as u8 as i8).collect();
        let constant = random.floats(layout.channels);
        let scale = (0..layout.channels).map(|i| 0.01 + i as f32 * 1e-4).collect();
        let zero = (0..layout.channels).map(|i| i as i32 % 100 - 50).collect();
        let (x, other) = (random.floats(count), random.floats(count));
        Self { batch, layout, kind, x, other, codes, constant, affine: Affine { scale, zero } }
    }

    fn elements(&self) -> (Element, Element) {
        match self.kind {
            1 => (Element::F32, Element::I8),
            2 => (Element::I8, Element::F32),
            _ => (Element::F32, Element::F32),
        }
    }

    fn constant(&self, arithmetic: Arithmetic) -> Op {
        Op::Constant { arithmetic, constant: self.constant.clone(), reversed: true }
    }

    fn ops(&self) -> Vec<Op> {
        match self.kind {
            0 => vec![self.constant(Arithmetic::Sub), Op::Unary(Unary::Relu)],
            1 => vec![Op::Quantize(self.affine.clone())],
            2 => vec![Op::Dequantize(self.affine.clone())],
            _ => vec![
                Op::Unary(Unary::Tanh),
                self.constant(Arithmetic::Mul),
                Op::Unary(Unary::Sigmoid),
                Op::Unary(Unary::Clip { low: 0.4, high: 0.6 }),
            ],
        }
    }
}

impl Case for Stepping {
    fn name(&self) -> String {
        let kind = ["two inputs", "quantize", "dequantize", "functions"][self.kind];
        format!(
            "n={} {} channels at {} places, {kind}",
            self.batch, self.layout.channels, self.layout.positions
        )
    }

    fn taken(&self, gpu: &Context, _: &[Spec]) -> Result<Spec> {
        Ok(*pointwise::choose(gpu))
    }

    fn prepare(&self, gpu: &Context, spec: &Spec) -> Result<Prepared> {
        let elements = self.elements();
        let buffer = |name, element| Buffer::new(gpu, name, self.batch, self.layout.row_bytes(element));
        let (x, other, y) =
            (buffer("x", elements.0)?, buffer("other", elements.0)?, buffer("y", elements.1)?);
        match elements.0 {
            Element::I8 => x.write(gpu, &self.layout.pack_i8(&self.codes))?,
            _ => x.write(gpu, &self.layout.pack_f32(&self.x))?,
        }
        if elements.0 == Element::F32 {
            other.write(gpu, &self.layout.pack_f32(&self.other))?;
        }
        let after: Vec<Step> = self.ops().iter().filter_map(Step::of).flatten().collect();
        let on = Operands {
            layout: self.layout,
            elements,
            before: &[],
            other: (self.kind == 0).then_some((Arithmetic::Mul, &other)),
            after: &after,
            x: &x,
            y: &y,
            plain: false,
        };
        let bound = pointwise::bind(gpu, spec, &on)?;
        Ok(Prepared {
            passes: vec![bound],
            outputs: vec![("y", y)],
            others: vec![x, other],
            before: Vec::new(),
        })
    }

    fn rows(&self) -> usize {
        self.batch as usize
    }

    fn expected(&self, sample: &Sample) -> Vec<Expected> {
        let (x, other, codes) = (sample.pick(&self.x), sample.pick(&self.other), sample.pick(&self.codes));
        let channel = |i: usize| i % self.layout.elements() / self.layout.positions;
        let affine = |i: usize| (self.affine.scale[channel(i)], self.affine.zero[channel(i)]);
        let words =
            |values: Vec<f32>| self.layout.pack(&values.into_iter().map(f32::to_bits).collect::<Vec<u32>>());
        vec![match self.kind {
            0 => {
                let x = x.iter().zip(&other).enumerate();
                Expected::Exact(words(
                    x.map(|(i, (x, y))| (self.constant[channel(i)] - x * y).max(0.0)).collect(),
                ))
            }
            1 => {
                let code = |(i, &x): (usize, &f32)| oracle::pointwise::quantize(x, affine(i).0, affine(i).1);
                let codes: Vec<i8> = x.iter().enumerate().map(code).collect();
                Expected::Exact(bytemuck::pod_collect_to_vec(&self.layout.pack_i8(&codes)))
            }
            2 => {
                let value =
                    |(i, &q): (usize, &i8)| oracle::pointwise::dequantize(q, affine(i).0, affine(i).1);
                Expected::Exact(words(codes.iter().enumerate().map(value).collect()))
            }
            _ => {
                let value = |(i, &x): (usize, &f32)| {
                    let x = oracle::pointwise::unary(Unary::Tanh, f64::from(x));
                    let x =
                        oracle::pointwise::unary(Unary::Sigmoid, x * f64::from(self.constant[channel(i)]));
                    oracle::pointwise::unary(Unary::Clip { low: 0.4, high: 0.6 }, x)
                };
                let values: Vec<f64> = x.iter().enumerate().map(value).collect();
                // exp is good to 3 + 2 |x| ulp (WGSL); there are two of them, of arguments below 3.
                let bounds = self.layout.pack(&vec![32.0 * f64::from(f32::EPSILON); values.len()]);
                Expected::Within { values: self.layout.pack(&values), bounds }
            }
        }]
    }
}
