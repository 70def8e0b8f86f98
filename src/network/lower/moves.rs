//! Operators that only move elements, and those over shapes.

use std::rc::Rc;

use super::constant::{Constant, Extent, Numbers, elements, pick, steps, strides, walk};
use super::{Flow, Lowering, MIXES, Outcome, Site, View, axis_of};
use crate::network::{Element, Op};

/// The longest axis of a constant that has an axis of 0.
const LONGEST_OF_EMPTY: usize = 1 << 16;

impl<'m> Lowering<'m> {
    /// Gives the output the input's elements with these places, in another shape; behind the batch for a value.
    fn moved(&mut self, site: Site<'m>, flow: Flow, shape: Vec<usize>, index: Option<Vec<u32>>) -> Outcome {
        match flow {
            Flow::Constant(constant) => {
                let moved = match index {
                    Some(index) => constant.select(shape, &index),
                    None => {
                        self.charge(constant.len())?;
                        Constant { shape, ..(*constant).clone() }
                    }
                };
                self.set_constant(site, moved);
            }
            Flow::View(view) => {
                elements(&shape)?;
                let index = match (view.index, index) {
                    (own, None) => own,
                    (None, Some(index)) => Some(Rc::new(index)),
                    (Some(own), Some(index)) => Some(Rc::new(pick(&own, &index))),
                };
                self.set(site, Flow::View(View { dims: shape, index, ..view }));
            }
        }
        Ok(())
    }

    /// The places of elements along the axes of a shape.
    fn places(&mut self, axes: &[Vec<usize>]) -> Outcome<Vec<u32>> {
        let count = axes.iter().try_fold(1_usize, |all, axis| all.checked_mul(axis.len()));
        let count = count.ok_or("its output is too large")?;
        self.charge(count)?;
        Ok(walk(axes))
    }

    /// Takes off what lists of places need.
    fn charge_axes(&mut self, shape: &[usize]) -> Outcome {
        // No data stands against the other axes of an empty constant.
        if shape.contains(&0) && shape.iter().any(|&size| size > LONGEST_OF_EMPTY) {
            return Err(format!("a constant of the shape {shape:?} is empty"));
        }
        self.charge(shape.iter().sum())
    }

    /// The places along each axis of a shape.
    fn along(&mut self, shape: &[usize]) -> Outcome<Vec<Vec<usize>>> {
        self.charge_axes(shape)?;
        Ok(shape.iter().zip(strides(shape)).map(|(&size, stride)| steps(size, stride)).collect())
    }

    pub fn identity(&mut self, site: Site<'m>) -> Outcome {
        let flow = self.flow(site, 0)?;
        self.set(site, flow);
        Ok(())
    }

    pub fn dropout(&mut self, site: Site<'m>) -> Outcome {
        if let Some(training) = self.constant(site, 2, "training_mode")?
            && !matches!(&training.numbers, Numbers::Bool(values) if values.as_slice() == [false])
        {
            return Err("it is in training mode: export the model for inference".into());
        }
        self.identity(site)
    }

    pub fn reshape(&mut self, site: Site<'m>) -> Outcome {
        let flow = self.flow(site, 0)?;
        let target = self.constant(site, 1, "shape")?.ok_or("its shape is missing")?;
        let target = target.extents()?;
        let zeros = site.int_or("allowzero", 0)? != 0;
        let shape = match &flow {
            Flow::Constant(constant) => {
                let own: Vec<Extent> = constant.shape.iter().map(|&dim| Extent::Known(dim as i64)).collect();
                let shape = resolve(&own, &target, zeros, None)?;
                if shape.iter().product::<usize>() != constant.len() {
                    return Err(format!("the shape {:?} cannot become {shape:?}", constant.shape));
                }
                shape
            }
            Flow::View(view) => {
                let dims = view.dims.iter().map(|&dim| Extent::Known(dim as i64));
                let own: Vec<Extent> = std::iter::once(Extent::Batch).chain(dims).collect();
                resolve(&own, &target, zeros, self.batch)?
            }
        };
        self.moved(site, flow, shape, None)
    }

