//! ONNX models as networks.
//!
//! The first axis of every value is the batch; it is left out of shapes, and a node that mixes it with others is refused.
//! While a model is lowered a value has the shape that ONNX gives it, of any number of axes, and perhaps an order in
//! which its elements are to be read: Reshape and Transpose cost nothing until an operator needs the elements as they
//! lie, and then become one [`Op::Gather`]. What does not depend on the input is computed here, shapes too, with the
//! batch as an unknown.

mod constant;
mod graph;
mod integers;
mod layers;
mod moves;
mod products;
mod quantized;
mod window;

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::{Element, Layer, Network, Op, Value};
use crate::io::onnx::{Attribute, DataType, Dim, Model, Node, Tensor};
use crate::io::quoted;
use crate::{Error, Result};
use constant::{Constant, elements};
pub use integers::code;

/// The most numbers that lowering may make: weights, indices and expanded constants.
const MAX_MADE: usize = 1 << 27;

/// The input and the output of a network, where a model has several.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// The name of the input; without one, what the output needs.
    pub input: Option<String>,
    /// The name of the output; without one, the only one.
    pub output: Option<String>,
}

/// Makes a network of a model.
///
/// # Errors
/// [`Error::File`], which names the node, if the model has an operator or an option that is not supported, shapes that
/// do not fit or stay unknown, a cycle, several outputs of which none is named, or needs several inputs.
pub fn lower(model: &Model, names: &Names) -> Result<Network> {
    let network = graph::plan(model, names).and_then(|plan| {
        let mut lowering = Lowering::new(model, &plan)?;
        for node in &plan.nodes {
            lowering.node(node).map_err(|problem| format!("{}: {problem}", describe(node)))?;
        }
        lowering.finish(plan.output)
    });
    network.map_err(|problem| Error::file(&model.path, problem))
}

/// A node, for a message.
fn describe(node: &Node) -> String {
    let operator: String = node.operator.chars().flat_map(char::escape_debug).take(64).collect();
    match (node.name.as_str(), node.outputs.first()) {
        ("", Some(output)) => format!("node {operator} of {}", quoted(output)),
        (name, _) => format!("node {} ({operator})", quoted(name)),
    }
}

/// `network` with convolutions on integers whose weights and inputs were quantized.
pub(super) fn in_integers(network: Network) -> Network {
    needed(integers::fuse(network, &HashMap::new()))
}

/// What goes wrong in one node.
type Outcome<T = ()> = std::result::Result<T, String>;

/// What a name of the model stands for.
#[derive(Clone)]
enum Flow {
    Constant(Rc<Constant>),
    View(View),
}

/// A value as ONNX sees it: its elements are those of a value of the network, perhaps in another order.
#[derive(Clone)]
struct View {
    /// Its place in the network's values.
    value: usize,
    /// Its dimensions behind the batch.
    dims: Vec<usize>,
    /// Which element of the value each of its elements is; nothing where they are the same ones.
    index: Option<Rc<Vec<u32>>>,
    /// Whether it is of uint8, and 128 has been taken off.
    unsigned: bool,
}

/// The shape that a value with these dimensions has in a network.
fn natural(dims: &[usize]) -> Vec<usize> {
    match dims {
        [] => vec![1],
        [first, second, rest @ ..] if rest.len() > 1 => vec![*first, *second, rest.iter().product()],
        _ => dims.to_vec(),
    }
}

struct Lowering<'m> {
    initializers: HashMap<&'m str, &'m Tensor>,
    flows: HashMap<&'m str, Flow>,
    /// The version of its operators.
    opset: i64,
    /// How many nodes read a name, and the user.
    readers: HashMap<&'m str, usize>,
    /// The number of examples, if the model has it fixed.
    batch: Option<usize>,
    values: Vec<Value>,
    layers: Vec<Layer>,
    /// Names of values that are taken, and those of layers.
    value_names: HashSet<String>,
    layer_names: HashSet<String>,
    /// Where biases of Dense were quantized: by the place of its output.
    bias_codes: HashMap<usize, constant::Codes>,
    /// How many more numbers may be made.
    room: usize,
}

