//! Gemm, MatMul and Conv: everything that becomes [`Op::Dense`].

use super::constant::{Codes, Constant, elements, expansion, pick, steps, walk};
use super::{Flow, Lowering, MIXES, Outcome, Site, View, natural};
use crate::network::{Dense, Element, Op, QuantizedWeights, Window};

/// A product with a constant matrix as a convolution of one place.
pub struct Product {
    /// Its input.
    pub value: usize,
    /// Rows of the matrix: channels of the output.
    pub out: usize,
    /// The elements of the constant as `[out, in]`.
    pub weights: Vec<u32>,
    /// The output's shape.
    pub shape: Vec<usize>,
    /// The output as ONNX sees it: dimensions, and the order of elements.
    pub dims: Vec<usize>,
    pub index: Option<Vec<u32>>,
}

/// The weights `[out, …]` as integers, if each channel has one scale and one zero point.
fn quantized(codes: Option<&Codes>, out: usize) -> Option<QuantizedWeights> {
    let codes = codes?;
    let each = codes.codes.len() / out;
    let (mut scale, mut zero) = (Vec::with_capacity(out), Vec::with_capacity(out));
    for (scales, zeros) in codes.scale.chunks_exact(each).zip(codes.zero.chunks_exact(each)) {
        let same = scales.iter().all(|s| s == &scales[0]) && zeros.iter().all(|z| z == &zeros[0]);
        if !same {
            return None;
        }
        scale.push(scales[0]);
        zero.push(zeros[0]);
    }
    let bytes = codes.codes.iter().map(|&code| i8::try_from(code).ok()).collect::<Option<_>>()?;
    Some(QuantizedWeights { codes: bytes, scale, zero })
}

impl<'m> Lowering<'m> {
    /// How `view` is multiplied by a constant matrix, which is the left operand or the right one.
    pub fn product(
        &mut self,
        site: Site<'m>,
        at: usize,
        view: &View,
        matrix: &[usize],
        left: bool,
    ) -> Outcome<Product> {
        let misfit = || {
            format!("a value of [batch, {:?}] and a constant of {matrix:?} cannot be multiplied", view.dims)
        };
        let (rank, own) = (view.dims.len() + 1, matrix.len());
        let leading = matrix.get(..own.saturating_sub(2)).unwrap_or(&[]);
        if own == 0 || own > rank.max(2) || leading.iter().any(|&dim| dim != 1) {
            return Err(format!("{}: one matrix for all is supported", misfit()));
        }
        elements(matrix)?;
        self.charge(elements(&view.dims)?)?;
        if !left {
            let (inner, out) = if own == 1 { (matrix[0], 1) } else { (matrix[own - 2], matrix[own - 1]) };
            let Some((&last, lead)) = view.dims.split_last().filter(|(last, _)| **last == inner) else {
                return Err(misfit());
            };
            let places: usize = lead.iter().product();
            let weights = walk(&[steps(out, 1), steps(inner, out)]);
            let dims: Vec<usize> = lead.iter().copied().chain((own > 1).then_some(out)).collect();
            elements(&dims)?;
            if places == 1 {
                let value = self.lay(site, &format!("in{at}"), view, vec![last], None)?;
                return Ok(Product { value, out, weights, shape: vec![out], dims, index: None });
            }
            let index = walk(&[steps(inner, 1), steps(places, inner)]);
            let value = self.lay(site, &format!("in{at}"), view, vec![inner, places], Some(index))?;
            self.charge(places * out)?;
            let index = Some(walk(&[steps(places, 1), steps(out, places)]));
            return Ok(Product { value, out, weights, shape: vec![out, places], dims, index });
        }
        let [lead @ .., inner, columns] = view.dims.as_slice() else { return Err(MIXES.into()) };
        let (out, wanted) = if own == 1 { (1, matrix[0]) } else { (matrix[own - 2], matrix[own - 1]) };
        if wanted != *inner {
            return Err(misfit());
        }
        let (groups, inner, columns) = (lead.iter().product::<usize>(), *inner, *columns);
        let dims: Vec<usize> =
            lead.iter().copied().chain((own > 1).then_some(out)).chain([columns]).collect();
        elements(&dims)?;
        let weights: Vec<u32> = (0..(out * inner) as u32).collect();
        let (before, after) = if groups == 1 {
            (None, None)
        } else {
            self.charge(groups * columns * out)?;
            let before = [steps(inner, columns), steps(groups, inner * columns), steps(columns, 1)];
            let after = [steps(groups, columns), steps(out, groups * columns), steps(columns, 1)];
            (Some(walk(&before)), Some(walk(&after)))
        };
        let value = self.lay(site, &format!("in{at}"), view, vec![inner, groups * columns], before)?;
        Ok(Product { value, out, weights, shape: vec![out, groups * columns], dims, index: after })
    }

