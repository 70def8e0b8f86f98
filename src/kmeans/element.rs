//! How points lie on a device: in the type that their file has, with what turns them into the values that are clustered.

pub use crate::io::vecs::Element;

use half::f16;

use super::frame::{self, Transform};
use crate::Result;
use crate::gpu::dispatch::Class;
use crate::gpu::{Buffer, Context, Spec};
use crate::random::Random;

/// What a shader does to a stored value (shaders/lib/points_frame.wgsl: FRAME).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Subtracts the mean of its column.
    Mean = 0,
    /// Multiplies with a scale of its point.
    Scale = 1,
    /// Nothing.
    Plain = 2,
}

impl Frame {
    /// What a shader has to know for it.
    fn of(transform: &Transform) -> Self {
        match transform {
            Transform::Centred(_) => Self::Mean,
            Transform::Unit => Self::Scale,
            Transform::Plain => Self::Plain,
        }
    }
}

/// The number of dimensions by which variants of a kernel differ.
pub(super) fn dimensions(d: u64) -> u64 {
    d.next_multiple_of(4).next_power_of_two().min(512)
}

/// The type of points on a device, and what is still to be done to them there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    element: Element,
    frame: Frame,
}

impl Layout {
    /// f32 that lie as they are clustered.
    pub const F32: Self = Self { element: Element::F32, frame: Frame::Plain };

    /// Points of `element` that are clustered after `transform`.
    pub fn new(element: Element, transform: &Transform) -> Self {
        match element {
            // The host transforms them, and so need the kernels not.
            Element::F32 => Self::F32,
            Element::F16 | Element::U8 | Element::I8 => Self { element, frame: Frame::of(transform) },
        }
    }

    /// The type of a value.
    pub fn element(self) -> Element {
        self.element
    }

    /// Whether a shader needs a frame to read them.
    pub fn framed(self) -> bool {
        self != Self::F32
    }

    /// Bytes of a point of `d` dimensions, padded to whole groups of four.
    pub fn row_bytes(self, d: u64) -> u64 {
        self.element.bytes() as u64 * d.next_multiple_of(4)
    }

    /// A point's share of the frame, in bytes.
    pub(super) fn frame_bytes(self) -> u64 {
        if self.frame == Frame::Scale { 4 } else { 0 }
    }

    /// `spec` for points so laid.
    pub fn fill(self, spec: &Spec) -> Spec {
        let filled = spec.refill("points", file(self.element));
        if self.framed() { filled.set("FRAME", self.frame as u32) } else { filled }
    }

    /// `variants` for points so laid.
    pub fn fill_all(self, variants: &[Spec]) -> Vec<Spec> {
        variants.iter().map(|spec| self.fill(spec)).collect()
    }

    /// Random points so laid, for the tuner, and as they are clustered: `[n, d]`, if `d` is a multiple of 4.
    pub(super) fn random(
        self,
        gpu: &Context,
        n: u64,
        d: u64,
        random: &mut Random,
    ) -> Result<(Stored, Vec<f32>)> {
        let d = d as usize;
        let transform = match self.frame {
            Frame::Mean => Transform::Centred(vec![0.0; d]),
            Frame::Scale => Transform::Unit,
            Frame::Plain => Transform::Plain,
        };
        let values = random.floats(n as usize * d).into_iter().map(|value| match self.element {
            Element::U8 => 127.0 + 127.0 * value,
            Element::I8 => 127.0 * value,
            Element::F16 | Element::F32 => value,
        });
        let values = unpack(&pack(&values.collect::<Vec<_>>(), self.element), self.element);
        Ok((Stored::upload(gpu, &values, d, self.element, &transform)?, transform.apply(&values, d)))
    }

    /// Work of this class on such points.
    pub(crate) fn class(self, class: Class) -> Class {
        let words = [format!("{:?}", self.element), format!("{:?}", self.frame)];
        if self.framed() { words.into_iter().fold(class, Class::of) } else { class }
    }
}

/// The files for the slot `points`.
pub const FILES: &[&str] = &["lib/points_f32", "lib/points_f16", "lib/points_u8", "lib/points_i8"];

/// The file for the slot `points` of a type.
pub fn file(element: Element) -> &'static str {
    match element {
        Element::F32 => FILES[0],
        Element::F16 => FILES[1],
        Element::U8 => FILES[2],
        Element::I8 => FILES[3],
    }
}

/// Points on a device, as kernels bind them.
#[derive(Clone, Copy, Debug)]
pub struct Laid<'a> {
    values: &'a Buffer,
    frame: Option<&'a Buffer>,
}

impl<'a> From<&'a Buffer> for Laid<'a> {
    /// f32 that lie as they are clustered, `[n, d4]` vec4s.
    fn from(values: &'a Buffer) -> Self {
        Self { values, frame: None }
    }
}

impl<'a> Laid<'a> {
    /// Number of points.
    pub fn rows(self) -> u64 {
        self.values.rows()
    }

    /// A kernel's bindings: the points, and its own `others`.
    pub(super) fn bindings<'b>(self, others: &[(&'b str, &'a Buffer)]) -> Vec<(&'b str, &'a Buffer)> {
        let frame = self.frame.map(|frame| ("frame", frame));
        std::iter::once(("points", self.values)).chain(frame).chain(others.iter().copied()).collect()
    }
}