/// A node while it is lowered.
#[derive(Clone, Copy)]
struct Site<'m> {
    node: &'m Node,
    operator: &'static str,
}

impl<'m> Site<'m> {
    /// The name of an input, if it is there.
    fn input(&self, at: usize) -> Option<&'m str> {
        self.node.inputs.get(at).map(String::as_str).filter(|name| !name.is_empty())
    }

    fn output(&self) -> &'m str {
        self.node.outputs.first().map_or("", String::as_str)
    }

    fn int(&self, name: &str) -> Outcome<Option<i64>> {
        match self.node.attribute(name) {
            None => Ok(None),
            Some(Attribute::Int(value)) => Ok(Some(*value)),
            Some(_) => Err(format!("its attribute {name} is not an integer")),
        }
    }

    fn int_or(&self, name: &str, default: i64) -> Outcome<i64> {
        Ok(self.int(name)?.unwrap_or(default))
    }

    fn float_or(&self, name: &str, default: f32) -> Outcome<f32> {
        match self.node.attribute(name) {
            None => Ok(default),
            Some(Attribute::Float(value)) => Ok(*value),
            Some(_) => Err(format!("its attribute {name} is not a float")),
        }
    }

    fn ints(&self, name: &str) -> Outcome<Option<&'m [i64]>> {
        match self.node.attribute(name) {
            None => Ok(None),
            Some(Attribute::Ints(values)) => Ok(Some(values)),
            Some(_) => Err(format!("its attribute {name} is not a list of integers")),
        }
    }

    fn floats(&self, name: &str) -> Outcome<Option<&'m [f32]>> {
        match self.node.attribute(name) {
            None => Ok(None),
            Some(Attribute::Floats(values)) => Ok(Some(values)),
            Some(_) => Err(format!("its attribute {name} is not a list of floats")),
        }
    }
}

/// An axis of `rank`, which may count from behind.
fn axis_of(axis: i64, rank: usize) -> Outcome<usize> {
    let from_front = if axis < 0 { axis.checked_add(rank as i64) } else { Some(axis) };
    let found = from_front.and_then(|axis| usize::try_from(axis).ok()).filter(|&axis| axis < rank);
    found.ok_or_else(|| format!("there is no axis {axis} in a value of {rank} axes"))
}

const MIXES: &str = "it mixes the examples of a batch (the first axis), which have to stay apart";

impl<'m> Lowering<'m> {
    fn new(model: &'m Model, plan: &graph::Plan<'m>) -> Outcome<Self> {
        let info = plan.input;
        let name = quoted(&info.name);
        if !info.element.is_float() || info.element == DataType::Bfloat16 {
            return Err(format!("its input {name} is of {}; it has to be of float", info.element));
        }
        let Some(shape) = &info.shape else {
            return Err(format!("its input {name} has no shape: give it one (onnx.tools.update_model_dims)"));
        };
        let [batch, dims @ ..] = shape.as_slice() else {
            return Err(format!("its input {name} is a single number; its first axis has to be the batch"));
        };
        let known = dims.iter().enumerate().map(|(axis, dim)| match dim {
            Dim::Known(size) => Ok(*size),
            Dim::Named(dim) => Err(format!(
                "axis {} of its input {name} is the unknown {}; only the first axis, the batch, may be unknown: fix it \
                 (onnxruntime.tools.make_dynamic_shape_fixed)",
                axis + 1,
                quoted(dim)
            )),
            Dim::Unknown => Err(format!(
                "axis {} of its input {name} is unknown; only the first axis, the batch, may be unknown: fix it \
                 (onnxruntime.tools.make_dynamic_shape_fixed)",
                axis + 1
            )),
        });
        let dims = known.collect::<Outcome<Vec<usize>>>()?;
        elements(&dims).map_err(|problem| format!("its input {name}: {problem}"))?;
        let mut readers = HashMap::from([(plan.output, 1)]);
        for name in plan.nodes.iter().flat_map(|node| &node.inputs) {
            *readers.entry(name.as_str()).or_default() += 1;
        }
        let value = Value { name: info.name.clone(), shape: natural(&dims), element: Element::F32 };
        let view = View { value: 0, dims, index: None, unsigned: false };
        Ok(Self {
            initializers: model.initializers.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect(),
            flows: HashMap::from([(info.name.as_str(), Flow::View(view))]),
            readers,
            batch: match batch {
                Dim::Known(size) => Some(*size),
                _ => None,
            },
            opset: model.opset,
            value_names: HashSet::from([value.name.clone()]),
            values: vec![value],
            layers: Vec::new(),
            layer_names: HashSet::new(),
            bias_codes: HashMap::new(),
            room: MAX_MADE,
        })
    }

