//! Cases of `gather`.

use super::examples::{PARTED, Values, space};
use super::{Case, Entry, Expected, FOLDED, Prepared, Random, Sample};
use crate::classify::gather::{self, Gather, VARIANTS, physical_index};
use crate::classify::layout::{ELEMENTS, Layout};
use crate::gpu::{Buffer, Context, OpKind, Spec};
use crate::network::Element;
use crate::{Result, oracle};

/// The kernel's place in the registry.
pub const ENTRY: Entry = Entry {
    stem: "gather",
    variants: VARIANTS,
    stages: &[],
    decoders: ELEMENTS,
    op: OpKind::F32,
    tests,
    benches,
};

/// Channels and positions.
type Size = (usize, usize);

/// Flattening and its reverse, concatenation, a transposed picture, broadcasts; by chance.
fn tests() -> Vec<Box<dyn Case>> {
    let identity = |n: u32| (0..n).collect::<Vec<u32>>();
    let transposed = |height: u32, width: u32| {
        (0..height * width).map(|i| i % height * width + i / height).collect::<Vec<u32>>()
    };
    let chance = |n: usize, of: u64| {
        let mut random = Random::new(n as u64);
        (0..n).map(|_| random.below(of) as u32).collect::<Vec<u32>>()
    };
    let sizes: Vec<(usize, Vec<Size>, Size, Vec<u32>)> = vec![
        (0, vec![(5, 4)], (20, 1), identity(20)),
        (1, vec![(1, 1)], (1, 1), identity(1)),
        (63, vec![(1, 1), (1, 1)], (2, 1), vec![1, 0]),
        (64, vec![(3, 1), (4, 1)], (7, 1), identity(7)),
        (65, vec![(7, 1)], (7, 3), (0..21).map(|i| i / 3).collect()),
        (3, vec![(8, 49)], (392, 1), identity(392)),
        (2, vec![(392, 1)], (8, 49), identity(392)),
        (PARTED, vec![(5, 6), (2, 6)], (7, 6), identity(42)),
        (5, vec![(11, 13)], (13, 11), transposed(11, 13)),
        (997, vec![(3, 2), (1, 5)], (2, 3), chance(6, 11)),
        (FOLDED, vec![(2, 1)], (1, 1), vec![1]),
        (2, vec![(31, 17), (64, 9)], (13, 101), chance(1313, 1103)),
    ];
    let mut cases: Vec<Box<dyn Case>> = Vec::new();
    for (rows, inputs, output, index) in sizes {
        for element in [Element::F32, Element::I8] {
            cases.push(Box::new(Chosen::new(rows, &inputs, output, index.clone(), element)));
        }
    }
    cases
}

fn benches(bytes: u64) -> Vec<Box<dyn Case>> {
    let case = |element| -> Box<dyn Case> {
        let (from, to) = ((16, 196), (3136, 1));
        let rows = (bytes / 2 / layout(from).row_bytes(element)).clamp(1, 1 << 16) as usize;
        Box::new(Chosen::new(rows, &[from], to, (0..3136).collect(), element))
    };
    vec![case(Element::F32), case(Element::I8)]
}

fn layout((channels, positions): Size) -> Layout {
    Layout { channels, positions }
}

struct Chosen {
    rows: usize,
    inputs: Vec<(Layout, Values)>,
    output: Layout,
    index: Vec<u32>,
}

impl Chosen {
    fn new(rows: usize, inputs: &[Size], output: Size, index: Vec<u32>, element: Element) -> Self {
        let mut random = Random::new(rows as u64 + 4);
        let input = |&size: &Size| {
            let layout = layout(size);
            (layout, Values::new(element, rows * layout.elements(), &mut random))
        };
        Self { rows, inputs: inputs.iter().map(input).collect(), output: layout(output), index }
    }

    fn element(&self) -> Element {
        self.inputs[0].1.element()
    }
}

impl Case for Chosen {
    fn name(&self) -> String {
        let size = |layout: &Layout| format!("{}x{}", layout.channels, layout.positions);
        let inputs: Vec<String> = self.inputs.iter().map(|(layout, _)| size(layout)).collect();
        format!("{:?} rows={} {} to {}", self.element(), self.rows, inputs.join(" and "), size(&self.output))
    }

    fn decoder(&self) -> Option<&'static str> {
        Some(self.inputs[0].1.decoder())
    }

    fn taken(&self, _: &Context, _: &[Spec]) -> Result<Spec> {
        gather::spec(self.output, self.element())
    }

    fn prepare(&self, gpu: &Context, spec: &Spec) -> Result<Prepared> {
        let rows = self.rows as u64;
        let layouts: Vec<Layout> = self.inputs.iter().map(|(layout, _)| *layout).collect();
        let index = physical_index(&self.index, &layouts, self.output)?;
        let index = Buffer::from_slice(gpu, "index", self.output.words() as u64, &index)?;
        let uploaded: Result<Vec<Buffer>> =
            self.inputs.iter().map(|(layout, values)| values.upload(gpu, "input", rows, *layout)).collect();
        let mut others = uploaded?;
        let y = space(gpu, "y", rows, self.output, self.element())?;
        let inputs: Vec<(&Buffer, Layout)> = others.iter().zip(layouts).collect();
        let bound = Gather::load(gpu, spec)?.bind(gpu, &inputs, &index, (&y, self.output))?;
        others.push(index);
        Ok(Prepared { passes: vec![bound], outputs: vec![("y", y)], others, before: Vec::new() })
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn expected(&self, sample: &Sample) -> Vec<Expected> {
        let mut floats = Vec::new();
        let mut bytes = Vec::new();
        for &row in sample.rows() {
            let (mut of_floats, mut of_bytes) = (Vec::new(), Vec::new());
            for (layout, values) in &self.inputs {
                let example = row * layout.elements()..(row + 1) * layout.elements();
                match values {
                    Values::F32(values) => of_floats.push(&values[example]),
                    Values::I8(values) => of_bytes.push(&values[example]),
                }
            }
            match self.element() {
                Element::I8 => bytes.extend(oracle::gather::gather(&self.index, &of_bytes)),
                _ => floats.extend(oracle::gather::gather(&self.index, &of_floats)),
            }
        }
        let values = if self.element() == Element::I8 { Values::I8(bytes) } else { Values::F32(floats) };
        vec![Expected::Exact(values.words(self.output))]
    }
}
