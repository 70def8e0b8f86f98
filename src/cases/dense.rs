//! Cases of `dense`.

use super::{Case, Entry, Expected, Prepared, Random, Sample};
use crate::Result;
use crate::classify::dense::{self, Operands};
use crate::classify::layout::Layout;
use crate::classify::steps::{Step, With};
use crate::classify::window::{Geometry, candidates};
use crate::gpu::{Buffer, Context, OpKind, Spec, tune};
use crate::network::{Dense, Element, Value, Window};
use crate::oracle;

/// The kernel's place in the registry.
pub const ENTRY: Entry = Entry {
    stem: "dense",
    variants: dense::VARIANTS,
    stages: dense::STAGES,
    decoders: &[],
    op: OpKind::F32,
    tests,
    benches,
};

/// A convolution's shapes: examples, channels and pictures of input and output, window, groups.
pub(super) type Shape = (u64, [usize; 3], [usize; 3], Window, usize);

/// Products with matrices, and convolutions with pads, strides, dilations and groups.
pub(super) fn shapes() -> Vec<Shape> {
    let window = |size: usize, stride: usize, dilation: usize, pad: usize| Window {
        kernel: [size, size],
        strides: [stride, stride],
        dilations: [dilation, dilation],
        pads: [pad, pad],
        star: false,
    };
    let strip = Window { kernel: [1, 5], strides: [1, 2], dilations: [1, 1], pads: [0, 3], star: false };
    let star = |stride, pad| Window { star: true, ..window(3, stride, 1, pad) };
    let mut all: Vec<Shape> = [(0, 4, 1), (1, 1, 1), (1, 384, 33), (63, 4, 1), (65, 30, 16), (257, 7, 5)]
        .iter()
        .map(|&(batch, k, m)| (batch, [k, 1, 1], [m, 1, 1], Window::POINT, 1))
        .collect();
    all.extend([
        (3, [1, 8, 8], [6, 8, 8], window(3, 1, 1, 1), 1),
        (2, [5, 9, 7], [7, 4, 3], window(3, 2, 1, 0), 1),
        (2, [6, 11, 11], [4, 11, 11], window(3, 1, 2, 2), 2),
        (2, [9, 6, 6], [9, 6, 6], window(3, 1, 1, 1), 9),
        (2, [12, 5, 5], [6, 5, 5], Window::POINT, 3),
        (3, [3, 1, 20], [8, 1, 10], strip, 1),
        (2, [5, 9, 7], [7, 5, 4], star(2, 1), 1),
        (3, [12, 5, 6], [8, 5, 6], star(1, 1), 4),
        (2, [6, 4, 3], [6, 2, 1], star(1, 0), 6),
        (2, [4, 9, 8], [4, 9, 8], Window { dilations: [2, 2], ..star(1, 2) }, 1),
    ]);
    all
}

pub(super) fn geometry(
    (batch, input, output, window, groups): Shape,
    elements: (Element, Element),
) -> Geometry {
    let value =
        |name: &str, shape: [usize; 3], element| Value { name: name.into(), shape: shape.into(), element };
    Geometry {
        batch,
        input: value("x", input, elements.0),
        output: value("y", output, elements.1),
        window,
        groups,
    }
}

pub(super) fn name(geometry: &Geometry) -> String {
    let size = |value: &Value| {
        let sizes: Vec<String> = value.shape.iter().map(usize::to_string).collect();
        sizes.join("x")
    };
    let window = geometry.window.kernel;
    let mut text = format!("n={} {} to {}", geometry.batch, size(&geometry.input), size(&geometry.output));
    if window != [1, 1] {
        let kind = if geometry.window.star { "star" } else { "window" };
        text += &format!(" {kind} {}x{}", window[0], window[1]);
    }
    if geometry.groups > 1 {
        text += &format!(" groups {}", geometry.groups);
    }
    text
}

fn tests() -> Vec<Box<dyn Case>> {
    let case = |shape| Box::new(Convolving::new(shape)) as Box<dyn Case>;
    shapes().into_iter().map(case).collect()
}