/// Room for points on a device.
#[derive(Debug)]
pub struct Stored {
    /// `[n, d4]` groups of four values.
    pub values: Buffer,
    /// Vec4s of the mean, or of the points' scales; none for f32.
    pub frame: Option<Buffer>,
}

/// Points as they go to a device.
pub(super) enum Rows {
    /// f32, transformed and padded.
    Transformed(Vec<f32>),
    /// Little-endian values, padded; scales where the layout has them, padded too.
    Stored { bytes: Vec<u8>, scales: Vec<f32> },
}

impl Rows {
    /// Of packed little-endian values of another type than f32.
    pub(super) fn stored(bytes: Vec<u8>, d: usize, layout: Layout, transform: &Transform) -> Self {
        let (row, width) = (d * layout.element.bytes(), layout.row_bytes(d as u64) as usize);
        let mut scales = Vec::new();
        if let Transform::Unit = transform {
            let scale = |row: &[u8]| frame::reciprocal(frame::norm(&unpack(row, layout.element))) as f32;
            scales.extend(bytes.chunks_exact(row.max(1)).map(scale));
            scales.resize(scales.len().next_multiple_of(4), 0.0);
        }
        Self::Stored { bytes: if row == width { bytes } else { pad_rows(&bytes, row, width) }, scales }
    }
}

impl Stored {
    /// Room for `n` points of `d` dimensions.
    ///
    /// # Errors
    /// The device's.
    pub fn new(gpu: &Context, n: u64, d: u64, layout: Layout, transform: &Transform) -> Result<Self> {
        let frame = match transform {
            _ if !layout.framed() => None,
            Transform::Centred(mean) => {
                Some(Buffer::from_slice(gpu, "mean", d.div_ceil(4), &frame::pad(mean, d as usize))?)
            }
            Transform::Unit => Some(Buffer::new(gpu, "scales", n.div_ceil(4), 16)?),
            Transform::Plain => Some(Buffer::new(gpu, "no frame", 1, 16)?),
        };
        Ok(Self { values: Buffer::new(gpu, "points", n, layout.row_bytes(d))?, frame })
    }

    /// `values` (`[n, d]`), which `element` can hold, to be clustered after `transform`.
    ///
    /// # Errors
    /// The device's.
    pub fn upload(
        gpu: &Context,
        values: &[f32],
        d: usize,
        element: Element,
        transform: &Transform,
    ) -> Result<Self> {
        let layout = Layout::new(element, transform);
        let stored = Self::new(gpu, (values.len() / d.max(1)) as u64, d as u64, layout, transform)?;
        let rows = match layout {
            Layout::F32 => Rows::Transformed(transform.apply(values, d)),
            _ => Rows::stored(pack(values, element), d, layout, transform),
        };
        stored.write(gpu, &rows)?;
        Ok(stored)
    }

    pub(super) fn write(&self, gpu: &Context, rows: &Rows) -> Result<()> {
        match rows {
            Rows::Transformed(values) => self.values.write(gpu, values),
            Rows::Stored { bytes, scales } => {
                if let (Some(frame), false) = (&self.frame, scales.is_empty()) {
                    frame.write(gpu, scales)?;
                }
                self.values.write(gpu, bytes)
            }
        }
    }

    /// As kernels bind them.
    pub fn laid(&self) -> Laid<'_> {
        Laid { values: &self.values, frame: self.frame.as_ref() }
    }

    /// Its buffers.
    pub fn into_buffers(self) -> impl Iterator<Item = Buffer> {
        std::iter::once(self.values).chain(self.frame)
    }
}

/// `values` as little-endian values of `element`; what it cannot hold is rounded and cut off.
fn pack(values: &[f32], element: Element) -> Vec<u8> {
    match element {
        Element::F32 => bytemuck::cast_slice(values).to_vec(),
        Element::F16 => values.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes()).collect(),
        Element::U8 => values.iter().map(|&value| value.round_ties_even() as u8).collect(),
        Element::I8 => values.iter().map(|&value| value.round_ties_even() as i8 as u8).collect(),
    }
}

/// The values of such bytes.
fn unpack(bytes: &[u8], element: Element) -> Vec<f32> {
    match element {
        Element::F32 => bytes.as_chunks().0.iter().map(|&value| f32::from_le_bytes(value)).collect(),
        Element::F16 => bytes.as_chunks().0.iter().map(|&value| f16::from_le_bytes(value).to_f32()).collect(),
        Element::U8 => bytes.iter().map(|&value| value.into()).collect(),
        Element::I8 => bytes.iter().map(|&value| (value as i8).into()).collect(),
    }
}

/// Rows of `row` bytes, each padded with zeros to `width`.
fn pad_rows(bytes: &[u8], row: usize, width: usize) -> Vec<u8> {
    let mut padded = vec![0; bytes.len() / row.max(1) * width];
    for (row, target) in bytes.chunks_exact(row.max(1)).zip(padded.chunks_exact_mut(width.max(1))) {
        target[..row.len()].copy_from_slice(row);
    }
    padded
}
