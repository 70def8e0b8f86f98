//! Which passes run a network: each a kernel with chains of element-wise steps in front of it and behind, so that such layers
//! cost no pass of their own.

use super::engine::Keep;
use super::layout::Layout;
use super::steps::{AFTER, BEFORE, Step, With};
use super::window::Geometry;
use crate::Result;
use crate::network::{Arithmetic, Element, Layer, Network, Op, Value};

/// Kernel and chains of one dispatch.
#[derive(Clone, Debug)]
pub(super) struct Pass<'n> {
    pub kind: Kind<'n>,
    pub before: Vec<Step>,
    pub after: Vec<Step>,
    pub source: usize,
    pub target: usize,
}

#[derive(Clone, Debug)]
pub(super) enum Kind<'n> {
    /// Dense, Integer, pools and softmax: what the layer says, between values of these shapes. Source and target may lie
    /// in the same order with another height and width.
    Layer(&'n Op, [usize; 2]),
    /// With a second input, or none.
    Pointwise(Option<(Arithmetic, usize)>),
    /// With a second input, or none; the logical index.
    Gather(Option<usize>, Vec<u32>),
}

/// Which passes run a network, over its values and some that lie between.
pub(super) struct Plan<'n> {
    pub values: Vec<Value>,
    pub passes: Vec<Pass<'n>>,
    /// Where each value lies: at itself, or at another of the same order.
    pub root: Vec<usize>,
    /// The value that lies without padding: the output, if its kernel can write it so and nobody on the device reads it.
    pub plain: Option<usize>,
}

/// A second pass would read less than this many words again for each of its own.
const MOST_REPEATED: usize = 16;

impl<'n> Plan<'n> {
    pub fn new(network: &'n Network, keep: Keep) -> Result<Self> {
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
