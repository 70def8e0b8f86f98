//! A network on a device: every layer bound to buffers that stay, so that a batch is one submission.
//!
//! A plan comes first (`plan`). Between passes lie activations as [`super::layout`] says. The same plan runs networks of floats,
//! of integers, and of both.

use super::average_pool::AveragePool;
use super::gather::Gather;
use super::layout::Layout;
use super::max_pool::MaxPool;
use super::plan::{Kind, Pass, Plan};
use super::pooling::Pooling;
use super::softmax::Softmax;
use super::trial::{Layer, Trial};
use super::window::{Geometry, candidates};
use super::{average_pool, dense, dense_integer, gather, max_pool, pointwise, softmax};
use crate::gpu::{Bound, Buffer, Context, Readback, Recorder, Spec, Work, tune};
use crate::network::{Element, Integer, Network, Op, Output, Value};
use crate::{Error, Result};

/// What an engine does besides running.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// Fuses all it can.
    #[default]
    Output,
    /// The same, but for values of int8, which stay in buffers of their own: for [`Engine::run_marked`].
    Codes,
    /// Gives every value a buffer of its own, to be looked at after a run.
    All,
}

/// The most bytes that the values of a batch take in all: a larger one is cut. Words are counted in u32.
const MOST_BYTES: u64 = 2 << 30;

/// How many of `batch` examples run at once, whose values take these bytes each: at least one.
fn fitting(batch: u64, bytes: &[u64], binding: u64) -> Result<u64> {
    let largest = bytes.iter().copied().max().unwrap_or(0).max(1);
    if largest > binding {
        return Err(Error::Unsupported(format!(
            "a value of {largest} bytes is larger than a binding of this adapter ({binding} bytes)"
        )));
    }
    let all = bytes.iter().sum::<u64>().max(1);
    if all > MOST_BYTES {
        return Err(Error::Unsupported(format!(
            "the values of one example take {all} bytes; at most {MOST_BYTES} are supported"
        )));
    }
    Ok(batch.clamp(1, (binding / largest).min(MOST_BYTES / all)))
}

/// A network ready to run on batches of a fixed size.
#[derive(Debug)]
pub struct Engine {
    batch: u64,
    values: Vec<Value>,
    root: Vec<usize>,
    buffers: Vec<Option<Buffer>>,
    passes: Vec<Bound>,
    input: usize,
    output: usize,
    plain: bool,
    readback: Readback,
    /// The values that were quantized, under [`Keep::Codes`].
    codes: Vec<Codes>,
}

/// A quantized value whose codes come back with the output.
#[derive(Debug)]
struct Codes {
    value: usize,
    readback: Readback,
    ends: Ends,
}

/// Codes at which a value may have been cut off.
#[derive(Clone, Copy, Debug)]
struct Ends {
    low: bool,
    high: bool,
}

impl Ends {
    /// Those of what a layer makes. Where an end is the zero point, or a Relu or Clip keeps codes away from it, nothing is
    /// cut off there.
    fn of(op: &Op) -> Option<Self> {
        let (zero, low, high) = match op {
            Op::Quantize(affine) => (*affine.zero.first()?, -128, 127),
            Op::Integer(Integer { output: Output::Requantized { zero, low, high, .. }, .. }) => {
                (*zero, *low, *high)
            }
            _ => return None,
        };
        Some(Self { low: low <= -127 && zero > -127, high: high == 127 && zero < 127 })
    }

    fn has(self, code: i8) -> bool {
        (self.low && code <= -127) || (self.high && code == 127)
    }
}