    /// Adds the layer of a product, and gives its result to the node's output.
    pub fn finish_product(
        &mut self,
        site: Site<'m>,
        product: Product,
        op: Op,
        element: Element,
        unsigned: bool,
    ) -> Outcome<usize> {
        let Product { value, shape, dims, index, .. } = product;
        let part = if index.is_some() { "channels" } else { "" };
        // The shape of ONNX where the elements lie in its order: `[out]` may be one of `[1, out]`.
        let shape = if index.is_none() && natural(&dims)[0] == shape[0] { natural(&dims) } else { shape };
        let value = self.emit(site, part, vec![value], op, shape, element)?;
        self.set(site, Flow::View(View { value, dims, index: index.map(Into::into), unsigned }));
        Ok(value)
    }

    pub fn matmul(&mut self, site: Site<'m>) -> Outcome {
        let (at, constant) = match (self.flow(site, 0)?, self.flow(site, 1)?) {
            (Flow::View(_), Flow::Constant(constant)) => (0, constant),
            (Flow::Constant(constant), Flow::View(_)) => (1, constant),
            (Flow::View(_), Flow::View(_)) => {
                return Err("both its inputs depend on the input; one has to be a constant".into());
            }
            (Flow::Constant(_), Flow::Constant(_)) => {
                return Err("both its inputs are constants: fold them (onnxsim)".into());
            }
        };
        let view = self.view(site, at, Element::F32)?;
        constant.floats()?;
        let product = self.product(site, at, &view, &constant.shape, at == 1)?;
        let matrix = constant.select(vec![], &product.weights);
        let dense = Dense {
            quantized: quantized(matrix.codes.as_ref(), product.out),
            weights: matrix.floats()?.to_vec(),
            bias: vec![0.0; product.out],
            window: Window::POINT,
            groups: 1,
        };
        self.finish_product(site, product, Op::Dense(dense), Element::F32, false)?;
        Ok(())
    }

    pub fn gemm(&mut self, site: Site<'m>) -> Outcome {
        let view = self.view(site, 0, Element::F32)?;
        let constant = self.constant(site, 1, "B")?.ok_or("its B is missing")?;
        let (alpha, beta) = (site.float_or("alpha", 1.0)?, site.float_or("beta", 1.0)?);
        if site.int_or("transA", 0)? != 0 {
            return Err(MIXES.into());
        }
        let ([inner], [rows, columns]) = (view.dims.as_slice(), constant.shape.as_slice()) else {
            return Err(format!(
                "values of [batch, {:?}] and {:?} are not matrices",
                view.dims, constant.shape
            ));
        };
        let (rows, columns) = (*rows, *columns);
        elements(&constant.shape)?;
        let (wanted, out, index) = if site.int_or("transB", 0)? != 0 {
            (columns, rows, None)
        } else {
            (rows, columns, Some(walk(&[steps(columns, 1), steps(rows, columns)])))
        };
        if wanted != *inner {
            return Err(format!("its B of {:?} does not fit an input of {inner} features", constant.shape));
        }
        let matrix = index.map(|index| constant.select(vec![], &index));
        let matrix = matrix.as_ref().unwrap_or(&constant);
        let mut weights = matrix.floats()?.to_vec();
        if alpha != 1.0 {
            weights.iter_mut().for_each(|weight| *weight *= alpha);
        }
        let quantized = quantized(matrix.codes.as_ref().filter(|_| alpha == 1.0), out);
        let third = if site.input(2).is_some() { Some(self.flow(site, 2)?) } else { None };
        let (mut bias, mut codes) = (vec![0.0; out], None);
        if let Some(Flow::Constant(third)) = &third {
            let own = third.floats()?;
            let index = expansion(&third.shape, &[1, out]);
            let index =
                index.ok_or_else(|| format!("its C of {:?} does not fit {out} outputs", third.shape))?;
            bias = pick(own, &index).iter().map(|v| v * beta).collect();
            codes = third.select(vec![], &index).codes.filter(|_| beta == 1.0);
        }
        let value = self.natural(site, 0, &view)?;
        let op = Op::Dense(Dense { weights, bias, window: Window::POINT, groups: 1, quantized });
        let Some(Flow::View(added)) = third else {
            let value = self.finish_node(site, vec![value], op, vec![out], Element::F32)?;
            self.bias_codes.extend(codes.map(|codes| (value, codes)));
            return Ok(());
        };
        if beta != 1.0 || added.dims != [out] {
            return Err(
                "its C depends on the input; it is supported with beta 1 and the output's shape".into()
            );
        }
        let added = self.view(site, 2, Element::F32)?;
        let added = self.natural(site, 2, &added)?;
        let product = self.emit(site, "product", vec![value], op, vec![out], Element::F32)?;
        let op = Op::Arithmetic(crate::network::Arithmetic::Add);
        self.finish_node(site, vec![product, added], op, vec![out], Element::F32)?;
        Ok(())
    }

