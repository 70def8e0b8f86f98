//! Operators of bytes: QuantizeLinear, DequantizeLinear, and products in integers.

use super::constant::{Codes, Constant, Numbers, elements, steps, strides, walk};
use super::{Flow, Lowering, Outcome, Site, View, axis_of};
use crate::io::onnx::DataType;
use crate::network::{Affine, Element, Integer, Op, Output, Window};

impl<'m> Lowering<'m> {
    /// Scales and zero points, and whether these are of uint8, of which 128 has been taken off. `known` is what the
    /// bytes themselves are, where there are bytes.
    fn affine(&mut self, site: Site<'m>, at: usize, known: Option<bool>) -> Outcome<(Affine, bool)> {
        let scale = self.constant(site, at, "scale")?.ok_or("its scale is missing")?;
        let scale = scale.floats()?.to_vec();
        if scale.is_empty() || scale.iter().any(|scale| !(scale.is_finite() && *scale > 0.0)) {
            return Err("its scale is not positive and finite".into());
        }
        let (zero, unsigned) = match self.constant(site, at + 1, "zero point")? {
            Some(zero) => {
                let (zero, unsigned) = zero.bytes()?;
                (zero.into_iter().map(i32::from).collect(), unsigned)
            }
            None => {
                let unsigned = known.unwrap_or(true);
                (vec![if unsigned { -128 } else { 0 }; scale.len()], unsigned)
            }
        };
        if zero.len() != scale.len() {
            return Err(format!("it has {} scales and {} zero points", scale.len(), zero.len()));
        }
        if known.is_some_and(|known| known != unsigned) {
            return Err("its zero point is not of the type of its input".into());
        }
        Ok((Affine { scale, zero }, unsigned))
    }

    /// As `affine`, for one scale.
    fn affine_of_all(&mut self, site: Site<'m>, at: usize, known: Option<bool>) -> Outcome<(f32, i32, bool)> {
        match self.affine(site, at, known)? {
            (Affine { scale, zero }, unsigned) if scale.len() == 1 => Ok((scale[0], zero[0], unsigned)),
            (Affine { scale, .. }, _) => {
                Err(format!("its input {at} has {} scales; activations have one", scale.len()))
            }
        }
    }

    /// Checks that scales are for the channels of a value.
    fn check_axis(site: Site<'m>, affine: &Affine, dims: &[usize]) -> Outcome {
        if site.int_or("block_size", 0)? != 0 {
            return Err("scales of blocks are not supported for what depends on the input".into());
        }
        if affine.scale.len() == 1 {
            return Ok(());
        }
        let axis = axis_of(site.int_or("axis", 1)?, dims.len() + 1)?;
        if axis != 1 || dims.first() != Some(&affine.scale.len()) {
            return Err(format!(
                "its {} scales along axis {axis} are not for the channels of a value of [batch, {dims:?}]",
                affine.scale.len()
            ));
        }
        Ok(())
    }

    /// Which scale each element of a constant has.
    fn scale_of(&mut self, site: Site<'m>, shape: &[usize], scales: usize) -> Outcome<Vec<u32>> {
        if site.int_or("block_size", 0)? != 0 {
            return Err("scales of blocks are not supported".into());
        }
        let count = elements(shape)?;
        self.charge(count)?;
        if scales == 1 {
            return Ok(vec![0; count]);
        }
        let axis = axis_of(site.int_or("axis", 1)?, shape.len())?;
        if shape[axis] != scales {
            return Err(format!("it has {scales} scales for an axis of {}", shape[axis]));
        }
        let axes: Vec<Vec<usize>> = strides(shape)
            .iter()
            .zip(shape)
            .enumerate()
            .map(|(at, (_, &size))| steps(size, usize::from(at == axis)))
            .collect();
        Ok(walk(&axes))
    }

