//! Cases of `dense_integer`.

use super::dense::{Shape, geometry, name, shapes};
use super::{Case, Entry, Expected, Prepared, Random, Sample};
use crate::Result;
use crate::classify::dense::Operands;
use crate::classify::dense_integer;
use crate::classify::layout::Layout;
use crate::classify::steps::Step;
use crate::classify::window::{Geometry, candidates};
use crate::gpu::{Buffer, Context, OpKind, Spec, tune};
use crate::network::{Affine, Element, FixedPoint, Integer, Op, Output, Window};
use crate::oracle;

/// The kernel's place in the registry.
pub const ENTRY: Entry = Entry {
    stem: "dense_integer",
    variants: dense_integer::VARIANTS,
    stages: dense_integer::STAGES,
    decoders: &[],
    op: OpKind::I8,
    tests,
    benches,
};

fn tests() -> Vec<Box<dyn Case>> {
    let kinds = [Element::I32, Element::F32, Element::I8];
    let mut all: Vec<Box<dyn Case>> = Vec::new();
    for (i, shape) in shapes().into_iter().enumerate() {
        let point = shape.3 == Window::POINT;
        for (j, kind) in kinds.into_iter().enumerate() {
            // Zero points of weights, sources of F32, and small registers, in turn with the kinds of results.
            let source = if point && (i + j) % 2 == 0 { Element::F32 } else { Element::I8 };
            let register = [32, 8, 16][(i + 2 * j) % 3];
            all.push(Box::new(Convolving::new(shape, (source, kind), (i + j) % 3 == 0, register)));
        }
    }
    all
}

fn benches(bytes: u64) -> Vec<Box<dyn Case>> {
    let (k, m) = (64, 32);
    let batch = (bytes / (k + m)).clamp(1_024, 1 << 18);
    let shape = (batch, [k as usize, 1, 1], [m as usize, 1, 1], Window::POINT, 1);
    vec![Box::new(Convolving::new(shape, (Element::I8, Element::I8), false, 32))]
}

struct Convolving {
    geometry: Geometry,
    integer: Integer,
    affine: Affine,
    codes: Vec<i8>,
    x: Vec<f32>,
}

impl Convolving {
    fn new(shape: Shape, elements: (Element, Element), zeros: bool, register: u32) -> Self {
        let geometry = geometry(shape, elements);
        let mut random = Random::new(geometry.batch + geometry.input.elements() as u64);
        let outs = geometry.output.channels();
        let weights = outs * geometry.input.channels() / geometry.groups * geometry.window.taps();
        let mut byte = |_| random.below(256) as u8 as i8;
        let weights = (0..weights).map(&mut byte).collect();
        let input_zero = i32::from(byte(0));
        let zero = i32::from(byte(0)) / 2;
        let x = random.floats(geometry.batch as usize * geometry.input.elements());
        let affine = Affine { scale: vec![0.011], zero: vec![input_zero] };
        let codes: Vec<i8> =
            x.iter().map(|&x| oracle::pointwise::quantize(x, affine.scale[0], input_zero)).collect();
        let scale = (0..outs).map(|_| 1e-4 * (1.0 + random.below(100) as f32)).collect();
        let output = match elements.1 {
            Element::I32 => Output::Sum,
            Element::F32 => Output::Scaled { scale },
            Element::I8 if register == 32 => Output::Requantized { scale, zero, low: zero, high: 120 },
            Element::I8 => {
                let step = |_| FixedPoint {
                    multiplier: 1 + random.below(1 << 14) as i32,
                    offset: random.below(1 << 16) as i32 - (1 << 15),
                    shift: 6 + random.below(12) as u32,
                };
                Output::Fixed { steps: (0..outs).map(step).collect(), low: zero.min(100), high: 120 }
            }
        };
        let mut any = |most: u64| random.below(2 * most) as i32 - most as i32;
        let weight_zero = (0..outs).map(|_| if zeros { any(100) } else { 0 }).collect();
        let bias = (0..outs).map(|_| any(100_000)).collect();
        let (window, groups) = (geometry.window, geometry.groups);
        let integer = Integer { weights, weight_zero, input_zero, bias, window, groups, register, output };
        Self { geometry, integer, affine, codes, x }
    }
}

impl Case for Convolving {
    fn name(&self) -> String {
        let zeros = if self.integer.weight_zero.iter().any(|&z| z != 0) { " zero points" } else { "" };
        let register = match self.integer.register {
            32 => String::new(),
            bits => format!(" in {bits} bits"),
        };
        let (from, to) = (self.geometry.input.element, self.geometry.output.element);
        format!("{} {from:?} to {to:?}{register}{zeros}", name(&self.geometry))
    }

    fn taken(&self, gpu: &Context, variants: &[Spec]) -> Result<Spec> {
        let list = candidates(gpu, &self.geometry, variants)?;
        tune::taken(gpu, &list, &self.geometry.class()).copied()
    }

    fn prepare(&self, gpu: &Context, spec: &Spec) -> Result<Prepared> {
        let (input, output) = (&self.geometry.input, &self.geometry.output);
        let (from, to) = (Layout::of(input), Layout::of(output));
        let x = Buffer::new(gpu, "x", self.geometry.batch, from.row_bytes(input.element))?;
        match input.element {
            Element::I8 => x.write(gpu, &from.pack_i8(&self.codes))?,
            _ => x.write(gpu, &from.pack_f32(&self.x))?,
        }
        let y = Buffer::new(gpu, "y", self.geometry.batch, to.row_bytes(output.element))?;
        let spec = if self.geometry.groups > 1 { dense_integer::VARIANTS[1] } else { *spec };
        let before = match input.element {
            Element::F32 => Step::of(&Op::Quantize(self.affine.clone())).unwrap_or_default(),
            _ => Vec::new(),
        };
        let after = Step::of_output(&self.integer.output);
        let on =
            Operands { geometry: &self.geometry, before: &before, after: &after, x: &x, y: &y, plain: false };
        let bound = dense_integer::bind(gpu, &spec, &self.integer, &on)?;
        Ok(Prepared { passes: vec![bound], outputs: vec![("y", y)], others: vec![x], before: Vec::new() })
    }

    fn rows(&self) -> usize {
        self.geometry.batch as usize
    }

    fn expected(&self, sample: &Sample) -> Vec<Expected> {
        let (input, output) = (&self.geometry.input, &self.geometry.output);
        let (layout, places) = (Layout::of(output), output.elements() / output.channels());
        let mut words: Vec<u32> = Vec::new();
        for codes in sample.pick(&self.codes).chunks(input.elements()) {
            let sums = oracle::dense_integer::sums(&self.integer, (input, output), codes);
            let values = sums
                .iter()
                .enumerate()
                .map(|(i, &sum)| oracle::dense_integer::output(&self.integer.output, i / places, sum));
            words.extend(match output.element {
                Element::I32 => layout.pack(&sums.iter().map(|&sum| sum as i32 as u32).collect::<Vec<_>>()),
                Element::F32 => layout.pack(&values.map(f32::to_bits).collect::<Vec<_>>()),
                Element::I8 => {
                    let bytes = layout.pack_i8(&values.map(|value| value as i8).collect::<Vec<_>>());
                    bytemuck::pod_collect_to_vec(&bytes)
                }
            });
        }
        vec![Expected::Exact(words)]
    }
}