    pub fn flatten(&mut self, site: Site<'m>) -> Outcome {
        let flow = self.flow(site, 0)?;
        let given = site.int_or("axis", 1)?;
        let of = |rank: usize| {
            if given == rank as i64 { Ok(rank) } else { axis_of(given, rank) }
        };
        let shape = match &flow {
            Flow::Constant(constant) => {
                let (front, back) = constant.shape.split_at(of(constant.shape.len())?);
                vec![front.iter().product(), back.iter().product()]
            }
            Flow::View(view) => {
                let axis = of(view.dims.len() + 1)?.checked_sub(1).ok_or(MIXES)?;
                let (front, back) = view.dims.split_at(axis);
                if front.iter().any(|&dim| dim != 1) {
                    return Err(MIXES.into());
                }
                vec![back.iter().product()]
            }
        };
        self.moved(site, flow, shape, None)
    }

    pub fn transpose(&mut self, site: Site<'m>) -> Outcome {
        let flow = self.flow(site, 0)?;
        let batch = usize::from(matches!(flow, Flow::View(_)));
        let shape = match &flow {
            Flow::Constant(constant) => constant.shape.clone(),
            Flow::View(view) => view.dims.clone(),
        };
        let rank = shape.len() + batch;
        let order = match site.ints("perm")? {
            Some(order) => order.iter().map(|&axis| axis_of(axis, rank)).collect::<Outcome<Vec<_>>>()?,
            None => (0..rank).rev().collect(),
        };
        let mut sorted = order.clone();
        sorted.sort_unstable();
        if !sorted.iter().copied().eq(0..rank) {
            return Err(format!("its perm {order:?} is not an order of {rank} axes"));
        }
        if batch == 1 && order.first() != Some(&0) {
            return Err(MIXES.into());
        }
        let order: Vec<usize> = order.into_iter().skip(batch).map(|axis| axis - batch).collect();
        let own = self.along(&shape)?;
        let axes: Vec<Vec<usize>> = order.iter().map(|&axis| own[axis].clone()).collect();
        let index = self.places(&axes)?;
        self.moved(site, flow, order.iter().map(|&axis| shape[axis]).collect(), Some(index))
    }

    /// The axes of Squeeze and Unsqueeze: an attribute until opset 12, an input since.
    fn axes(&mut self, site: Site<'m>) -> Outcome<Option<Vec<i64>>> {
        match (site.ints("axes")?, self.constant(site, 1, "axes")?) {
            (Some(axes), _) => Ok(Some(axes.to_vec())),
            (None, Some(axes)) => Ok(Some(axes.known()?)),
            (None, None) => Ok(None),
        }
    }

    pub fn squeeze(&mut self, site: Site<'m>) -> Outcome {
        let flow = self.flow(site, 0)?;
        let axes = self.axes(site)?;
        let (shape, batch) = match &flow {
            Flow::Constant(constant) => (&constant.shape, 0),
            Flow::View(view) => (&view.dims, 1),
        };
        let rank = shape.len() + batch;
        let axes = match axes {
            Some(axes) => axes.iter().map(|&axis| axis_of(axis, rank)).collect::<Outcome<Vec<_>>>()?,
            None if batch == 1 && self.batch == Some(1) => {
                return Err("it would leave out the batch too: name its axes".into());
            }
            None => (batch..rank).filter(|&axis| shape[axis - batch] == 1).collect(),
        };
        if let Some(axis) = axes.iter().find(|&&axis| axis < batch || shape[axis - batch] != 1) {
            return Err(if *axis < batch {
                MIXES.into()
            } else {
                format!("axis {axis} is {}, not 1", shape[axis - batch])
            });
        }
        let left =
            (batch..rank).filter(|axis| !axes.contains(axis)).map(|axis| shape[axis - batch]).collect();
        self.moved(site, flow, left, None)
    }

    pub fn unsqueeze(&mut self, site: Site<'m>) -> Outcome {
        let flow = self.flow(site, 0)?;
        let axes = self.axes(site)?.ok_or("its axes are missing")?;
        let (shape, batch) = match &flow {
            Flow::Constant(constant) => (&constant.shape, 0),
            Flow::View(view) => (&view.dims, 1),
        };
        let rank = shape.len() + batch + axes.len();
        let axes = axes.iter().map(|&axis| axis_of(axis, rank)).collect::<Outcome<Vec<_>>>()?;
        if batch == 1 && axes.contains(&0) {
            return Err(MIXES.into());
        }
        let mut left = shape.iter();
        let mut new = Vec::with_capacity(rank);
        for axis in batch..rank {
            new.push(if axes.contains(&axis) { 1 } else { *left.next().ok_or("its axes repeat")? });
        }
        if left.next().is_some() {
            return Err("its axes repeat".into());
        }
        self.moved(site, flow, new, None)
    }