    pub fn quantize(&mut self, site: Site<'m>) -> Outcome {
        let known = match site.int("output_dtype")?.filter(|_| site.input(2).is_none()) {
            None | Some(0) => None,
            Some(kind) => match DataType::by_number(kind) {
                DataType::Int8 => Some(false),
                DataType::Uint8 => Some(true),
                other => return Err(format!("it makes {other}; int8 and uint8 are supported")),
            },
        };
        let (affine, unsigned) = self.affine(site, 1, known)?;
        if let Flow::Constant(constant) = self.flow(site, 0)? {
            let places = self.scale_of(site, &constant.shape, affine.scale.len())?;
            let codes = constant.floats()?.iter().zip(places).map(|(value, at)| {
                let code = (value / affine.scale[at as usize]).round_ties_even() as i32;
                code.saturating_add(affine.zero[at as usize]).clamp(-128, 127) as i8
            });
            let codes: Vec<i8> = codes.collect();
            let numbers = if unsigned {
                Numbers::Uint8(codes.into_iter().map(|code| code as u8 ^ 0x80).collect())
            } else {
                Numbers::Int8(codes)
            };
            self.set_constant(site, Constant::of(constant.shape.clone(), numbers));
            return Ok(());
        }
        let view = self.view(site, 0, Element::F32)?;
        if affine.scale.iter().any(|scale| (1.0 / scale).is_infinite()) {
            return Err("its scale is too small for a float of 32 bits".into());
        }
        Self::check_axis(site, &affine, &view.dims)?;
        if affine.scale.len() == 1 {
            return self.single(site, view, Op::Quantize(affine), Element::I8, unsigned);
        }
        let value = self.natural(site, 0, &view)?;
        let value =
            self.finish_node(site, vec![value], Op::Quantize(affine), view.dims.clone(), Element::I8)?;
        self.set(site, Flow::View(View { value, dims: view.dims, index: None, unsigned }));
        Ok(())
    }

    pub fn dequantize(&mut self, site: Site<'m>) -> Outcome {
        if let Flow::Constant(constant) = self.flow(site, 0)? {
            return self.dequantize_constant(site, &constant);
        }
        let view = self.view(site, 0, Element::I8)?;
        let (affine, _) = self.affine(site, 1, Some(view.unsigned))?;
        Self::check_axis(site, &affine, &view.dims)?;
        if affine.scale.len() == 1 {
            return self.single(site, view, Op::Dequantize(affine), Element::F32, false);
        }
        let value = self.natural(site, 0, &view)?;
        self.finish_node(site, vec![value], Op::Dequantize(affine), view.dims, Element::F32)?;
        Ok(())
    }

    fn dequantize_constant(&mut self, site: Site<'m>, constant: &Constant) -> Outcome {
        let scale = self.constant(site, 1, "scale")?.ok_or("its scale is missing")?;
        let scale = scale.floats()?;
        let (codes, zero): (Vec<i32>, Vec<i32>) = if let Numbers::Int32(codes) = &constant.numbers {
            let zero = match self.constant(site, 2, "zero point")? {
                None => vec![0; scale.len()],
                Some(zero) => match &zero.numbers {
                    Numbers::Int32(zero) => zero.clone(),
                    other => {
                        return Err(format!("its zero point is of {}, its input of int32", other.kind()));
                    }
                },
            };
            (codes.clone(), zero)
        } else {
            let (codes, unsigned) = constant.bytes()?;
            let (affine, _) = self.affine(site, 1, Some(unsigned))?;
            (codes.into_iter().map(i32::from).collect(), affine.zero)
        };
        if zero.len() != scale.len() || scale.is_empty() {
            return Err(format!("it has {} scales and {} zero points", scale.len(), zero.len()));
        }
        let places = self.scale_of(site, &constant.shape, scale.len())?;
        let scales = super::constant::pick(scale, &places);
        let zeros = super::constant::pick(&zero, &places);
        let all = codes.iter().zip(&zeros).zip(&scales);
        let floats = all.map(|((&code, &zero), &scale)| (i64::from(code) - i64::from(zero)) as f32 * scale);
        let numbers = Numbers::Float(floats.collect());
        let codes = Some(Codes { codes, scale: scales, zero: zeros });
        self.set_constant(site, Constant { shape: constant.shape.clone(), numbers, codes });
        Ok(())
    }

    /// One number for each of `out` channels.
    fn each<T: Copy>(numbers: &[T], out: usize, what: &str) -> Outcome<Vec<T>> {
        match numbers {
            [one] => Ok(vec![*one; out]),
            all if all.len() == out => Ok(all.to_vec()),
            all => Err(format!("it has {} {what} for {out} channels", all.len())),
        }
    }

    fn checked(integer: Integer) -> Outcome<Op> {
        if integer.fits() { Ok(Op::Integer(integer)) } else { Err("its sums do not fit 32 bits".into()) }
    }