impl Engine {
    /// Compiles and binds `network` for batches of up to `batch` examples, or as many as the adapter can bind and 2 GiB hold.
    ///
    /// # Errors
    /// [`Error::Input`] for a layer that is too large for the adapter; the device's.
    pub fn new(gpu: &Context, network: &Network, batch: u64, keep: Keep) -> Result<Self> {
        let plan = Plan::new(network, keep)?;
        let mut live = vec![false; plan.values.len()];
        live[plan.root[network.input]] = true;
        plan.passes.iter().for_each(|pass| live[pass.target] = true);
        let row_bytes = |at: usize| match (&plan.values[at], plan.plain) {
            (value, Some(plain)) if plain == at => 4 * value.elements() as u64,
            (value, _) => Layout::of(value).row_bytes(value.element),
        };
        let alive = |at: usize| live.get(at) == Some(&true);
        let bytes: Vec<u64> = (0..plan.values.len()).filter(|&at| alive(at)).map(row_bytes).collect();
        let batch = fitting(batch, &bytes, gpu.adapter.max_binding_bytes)?;
        let mut buffers = Vec::new();
        for (at, value) in plan.values.iter().enumerate() {
            let buffer = alive(at).then(|| Buffer::new(gpu, &value.name, batch, row_bytes(at)));
            buffers.push(buffer.transpose()?);
        }
        let passes = plan.passes.iter().map(|pass| bind(gpu, &plan, pass, &buffers, batch));
        let passes = passes.collect::<Result<Vec<Bound>>>()?;
        let output = plan.root[network.output];
        let readback = Readback::new(gpu, "output", batch * row_bytes(output))?;
        let mut codes = Vec::new();
        if keep == Keep::Codes {
            for layer in &network.layers {
                let at = plan.root[layer.output];
                if let Some(ends) = Ends::of(&layer.op).filter(|_| alive(at)) {
                    let readback = Readback::new(gpu, &plan.values[at].name, batch * row_bytes(at))?;
                    codes.push(Codes { value: at, readback, ends });
                }
            }
        }
        Ok(Self {
            batch,
            input: plan.root[network.input],
            output,
            plain: plan.plain.is_some(),
            values: plan.values,
            root: plan.root,
            buffers,
            passes,
            readback,
            codes,
        })
    }

    /// Examples in a batch.
    pub fn batch(&self) -> u64 {
        self.batch
    }

    /// One example of the input.
    pub fn input(&self) -> &Value {
        &self.values[self.input]
    }

    /// One example of the output.
    pub fn output(&self) -> &Value {
        &self.values[self.output]
    }

    /// Dispatches of a batch.
    pub fn passes(&self) -> &[Bound] {
        &self.passes
    }

    /// Least bytes and operations of a batch: input and output once, and what every pass computes.
    pub fn work(&self) -> Work {
        let buffer = |at: usize| self.buffers[at].as_ref().map_or(0, Buffer::bytes);
        let ops = self.passes.iter().map(|pass| pass.work().ops).sum();
        Work { bytes: buffer(self.input) + buffer(self.output), ops }
    }

    /// The value at `at` of the network, if it is on the device: all are under [`Keep::All`].
    pub fn buffer(&self, at: usize) -> Option<(&Value, &Buffer)> {
        let buffer = self.buffers[*self.root.get(at)?].as_ref()?;
        Some((&self.values[at], buffer))
    }

    /// Runs examples, channels first, and gives the output of each: integers as floats. Any number of them, in batches.
    ///
    /// # Errors
    /// [`Error::Input`] for values that are no examples; the device's.
    pub fn run(&self, gpu: &Context, examples: &[f32]) -> Result<Vec<f32>> {
        let mut outputs = Vec::new();
        self.run_batches(gpu, examples, |_, output| {
            outputs.extend_from_slice(output);
            Ok(())
        })?;
        Ok(outputs)
    }

    /// The same, calling `done` after each batch with its number of examples and their output; until it returns, the
    /// values of the batch are on the device.
    pub fn run_batches(
        &self,
        gpu: &Context,
        examples: &[f32],
        mut done: impl FnMut(u64, &[f32]) -> Result<()>,
    ) -> Result<()> {
        for examples in self.batches(examples)? {
            let (count, outputs) = self.submit(gpu, examples, &[])?;
            done(count as u64, &outputs)?;
        }
        Ok(())
    }

