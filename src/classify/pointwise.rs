//! Host of `pointwise`: element-wise operations, and from one type of element to another.

use super::layout::Layout;
use super::steps::{Chains, Step, sink, source};
use crate::Result;
use crate::gpu::{Bound, Buffer, Context, Kernel, Spec, Work, params, to_u32};
use crate::network::{Arithmetic, Element};

const FILE: Spec = Spec::new("classify/pointwise");
const WIDE: Spec = FILE.slot("wide", "lib/wide32");

/// The shader.
pub const VARIANTS: &[Spec] = &[
    WIDE.slot("source", "lib/source_f32").slot("sink", "lib/sink_f32"),
    FILE.slot("wide", "lib/wide64").slot("source", "lib/source_f32").slot("sink", "lib/sink_f32"),
];

/// The likeliest to be fastest.
pub fn choose(gpu: &Context) -> &'static Spec {
    // As for tiles of products: see window::candidates.
    let wide64 = gpu.adapter.is_software() && gpu.adapter.shader_int64;
    &VARIANTS[usize::from(wide64)]
}

/// The same for other types of elements.
pub const STAGES: &[Spec] = &[
    WIDE.slot("source", "lib/source_f32").slot("sink", "lib/sink_i8"),
    WIDE.slot("source", "lib/source_f32").slot("sink", "lib/sink_plain"),
    WIDE.slot("source", "lib/source_i8").slot("sink", "lib/sink_f32"),
    WIDE.slot("source", "lib/source_i8").slot("sink", "lib/sink_i8"),
    WIDE.slot("source", "lib/source_i32").slot("sink", "lib/sink_f32"),
];

params! {
    struct PointwiseParams {
        rows: u32,
        words: u32,
        sites: u32,
        out_words: u32,
        out_channels: u32,
        slab: u32,
    }
}

/// What is computed: `after(before(x) op other)`.
#[derive(Clone, Copy, Debug)]
pub struct Operands<'a> {
    /// The layout of an example.
    pub layout: Layout,
    /// Element types of the inputs and of the output.
    pub elements: (Element, Element),
    /// Steps on x.
    pub before: &'a [Step],
    /// A second input, of the same layout and type.
    pub other: Option<(Arithmetic, &'a Buffer)>,
    /// Steps on the result.
    pub after: &'a [Step],
    /// `[batch, words]`
    pub x: &'a Buffer,
    /// `[batch, words]`; without padding, if it is plain.
    pub y: &'a Buffer,
    /// Whether y is F32 without padding, for the host.
    pub plain: bool,
}

/// Compiles the shader for these operands and binds it.
///
/// # Errors
/// [`crate::Error::Input`] for more words than u32 counts.
pub fn bind(gpu: &Context, spec: &Spec, on: &Operands<'_>) -> Result<Bound> {
    let mut spec = spec.refill("source", source(on.elements.0)).refill("sink", sink(on.elements.1, on.plain));
    if let Some((arithmetic, _)) = on.other {
        spec = spec.set("ARITHMETIC", 1 + arithmetic as u32);
    }
    let chains = Chains { before: (on.before, on.layout), after: (on.after, on.layout) };
    let kernel: Kernel<PointwiseParams> = Kernel::load(gpu, &chains.settle(spec)?)?;
    let (constants, slab) = chains.constants(gpu)?;
    let rows = on.x.rows() * on.layout.words() as u64;
    let params = PointwiseParams {
        rows: to_u32(rows, "the number of words of a layer")?,
        words: to_u32(on.layout.words(), "the number of words of an example")?,
        sites: to_u32(on.x.rows() * on.layout.positions as u64, "the number of places of a layer")?,
        out_words: to_u32(on.layout.c4(), "the number of channels")?,
        out_channels: to_u32(on.layout.channels, "the number of channels")?,
        slab: to_u32(slab, "a layer's constants")?,
    };
    let other = on.other.map_or(on.x, |(_, other)| other);
    let inputs = if on.other.is_some() { 2 } else { 1 };
    let work = Work {
        bytes: inputs * on.x.bytes() + on.y.bytes(),
        ops: 4 * rows * (on.before.len() + on.after.len() + inputs as usize - 1) as u64,
    };
    let buffers = [("x", on.x), ("other", other), ("constants", &constants), ("y", on.y)];
    kernel.bind(gpu, &buffers, params, work)
}