    fn node(&mut self, node: &'m Node) -> Outcome {
        let table = match node.domain.as_str() {
            "" => layers::OPERATORS,
            "ai.onnx.ml" => layers::ML_OPERATORS,
            _ => &[],
        };
        let Some((operator, lower)) = table.iter().find(|(name, _)| *name == node.operator) else {
            let all = layers::OPERATORS.iter().chain(layers::ML_OPERATORS);
            let all: Vec<&str> = all.map(|(name, _)| *name).collect();
            let full = if node.domain.is_empty() {
                node.operator.clone()
            } else {
                format!("{}.{}", node.domain, node.operator)
            };
            let full: String = full.chars().flat_map(char::escape_debug).take(64).collect();
            return Err(format!("operator {full} is not supported; supported are {}", all.join(", ")));
        };
        lower(self, Site { node, operator })
    }

    /// What an input of a node stands for.
    fn flow(&mut self, site: Site<'m>, at: usize) -> Outcome<Flow> {
        let name = site.input(at).ok_or_else(|| format!("its input {at} is missing"))?;
        if let Some(flow) = self.flows.get(name) {
            return Ok(flow.clone());
        }
        let Some(tensor) = self.initializers.get(name) else {
            return Err(format!("{} is no output that its node has here", quoted(name)));
        };
        let constant = Constant::read(tensor)
            .map_err(|kind| format!("the constant {} is of {kind}, which is not supported", quoted(name)))?;
        let flow = Flow::Constant(Rc::new(constant));
        self.flows.insert(name, flow.clone());
        Ok(flow)
    }

    /// An input that has to be a constant, if it is there.
    fn constant(&mut self, site: Site<'m>, at: usize, what: &str) -> Outcome<Option<Rc<Constant>>> {
        if site.input(at).is_none() {
            return Ok(None);
        }
        match self.flow(site, at)? {
            Flow::Constant(constant) => Ok(Some(constant)),
            Flow::View(_) => Err(format!("its {what} depends on the input; it has to be a constant")),
        }
    }

    /// An input that is computed from the network's.
    fn view(&mut self, site: Site<'m>, at: usize, element: Element) -> Outcome<View> {
        match self.flow(site, at)? {
            Flow::View(view) if self.values[view.value].element == element => Ok(view),
            Flow::View(view) => {
                let of = match self.values[view.value].element {
                    Element::F32 => "floats",
                    Element::I8 => "bytes",
                    Element::I32 => "32-bit integers",
                };
                Err(format!("its input {at} is of {of}, for which it is not supported"))
            }
            Flow::Constant(_) => Err(format!("its input {at} is a constant, for which it is not supported")),
        }
    }

    /// Gives the node's output its meaning.
    fn set(&mut self, site: Site<'m>, flow: Flow) {
        self.flows.insert(site.output(), flow);
    }

    fn set_constant(&mut self, site: Site<'m>, constant: Constant) {
        self.set(site, Flow::Constant(Rc::new(constant)));
    }

