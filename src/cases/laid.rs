//! Points of every type that k-means takes, for its kernels.

use crate::Result;
use crate::gpu::dispatch::Class;
use crate::gpu::{Context, Spec};
use crate::kmeans::element::{Element, Layout, Stored, file};
use crate::kmeans::frame::Transform;

/// Points as they are in a file, and as they are clustered.
pub(super) struct Points {
    stored: Vec<f32>,
    /// What an oracle sees, `[n, d]`.
    pub clustered: Vec<f32>,
    d: usize,
    element: Element,
    transform: Transform,
}

impl Points {
    /// f32 as they are.
    pub(super) fn plain(values: Vec<f32>, d: usize) -> Self {
        Self {
            stored: values.clone(),
            clustered: values,
            d,
            element: Element::F32,
            transform: Transform::Plain,
        }
    }

    /// Of `element`, of random `floats` from -1 to 1.
    pub(super) fn of_floats(floats: &[f32], d: usize, element: Element, transform: Transform) -> Self {
        let stored = floats.iter().map(|&value| match element {
            Element::F16 => half::f16::from_f32(value).to_f32(),
            Element::U8 => (127.0 + 127.0 * value).round(),
            Element::I8 => (127.0 * value).round(),
            Element::F32 => value,
        });
        Self::new(stored.collect(), d, element, transform)
    }

    /// Of `element`, such that small whole numbers are clustered; their mean is large enough for bytes without a sign.
    pub(super) fn of_integers(integers: &[f32], d: usize, element: Element) -> Self {
        let mean = 5.0;
        let stored = integers.iter().map(|value| value + mean).collect();
        Self::new(stored, d, element, Transform::Centred(vec![mean; d]))
    }

    fn new(stored: Vec<f32>, d: usize, element: Element, transform: Transform) -> Self {
        let padded = transform.apply(&stored, d);
        let clustered = padded.chunks(d.next_multiple_of(4)).flat_map(|row| &row[..d]).copied().collect();
        Self { stored, clustered, d, element, transform }
    }

    /// The same rows as other points.
    pub(super) fn rows(&self, rows: std::ops::Range<usize>) -> Self {
        let stored = self.stored[rows.start * self.d..rows.end * self.d].to_vec();
        Self::new(stored, self.d, self.element, self.transform.clone())
    }

    pub(super) fn d(&self) -> usize {
        self.d
    }

    pub(super) fn layout(&self) -> Layout {
        Layout::new(self.element, &self.transform)
    }

    /// The file for the slot `points`.
    pub(super) fn decoder(&self) -> &'static str {
        file(self.element)
    }

    pub(super) fn fill(&self, spec: &Spec) -> Spec {
        self.layout().fill(spec)
    }

    pub(super) fn upload(&self, gpu: &Context) -> Result<Stored> {
        Stored::upload(gpu, &self.stored, self.d, self.element, &self.transform)
    }

    /// What distinguishes it from f32, for a case's name.
    pub(super) fn label(&self) -> String {
        let class = self.layout().class(Class::default()).to_string();
        if class.is_empty() { class } else { format!(" {class}") }
    }
}

/// Every type but f32, with every transform; means as far from 0 as the points are apart.
pub(super) fn layouts(d: usize) -> Vec<(Element, Transform)> {
    let mut all = Vec::new();
    for (element, mean) in [(Element::F16, 0.3), (Element::U8, 120.7), (Element::I8, -3.3)] {
        all.push((element, Transform::Centred(vec![mean; d])));
        all.push((element, Transform::Unit));
        all.push((element, Transform::Plain));
    }
    all
}