    /// The same, and for each example whether one of its codes is an end of the codes, so that a value may have been cut off. The
    /// engine has to be one of [`Keep::Codes`].
    ///
    /// # Errors
    /// Those of [`Engine::run`].
    pub fn run_marked(&self, gpu: &Context, examples: &[f32]) -> Result<(Vec<f32>, Vec<bool>)> {
        let (mut outputs, mut saturated) = (Vec::new(), Vec::new());
        let kept = self.codes.iter().filter_map(|codes| Some((codes, self.buffers[codes.value].as_ref()?)));
        let kept: Vec<(&Codes, &Buffer)> = kept.collect();
        let reads: Vec<(&Buffer, &Readback)> =
            kept.iter().map(|&(codes, buffer)| (buffer, &codes.readback)).collect();
        for examples in self.batches(examples)? {
            let (count, batch) = self.submit(gpu, examples, &reads)?;
            outputs.extend(batch);
            let mut marks = vec![false; count];
            for (Codes { value, readback, ends }, buffer) in &kept {
                let row_bytes = (buffer.bytes() / buffer.rows().max(1)) as usize;
                let mut codes = vec![0i8; count * row_bytes];
                readback.fetch(gpu, &mut codes)?;
                let codes = Layout::of(&self.values[*value]).unpack_i8(&codes);
                let rows = codes.chunks(self.values[*value].elements());
                let cut = |row: &[i8]| row.iter().any(|&code| ends.has(code));
                marks.iter_mut().zip(rows).for_each(|(mark, row)| *mark |= cut(row));
            }
            saturated.extend(marks);
        }
        Ok((outputs, saturated))
    }

    /// Examples in batches.
    fn batches<'e>(&self, examples: &'e [f32]) -> Result<std::slice::Chunks<'e, f32>> {
        let elements = self.values[self.input].elements();
        if !examples.len().is_multiple_of(elements) {
            return Err(Error::Shape(format!("{} values are no examples of {elements}", examples.len())));
        }
        Ok(examples.chunks(self.batch as usize * elements))
    }

    /// Runs a batch with copies of `others`, which are to be fetched then: the number of examples, and their outputs.
    fn submit(
        &self,
        gpu: &Context,
        examples: &[f32],
        others: &[(&Buffer, &Readback)],
    ) -> Result<(usize, Vec<f32>)> {
        gpu.go_on(|| "between batches".into())?;
        let (input, output) = (Layout::of(&self.values[self.input]), Layout::of(&self.values[self.output]));
        let Some((x, y)) = self.buffers[self.input].as_ref().zip(self.buffers[self.output].as_ref()) else {
            return Err(Error::Input("the network has no input".into()));
        };
        let count = examples.len() / input.elements();
        x.write_rows(gpu, 0, &input.pack_f32(examples))?;
        let mut record = Recorder::new(gpu);
        self.passes.iter().for_each(|pass| record.dispatch(pass));
        let reads: Vec<(&Buffer, &Readback)> =
            std::iter::once((y, &self.readback)).chain(others.iter().copied()).collect();
        record.submit_copies(&reads)?;
        let mut rows = vec![0u8; count * (y.bytes() / y.rows().max(1)) as usize];
        self.readback.fetch(gpu, &mut rows)?;
        let outputs = match self.values[self.output].element {
            Element::F32 if self.plain => bytemuck::pod_collect_to_vec(&rows),
            Element::F32 => output.unpack_f32(&bytemuck::pod_collect_to_vec(&rows)),
            Element::I8 => output.unpack_i8(bytemuck::cast_slice(&rows)).into_iter().map(f32::from).collect(),
            Element::I32 => {
                let sums = output.unpack(&bytemuck::pod_collect_to_vec::<u8, i32>(&rows));
                sums.into_iter().map(|sum| sum as f32).collect()
            }
        };
        Ok((count, outputs))
    }
}

/// Bound as the variant for these shapes.
fn fastest(gpu: &Context, variants: &[Spec], layer: Layer<'_>, on: &dense::Operands<'_>) -> Result<Bound> {
    let geometry = on.geometry;
    let bind = |spec: &Spec| match layer {
        Layer::Float(dense) => dense::bind(gpu, spec, dense, on),
        Layer::Integer(integer) => dense_integer::bind(gpu, spec, integer, on),
    };
    let list = candidates(gpu, geometry, variants)?;
    if list.is_empty() {
        return Err(Error::Unsupported(format!("no kernel computes {}", geometry.output.name)));
    }
    let mut trial = None;
    let chosen = tune::choose(gpu, &list, geometry.class(), |spec| {
        let trial = match &mut trial {
            Some(trial) => trial,
            none => none.insert(Trial::new(gpu, layer, on)?),
        };
        trial.attempt(gpu, spec, &bind(spec)?)
    })?;
    bind(chosen)
}

