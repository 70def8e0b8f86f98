//! Host of `dense`: convolutions and products with matrices, in floats.

use super::layout::Layout;
use super::steps::{Chains, Step, sink};
use super::window::{Geometry, WindowParams};
use crate::Result;
use crate::gpu::{Bound, Buffer, Context, Kernel, Spec, Work};
use crate::network::Dense;

const FILE: Spec = Spec::new("classify/dense").slot("sink", "lib/sink_f32");

/// Tiles of places by words; those of several words are for one group only.
pub const VARIANTS: &[Spec] = &[
    FILE.consts(&[("SITES", 2), ("COLUMNS", 1)]),
    FILE.consts(&[("SITES", 1), ("COLUMNS", 1)]),
    FILE.consts(&[("SITES", 2), ("COLUMNS", 4)]),
    FILE.consts(&[("SITES", 1), ("COLUMNS", 8)]),
];

/// The other shaders of the operation.
pub const STAGES: &[Spec] = &[Spec::new("classify/dense").slot("sink", "lib/sink_i8")];

/// Places and words of a tile.
pub fn tile(spec: &Spec) -> (u64, u64) {
    let value = |name| spec.consts.iter().find(|(n, _)| *n == name).map(|(_, value)| u64::from(*value));
    (value("SITES").unwrap_or(2), value("COLUMNS").unwrap_or(1))
}

/// What a convolution works on.
#[derive(Clone, Copy, Debug)]
pub struct Operands<'a> {
    /// The shapes.
    pub geometry: &'a Geometry,
    /// Steps on the input: for windows of a single element.
    pub before: &'a [Step],
    /// Steps on the sums.
    pub after: &'a [Step],
    /// `[batch, words]` of the input's layout.
    pub x: &'a Buffer,
    /// `[batch, words]` of the output's.
    pub y: &'a Buffer,
}

impl Operands<'_> {
    /// The chains of steps.
    pub fn chains(&self) -> Chains<'_> {
        let (input, output) = (Layout::of(&self.geometry.input), Layout::of(&self.geometry.output));
        Chains { before: (self.before, input), after: (self.after, output) }
    }

    /// Least work: every operand once.
    pub fn work(&self, weight_bytes: u64) -> Work {
        let bytes = self.x.bytes() + self.y.bytes() + weight_bytes;
        Work { bytes, ops: 2 * self.geometry.products() }
    }
}

/// The variant for these shapes.
pub fn choose(geometry: &Geometry) -> &'static Spec {
    match geometry {
        Geometry { groups: 2.., .. } => &VARIANTS[0],
        Geometry { batch: 1, .. } => &VARIANTS[1],
        _ if Layout::of(&geometry.output).c4() > 1 => &VARIANTS[2],
        _ => &VARIANTS[0],
    }
}

/// Compiles `spec` for these operands and binds it.
///
/// # Errors
/// [`crate::Error::Input`] for shapes beyond what u32 counts.
pub fn bind(gpu: &Context, spec: &Spec, dense: &Dense, on: &Operands<'_>) -> Result<Bound> {
    let geometry = on.geometry;
    let spec = spec.refill("sink", sink(geometry.output.element)).set("POINT", geometry.is_point().into());
    let kernel: Kernel<WindowParams> = Kernel::load(gpu, &on.chains().settle(spec))?;
    let blocks: Vec<f32> = geometry.arrange(&dense.weights).into_iter().flatten().flatten().collect();
    let out_words = Layout::of(&geometry.output).c4();
    let weights = Buffer::from_slice(gpu, "weights", out_words as u64, &blocks)?;
    let padded = Layout { channels: dense.bias.len(), positions: 1 }.pack_f32(&dense.bias);
    let bias = Buffer::from_slice(gpu, "bias", out_words as u64, &padded)?;
    let (constants, slab) = on.chains().constants(gpu)?;
    let buffers =
        [("x", on.x), ("weights", &weights), ("bias", &bias), ("constants", &constants), ("y", on.y)];
    kernel.bind(gpu, &buffers, geometry.params(tile(&spec), slab)?, on.work(weights.bytes()))
}
