//! A network on a device: every layer bound to buffers that stay, so that a batch is one submission.
//!
//! A plan comes first: passes, each a kernel with chains of element-wise steps in front of it and behind, so that such layers cost no
//! pass of their own. Between passes lie activations as [`super::layout`] says. The same plan runs networks of floats,
//! of integers, and of both.

use std::time::Duration;

use super::average_pool::AveragePool;
use super::gather::Gather;
use super::layout::Layout;
use super::max_pool::MaxPool;
use super::pooling::Pooling;
use super::softmax::Softmax;
use super::steps::{AFTER, BEFORE, Step, With};
use super::window::{Geometry, candidates};
use super::{average_pool, dense, dense_integer, gather, max_pool, pointwise, softmax};
use crate::gpu::{Bound, Buffer, Context, Readback, Recorder, Spec, Work, time, tune};
use crate::network::{Arithmetic, Element, Integer, Layer, Network, Op, Output, Value};
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

/// Kernel and chains of one dispatch.
#[derive(Clone, Debug)]
struct Pass<'n> {
    kind: Kind<'n>,
    before: Vec<Step>,
    after: Vec<Step>,
    source: usize,
    target: usize,
}

#[derive(Clone, Debug)]
enum Kind<'n> {
    /// Dense, Integer, pools and softmax: what the layer says, between values of these shapes. Source and target may lie
    /// in the same order with another height and width.
    Layer(&'n Op, [usize; 2]),
    /// With a second input, or none.
    Pointwise(Option<(Arithmetic, usize)>),
    /// With a second input, or none; the logical index.
    Gather(Option<usize>, Vec<u32>),
}

/// Which passes run a network, over its values and some that lie between.
struct Plan<'n> {
    values: Vec<Value>,
    passes: Vec<Pass<'n>>,
    /// Where each value lies: at itself, or at another of the same order.
    root: Vec<usize>,
    /// The value that lies without padding: the output, if its kernel can write it so and nobody on the device reads it.
    plain: Option<usize>,
}

/// A second pass would read less than this many words again for each of its own.
const MOST_REPEATED: usize = 16;

impl<'n> Plan<'n> {
    fn new(network: &'n Network, keep: Keep) -> Result<Self> {
        let values = network.values.clone();
        let mut root: Vec<usize> = (0..values.len()).collect();
        for layer in network.layers.iter().filter(|layer| matches!(layer.op, Op::Reshape)) {
            let from = root[layer.inputs[0]];
            if Layout::of(&values[from]) == Layout::of(&values[layer.output]) {
                root[layer.output] = from;
            }
        }
        let mut uses = vec![0; values.len()];
        for layer in &network.layers {
            if root[layer.output] == layer.output {
                layer.inputs.iter().for_each(|&input| uses[root[input]] += 1);
            }
        }
        uses[root[network.output]] += 1;
        uses[root[network.input]] += 1;
        for (uses, value) in uses.iter_mut().zip(&values) {
            let kept = keep == Keep::All || (keep == Keep::Codes && value.element == Element::I8);
            *uses += usize::from(kept);
        }
        let mut plan = Self { values, passes: Vec::new(), root, plain: None };
        for layer in &network.layers {
            if plan.root[layer.output] == layer.output {
                let inputs: Vec<usize> = layer.inputs.iter().map(|&input| plan.root[input]).collect();
                plan.add(layer, &inputs, &uses);
            }
        }
        let output = plan.root[network.output];
        if let Some(maker) = plan.maker(output, &uses).map(|at| &plan.passes[at])
            && matches!(maker.kind, Kind::Pointwise(_) | Kind::Layer(Op::Dense(_) | Op::Integer(_), _))
            && plan.values[output].element == Element::F32
            && Layout::of(&plan.values[output]).positions == 1
        {
            plan.plain = Some(output);
        }
        Ok(plan)
    }

    /// The pass whose result is `value`, where that is read once and by nobody else.
    fn maker(&self, value: usize, uses: &[usize]) -> Option<usize> {
        (uses[value] == 1).then(|| self.passes.iter().position(|pass| pass.target == value)).flatten()
    }

    /// A layer whose inputs lie at `inputs`.
    fn add(&mut self, layer: &'n Layer, inputs: &[usize], uses: &[usize]) {
        let (op, source, target) = (&layer.op, inputs[0], layer.output);
        let shapes = [layer.inputs[0], target];
        let pass = |kind, before, after| Pass { kind, before, after, source, target };
        if let Some(steps) = Step::of(op) {
            if let Some(maker) = self.maker(source, uses).filter(|&maker| self.takes(maker, &steps)) {
                self.passes[maker].after.extend(steps);
                self.passes[maker].target = target;
                return;
            }
            return self.passes.push(pass(Kind::Pointwise(None), Vec::new(), steps));
        }
        match op {
            Op::Dense(_) | Op::Integer(_) => {
                let after = match op {
                    Op::Integer(integer) => Step::of_output(&integer.output),
                    _ => Vec::new(),
                };
                let mut made = pass(Kind::Layer(op, shapes), Vec::new(), after);
                if let Some(maker) = self.maker(source, uses).filter(|&maker| self.absorbs(maker, op, shapes))
                {
                    let front = self.passes.remove(maker);
                    made.source = front.source;
                    made.before = [front.before, front.after].concat();
                }
                self.passes.push(made);
            }
            Op::Arithmetic(arithmetic) => {
                self.passes.push(pass(
                    Kind::Pointwise(Some((*arithmetic, inputs[1]))),
                    Vec::new(),
                    Vec::new(),
                ));
            }
            Op::Reshape => {
                let index = (0..self.values[target].elements() as u32).collect();
                self.passes.push(pass(Kind::Gather(None, index), Vec::new(), Vec::new()));
            }
            Op::Gather { index } => self.gather(inputs, target, index),
            _ => self.passes.push(pass(Kind::Layer(op, shapes), Vec::new(), Vec::new())),
        }
    }

