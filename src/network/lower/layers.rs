//! The operators, and those of them that work on single elements, or on channels.

use super::constant::{Constant, Extent, Numbers, elements, expansion, pick, steps, walk};
use super::{Flow, Lowering, MIXES, Outcome, Site, View, axis_of, natural};
use crate::io::onnx::{Attribute, DataType};
use crate::network::{Affine, Arithmetic, Element, Op, Unary};

type Lower = for<'m> fn(&mut Lowering<'m>, Site<'m>) -> Outcome;

/// ONNX's own operators.
pub const OPERATORS: &[(&str, Lower)] = &[
    ("Add", |l, s| l.arithmetic(s, Arithmetic::Add)),
    ("AveragePool", |l, s| l.pool(s, true)),
    ("BatchNormalization", |l, s| l.batch_normalization(s)),
    ("Cast", |l, s| l.cast(s)),
    ("Clip", |l, s| l.clip(s)),
    ("Concat", |l, s| l.concat(s)),
    ("Constant", |l, s| l.constant_node(s)),
    ("ConstantOfShape", |l, s| l.constant_of_shape(s)),
    ("Conv", |l, s| l.conv(s)),
    ("DequantizeLinear", |l, s| l.dequantize(s)),
    ("Div", |l, s| l.arithmetic(s, Arithmetic::Div)),
    ("Dropout", |l, s| l.dropout(s)),
    ("Flatten", |l, s| l.flatten(s)),
    ("Gather", |l, s| l.gather(s)),
    ("Gemm", |l, s| l.gemm(s)),
    ("GlobalAveragePool", |l, s| l.global_average_pool(s)),
    ("Identity", |l, s| l.identity(s)),
    ("MatMul", |l, s| l.matmul(s)),
    ("MatMulInteger", |l, s| l.matmul_integer(s)),
    ("MaxPool", |l, s| l.pool(s, false)),
    ("Mul", |l, s| l.arithmetic(s, Arithmetic::Mul)),
    ("QLinearConv", |l, s| l.qlinear_conv(s)),
    ("QLinearMatMul", |l, s| l.qlinear_matmul(s)),
    ("QuantizeLinear", |l, s| l.quantize(s)),
    ("Relu", |l, s| l.unary(s, Unary::Relu)),
    ("Reshape", |l, s| l.reshape(s)),
    ("Shape", |l, s| l.shape(s)),
    ("Sigmoid", |l, s| l.unary(s, Unary::Sigmoid)),
    ("Slice", |l, s| l.slice(s)),
    ("Softmax", |l, s| l.softmax(s)),
    ("Squeeze", |l, s| l.squeeze(s)),
    ("Sub", |l, s| l.arithmetic(s, Arithmetic::Sub)),
    ("Tanh", |l, s| l.unary(s, Unary::Tanh)),
    ("Transpose", |l, s| l.transpose(s)),
    ("Unsqueeze", |l, s| l.unsqueeze(s)),
];

/// Those of ai.onnx.ml.
pub const ML_OPERATORS: &[(&str, Lower)] = &[("Scaler", |l, s| l.scaler(s))];

fn apply(arithmetic: Arithmetic, a: f32, b: f32) -> f32 {
    match arithmetic {
        Arithmetic::Add => a + b,
        Arithmetic::Sub => a - b,
        Arithmetic::Mul => a * b,
        Arithmetic::Div => a / b,
    }
}

/// Of numbers of shapes.
fn apply_extents(arithmetic: Arithmetic, a: Extent, b: Extent) -> Option<Extent> {
    match (arithmetic, a, b) {
        (Arithmetic::Add, Extent::Known(a), Extent::Known(b)) => a.checked_add(b).map(Extent::Known),
        (Arithmetic::Sub, Extent::Known(a), Extent::Known(b)) => a.checked_sub(b).map(Extent::Known),
        (Arithmetic::Mul, Extent::Known(a), Extent::Known(b)) => a.checked_mul(b).map(Extent::Known),
        (Arithmetic::Div, Extent::Known(a), Extent::Known(b)) => a.checked_div(b).map(Extent::Known),
        (Arithmetic::Mul | Arithmetic::Div, Extent::Batch, Extent::Known(1)) => Some(Extent::Batch),
        (Arithmetic::Mul, Extent::Known(1), Extent::Batch) => Some(Extent::Batch),
        (Arithmetic::Add | Arithmetic::Sub, Extent::Batch, Extent::Known(0)) => Some(Extent::Batch),
        (Arithmetic::Add, Extent::Known(0), Extent::Batch) => Some(Extent::Batch),
        _ => None,
    }
}