    /// Takes places along an axis, and gives that axis the shape `into`.
    fn take(
        &mut self,
        site: Site<'m>,
        flow: Flow,
        taken: &[(usize, Vec<usize>)],
        into: Option<Vec<usize>>,
    ) -> Outcome {
        let batch = usize::from(matches!(flow, Flow::View(_)));
        let shape = match &flow {
            Flow::Constant(constant) => &constant.shape,
            Flow::View(view) => &view.dims,
        };
        let mut axes = self.along(shape)?;
        for (axis, places) in taken {
            let axis = axis.checked_sub(batch).ok_or(MIXES)?;
            axes[axis] = places.iter().map(|&place| axes[axis][place]).collect();
        }
        let mut new: Vec<usize> = axes.iter().map(Vec::len).collect();
        if let (Some(into), Some((axis, _))) = (into, taken.first()) {
            new.splice(axis - batch..=axis - batch, into);
        }
        let index = self.places(&axes)?;
        self.moved(site, flow, new, Some(index))
    }

    pub fn gather(&mut self, site: Site<'m>) -> Outcome {
        let flow = self.flow(site, 0)?;
        let indices = self.constant(site, 1, "indices")?.ok_or("its indices are missing")?;
        let (shape, batch) = match &flow {
            Flow::Constant(constant) => (&constant.shape, 0),
            Flow::View(view) => (&view.dims, 1),
        };
        let axis = axis_of(site.int_or("axis", 0)?, shape.len() + batch)?;
        let size = shape[axis.checked_sub(batch).ok_or(MIXES)?];
        let places = indices.known()?;
        let places = places.iter().map(|&place| axis_of(place, size)).collect::<Outcome<Vec<_>>>()?;
        self.take(site, flow, &[(axis, places)], Some(indices.shape.clone()))
    }

    pub fn slice(&mut self, site: Site<'m>) -> Outcome {
        let flow = self.flow(site, 0)?;
        let (shape, batch) = match &flow {
            Flow::Constant(constant) => (constant.shape.clone(), 0),
            Flow::View(view) => (view.dims.clone(), 1),
        };
        self.charge_axes(&shape)?;
        let rank = shape.len() + batch;
        let (starts, ends, axes, jumps);
        if let (Some(from), Some(to)) = (site.ints("starts")?, site.ints("ends")?) {
            (starts, ends, jumps) = (from.to_vec(), to.to_vec(), None);
            axes = site.ints("axes")?.map(<[i64]>::to_vec);
        } else {
            starts = self.constant(site, 1, "starts")?.ok_or("its starts are missing")?.known()?;
            ends = self.constant(site, 2, "ends")?.ok_or("its ends are missing")?.known()?;
            axes = self.constant(site, 3, "axes")?.map(|axes| axes.known()).transpose()?;
            jumps = self.constant(site, 4, "steps")?.map(|steps| steps.known()).transpose()?;
        }
        let axes = axes.unwrap_or_else(|| (0..starts.len() as i64).collect());
        let jumps = jumps.unwrap_or_else(|| vec![1; starts.len()]);
        if [ends.len(), axes.len(), jumps.len()] != [starts.len(); 3] {
            return Err("its starts, ends, axes and steps are not as many".into());
        }
        let mut taken = Vec::new();
        for (((axis, start), end), jump) in axes.into_iter().zip(starts).zip(ends).zip(jumps) {
            let axis = axis_of(axis, rank)?;
            let size = shape[axis.checked_sub(batch).ok_or(MIXES)?] as i64;
            let place = |at: i64, low: i64, high: i64| {
                if at < 0 { at.saturating_add(size) } else { at }.clamp(low, high)
            };
            let mut places = Vec::new();
            match jump {
                0 => return Err("a step is 0".into()),
                1.. => {
                    let (mut at, end) = (place(start, 0, size), place(end, 0, size));
                    while at < end {
                        places.push(at as usize);
                        at = at.saturating_add(jump);
                    }
                }
                _ => {
                    let (mut at, end) = (place(start, -1, size - 1), place(end, -1, size - 1));
                    while at > end {
                        places.push(at as usize);
                        at = at.saturating_add(jump);
                    }
                }
            }
            taken.push((axis, places));
        }
        self.take(site, flow, &taken, None)
    }

