//! Where convolutions and pools look.

use super::{Flow, Lowering, Outcome, Site, View, constant::MAX_ELEMENTS, constant::elements};
use crate::network::{Arithmetic, Dense, Element, Integer, Op, Window};

/// A window over an input, and what follows from it.
pub struct Geometry {
    pub window: Window,
    /// Rows and columns of the output.
    pub out: [usize; 2],
    /// Rows below and columns right of the input that are padding by the model; the window may reach further.
    pub ends: [usize; 2],
}

impl Geometry {
    /// The places of the window along an axis that lie inside `low..high`, which counts from the input's beginning.
    fn inside(&self, axis: usize, to: usize, low: i64, high: i64) -> usize {
        let (stride, dilation) = (self.window.strides[axis] as i64, self.window.dilations[axis] as i64);
        let first = to as i64 * stride - self.window.pads[axis] as i64;
        let kernel = self.window.kernel[axis] as i64;
        // Places `at` with low <= first + at * dilation < high.
        let up = |distance: i64| (distance + dilation - 1).div_euclid(dilation).clamp(0, kernel);
        (up(high - first) - up(low - first)) as usize
    }
}

/// Two numbers, of which a signal has only the second.
fn pair(numbers: &[i64], axes: usize, name: &str) -> Outcome<[usize; 2]> {
    let number = |value: i64| {
        let value = usize::try_from(value).ok().filter(|&value| value <= MAX_ELEMENTS);
        value.ok_or_else(|| format!("its {name} {numbers:?} cannot be"))
    };
    match (axes, numbers) {
        (1, [columns]) => Ok([usize::from(name != "pads"), number(*columns)?]),
        (2, [rows, columns]) => Ok([number(*rows)?, number(*columns)?]),
        _ => Err(format!("its {name} {numbers:?} are not for {axes} axes")),
    }
}

/// A convolution by 3 x 3 whose corners have no weight anywhere, as one by a star; other operations as they are.
pub fn star(op: Op) -> Op {
    match op {
        Op::Dense(dense) => match dense.window.without_corners(&dense.weights, |at| dense.weights[at] == 0.0)
        {
            None => Op::Dense(dense),
            Some((window, weights)) => {
                let quantized = dense.quantized.map(|mut quantized| {
                    if let Some((_, codes)) = dense.window.without_corners(&quantized.codes, |_| true) {
                        quantized.codes = codes;
                    }
                    quantized
                });
                Op::Dense(Dense { weights, window, quantized, ..dense })
            }
        },
        Op::Integer(integer) => {
            let each = (integer.weights.len() / integer.weight_zero.len().max(1)).max(1);
            let nothing = |at: usize| i32::from(integer.weights[at]) == integer.weight_zero[at / each];
            match integer.window.without_corners(&integer.weights, nothing) {
                None => Op::Integer(integer),
                Some((window, weights)) => Op::Integer(Integer { weights, window, ..integer }),
            }
        }
        other => other,
    }
}

impl<'m> Lowering<'m> {
    /// The window of a node over an input with these dimensions behind the channels.
    pub fn geometry(&self, site: Site<'m>, dims: &[usize], kernel: &[i64]) -> Outcome<Geometry> {
        let axes = dims.len();
        let input = match *dims {
            [columns] => [1, columns],
            [rows, columns] => [rows, columns],
            _ => return Err(format!("it works on {axes} axes behind the channels; 1 and 2 are supported")),
        };
        let kernel = pair(kernel, axes, "kernel_shape")?;
        let ones = vec![1; axes];
        let strides = pair(site.ints("strides")?.unwrap_or(&ones), axes, "strides")?;
        let dilations = pair(site.ints("dilations")?.unwrap_or(&ones), axes, "dilations")?;
        if [kernel, strides, dilations].concat().contains(&0) {
            return Err("its kernel_shape, strides or dilations have a 0".into());
        }
        let zeros = vec![0; 2 * axes];
        let given = site.ints("pads")?.unwrap_or(&zeros);
        let (begins, ends) =
            given.split_at_checked(axes).ok_or_else(|| format!("its pads {given:?} are too few"))?;
        let (mut pads, mut ends) = (pair(begins, axes, "pads")?, pair(ends, axes, "pads")?);
        let auto = match site.node.attribute("auto_pad") {
            None => "NOTSET",
            Some(crate::io::onnx::Attribute::Text(text)) => text,
            Some(_) => return Err("its auto_pad is not a text".into()),
        };
        let ceil = site.int_or("ceil_mode", 0)? != 0;
        let mut out = [0; 2];
        for axis in 0..2 {
            // None of the factors is above MAX_ELEMENTS, so nothing overflows.
            let reach = (kernel[axis] - 1) * dilations[axis] + 1;
            match auto {
                "NOTSET" => {}
                "VALID" => (pads[axis], ends[axis]) = (0, 0),
                "SAME_UPPER" | "SAME_LOWER" => {
                    let steps = input[axis].div_ceil(strides[axis]);
                    let all = ((steps - 1) * strides[axis] + reach).saturating_sub(input[axis]);
                    let (less, more) = (all / 2, all - all / 2);
                    (pads[axis], ends[axis]) = if auto == "SAME_UPPER" { (less, more) } else { (more, less) };
                }
                _ => return Err("its auto_pad is unknown".into()),
            }
            let room = input[axis] + pads[axis] + ends[axis];
            let Some(steps) = room.checked_sub(reach) else {
                return Err(format!(
                    "its window reaches over {reach} elements, where the padded input has {room}"
                ));
            };
            let mut count = steps / strides[axis] + 1;
            // A window that would begin behind the input and its padding before is none.
            if ceil && steps % strides[axis] > 0 && count * strides[axis] < input[axis] + pads[axis] {
                count += 1;
            }
            out[axis] = count;
        }
        Ok(Geometry { window: Window { kernel, strides, dilations, pads, star: false }, out, ends })
    }