    /// Takes numbers off what may still be made.
    fn charge(&mut self, count: usize) -> Outcome {
        let left = self.room.checked_sub(count);
        self.room =
            left.ok_or_else(|| format!("weights and shapes would take more than {MAX_MADE} numbers in all"))?;
        Ok(())
    }

    /// Adds a layer and the value that it makes. `part` tells layers of one node apart.
    fn emit(
        &mut self,
        site: Site<'m>,
        part: &str,
        inputs: Vec<usize>,
        op: Op,
        shape: Vec<usize>,
        element: Element,
    ) -> Outcome<usize> {
        elements(&shape)?;
        if !finite(&op) {
            return Err(self.wild(site));
        }
        let op = window::star(op);
        // One constant may serve many nodes.
        self.charge(match &op {
            Op::Dense(dense) => dense.weights.len(),
            Op::Integer(integer) => integer.weights.len(),
            _ => 0,
        })?;
        let own = match site.node.name.as_str() {
            "" => format!("{}_{}", site.operator, self.layers.len()),
            name => name.to_owned(),
        };
        let suffixed = |name: &str| if part.is_empty() { name.to_owned() } else { format!("{name}/{part}") };
        let name = unique(&mut self.layer_names, suffixed(&own));
        let value = unique(&mut self.value_names, suffixed(site.output()));
        let output = self.values.len();
        self.values.push(Value { name: value, shape, element });
        self.layers.push(Layer { name, operator: site.operator, inputs, output, op });
        Ok(output)
    }

    /// What is wrong with a node that has numbers which are not finite: a Relu or a MaxPool would hide their results.
    fn wild(&self, site: Site<'m>) -> String {
        let constants = site.node.inputs.iter().filter_map(|name| match self.flows.get(name.as_str()) {
            Some(Flow::Constant(constant)) => Some((name, constant.floats().ok()?)),
            _ => None,
        });
        let named =
            constants.filter_map(|(name, values)| Some((name, values.iter().find(|v| !v.is_finite())?)));
        match { named }.next() {
            Some((name, value)) => {
                format!("a number of the constant {} is {value}; all have to be finite", quoted(name))
            }
            None => "its weights or constants are not finite, or not when it is computed in f32".into(),
        }
    }

    /// The elements of a view in a shape of the network, and in another order than the view's if there is an `index`.
    fn lay(
        &mut self,
        site: Site<'m>,
        part: &str,
        view: &View,
        shape: Vec<usize>,
        index: Option<Vec<u32>>,
    ) -> Outcome<usize> {
        let from = &self.values[view.value];
        let (element, count) = (from.element, from.elements());
        let index = match (&view.index, index) {
            (None, index) => index,
            (Some(own), None) => Some(own.to_vec()),
            (Some(own), Some(index)) => Some(constant::pick(own, &index)),
        };
        let moves = |index: &Vec<u32>| {
            index.len() != count || index.iter().enumerate().any(|(to, &from)| to != from as usize)
        };
        let op = match index.filter(moves) {
            Some(index) => {
                self.charge(index.len())?;
                Op::Gather { index }
            }
            None if self.values[view.value].shape == shape => return Ok(view.value),
            None => Op::Reshape,
        };
        if element == Element::I32 {
            return Err(
                "what it makes of the sums of MatMulInteger needs them as floats: Cast them first".into()
            );
        }
        self.emit(site, part, vec![view.value], op, shape, element)
    }

    /// An input as a value whose shape follows from its dimensions.
    fn natural(&mut self, site: Site<'m>, at: usize, view: &View) -> Outcome<usize> {
        let value = self.lay(site, &format!("in{at}"), view, natural(&view.dims), None)?;
        if let Some(name) = site.input(at) {
            let flow = View { value, index: None, ..view.clone() };
            self.flows.insert(name, Flow::View(flow));
        }
        Ok(value)
    }