/// The shape of two that are expanded to each other.
fn common(a: &[usize], b: &[usize]) -> Outcome<Vec<usize>> {
    let rank = a.len().max(b.len());
    let dim = |shape: &[usize], axis: usize| (axis + shape.len()).checked_sub(rank).map_or(1, |at| shape[at]);
    let both = (0..rank).map(|axis| match (dim(a, axis), dim(b, axis)) {
        (x, y) if x == y || y == 1 => Ok(x),
        (1, y) => Ok(y),
        _ => Err(format!("the shapes {a:?} and {b:?} do not fit each other")),
    });
    both.collect()
}

impl<'m> Lowering<'m> {
    pub fn unary(&mut self, site: Site<'m>, unary: Unary) -> Outcome {
        let view = self.view(site, 0, Element::F32)?;
        self.single(site, view, Op::Unary(unary), Element::F32, false)
    }

    pub fn clip(&mut self, site: Site<'m>) -> Outcome {
        let mut bound = |at: usize, name: &str, default: f32| match self.constant(site, at, name)? {
            Some(constant) => match constant.floats()? {
                [bound] => Ok(*bound),
                _ => Err(format!("its {name} is not one number")),
            },
            None => site.float_or(name, default),
        };
        let (low, high) = (bound(1, "min", f32::NEG_INFINITY)?, bound(2, "max", f32::INFINITY)?);
        if low.is_nan() || high.is_nan() {
            return Err("its bounds are not numbers".into());
        }
        self.unary(site, Unary::Clip { low, high })
    }

    pub fn arithmetic(&mut self, site: Site<'m>, arithmetic: Arithmetic) -> Outcome {
        match (self.flow(site, 0)?, self.flow(site, 1)?) {
            (Flow::Constant(a), Flow::Constant(b)) => {
                let shape = common(&a.shape, &b.shape)?;
                let count = elements(&shape)?;
                self.charge(2 * count)?;
                let (Some(left), Some(right)) = (expansion(&a.shape, &shape), expansion(&b.shape, &shape))
                else {
                    return Err(format!("the shapes {:?} and {:?} do not fit each other", a.shape, b.shape));
                };
                let numbers = if let (Numbers::Float(a), Numbers::Float(b)) = (&a.numbers, &b.numbers) {
                    let pairs = left.iter().zip(&right);
                    Numbers::Float(
                        pairs.map(|(&l, &r)| apply(arithmetic, a[l as usize], b[r as usize])).collect(),
                    )
                } else {
                    let (a, b) = (a.extents()?, b.extents()?);
                    let pairs = left.iter().zip(&right);
                    let all = pairs.map(|(&l, &r)| apply_extents(arithmetic, a[l as usize], b[r as usize]));
                    Numbers::Int64(
                        all.collect::<Option<_>>()
                            .ok_or("the size of the batch is computed with, or a number is too large")?,
                    )
                };
                self.set_constant(site, Constant::of(shape, numbers));
                Ok(())
            }
            (Flow::View(_), Flow::Constant(constant)) => self.with_constant(site, 0, &constant, arithmetic),
            (Flow::Constant(constant), Flow::View(_)) => self.with_constant(site, 1, &constant, arithmetic),
            (Flow::View(_), Flow::View(_)) => {
                let (a, b) = (self.view(site, 0, Element::F32)?, self.view(site, 1, Element::F32)?);
                if a.dims.len() != b.dims.len() {
                    return Err(format!(
                        "values of [batch, {:?}] and [batch, {:?}] are not of as many axes: {MIXES}",
                        a.dims, b.dims
                    ));
                }
                let dims = common(&a.dims, &b.dims)?;
                let (a, b) = (self.expanded(site, 0, &a, &dims)?, self.expanded(site, 1, &b, &dims)?);
                self.finish_node(site, vec![a, b], Op::Arithmetic(arithmetic), dims, Element::F32)?;
                Ok(())
            }
        }
    }