    pub fn concat(&mut self, site: Site<'m>) -> Outcome {
        let flows = (0..site.node.inputs.len()).map(|at| self.flow(site, at)).collect::<Outcome<Vec<_>>>()?;
        let axis = site.int("axis")?.ok_or("its axis is missing")?;
        let constants: Vec<Rc<Constant>> = flows
            .iter()
            .filter_map(|flow| match flow {
                Flow::Constant(constant) => Some(constant.clone()),
                Flow::View(_) => None,
            })
            .collect();
        if constants.len() == flows.len() {
            return self.concat_constants(site, axis, &constants);
        }
        if !constants.is_empty() {
            return Err("it joins a constant to values of the input, which is not supported".into());
        }
        let views: Vec<View> = flows
            .into_iter()
            .filter_map(|flow| match flow {
                Flow::View(view) => Some(view),
                Flow::Constant(_) => None,
            })
            .collect();
        let first = views.first().ok_or("it has no inputs")?;
        let axis = axis_of(axis, first.dims.len() + 1)?.checked_sub(1).ok_or(MIXES)?;
        let (element, unsigned) = (self.values[first.value].element, first.unsigned);
        if element == Element::I32 {
            return Err("it is not supported for 32-bit integers".into());
        }
        let (mut dims, mut inputs, mut base) = (first.dims.clone(), Vec::new(), 0);
        dims[axis] = 0;
        let mut sources = Vec::new();
        for view in &views {
            let mut same = view.dims.clone();
            let size = same.get(axis).copied().unwrap_or(0);
            if let Some(dim) = same.get_mut(axis) {
                *dim = dims[axis];
            }
            if same != dims || self.values[view.value].element != element || view.unsigned != unsigned {
                return Err(format!("values of {:?} and {:?} do not fit each other", first.dims, view.dims));
            }
            dims[axis] += size;
            inputs.push(view.value);
            sources.push((view, base, size * dims[axis + 1..].iter().product::<usize>()));
            base += self.values[view.value].elements();
        }
        let count = elements(&dims)?;
        if base > u32::MAX as usize {
            return Err("its inputs are too large".into());
        }
        self.charge(count)?;
        let mut index = Vec::with_capacity(count);
        for outer in 0..dims[..axis].iter().product() {
            for (view, base, run) in &sources {
                let own = outer * run..(outer + 1) * run;
                index.extend(own.map(|at| {
                    let at = view.index.as_ref().map_or(at, |index| index[at] as usize);
                    (base + at) as u32
                }));
            }
        }
        let value = self.finish_node(site, inputs, Op::Gather { index }, dims.clone(), element)?;
        self.set(site, Flow::View(View { value, dims, index: None, unsigned }));
        Ok(())
    }

    fn concat_constants(&mut self, site: Site<'m>, axis: i64, constants: &[Rc<Constant>]) -> Outcome {
        let first = constants.first().ok_or("it has no inputs")?;
        let axis = axis_of(axis, first.shape.len())?;
        // Shapes are all that has to be joined; floats come along for little.
        if constants.iter().all(|constant| matches!(constant.numbers, Numbers::Int64(_) | Numbers::Int32(_)))
        {
            if first.shape.len() != 1 || constants.iter().any(|constant| constant.shape.len() != 1) {
                return Err("it joins constants of several axes, which is not supported".into());
            }
            let all =
                constants.iter().map(|constant| constant.extents()).collect::<Outcome<Vec<_>>>()?.concat();
            self.charge(all.len())?;
            self.set_constant(site, Constant::ints(all));
            return Ok(());
        }
        if axis != 0 || constants.iter().any(|constant| constant.shape.get(1..) != first.shape.get(1..)) {
            return Err("it joins constants along an axis behind the first, which is not supported".into());
        }
        let mut all = Vec::new();
        let mut rows = 0;
        for constant in constants {
            self.charge(constant.len())?;
            all.extend_from_slice(constant.floats()?);
            rows += constant.shape.first().copied().unwrap_or(0);
        }
        let mut shape = first.shape.clone();
        shape[0] = rows;
        self.set_constant(site, Constant::of(shape, Numbers::Float(all)));
        Ok(())
    }