    /// What becomes of the sum: by the scales of input and weights, and of the output, which is input `at`.
    fn requantized(
        &mut self,
        site: Site<'m>,
        at: usize,
        input: f32,
        weights: &[f32],
    ) -> Outcome<(Output, bool)> {
        let (out, zero, unsigned) = self.affine_of_all(site, at, None)?;
        let scale = weights.iter().map(|&w| (f64::from(input) * f64::from(w) / f64::from(out)) as f32);
        let scale: Vec<f32> = scale.collect();
        if scale.iter().any(|scale| !(scale.is_finite() && *scale > 0.0)) {
            return Err("its scales are too far apart for a float of 32 bits".into());
        }
        Ok((Output::Requantized { scale, zero, low: -128, high: 127 }, unsigned))
    }

    pub fn qlinear_conv(&mut self, site: Site<'m>) -> Outcome {
        let view = self.view(site, 0, Element::I8)?;
        let (input_scale, input_zero, _) = self.affine_of_all(site, 1, Some(view.unsigned))?;
        let constant = self.constant(site, 3, "weights")?.ok_or("its weights are missing")?;
        let (weights, unsigned) = constant.bytes()?;
        let (affine, _) = self.affine(site, 4, Some(unsigned))?;
        let (window, dims, groups) = self.convolution(site, &view, &constant)?;
        let out = dims[0];
        let bias = match self.constant(site, 8, "bias")? {
            None => vec![0; out],
            Some(bias) => match &bias.numbers {
                Numbers::Int32(bias) if bias.len() == out => bias.clone(),
                _ => return Err(format!("its bias is not {out} numbers of int32")),
            },
        };
        let weight_zero = Self::each(&affine.zero, out, "zero points")?;
        let scale = Self::each(&affine.scale, out, "scales")?;
        let (output, unsigned) = self.requantized(site, 6, input_scale, &scale)?;
        let op = Self::checked(Integer {
            weights,
            weight_zero,
            input_zero,
            bias,
            window,
            groups,
            register: 32,
            output,
        })?;
        let value = self.natural(site, 0, &view)?;
        let value = self.finish_node(site, vec![value], op, dims.clone(), Element::I8)?;
        self.set(site, Flow::View(View { value, dims, index: None, unsigned }));
        Ok(())
    }

    pub fn qlinear_matmul(&mut self, site: Site<'m>) -> Outcome {
        let view = self.view(site, 0, Element::I8)?;
        let (input_scale, input_zero, _) = self.affine_of_all(site, 1, Some(view.unsigned))?;
        let constant = self.constant(site, 3, "second matrix")?.ok_or("its second matrix is missing")?;
        let (bytes, unsigned) = constant.bytes()?;
        let (affine, _) = self.affine(site, 4, Some(unsigned))?;
        let product = self.product(site, 0, &view, &constant.shape, false)?;
        let weight_zero = Self::each(&affine.zero, product.out, "zero points")?;
        let scale = Self::each(&affine.scale, product.out, "scales")?;
        let (output, unsigned) = self.requantized(site, 6, input_scale, &scale)?;
        let op = Self::checked(Integer {
            weights: super::constant::pick(&bytes, &product.weights),
            weight_zero,
            input_zero,
            bias: vec![0; product.out],
            window: Window::POINT,
            groups: 1,
            register: 32,
            output,
        })?;
        self.finish_product(site, product, op, Element::I8, unsigned)?;
        Ok(())
    }

    pub fn matmul_integer(&mut self, site: Site<'m>) -> Outcome {
        let view = self.view(site, 0, Element::I8)?;
        let constant = self.constant(site, 1, "second matrix")?.ok_or("its second matrix is missing")?;
        let (bytes, unsigned) = constant.bytes()?;
        let mut zeros = |at: usize, of_unsigned: bool| match self.constant(site, at, "zero point")? {
            None => Ok(vec![if of_unsigned { -128 } else { 0 }]),
            Some(zero) => match zero.bytes()? {
                (zero, kind) if kind == of_unsigned => Ok(zero.into_iter().map(i32::from).collect()),
                _ => Err("its zero point is not of the type of its input".to_owned()),
            },
        };
        let (input_zero, weight_zero) = (zeros(2, view.unsigned)?, zeros(3, unsigned)?);
        let [input_zero] = *input_zero.as_slice() else {
            return Err("its input has several zero points; one is supported".into());
        };
        let product = self.product(site, 0, &view, &constant.shape, false)?;
        let op = Self::checked(Integer {
            weights: super::constant::pick(&bytes, &product.weights),
            weight_zero: Self::each(&weight_zero, product.out, "zero points")?,
            input_zero,
            bias: vec![0; product.out],
            window: Window::POINT,
            groups: 1,
            register: 32,
            output: Output::Sum,
        })?;
        self.finish_product(site, product, op, Element::I32, false)?;
        Ok(())
    }
}