    /// An input, expanded to dimensions that it fits.
    fn expanded(&mut self, site: Site<'m>, at: usize, view: &View, dims: &[usize]) -> Outcome<usize> {
        if view.dims == dims {
            return self.natural(site, at, view);
        }
        let count = elements(dims)?;
        self.charge(count)?;
        let index = expansion(&view.dims, dims).ok_or("its shapes do not fit each other")?;
        self.lay(site, &format!("in{at}"), view, natural(dims), Some(index))
    }

    /// `x op constant` for input `at`, or the other way round if that is the second.
    fn with_constant(
        &mut self,
        site: Site<'m>,
        at: usize,
        constant: &Constant,
        arithmetic: Arithmetic,
    ) -> Outcome {
        let view = self.view(site, at, Element::F32)?;
        let values = constant.floats()?;
        let own: Vec<usize> = std::iter::once(1).chain(view.dims.iter().copied()).collect();
        let all = common(&own, &constant.shape)?;
        let [1, dims @ ..] = all.as_slice() else {
            return Err(format!(
                "its constant of the shape {:?} differs between examples, or {MIXES}",
                constant.shape
            ));
        };
        if all.len() != own.len() {
            return Err(MIXES.into());
        }
        let count = elements(dims)?;
        self.charge(count)?;
        let index = expansion(&constant.shape, &all).ok_or("its shapes do not fit each other")?;
        let constant = compressed(pick(values, &index), natural(dims)[0]);
        let value = self.expanded(site, at, &view, dims)?;
        let op = Op::Constant { arithmetic, constant, reversed: at == 1 };
        self.finish_node(site, vec![value], op, dims.to_vec(), Element::F32)?;
        Ok(())
    }

    pub fn scaler(&mut self, site: Site<'m>) -> Outcome {
        let view = self.view(site, 0, Element::F32)?;
        let last = view.dims.last().copied().unwrap_or(1);
        let mut value = self.natural(site, 0, &view)?;
        let steps = [("offset", Arithmetic::Sub, 0.0), ("scale", Arithmetic::Mul, 1.0)];
        for (at, (name, arithmetic, default)) in steps.into_iter().enumerate() {
            let numbers = site.floats(name)?.unwrap_or(&[]);
            let constant = match numbers {
                [] => vec![default],
                [_] => numbers.to_vec(),
                all if all.len() == last => {
                    let count = elements(&view.dims)?;
                    self.charge(count)?;
                    compressed((0..count).map(|at| all[at % last]).collect(), natural(&view.dims)[0])
                }
                all => return Err(format!("its {name} has {} numbers for {last} features", all.len())),
            };
            let op = Op::Constant { arithmetic, constant, reversed: false };
            value = if at == 0 {
                self.emit(site, name, vec![value], op, natural(&view.dims), Element::F32)?
            } else {
                self.finish_node(site, vec![value], op, view.dims.clone(), Element::F32)?
            };
        }
        Ok(())
    }