/// Binds a pass.
fn bind(
    gpu: &Context,
    plan: &Plan<'_>,
    pass: &Pass<'_>,
    buffers: &[Option<Buffer>],
    batch: u64,
) -> Result<Bound> {
    let values = &plan.values;
    let buffer = |at: usize| {
        let missing = || Error::Input(format!("{} is read before it is computed", values[at].name));
        buffers[at].as_ref().ok_or_else(missing)
    };
    let (source, target) = (&values[pass.source], &values[pass.target]);
    let plain = plan.plain == Some(pass.target);
    let geometry = |shapes: &[usize; 2], window, groups| {
        let [input, output] = shapes.map(|at| values[at].clone());
        let (from, to) = (source.element, target.element);
        let (input, output) = (Value { element: from, ..input }, Value { element: to, ..output });
        Geometry { batch, input, output, window, groups }
    };
    let (x, y) = (buffer(pass.source)?, buffer(pass.target)?);
    let layout = Layout::of(target);
    let pooling = |[from, to]: &[usize; 2], window| Pooling::of(&values[*from], &values[*to], window);
    match &pass.kind {
        Kind::Pointwise(other) => {
            let other = other.map(|(op, at)| buffer(at).map(|other| (op, other))).transpose()?;
            let elements = (source.element, target.element);
            let on = pointwise::Operands {
                layout,
                elements,
                before: &pass.before,
                other,
                after: &pass.after,
                x,
                y,
                plain,
            };
            pointwise::bind(gpu, pointwise::choose(gpu), &on)
        }
        Kind::Gather(other, index) => {
            let mut inputs = vec![(x, Layout::of(source))];
            if let Some(at) = *other {
                inputs.push((buffer(at)?, Layout::of(&values[at])));
            }
            let layouts: Vec<Layout> = inputs.iter().map(|(_, layout)| *layout).collect();
            let index = gather::physical_index(index, &layouts, layout)?;
            let index = Buffer::from_slice(gpu, "index", layout.words() as u64, &index)?;
            let spec = gather::spec(layout, source.element)?;
            Gather::load(gpu, &spec)?.bind(gpu, &inputs, &index, (y, layout))
        }
        Kind::Layer(Op::Dense(dense), shapes) => {
            let geometry = geometry(shapes, dense.window, dense.groups);
            let on = dense::Operands {
                geometry: &geometry,
                before: &pass.before,
                after: &pass.after,
                x,
                y,
                plain,
            };
            fastest(gpu, dense::VARIANTS, Layer::Float(dense), &on)
        }
        Kind::Layer(Op::Integer(integer), shapes) => {
            let geometry = geometry(shapes, integer.window, integer.groups);
            let on = dense::Operands {
                geometry: &geometry,
                before: &pass.before,
                after: &pass.after,
                x,
                y,
                plain,
            };
            fastest(gpu, dense_integer::VARIANTS, Layer::Integer(integer), &on)
        }
        Kind::Layer(Op::MaxPool(window), shapes) => {
            let pooling = pooling(shapes, *window);
            MaxPool::load(gpu, &max_pool::spec(&pooling, source.element)?)?.bind(gpu, x, y, &pooling)
        }
        Kind::Layer(Op::AveragePool { window, include_pad }, shapes) => {
            let pooling = pooling(shapes, *window);
            AveragePool::load(gpu, &average_pool::spec(&pooling))?.bind(gpu, x, y, &pooling, *include_pad)
        }
        Kind::Layer(Op::Softmax, _) => Softmax::load(gpu, &softmax::spec(layout))?.bind(gpu, x, y, layout),
        Kind::Layer(..) => Err(Error::Unsupported(format!("{}: no kernel computes it", target.name))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_fits_bindings_and_memory() {
        let mib = 1 << 20;
        assert_eq!(fitting(4096, &[16, 64], 128 * mib).unwrap(), 4096);
        assert_eq!(fitting(4096, &[mib, 16], 128 * mib).unwrap(), 128);
        assert_eq!(fitting(4096, &[16 * mib; 32], 128 * mib).unwrap(), 4);
        assert_eq!(fitting(0, &[], 128 * mib).unwrap(), 1);
        let text = |bytes: &[u64]| fitting(1, bytes, 128 * mib).unwrap_err().to_string();
        assert!(text(&[129 * mib]).contains("larger than a binding"));
        assert!(text(&[16 * mib; 129]).contains("one example take"));
    }
}