    pub fn shape(&mut self, site: Site<'m>) -> Outcome {
        let all: Vec<Extent> = match self.flow(site, 0)? {
            Flow::Constant(constant) => constant.shape.iter().map(|&dim| Extent::Known(dim as i64)).collect(),
            Flow::View(view) => {
                let dims = view.dims.iter().map(|&dim| Extent::Known(dim as i64));
                std::iter::once(Extent::Batch).chain(dims).collect()
            }
        };
        let rank = all.len() as i64;
        let place = |at: i64| if at < 0 { at.saturating_add(rank) } else { at }.clamp(0, rank) as usize;
        let (start, end) = (place(site.int_or("start", 0)?), place(site.int_or("end", rank)?));
        let part = all.get(start..end.max(start)).unwrap_or(&[]);
        self.set_constant(site, Constant::ints(part.to_vec()));
        Ok(())
    }

    pub fn constant_of_shape(&mut self, site: Site<'m>) -> Outcome {
        let shape = self.constant(site, 0, "shape")?.ok_or("its shape is missing")?.known()?;
        let shape =
            shape.iter().map(|&dim| usize::try_from(dim).map_err(|_| format!("a dimension is {dim}")));
        let shape = shape.collect::<Outcome<Vec<usize>>>()?;
        let count = elements(&shape)?;
        self.charge(count)?;
        let one = match site.node.attribute("value") {
            Some(crate::io::onnx::Attribute::Tensor(tensor)) => Constant::read(tensor)?,
            _ => Constant::of(vec![1], Numbers::Float(vec![0.0])),
        };
        if one.len() != 1 {
            return Err("its value is not one number".into());
        }
        let filled = one.select(shape, &vec![0; count]);
        self.set_constant(site, filled);
        Ok(())
    }
}

/// The shape that Reshape makes of `own`. That of a value begins with the batch, which is left out of the result; `fixed`
/// is the batch's size, if the model has it.
fn resolve(own: &[Extent], target: &[Extent], zeros: bool, fixed: Option<usize>) -> Outcome<Vec<usize>> {
    let batched = own.first() == Some(&Extent::Batch);
    let count = |dims: &[Extent]| {
        let mut all = 1_usize;
        for dim in dims {
            if let Extent::Known(dim) = dim {
                all = usize::try_from(*dim).ok().and_then(|dim| all.checked_mul(dim))?;
            }
        }
        Some(all)
    };
    let mut dims = Vec::with_capacity(target.len());
    let mut rest = None;
    for (axis, &dim) in target.iter().enumerate() {
        dims.push(match dim {
            Extent::Known(0) if !zeros => *own
                .get(axis)
                .ok_or_else(|| format!("dimension {axis} of its shape is 0, and the input has none"))?,
            Extent::Known(-1) if rest.replace(axis).is_some() => return Err("its shape has -1 twice".into()),
            Extent::Known(-1) => Extent::Known(1),
            Extent::Known(dim) if dim < 0 => return Err(format!("its shape has the dimension {dim}")),
            // A fixed batch is written as a number.
            Extent::Known(dim) if batched && axis == 0 && usize::try_from(dim).ok() == fixed => Extent::Batch,
            dim => dim,
        });
    }
    let total = count(own).ok_or("its input is too large")?;
    let given = count(&dims).ok_or("its shape is too large")?;
    if let Some(axis) = rest {
        let holds_batch = dims.iter().enumerate().any(|(at, &dim)| at != axis && dim == Extent::Batch);
        let cannot = || format!("{total} elements of an example cannot be laid out as {target:?}");
        dims[axis] = if batched && !holds_batch {
            // What is left has to be the batch and nothing else.
            if given != total {
                return Err(MIXES.into());
            }
            Extent::Batch
        } else {
            let left = total.checked_div(given).filter(|left| left * given == total).ok_or_else(cannot)?;
            Extent::Known(left as i64)
        };
    }
    if batched && (dims.first() != Some(&Extent::Batch) || dims[1..].contains(&Extent::Batch)) {
        return Err(MIXES.into());
    }
    if !batched && dims.contains(&Extent::Batch) {
        return Err("the size of the batch is used where a known number is needed".into());
    }
    let known = dims.iter().skip(usize::from(batched)).map(|dim| match dim {
        Extent::Known(dim) => *dim as usize,
        Extent::Batch => 1,
    });
    let shape: Vec<usize> = known.collect();
    if batched && shape.iter().try_fold(1_usize, |all, &dim| all.checked_mul(dim)) != Some(total) {
        return Err(format!("{total} elements of an example cannot be laid out as {shape:?}"));
    }
    Ok(shape)
}