    pub fn batch_normalization(&mut self, site: Site<'m>) -> Outcome {
        if site.int_or("training_mode", 0)? != 0 {
            return Err("it is in training mode: export the model for inference".into());
        }
        let view = self.view(site, 0, Element::F32)?;
        let channels = view.dims.first().copied().unwrap_or(1);
        let mut all = Vec::new();
        for (at, what) in ["scale", "bias", "mean", "variance"].into_iter().enumerate() {
            let constant =
                self.constant(site, at + 1, what)?.ok_or_else(|| format!("its {what} is missing"))?;
            let values = constant.floats()?.to_vec();
            if values.len() != channels {
                return Err(format!("its {what} has {} numbers for {channels} channels", values.len()));
            }
            all.push(values);
        }
        let epsilon = f64::from(site.float_or("epsilon", 1e-5)?);
        let factor = |c: usize| f64::from(all[0][c]) / (f64::from(all[3][c]) + epsilon).sqrt();
        let offset = |c: usize| f64::from(all[1][c]) - f64::from(all[2][c]) * factor(c);
        if (0..channels).any(|c| !factor(c).is_finite() || !offset(c).is_finite()) {
            return Err("its variance is negative, or its constants are not finite".into());
        }
        // Into the convolution before, where nothing else reads that.
        let before = self.layers.iter_mut().find(|layer| layer.output == view.value);
        let alone = site.input(0).is_some_and(|name| self.readers.get(name) == Some(&1));
        if let (Some(layer), None, true) = (before, &view.index, alone) {
            let own = self.values[view.value].shape[0] == channels
                && self.values[view.value].name == site.node.inputs[0];
            if let Op::Dense(dense) = &mut layer.op
                && own
                && dense.quantized.is_none()
            {
                let each = dense.weights.len() / channels;
                for (o, weights) in dense.weights.chunks_exact_mut(each).enumerate() {
                    weights.iter_mut().for_each(|w| *w = (f64::from(*w) * factor(o)) as f32);
                }
                for (o, bias) in dense.bias.iter_mut().enumerate() {
                    *bias = (f64::from(*bias) * factor(o) + offset(o)) as f32;
                }
                if !super::finite(&layer.op) {
                    return Err("with the weights before it, its constants are not finite in f32".into());
                }
                self.bias_codes.remove(&view.value);
                let name = super::unique(&mut self.value_names, site.output().to_owned());
                self.values[view.value].name = name;
                self.set(site, Flow::View(view));
                return Ok(());
            }
        }
        let value = self.natural(site, 0, &view)?;
        let shape = natural(&view.dims);
        let each = |f: &dyn Fn(usize) -> f64| (0..channels).map(|c| f(c) as f32).collect();
        let op = |arithmetic, constant| Op::Constant { arithmetic, constant, reversed: false };
        let scaled = op(Arithmetic::Mul, each(&factor));
        let value = self.emit(site, "scale", vec![value], scaled, shape, Element::F32)?;
        self.finish_node(site, vec![value], op(Arithmetic::Add, each(&offset)), view.dims, Element::F32)?;
        Ok(())
    }

    pub fn softmax(&mut self, site: Site<'m>) -> Outcome {
        let view = self.view(site, 0, Element::F32)?;
        let flattens = self.opset < 13;
        let axis = axis_of(site.int_or("axis", if flattens { 1 } else { -1 })?, view.dims.len() + 1)?;
        let axis = axis.checked_sub(1).ok_or(MIXES)?;
        let end = if flattens { view.dims.len() } else { axis + 1 };
        let product = |dims: &[usize]| dims.iter().product::<usize>();
        let outer = product(&view.dims[..axis]);
        let (classes, inner) = (product(&view.dims[axis..end]), product(&view.dims[end..]));
        let shape = if outer * inner == 1 { vec![classes] } else { vec![classes, outer * inner] };
        let own = natural(&view.dims);
        if outer == 1 && own[0] == classes {
            let value = self.natural(site, 0, &view)?;
            self.finish_node(site, vec![value], Op::Softmax, view.dims, Element::F32)?;
            return Ok(());
        }
        let count = elements(&view.dims)?;
        self.charge(2 * count)?;
        let index = walk(&[steps(classes, inner), steps(outer, classes * inner), steps(inner, 1)]);
        let value = self.lay(site, "classes", &view, shape.clone(), Some(index))?;
        let value = self.emit(site, "softmax", vec![value], Op::Softmax, shape, Element::F32)?;
        let back = walk(&[steps(outer, inner), steps(classes, outer * inner), steps(inner, 1)]);
        self.set(site, Flow::View(View { value, index: Some(back.into()), ..view }));
        Ok(())
    }

