//! Host of `dense`: convolutions and products with matrices, in floats.

use super::layout::Layout;
use super::steps::{Chains, Step, sink};
use super::window::{Geometry, Tile, WindowParams};
use crate::Result;
use crate::gpu::{Bound, Buffer, Context, Kernel, Spec, Work};
use crate::network::Dense;

const FILE: Spec = Spec::new("classify/dense").slot("sink", "lib/sink_f32");
const OWN: Spec = FILE.slot("wide", "lib/wide32").slot("weights", "lib/weights_own");
const SHARED: Spec = FILE.slot("wide", "lib/wide64").slot("weights", "lib/weights_shared");

/// Tiles of places by words: see [`super::window::candidates`].
pub const VARIANTS: &[Spec] = &[
    OWN.consts(&[("SITES", 1), ("COLUMNS", 1)]),
    OWN.consts(&[("SITES", 4), ("COLUMNS", 1)]),
    OWN.consts(&[("SITES", 2), ("COLUMNS", 4)]),
    SHARED.consts(&[("SITES", 4), ("COLUMNS", 1)]),
    SHARED.consts(&[("SITES", 4), ("COLUMNS", 4)]),
];

const OTHER: Spec = Spec::new("classify/dense").slot("wide", "lib/wide32").slot("weights", "lib/weights_own");

/// The other shaders of the operation.
pub const STAGES: &[Spec] = &[OTHER.slot("sink", "lib/sink_i8"), OTHER.slot("sink", "lib/sink_plain")];

/// Channels of the widest word of the output.
pub(super) fn widest(geometry: &Geometry) -> u32 {
    geometry.output.channels().min(4) as u32
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
    /// `[batch, words]` of the output's; without padding, if it is plain.
    pub y: &'a Buffer,
    /// Whether y is F32 without padding, for the host.
    pub plain: bool,
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

/// Compiles `spec` for these operands and binds it.
///
/// # Errors
/// [`crate::Error::Input`] for shapes beyond what u32 counts.
pub fn bind(gpu: &Context, spec: &Spec, dense: &Dense, on: &Operands<'_>) -> Result<Bound> {
    let geometry = on.geometry;
    let spec = geometry.settle(spec.refill("sink", sink(geometry.output.element, on.plain)));
    let spec = if on.plain { spec.set("WIDEST", widest(geometry)) } else { spec };
    let kernel: Kernel<WindowParams> = Kernel::load(gpu, &on.chains().settle(spec)?)?;
    let blocks: Vec<f32> = geometry.arrange(&dense.weights).into_iter().flatten().flatten().collect();
    let out_words = Layout::of(&geometry.output).c4();
    let weights = Buffer::from_slice(gpu, "weights", out_words as u64, &blocks)?;
    let padded = Layout { channels: dense.bias.len(), positions: 1 }.pack_f32(&dense.bias);
    let bias = Buffer::from_slice(gpu, "bias", out_words as u64, &padded)?;
    let (constants, slab) = on.chains().constants(gpu)?;
    let buffers =
        [("x", on.x), ("weights", &weights), ("bias", &bias), ("constants", &constants), ("y", on.y)];
    kernel.bind(
        gpu,
        &buffers,
        geometry.params(Tile::of(kernel.reflection())?, slab)?,
        on.work(weights.bytes()),
    )
}
