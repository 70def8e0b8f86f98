//! How activations lie on the device: rows are examples, channels last.
//!
//! A row is `positions x c4` words, the positions in row-major order, with `c4 = ceil(channels / 4)`. A word holds four
//! neighbouring channels: `vec4<f32>`, `vec4<i32>`, or four signed bytes in a u32, the first channel lowest. Channels
//! behind the last are 0, and every kernel keeps them so. (A [`Value`]'s shape is channels first, as in ONNX.)

use crate::gpu::Spec;
use crate::network::{Element, Value};
use crate::{Error, Result};

/// The files for the slot `element`.
pub const ELEMENTS: &[&str] = &["lib/element_f32", "lib/element_i8"];

/// The file for the slot `element` of `kernel`, which works on [`ELEMENTS`].
pub(super) fn element_file(kernel: &str, element: Element) -> Result<&'static str> {
    match element {
        Element::F32 => Ok(ELEMENTS[0]),
        Element::I8 => Ok(ELEMENTS[1]),
        Element::I32 => Err(Error::Unsupported(format!(
            "{kernel} works on F32 and I8, and was given I32: cast to F32 or requantize to I8 before it"
        ))),
    }
}

/// `spec` where a workgroup has one example, and where it has many.
pub(super) const fn examples(spec: Spec) -> [Spec; 2] {
    [spec.overrides(&[("ROWS_PER_GROUP", 1.0)]), spec.overrides(&[("ROWS_PER_GROUP", 64.0)])]
}

/// The one of [`examples`] that suits examples of so many items for the lanes: a workgroup has 64.
pub(super) fn variant(variants: &[Spec; 2], items: usize) -> Spec {
    variants[usize::from(items < 16)]
}

/// The size of one example's activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Channels, without padding.
    pub channels: usize,
    /// Height times width.
    pub positions: usize,
}

impl Layout {
    /// That of one example of `value`.
    pub fn of(value: &Value) -> Self {
        Self { channels: value.channels(), positions: value.picture().iter().product() }
    }

    /// Words of a position.
    pub fn c4(&self) -> usize {
        self.channels.div_ceil(4)
    }

    /// Words of an example.
    pub fn words(&self) -> usize {
        self.positions * self.c4()
    }

    /// Elements of an example, without padding.
    pub fn elements(&self) -> usize {
        self.positions * self.channels
    }

    /// Bytes of an example: of a row of its buffer.
    pub fn row_bytes(&self, element: Element) -> u64 {
        let word = match element {
            Element::F32 | Element::I32 => 16,
            Element::I8 => 4,
        };
        self.words() as u64 * word
    }

    /// The physical element, of `4 * words`, that holds `channel` at `position`.
    pub fn physical(&self, channel: usize, position: usize) -> usize {
        position * self.c4() * 4 + channel
    }

    /// Examples, channels first, as they lie on the device.
    pub fn pack_f32(&self, examples: &[f32]) -> Vec<f32> {
        self.pack(examples)
    }

    /// Examples from the device, channels first.
    pub fn unpack_f32(&self, rows: &[f32]) -> Vec<f32> {
        self.unpack(rows)
    }

    /// Examples, channels first, as they lie on the device: a word is four neighbouring bytes.
    pub fn pack_i8(&self, examples: &[i8]) -> Vec<i8> {
        self.pack(examples)
    }

    /// Examples from the device, channels first.
    pub fn unpack_i8(&self, rows: &[i8]) -> Vec<i8> {
        self.unpack(rows)
    }

    /// Whether both orders are the same, and nothing is padded.
    fn is_plain(&self) -> bool {
        self.positions == 1 && self.channels == self.c4() * 4
    }

    /// Examples of any elements, channels first, as they lie on the device.
    pub fn pack<T: Copy + Default>(&self, examples: &[T]) -> Vec<T> {
        if self.is_plain() {
            return examples.to_vec();
        }
        let (example, row) = (self.elements().max(1), 4 * self.words());
        let mut rows = vec![T::default(); examples.len() / example * row];
        for (example, row) in examples.chunks_exact(example).zip(rows.chunks_exact_mut(row.max(1))) {
            if self.positions == 1 {
                row[..self.channels].copy_from_slice(example);
                continue;
            }
            for (channel, plane) in example.chunks_exact(self.positions).enumerate() {
                let places = row[channel..].iter_mut().step_by(4 * self.c4());
                places.zip(plane).for_each(|(to, &from)| *to = from);
            }
        }
        rows
    }

    /// Examples of any elements from the device, channels first.
    pub fn unpack<T: Copy + Default>(&self, rows: &[T]) -> Vec<T> {
        if self.is_plain() {
            return rows.to_vec();
        }
        let (example, row) = (self.elements(), (4 * self.words()).max(1));
        let mut examples = vec![T::default(); rows.len() / row * example];
        for (row, example) in rows.chunks_exact(row).zip(examples.chunks_exact_mut(example.max(1))) {
            if self.positions == 1 {
                example.copy_from_slice(&row[..self.channels]);
                continue;
            }
            for (channel, plane) in example.chunks_exact_mut(self.positions).enumerate() {
                let places = row[channel..].iter().step_by(4 * self.c4());
                plane.iter_mut().zip(places).for_each(|(to, &from)| *to = from);
            }
        }
        examples
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: [(usize, usize); 9] =
        [(1, 1), (3, 1), (4, 1), (8, 1), (1, 4), (4, 6), (5, 7), (8, 9), (31, 49)];

    #[test]
    fn channels_come_last_and_padding_is_zero() {
        let layout = Layout { channels: 5, positions: 2 };
        let packed = layout.pack_i8(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
        assert_eq!(packed, [1, 3, 5, 7, 9, 0, 0, 0, 2, 4, 6, 8, 10, 0, 0, 0]);
        assert_eq!((layout.c4(), layout.words(), layout.elements()), (2, 4, 10));
        assert_eq!((layout.row_bytes(Element::I8), layout.row_bytes(Element::F32)), (16, 64));
    }

    #[test]
    fn every_element_lies_where_physical_says_and_comes_back() {
        for (channels, positions) in SIZES {
            let layout = Layout { channels, positions };
            for examples in [0, 1, 3] {
                let values: Vec<f32> = (1..=examples * layout.elements()).map(|i| i as f32).collect();
                let rows = layout.pack_f32(&values);
                assert_eq!(rows.len(), examples * 4 * layout.words());
                for (i, value) in values.iter().enumerate() {
                    let (example, element) = (i / layout.elements(), i % layout.elements());
                    let at = layout.physical(element / positions, element % positions);
                    assert_eq!(rows[example * 4 * layout.words() + at], *value);
                }
                assert_eq!(rows.iter().filter(|&&value| value != 0.0).count(), values.len());
                assert_eq!(layout.unpack_f32(&rows), values);
                let bytes: Vec<i8> = values.iter().map(|&value| value as i32 as i8).collect();
                assert_eq!(layout.unpack_i8(&layout.pack_i8(&bytes)), bytes);
            }
        }
    }

    #[test]
    fn a_value_has_the_layout_of_its_shape() {
        let of = |shape: &[usize]| {
            let value = Value { name: "x".into(), shape: shape.to_vec(), element: Element::F32 };
            Layout::of(&value)
        };
        assert_eq!(of(&[30]), Layout { channels: 30, positions: 1 });
        assert_eq!(of(&[8, 100]), Layout { channels: 8, positions: 100 });
        assert_eq!(of(&[8, 14, 13]), Layout { channels: 8, positions: 182 });
    }
}