    /// The checks that convolutions share: the window over the input, the output's dimensions, and groups.
    pub fn convolution(
        &mut self,
        site: Site<'m>,
        view: &View,
        weights: &Constant,
    ) -> Outcome<(Window, Vec<usize>, usize)> {
        let ([channels, dims @ ..], [out, inner, kernel @ ..]) =
            (view.dims.as_slice(), weights.shape.as_slice())
        else {
            return Err(format!(
                "values of [batch, {:?}] and {:?} cannot be convolved",
                view.dims, weights.shape
            ));
        };
        elements(&weights.shape)?;
        if kernel.len() != dims.len() {
            return Err(format!(
                "its weights {:?} do not fit values of [batch, {:?}]",
                weights.shape, view.dims
            ));
        }
        let kernel: Vec<i64> = kernel.iter().map(|&size| size as i64).collect();
        if site.ints("kernel_shape")?.is_some_and(|given| given != kernel) {
            return Err("its kernel_shape is not that of its weights".into());
        }
        let groups = usize::try_from(site.int_or("group", 1)?).ok().filter(|&groups| groups > 0);
        let groups =
            groups.filter(|&groups| inner.checked_mul(groups) == Some(*channels) && out % groups == 0);
        let Some(groups) = groups else {
            return Err(format!(
                "{channels} channels do not fit weights of {:?} in {} groups",
                weights.shape,
                site.int_or("group", 1)?
            ));
        };
        let geometry = self.geometry(site, dims, &kernel)?;
        let mut dims = vec![*out];
        dims.extend_from_slice(&geometry.out[2 - kernel.len()..]);
        elements(&dims)?;
        Ok((geometry.window, dims, groups))
    }

    pub fn conv(&mut self, site: Site<'m>) -> Outcome {
        let view = self.view(site, 0, Element::F32)?;
        let weights = self.constant(site, 1, "weights")?.ok_or("its weights are missing")?;
        let (window, dims, groups) = self.convolution(site, &view, &weights)?;
        let out = dims[0];
        let bias = self.constant(site, 2, "bias")?;
        let codes = bias.as_ref().and_then(|bias| bias.codes.clone());
        let bias = bias.map_or(Ok(vec![0.0; out]), |bias| bias.floats().map(<[f32]>::to_vec))?;
        if bias.len() != out {
            return Err(format!("its bias has {} numbers for {out} channels", bias.len()));
        }
        let value = self.natural(site, 0, &view)?;
        let quantized = quantized(weights.codes.as_ref(), out);
        let dense = Dense { weights: weights.floats()?.to_vec(), bias, window, groups, quantized };
        let value = self.finish_node(site, vec![value], Op::Dense(dense), dims, Element::F32)?;
        self.bias_codes.extend(codes.map(|codes| (value, codes)));
        Ok(())
    }
}