    pub fn cast(&mut self, site: Site<'m>) -> Outcome {
        let to = DataType::by_number(site.int("to")?.ok_or("its attribute to is missing")?);
        let view = match self.flow(site, 0)? {
            Flow::View(view) => view,
            Flow::Constant(constant) => {
                self.charge(constant.len())?;
                let numbers = cast(&constant.numbers, to)?;
                let codes = constant.codes.clone().filter(|_| to.is_float());
                self.set_constant(site, Constant { shape: constant.shape.clone(), numbers, codes });
                return Ok(());
            }
        };
        let value = &self.values[view.value];
        let (shape, element) = (value.shape.clone(), value.element);
        if !to.is_float() {
            return Err(format!("a cast of what depends on the input to {to} is not supported"));
        }
        let op = match element {
            Element::F32 => return self.identity(site),
            Element::I32 => Op::Cast,
            Element::I8 => {
                Op::Dequantize(Affine { scale: vec![1.0], zero: vec![if view.unsigned { -128 } else { 0 }] })
            }
        };
        // Below the order of elements: sums are not put in order.
        let value = self.emit(site, "", vec![view.value], op, shape, Element::F32)?;
        self.set(site, Flow::View(View { value, unsigned: false, ..view }));
        Ok(())
    }

    pub fn constant_node(&mut self, site: Site<'m>) -> Outcome {
        let Some((name, value)) = site.node.attributes.first() else {
            return Err("it has no value".into());
        };
        let constant = match value {
            Attribute::Tensor(tensor) => Constant::read(tensor)
                .map_err(|kind| format!("its value is of {kind}, which is not supported"))?,
            Attribute::Float(value) => Constant::of(vec![], Numbers::Float(vec![*value])),
            Attribute::Floats(values) => Constant::of(vec![values.len()], Numbers::Float(values.clone())),
            Attribute::Int(value) => Constant::of(vec![], Numbers::Int64(vec![Extent::Known(*value)])),
            Attribute::Ints(values) => Constant::ints(values.iter().map(|&v| Extent::Known(v)).collect()),
            _ => {
                let name: String = name.chars().flat_map(char::escape_debug).take(64).collect();
                return Err(format!("its attribute {name} is not supported"));
            }
        };
        self.set_constant(site, constant);
        Ok(())
    }
}

/// A constant for each element, as few numbers as will do: one, or one for each channel.
fn compressed(values: Vec<f32>, channels: usize) -> Vec<f32> {
    let same = |values: &[f32]| values.windows(2).all(|pair| pair[0].to_bits() == pair[1].to_bits());
    if same(&values) {
        return values[..1].to_vec();
    }
    let each = values.len() / channels;
    if each > 1 && values.chunks_exact(each).all(same) {
        return values.into_iter().step_by(each).collect();
    }
    values
}

fn cast(numbers: &Numbers, to: DataType) -> Outcome<Numbers> {
    if let (Numbers::Int64(extents), DataType::Int64 | DataType::Int32) = (numbers, to) {
        return Ok(Numbers::Int64(extents.clone()));
    }
    let values: Vec<f64> = match numbers {
        Numbers::Float(values) => values.iter().map(|&v| v.into()).collect(),
        Numbers::Int8(values) => values.iter().map(|&v| v.into()).collect(),
        Numbers::Uint8(values) => values.iter().map(|&v| v.into()).collect(),
        Numbers::Int32(values) => values.iter().map(|&v| v.into()).collect(),
        Numbers::Bool(values) => values.iter().map(|&v| f64::from(u8::from(v))).collect(),
        Numbers::Int64(values) => {
            let known = values.iter().map(|extent| match extent {
                Extent::Known(value) => Ok(*value as f64),
                Extent::Batch => {
                    Err("the size of the batch is used where a known number is needed".to_owned())
                }
            });
            known.collect::<Outcome<_>>()?
        }
    };
    let values = values.into_iter();
    Ok(match to {
        kind if kind.is_float() => Numbers::Float(values.map(|v| v as f32).collect()),
        DataType::Int8 => Numbers::Int8(values.map(|v| v as i64 as i8).collect()),
        DataType::Uint8 => Numbers::Uint8(values.map(|v| v as i64 as u8).collect()),
        DataType::Int32 => Numbers::Int32(values.map(|v| v as i32).collect()),
        DataType::Int64 => Numbers::Int64(values.map(|v| Extent::Known(v as i64)).collect()),
        DataType::Bool => Numbers::Bool(values.map(|v| v != 0.0).collect()),
        other => return Err(format!("a cast to {other} is not supported")),
    })
}
