//! Host of `dense_integer`: convolutions and products with matrices of int8, with exact sums.

use super::dense::{Operands, widest};
use super::layout::Layout;
use super::steps::{sink, source};
use super::window::{Geometry, Tile, WindowParams};
use crate::gpu::{Bound, Buffer, Context, Kernel, Spec};
use crate::network::{Element, FixedPoint, Integer, Output};
use crate::{Error, Result};

const FILE: Spec = Spec::new("classify/dense_integer");
const BYTES: Spec = FILE.slot("source", "lib/source_i8").slot("sink", "lib/sink_f32");
const WIDE32: Spec = BYTES.slot("wide", "lib/wide32");
const WIDE64: Spec = BYTES.slot("wide", "lib/wide64");

/// Tiles of places by words: see [`super::window::candidates`].
pub const VARIANTS: &[Spec] = &[
    WIDE32.consts(&[("SITES", 1), ("COLUMNS", 1)]),
    WIDE32.consts(&[("SITES", 4), ("COLUMNS", 1)]),
    WIDE32.consts(&[("SITES", 2), ("COLUMNS", 4)]),
    WIDE64.consts(&[("SITES", 4), ("COLUMNS", 1)]),
    WIDE64.consts(&[("SITES", 4), ("COLUMNS", 4)]),
];

/// The other shaders of the operation.
pub const STAGES: &[Spec] = &[
    FILE.slot("wide", "lib/wide32").slot("source", "lib/source_f32").slot("sink", "lib/sink_f32"),
    FILE.slot("wide", "lib/wide32").slot("source", "lib/source_f32").slot("sink", "lib/sink_i8"),
    FILE.slot("wide", "lib/wide32").slot("source", "lib/source_i8").slot("sink", "lib/sink_i8"),
    FILE.slot("wide", "lib/wide32").slot("source", "lib/source_i8").slot("sink", "lib/sink_plain"),
    FILE.slot("wide", "lib/wide32").slot("source", "lib/source_f32").slot("sink", "lib/sink_plain"),
];

/// What is added to the sum of `w q`, so that the whole is `bias + sum (w - weight_zero) (q - input_zero)`.
///
/// # Errors
/// [`Error::Input`] if a sum could leave i32.
pub fn bias(integer: &Integer) -> Result<Vec<i32>> {
    if !integer.fits() {
        return Err(Error::Input("the sums of a layer could leave 32 bits".into()));
    }
    // Modulo 2^32, as the kernel adds: only the whole has to fit.
    Ok(integer.constants().into_iter().map(|constant| constant as i32).collect())
}

/// Compiles `spec` for these operands and binds it. A source of F32 is quantized by the steps in front.
///
/// # Errors
/// [`Error::Input`] for shapes beyond what u32 counts, and for sums that could leave i32.
pub fn bind(gpu: &Context, spec: &Spec, integer: &Integer, on: &Operands<'_>) -> Result<Bound> {
    let geometry: &Geometry = on.geometry;
    let zeros = integer.weight_zero.iter().any(|&zero| zero != 0);
    let spec = spec
        .refill("source", source(geometry.input.element))
        .refill("sink", sink(geometry.output.element, on.plain));
    let mut spec = geometry.settle(spec);
    if integer.register != 32 {
        spec = spec.set("REGISTER", integer.register);
    }
    if on.plain {
        spec = spec.set("WIDEST", widest(geometry));
    }
    if zeros {
        spec = spec.set("ZEROS", 1);
    }
    if !gpu.integer_dot {
        spec = spec.set("PACKED", 0);
    }
    if geometry.output.element == Element::I32 {
        spec = spec.set("SUM", 1);
    }
    let steps: &[FixedPoint] = match &integer.output {
        Output::Fixed { steps, .. } => steps,
        _ => &[],
    };
    if !steps.is_empty() {
        spec = spec.set("FIXED", 1);
    }
    let kernel: Kernel<WindowParams> = Kernel::load(gpu, &on.chains().settle(spec)?)?;
    let out_words = Layout::of(&geometry.output).c4() as u64;
    let ones = vec![1i8; integer.weights.len()];
    let planes: &[&[i8]] = if zeros { &[&integer.weights, &ones] } else { &[&integer.weights] };
    let mut words: Vec<u32> = Vec::new();
    for plane in planes {
        for block in geometry.arrange(plane) {
            // A word has the four input channels of one output channel.
            words.extend((0..4).map(|out| u32::from_le_bytes(block.map(|input| input[out] as u8))));
        }
    }
    let planes = planes.len() as u64;
    let weights = Buffer::from_slice(gpu, "weights", planes * out_words, &words)?;
    let padded = |values: Vec<i32>| {
        let end = out_words as usize * 4;
        values.into_iter().chain(std::iter::repeat(0)).take(end).collect::<Vec<i32>>()
    };
    let of_steps = |number: fn(&FixedPoint) -> i32| padded(steps.iter().map(number).collect());
    let integers = [
        padded(bias(integer)?),
        padded(integer.weight_zero.clone()),
        of_steps(|step| step.multiplier),
        of_steps(|step| step.offset),
        of_steps(|step| step.shift as i32),
    ];
    let integers = Buffer::from_slice(gpu, "integers", 5 * out_words, &integers.concat())?;
    let (constants, slab) = on.chains().constants(gpu)?;
    let mut params = geometry.params(Tile::of(kernel.reflection())?, slab)?;
    params.pad_word = u32::from_le_bytes([integer.input_zero as i8 as u8; 4]);
    params.planes = planes as u32;
    let buffers =
        [("x", on.x), ("weights", &weights), ("integers", &integers), ("constants", &constants), ("y", on.y)];
    kernel.bind(gpu, &buffers, params, on.work(weights.bytes()))
}
