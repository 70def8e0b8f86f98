//! Constants while a model is lowered, and the arithmetic of shapes.

use crate::io::onnx::{Data, MAX_RANK, Tensor};

/// The most elements of one example's value.
pub const MAX_ELEMENTS: usize = 1 << 24;

/// A number of a shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// The number of examples, which each run has anew.
    Batch,
    /// Any other.
    Known(i64),
}

/// The elements of a constant.
#[derive(Clone, Debug)]
pub enum Numbers {
    Float(Vec<f32>),
    Int8(Vec<i8>),
    Uint8(Vec<u8>),
    Int32(Vec<i32>),
    Int64(Vec<Extent>),
    Bool(Vec<bool>),
}

/// What floats were before DequantizeLinear: `value = (code - zero) * scale`, each as many as there are floats. Of uint8,
/// 128 has been taken off codes and zeros.
#[derive(Clone, Debug)]
pub struct Codes {
    pub codes: Vec<i32>,
    pub scale: Vec<f32>,
    pub zero: Vec<i32>,
}

/// Something that does not depend on the input.
#[derive(Clone, Debug)]
pub struct Constant {
    pub shape: Vec<usize>,
    pub numbers: Numbers,
    pub codes: Option<Codes>,
}

pub fn pick<T: Copy>(values: &[T], index: &[u32]) -> Vec<T> {
    index.iter().map(|&from| values[from as usize]).collect()
}

impl Constant {
    pub fn of(shape: Vec<usize>, numbers: Numbers) -> Self {
        Self { shape, numbers, codes: None }
    }

    pub fn ints(values: Vec<Extent>) -> Self {
        Self::of(vec![values.len()], Numbers::Int64(values))
    }

    /// A tensor of the file; `Err` names a type that is not read.
    pub fn read(tensor: &Tensor) -> Result<Self, String> {
        let numbers = match &tensor.data {
            Data::Float(v) => Numbers::Float(v.clone()),
            Data::Int8(v) => Numbers::Int8(v.clone()),
            Data::Uint8(v) => Numbers::Uint8(v.clone()),
            Data::Int32(v) => Numbers::Int32(v.clone()),
            Data::Int64(v) => Numbers::Int64(v.iter().map(|&v| Extent::Known(v)).collect()),
            Data::Bool(v) => Numbers::Bool(v.clone()),
            Data::Unread(kind) => return Err(kind.to_string()),
        };
        Ok(Self::of(tensor.shape.clone(), numbers))
    }

    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// The elements with these places, in another shape.
    pub fn select(&self, shape: Vec<usize>, index: &[u32]) -> Self {
        let numbers = match &self.numbers {
            Numbers::Float(v) => Numbers::Float(pick(v, index)),
            Numbers::Int8(v) => Numbers::Int8(pick(v, index)),
            Numbers::Uint8(v) => Numbers::Uint8(pick(v, index)),
            Numbers::Int32(v) => Numbers::Int32(pick(v, index)),
            Numbers::Int64(v) => Numbers::Int64(pick(v, index)),
            Numbers::Bool(v) => Numbers::Bool(pick(v, index)),
        };
        let codes = self.codes.as_ref().map(|all| Codes {
            codes: pick(&all.codes, index),
            scale: pick(&all.scale, index),
            zero: pick(&all.zero, index),
        });
        Self { shape, numbers, codes }
    }

    pub fn floats(&self) -> Result<&[f32], String> {
        match &self.numbers {
            Numbers::Float(values) => Ok(values),
            other => Err(format!("a constant is of {}, where floats are needed", other.kind())),
        }
    }

    /// Integers of shapes and axes.
    pub fn extents(&self) -> Result<Vec<Extent>, String> {
        match &self.numbers {
            Numbers::Int64(values) => Ok(values.clone()),
            Numbers::Int32(values) => Ok(values.iter().map(|&v| Extent::Known(v.into())).collect()),
            other => Err(format!("a constant is of {}, where integers are needed", other.kind())),
        }
    }

    /// Integers that have nothing to do with the batch.
    pub fn known(&self) -> Result<Vec<i64>, String> {
        let known = |extent| match extent {
            Extent::Known(value) => Ok(value),
            Extent::Batch => Err("the size of the batch is used where a known number is needed".to_owned()),
        };
        self.extents()?.into_iter().map(known).collect()
    }

    /// Bytes as signed ones, and whether 128 was taken off them.
    pub fn bytes(&self) -> Result<(Vec<i8>, bool), String> {
        match &self.numbers {
            Numbers::Int8(values) => Ok((values.clone(), false)),
            Numbers::Uint8(values) => Ok((values.iter().map(|&v| (v ^ 0x80) as i8).collect(), true)),
            other => Err(format!("a constant is of {}, where int8 or uint8 is needed", other.kind())),
        }
    }
}

impl Numbers {
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Float(_) => "float",
            Self::Int8(_) => "int8",
            Self::Uint8(_) => "uint8",
            Self::Int32(_) => "int32",
            Self::Int64(_) => "int64",
            Self::Bool(_) => "bool",
        }
    }
}

/// The number of elements, if it is neither 0 nor too large.
pub fn elements(shape: &[usize]) -> Result<usize, String> {
    let all = shape.iter().try_fold(1_usize, |all, &dim| all.checked_mul(dim));
    match all {
        _ if shape.len() > MAX_RANK => Err(format!("a value has {} axes; {MAX_RANK} can be", shape.len())),
        Some(0) => Err(format!("a value of the shape {shape:?} is empty")),
        Some(all) if all <= MAX_ELEMENTS => Ok(all),
        _ => Err(format!(
            "a value has the shape {shape:?} for each example; at most {MAX_ELEMENTS} elements can be"
        )),
    }
}

/// The distance of neighbours along each axis.
pub fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    strides
}

/// For each axis of a new shape the distances of its places: the places of all its elements.
pub fn walk(axes: &[Vec<usize>]) -> Vec<u32> {
    if axes.iter().any(Vec::is_empty) {
        return Vec::new();
    }
    let mut places = vec![0_u32];
    for axis in axes {
        if axis.as_slice() == [0] {
            continue;
        }
        places = places.iter().flat_map(|&at| axis.iter().map(move |&step| at + step as u32)).collect();
    }
    places
}

/// `0, stride, 2 stride, …`
pub fn steps(count: usize, stride: usize) -> Vec<usize> {
    (0..count).map(|i| i * stride).collect()
}

/// Where the elements of `shape` go when it is expanded to `to`, by the rules of numpy; nothing if it does not fit.
pub fn expansion(shape: &[usize], to: &[usize]) -> Option<Vec<u32>> {
    let extra = shape.len().saturating_sub(to.len());
    let (leading, own) = shape.split_at(extra);
    if leading.iter().any(|&dim| dim != 1) {
        return None;
    }
    let first = to.len() - own.len();
    let strides = strides(own);
    let mut axes = Vec::with_capacity(to.len());
    for (axis, &size) in to.iter().enumerate() {
        let dim = axis.checked_sub(first).map_or(1, |at| own[at]);
        axes.push(match dim {
            1 => vec![0; size],
            dim if dim == size => steps(size, strides[axis - first]),
            _ => return None,
        });
    }
    Some(walk(&axes))
}