    pub fn pool(&mut self, site: Site<'m>, average: bool) -> Outcome {
        if site.node.outputs.get(1).is_some_and(|name| self.readers.contains_key(name.as_str())) {
            return Err("its second output, the indices, is not supported".into());
        }
        let element = match self.flow(site, 0)? {
            Flow::View(view) if !average && self.values[view.value].element == Element::I8 => Element::I8,
            _ => Element::F32,
        };
        let view = self.view(site, 0, element)?;
        let [channels, dims @ ..] = view.dims.as_slice() else {
            return Err("its input has no axes behind the batch".into());
        };
        let kernel = site.ints("kernel_shape")?.ok_or("its kernel_shape is missing")?;
        let geometry = self.geometry(site, dims, kernel)?;
        let include_pad = average && site.int_or("count_include_pad", 0)? != 0;
        let [rows, columns] = geometry.out;
        let out = if dims.len() == 1 { vec![*channels, columns] } else { vec![*channels, rows, columns] };
        elements(&out)?;
        let input = if dims.len() == 1 { [1, dims[0]] } else { [dims[0], dims[1]] };
        for (axis, &size) in input.iter().enumerate() {
            if (0..geometry.out[axis]).any(|to| geometry.inside(axis, to, 0, size as i64) == 0) {
                return Err("a window lies in the padding alone".into());
            }
        }
        let value = self.natural(site, 0, &view)?;
        let window = geometry.window;
        let shape = super::natural(&out);
        if !average {
            let value = self.emit(site, "", vec![value], Op::MaxPool(window), shape, element)?;
            self.set(site, Flow::View(View { value, dims: out, index: None, unsigned: view.unsigned }));
            return Ok(());
        }
        let op = Op::AveragePool { window, include_pad };
        // What ceil_mode adds behind the padding is not counted, where the layer counts all that is no input.
        let counted = |axis: usize, to: usize| {
            let (low, high) = (-(window.pads[axis] as i64), (input[axis] + geometry.ends[axis]) as i64);
            geometry.inside(axis, to, low, high)
        };
        let whole = |axis: usize| (0..geometry.out[axis]).all(|to| counted(axis, to) == window.kernel[axis]);
        if !include_pad || (whole(0) && whole(1)) {
            self.finish_node(site, vec![value], op, out, Element::F32)?;
            return Ok(());
        }
        let all = (window.kernel[0] * window.kernel[1]) as f64;
        let plane = (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)));
        let plane: Vec<f32> =
            plane.map(|(row, column)| (all / (counted(0, row) * counted(1, column)) as f64) as f32).collect();
        self.charge(plane.len() * channels)?;
        let constant = plane.repeat(*channels);
        let value = self.emit(site, "pool", vec![value], op, shape, Element::F32)?;
        let op = Op::Constant { arithmetic: Arithmetic::Mul, constant, reversed: false };
        self.finish_node(site, vec![value], op, out, Element::F32)?;
        Ok(())
    }

    pub fn global_average_pool(&mut self, site: Site<'m>) -> Outcome {
        let view = self.view(site, 0, Element::F32)?;
        let [channels, dims @ ..] = view.dims.as_slice() else {
            return Err("its input has no axes behind the batch".into());
        };
        let value = self.natural(site, 0, &view)?;
        let kernel = self.values[value].picture();
        let window = Window { kernel, ..Window::POINT };
        let out = std::iter::once(*channels).chain(dims.iter().map(|_| 1)).collect();
        let op = Op::AveragePool { window, include_pad: false };
        self.finish_node(site, vec![value], op, out, Element::F32)?;
        Ok(())
    }
}
