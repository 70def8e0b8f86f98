//! Examples of activations, for the kernels of networks.

use super::{Random, Sample};
use crate::Result;
use crate::classify::layout::{ELEMENTS, Layout};
use crate::gpu::{Buffer, Context};
use crate::network::Element;

/// Elements of examples, channels first.
pub(super) enum Values {
    F32(Vec<f32>),
    I8(Vec<i8>),
}

impl Values {
    pub(super) fn new(element: Element, count: usize, random: &mut Random) -> Self {
        match element {
            Element::I8 => Self::I8(random.words(count).into_iter().map(|word| word as i8).collect()),
            _ => Self::F32(random.floats(count)),
        }
    }

    pub(super) fn element(&self) -> Element {
        match self {
            Self::F32(_) => Element::F32,
            Self::I8(_) => Element::I8,
        }
    }

    /// Those of some examples.
    pub(super) fn at(&self, sample: &Sample) -> Self {
        match self {
            Self::F32(values) => Self::F32(sample.pick(values)),
            Self::I8(values) => Self::I8(sample.pick(values)),
        }
    }

    /// The file for the slot `element`.
    pub(super) fn decoder(&self) -> &'static str {
        match self {
            Self::F32(_) => ELEMENTS[0],
            Self::I8(_) => ELEMENTS[1],
        }
    }

    /// As 32-bit words of the device, in `layout`.
    pub(super) fn words(&self, layout: Layout) -> Vec<u32> {
        match self {
            Self::F32(values) => layout.pack_f32(values).into_iter().map(f32::to_bits).collect(),
            Self::I8(values) => {
                let bytes: Vec<u8> = layout.pack_i8(values).into_iter().map(i8::cast_unsigned).collect();
                bytes.as_chunks().0.iter().map(|&four| u32::from_le_bytes(four)).collect()
            }
        }
    }

    /// In a buffer of `rows` examples.
    pub(super) fn upload(&self, gpu: &Context, label: &str, rows: u64, layout: Layout) -> Result<Buffer> {
        let buffer = space(gpu, label, rows, layout, self.element())?;
        buffer.write(gpu, &self.words(layout))?;
        Ok(buffer)
    }
}

/// This many examples lie in buffers of several parts.
pub(super) const PARTED: usize = 131;

/// Room for `rows` examples.
pub(super) fn space(
    gpu: &Context,
    label: &str,
    rows: u64,
    layout: Layout,
    element: Element,
) -> Result<Buffer> {
    let bytes = layout.row_bytes(element);
    let limit = if rows == PARTED as u64 { 64 * bytes } else { u64::MAX };
    Buffer::with_limit(gpu, label, rows, bytes, limit)
}

/// f64 values in `layout`, padded with zeros: what the device's f32 are compared with.
pub(super) fn pack(layout: Layout, values: &[f64]) -> Vec<f64> {
    let mut packed = vec![0.0; values.len() / layout.elements().max(1) * 4 * layout.words()];
    for (i, &value) in values.iter().enumerate() {
        let (example, element) = (i / layout.elements(), i % layout.elements());
        let at = layout.physical(element / layout.positions, element % layout.positions);
        packed[example * 4 * layout.words() + at] = value;
    }
    packed
}