    /// Whether the pass has room for further steps, and its result is not yet rounded to bytes.
    fn takes(&self, maker: usize, steps: &[Step]) -> bool {
        let pass = &self.passes[maker];
        let kernel = matches!(pass.kind, Kind::Pointwise(_) | Kind::Layer(Op::Dense(_) | Op::Integer(_), _));
        kernel
            && self.values[pass.target].element != Element::I8
            && pass.after.len() + steps.len() <= AFTER.len()
    }

    /// Whether a product can do the work of the element-wise pass in front of it as it reads: each of its words again for
    /// every word of results.
    fn absorbs(&self, maker: usize, op: &Op, shapes: [usize; 2]) -> bool {
        let pass = &self.passes[maker];
        let from = &self.values[pass.source];
        let [input, output] = shapes.map(|at| self.values[at].clone());
        let words = Layout::of(&output).c4();
        let steps = [pass.before.as_slice(), &pass.after].concat();
        let layout = Layout::of(from);
        let by_channel = |step: &Step| match step {
            Step::With(_, constants) => constants.len() <= layout.channels.max(1),
            _ => true,
        };
        // The padding would be infinite, and the product multiplies it by 0.
        let divided = |step: &Step| matches!(step, Step::With(With::DivInto, _));
        let (window, groups) = match op {
            Op::Dense(dense) => (dense.window, dense.groups),
            Op::Integer(integer) => (integer.window, integer.groups),
            _ => return false,
        };
        let geometry = Geometry { batch: 1, input, output, window, groups };
        matches!(pass.kind, Kind::Pointwise(None))
            && from.element == Element::F32
            && steps.len() <= BEFORE.len()
            && geometry.is_point()
            && words <= MOST_REPEATED
            && !steps.iter().any(divided)
            && (layout.positions == 1 || steps.iter().all(by_channel))
    }

    /// The kernel takes two inputs: of more, neighbours are laid one behind the other first, again and again.
    fn gather(&mut self, inputs: &[usize], target: usize, index: &[u32]) {
        let mut parts = inputs.to_vec();
        while parts.len() > 2 {
            let joined = parts.chunks(2).map(|pair| match *pair {
                [first, second] => self.join(first, second),
                _ => pair[0],
            });
            parts = joined.collect();
        }
        self.passes.push(Pass {
            kind: Kind::Gather(parts.get(1).copied(), index.to_vec()),
            before: Vec::new(),
            after: Vec::new(),
            source: parts[0],
            target,
        });
    }

    /// A value that has two others one behind the other.
    fn join(&mut self, first: usize, second: usize) -> usize {
        let (target, element) = (self.values.len(), self.values[first].element);
        let elements = self.values[first].elements() + self.values[second].elements();
        self.values.push(Value { name: "a part of a concatenation".into(), shape: vec![elements], element });
        self.root.push(target);
        let kind = Kind::Gather(Some(second), (0..elements as u32).collect());
        self.passes.push(Pass { kind, before: Vec::new(), after: Vec::new(), source: first, target });
        target
    }
}

/// The most bytes that the values of a batch take in all: a larger one is cut. Words are counted in u32.
const MOST_BYTES: u64 = 2 << 30;

/// How many of `batch` examples run at once, whose values take these bytes each: at least one.
fn fitting(batch: u64, bytes: &[u64], binding: u64) -> Result<u64> {
    let largest = bytes.iter().copied().max().unwrap_or(0).max(1);
    if largest > binding {
        return Err(Error::Input(format!(
            "a value of {largest} bytes is larger than a binding of this adapter ({binding} bytes)"
        )));
    }
    let all = bytes.iter().sum::<u64>().max(1);
    if all > MOST_BYTES {
        return Err(Error::Input(format!(
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
            return Err(Error::Input(format!("{} values are no examples of {elements}", examples.len())));
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

/// Products in a batch from which on it pays to try variants: below, compiling them takes longer than they save.
const MOST_UNTRIED: u64 = 1 << 28;

/// Bound as the variant that is fastest on these shapes.
fn fastest(
    gpu: &Context,
    geometry: &Geometry,
    variants: &[Spec],
    bind: impl Fn(&Spec) -> Result<Bound>,
) -> Result<Bound> {
    let list = candidates(gpu, geometry, variants)?;
    match list.as_slice() {
        [first, _, ..] if geometry.products() > MOST_UNTRIED => {
            let (k, n) = (geometry.products() / geometry.batch, geometry.output.elements());
            let class = format!("{} b{} k{k} n{n}", first.label(), geometry.batch.next_power_of_two());
            let time = |spec: &Spec| Ok(time(gpu, &[vec![&bind(spec)?]], Duration::from_millis(20))?.low_us);
            bind(tune::choose(gpu, &list, &class, time)?)
        }
        [first, ..] => bind(first),
        [] => Err(Error::Input(format!("no kernel computes {}", geometry.output.name))),
    }
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
            fastest(gpu, &geometry, dense::VARIANTS, |spec| dense::bind(gpu, spec, dense, &on))
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
            fastest(gpu, &geometry, dense_integer::VARIANTS, |spec| {
                dense_integer::bind(gpu, spec, integer, &on)
            })
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
        Kind::Layer(..) => Err(Error::Input(format!("{}: no kernel computes it", target.name))),
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