fn benches(bytes: u64) -> Vec<Box<dyn Case>> {
    let (k, m) = (64, 32);
    let batch = (bytes / (4 * (k + m))).clamp(1_024, 1 << 18);
    let shape = (batch, [k as usize, 1, 1], [m as usize, 1, 1], Window::POINT, 1);
    vec![Box::new(Convolving::new(shape))]
}

struct Convolving {
    geometry: Geometry,
    dense: Dense,
    before: Vec<Step>,
    after: Vec<Step>,
    x: Vec<f32>,
}

impl Convolving {
    fn new(shape: Shape) -> Self {
        let geometry = geometry(shape, (Element::F32, Element::F32));
        let mut random = Random::new(geometry.batch + geometry.input.elements() as u64);
        let outs = geometry.output.channels();
        let weights = outs * geometry.input.channels() / geometry.groups * geometry.window.taps();
        let dense = Dense {
            weights: random.floats(weights),
            bias: random.floats(outs),
            window: geometry.window,
            groups: geometry.groups,
            quantized: None,
        };
        let x = random.floats(geometry.batch as usize * geometry.input.elements());
        let before = match geometry.is_point() {
            true => vec![Step::With(With::Sub, random.floats(geometry.input.channels()))],
            false => Vec::new(),
        };
        let after = vec![Step::With(With::Add, random.floats(geometry.output.elements())), Step::Relu];
        Self { geometry, dense, before, after, x }
    }
}

impl Case for Convolving {
    fn name(&self) -> String {
        name(&self.geometry)
    }

    fn taken(&self, gpu: &Context, variants: &[Spec]) -> Result<Spec> {
        let list = candidates(gpu, &self.geometry, variants)?;
        tune::taken(gpu, &list, &self.geometry.class()).copied()
    }

    fn prepare(&self, gpu: &Context, spec: &Spec) -> Result<Prepared> {
        let (input, output) = (Layout::of(&self.geometry.input), Layout::of(&self.geometry.output));
        let batch = self.geometry.batch;
        let x = Buffer::new(gpu, "x", batch, input.row_bytes(Element::F32))?;
        x.write(gpu, &input.pack_f32(&self.x))?;
        let y = Buffer::new(gpu, "y", batch, output.row_bytes(Element::F32))?;
        let spec = if self.geometry.groups > 1 { dense::VARIANTS[1] } else { *spec };
        let on = Operands {
            geometry: &self.geometry,
            before: &self.before,
            after: &self.after,
            x: &x,
            y: &y,
            plain: false,
        };
        let bound = dense::bind(gpu, &spec, &self.dense, &on)?;
        Ok(Prepared { passes: vec![bound], outputs: vec![("y", y)], others: vec![x], before: Vec::new() })
    }

    fn rows(&self) -> usize {
        self.geometry.batch as usize
    }

    fn expected(&self, sample: &Sample) -> Vec<Expected> {
        let (input, output) = (&self.geometry.input, &self.geometry.output);
        let (mut values, mut bounds) = (Vec::new(), Vec::new());
        let constant = |step: Option<&Step>, at: usize| match step {
            Some(Step::With(_, values)) => f64::from(values[at]),
            _ => 0.0,
        };
        let places = input.elements() / input.channels();
        for x in sample.pick(&self.x).chunks(input.elements()) {
            let x: Vec<f64> = (x.iter().enumerate())
                .map(|(i, &x)| f64::from(x) - constant(self.before.first(), i / places))
                .collect();
            let sums = oracle::dense::dense(&self.dense, (input, output), &x);
            let terms = (input.channels() * self.geometry.window.taps() + 4) as f64;
            for (i, (sum, size)) in sums.into_iter().enumerate() {
                let constant = constant(self.after.first(), i);
                values.push((sum + constant).max(0.0));
                bounds.push((size + constant.abs()) * terms * f64::from(f32::EPSILON));
            }
        }
        let layout = Layout::of(output);
        let padded = |values: Vec<f64>| -> Vec<f64> { layout.pack(&values) };
        vec![Expected::Within { values: padded(values), bounds: padded(bounds) }]
    }
}