    /// Adds the layer of an operator that leaves a value of these dimensions, and gives it to the node's output.
    fn finish_node(
        &mut self,
        site: Site<'m>,
        inputs: Vec<usize>,
        op: Op,
        dims: Vec<usize>,
        element: Element,
    ) -> Outcome<usize> {
        let value = self.emit(site, "", inputs, op, natural(&dims), element)?;
        self.set(site, Flow::View(View { value, dims, index: None, unsigned: false }));
        Ok(value)
    }

    /// Adds the layer of a function of single elements. Below the order of elements, where there is one: the order may
    /// then meet another one, and a product the QuantizeLinear behind it.
    fn single(&mut self, site: Site<'m>, view: View, op: Op, element: Element, unsigned: bool) -> Outcome {
        let from = &self.values[view.value];
        let count: usize = view.dims.iter().product();
        let view = if view.index.is_some() && from.elements() <= count {
            let shape = from.shape.clone();
            let value = self.emit(site, "channels", vec![view.value], op, shape, element)?;
            View { value, unsigned, ..view }
        } else {
            let value = self.natural(site, 0, &view)?;
            let value = self.emit(site, "", vec![value], op, natural(&view.dims), element)?;
            View { value, index: None, unsigned, ..view }
        };
        self.set(site, Flow::View(view));
        Ok(())
    }

    fn finish(self, output: &'m str) -> Outcome<Network> {
        let Some(Flow::View(view)) = self.flows.get(output).cloned() else {
            return Err(format!("its output {} does not depend on the input's values", quoted(output)));
        };
        let node = Node {
            name: "output".into(),
            operator: "Identity".into(),
            domain: String::new(),
            inputs: Vec::new(),
            outputs: vec![output.to_owned()],
            attributes: Vec::new(),
        };
        let mut last = Lowering { flows: HashMap::new(), readers: HashMap::new(), ..self };
        let output =
            last.lay(Site { node: &node, operator: "Identity" }, "", &view, natural(&view.dims), None)?;
        let Lowering { values, layers, bias_codes, .. } = last;
        let network = Network { values, layers, input: 0, output };
        Ok(needed(integers::fuse(network, &bias_codes)))
    }
}

/// Whether the weights and constants of floats are finite. Bounds of Clip may be infinite.
fn finite(op: &Op) -> bool {
    let all = |values: &[f32]| values.iter().all(|value| value.is_finite());
    match op {
        Op::Dense(dense) => all(&dense.weights) && all(&dense.bias),
        Op::Constant { constant, .. } => all(constant),
        _ => true,
    }
}

/// A name that is not taken, and takes it.
fn unique(taken: &mut HashSet<String>, wanted: String) -> String {
    let mut name = wanted.clone();
    let mut number = taken.len();
    while taken.contains(&name) {
        number += 1;
        name = format!("{wanted}_{number}");
    }
    taken.insert(name.clone());
    name
}

/// Leaves out what the output does not need.
fn needed(network: Network) -> Network {
    let Network { values, layers, input, output } = network;
    let mut wanted = vec![false; values.len()];
    wanted[input] = true;
    wanted[output] = true;
    let mut kept: Vec<Layer> = Vec::with_capacity(layers.len());
    for layer in layers.into_iter().rev().collect::<Vec<_>>() {
        if wanted[layer.output] {
            layer.inputs.iter().for_each(|&input| wanted[input] = true);
            kept.push(layer);
        }
    }
    kept.reverse();
    let mut places = vec![0; values.len()];
    let mut left = Vec::new();
    for ((value, wanted), place) in values.into_iter().zip(wanted).zip(&mut places) {
        *place = left.len();
        if wanted {
            left.push(value);
        }
    }
    for layer in &mut kept {
        layer.inputs.iter_mut().for_each(|input| *input = places[*input]);
        layer.output = places[layer.output];
    }
    Network { values: left, layers: kept, input: places[input], output: places[output] }
}
