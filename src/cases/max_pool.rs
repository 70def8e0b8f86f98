//! Cases of `max_pool`, and the windows that `average_pool` has too.

use super::examples::{PARTED, Values, space};
use super::{Case, Entry, Expected, FOLDED, Prepared, Random, Sample};
use crate::Result;
use crate::classify::layout::ELEMENTS;
use crate::classify::max_pool::{self, MaxPool, VARIANTS};
use crate::classify::pooling::Pooling;
use crate::gpu::{Context, OpKind, Spec};
use crate::network::{Element, Window};
use crate::oracle;

/// The kernel's place in the registry.
pub const ENTRY: Entry = Entry {
    stem: "max_pool",
    variants: VARIANTS,
    stages: &[],
    decoders: ELEMENTS,
    op: OpKind::F32,
    tests,
    benches,
};

fn tests() -> Vec<Box<dyn Case>> {
    let mut cases: Vec<Box<dyn Case>> = Vec::new();
    for (rows, pooling) in windows() {
        for element in [Element::F32, Element::I8] {
            cases.push(Box::new(Largest::new(rows, pooling, element)));
        }
    }
    cases
}

fn benches(bytes: u64) -> Vec<Box<dyn Case>> {
    let pooling = halving(16, [28, 28]);
    let case = |element| -> Box<dyn Case> {
        let row = pooling.input_layout().row_bytes(element);
        Box::new(Largest::new((bytes / row).clamp(1, 1 << 16) as usize, pooling, element))
    };
    vec![case(Element::F32), case(Element::I8)]
}

/// Windows of 2 x 2 side by side.
pub(super) fn halving(channels: usize, input: [usize; 2]) -> Pooling {
    let window = Window { kernel: [2, 2], strides: [2, 2], ..Window::POINT };
    Pooling { channels, input, output: [input[0] / 2, input[1] / 2], window }
}

/// A window over the whole picture.
pub(super) fn global(channels: usize, input: [usize; 2]) -> Pooling {
    Pooling { channels, input, output: [1, 1], window: Window { kernel: input, ..Window::POINT } }
}

/// Examples and windows: plain, overlapping, far apart, with padding on one side or all, dilated.
pub(super) fn windows() -> Vec<(usize, Pooling)> {
    let window = |kernel, strides, dilations, pads| Window { kernel, strides, dilations, pads, star: false };
    let padded = Pooling {
        channels: 5,
        input: [7, 5],
        output: [4, 3],
        window: window([3, 3], [2, 2], [1, 1], [1, 1]),
    };
    let dilated = Pooling {
        channels: 3,
        input: [6, 11],
        output: [6, 4],
        window: window([2, 3], [1, 2], [3, 2], [1, 0]),
    };
    let signal = Pooling {
        channels: 6,
        input: [1, 17],
        output: [1, 6],
        window: window([1, 4], [1, 3], [1, 1], [0, 2]),
    };
    let point = Pooling { channels: 1, input: [1, 1], output: [1, 1], window: Window::POINT };
    vec![
        (0, padded),
        (1, point),
        (63, point),
        (64, point),
        (65, point),
        (997, global(4, [1, 3])),
        (1, halving(8, [28, 28])),
        (3, halving(13, [9, 7])),
        (2, padded),
        (PARTED, padded),
        (7, dilated),
        (5, signal),
        (2, global(64, [14, 14])),
        (67, global(3, [5, 4])),
        (FOLDED, point),
    ]
}

struct Largest {
    rows: usize,
    pooling: Pooling,
    values: Values,
}

impl Largest {
    fn new(rows: usize, pooling: Pooling, element: Element) -> Self {
        let mut random = Random::new(rows as u64 + 1);
        Self {
            rows,
            pooling,
            values: Values::new(element, rows * pooling.input_layout().elements(), &mut random),
        }
    }
}

/// What and how large.
pub(super) fn name(rows: usize, pooling: &Pooling) -> String {
    let Pooling { channels, input: [height, width], window, .. } = pooling;
    let [down, across] = window.kernel;
    let mut name = format!("rows={rows} {channels}x{height}x{width} window={down}x{across}");
    for (what, plain, [down, across]) in
        [("stride", 1, window.strides), ("dilation", 1, window.dilations), ("pad", 0, window.pads)]
    {
        if [down, across] != [plain; 2] {
            name += &format!(" {what}={down}x{across}");
        }
    }
    name
}

impl Case for Largest {
    fn name(&self) -> String {
        format!("{:?} {}", self.values.element(), name(self.rows, &self.pooling))
    }

    fn decoder(&self) -> Option<&'static str> {
        Some(self.values.decoder())
    }

    fn taken(&self, _: &Context, _: &[Spec]) -> Result<Spec> {
        max_pool::spec(&self.pooling, self.values.element())
    }

    fn prepare(&self, gpu: &Context, spec: &Spec) -> Result<Prepared> {
        let (rows, pooling) = (self.rows as u64, &self.pooling);
        let x = self.values.upload(gpu, "x", rows, pooling.input_layout())?;
        let y = space(gpu, "y", rows, pooling.output_layout(), self.values.element())?;
        let bound = MaxPool::load(gpu, spec)?.bind(gpu, &x, &y, pooling)?;
        Ok(Prepared { passes: vec![bound], outputs: vec![("y", y)], others: vec![x], before: Vec::new() })
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn expected(&self, sample: &Sample) -> Vec<Expected> {
        fn pooled<T: Copy + PartialOrd>(values: &[T], pooling: &Pooling) -> Vec<T> {
            let Pooling { input, output, window, .. } = pooling;
            let planes = values.chunks(pooling.input_layout().positions);
            planes.flat_map(|x| oracle::max_pool::max_pool(x, *input, *output, window)).flatten().collect()
        }
        let values = match &self.values.at(sample) {
            Values::F32(values) => Values::F32(pooled(values, &self.pooling)),
            Values::I8(values) => Values::I8(pooled(values, &self.pooling)),
        };
        vec![Expected::Exact(values.words(self.pooling.output_layout()))]
    }
}
