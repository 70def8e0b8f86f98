//! Queries, keys and values of a model, checked.

use std::path::Path;

use crate::codec::LARGEST;
use crate::io::npy::read_tensor;
use crate::{Error, Result};

/// An array of any shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Its axes, the last one contiguous.
    pub shape: Vec<usize>,
    /// As many values as the shape says.
    pub values: Vec<f32>,
}

impl Tensor {
    /// Reads an array of any numbers (see [`crate::io::npy`]).
    ///
    /// # Errors
    /// Those of [`read_tensor`].
    pub fn read(path: &Path) -> Result<Self> {
        let (shape, values) = read_tensor(path)?;
        Ok(Self { shape, values })
    }
}

/// What a model's attention was given.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// Layers; 1 where the tensors have no such axis.
    pub layers: usize,
    /// Heads of queries: a multiple of `kv_heads`; neighbours share a head of keys and values.
    pub heads: usize,
    /// Heads of keys and values.
    pub kv_heads: usize,
    /// Tokens of the sequence: keys and values of a head.
    pub tokens: usize,
    /// Queries of a head. Fewer than tokens are those of the newest positions, where it matters which they are (a decode step,
    /// or a prompt's chunk).
    pub queries: usize,
    /// The head dimension of queries and keys.
    pub head_dim: usize,
    /// The head dimension of values.
    pub value_dim: usize,
    pub(super) q: Vec<f32>,
    pub(super) k: Vec<f32>,
    pub(super) v: Vec<f32>,
}

impl Inputs {
    /// From `[(layers,) heads, tokens, head_dim]`; keys and values may have fewer heads than queries, queries fewer tokens than
    /// keys, and values a head dimension of their own.
    ///
    /// # Errors
    /// [`Error::Input`] for shapes that disagree, and for a value that is not finite, or of keys and values above 65504, by its
    /// place.
    pub fn new(q: Tensor, k: Tensor, v: Tensor) -> Result<Self> {
        Self::named(["q", "k", "v"].map(String::from), q, k, v)
    }

    /// Reads the three of them from files, as [`Tensor::read`].
    ///
    /// # Errors
    /// Those of [`Tensor::read`] and of [`Inputs::new`], with the names of the files.
    pub fn read(q: &Path, k: &Path, v: &Path) -> Result<Self> {
        let names = [q, k, v].map(|path| path.display().to_string());
        Self::named(names, Tensor::read(q)?, Tensor::read(k)?, Tensor::read(v)?)
    }

    fn named(names: [String; 3], q: Tensor, k: Tensor, v: Tensor) -> Result<Self> {
        let [q_name, k_name, v_name] = &names;
        let mut shapes = Vec::new();
        for (name, tensor) in names.iter().zip([&q, &k, &v]) {
            let product = tensor.shape.iter().try_fold(1usize, |product, &n| product.checked_mul(n));
            let sized = product == Some(tensor.values.len()) && product != Some(0);
            shapes.push(match *tensor.shape {
                [heads, tokens, dim] if sized => [1, heads, tokens, dim],
                [layers, heads, tokens, dim] if sized => [layers, heads, tokens, dim],
                _ => {
                    return Err(Error::Input(format!(
                        "{name}: its shape is {:?}, with {} values; expected [heads, tokens, head_dim] or [layers, heads, \
                         tokens, head_dim]",
                        tensor.shape,
                        tensor.values.len()
                    )));
                }
            });
        }
        let [[layers, heads, queries, head_dim], of_keys, of_values] = [shapes[0], shapes[1], shapes[2]];
        let ([_, kv_heads, tokens, _], value_dim) = (of_keys, of_values[3]);
        let wanted = if of_keys[..3] != of_values[..3] {
            "keys and values have as many layers, heads and tokens"
        } else if [of_keys[0], of_keys[3]] != [layers, head_dim] {
            "queries have as many layers as keys, and their head dimension"
        } else if !heads.is_multiple_of(kv_heads) {
            "the heads of queries are a multiple of those of keys"
        } else {
            ""
        };
        if !wanted.is_empty() {
            return Err(Error::Shape(format!(
                "{q_name} {:?}, {k_name} {:?} and {v_name} {:?} do not fit together: {wanted}",
                q.shape, k.shape, v.shape
            )));
        }
        // What is larger no type holds: scales are f16 too.
        let most = [f32::MAX, LARGEST, LARGEST];
        for (((name, most), tensor), [_, heads, tokens, dim]) in
            names.iter().zip(most).zip([&q, &k, &v]).zip(shapes)
        {
            if let Some(at) = tensor.values.iter().position(|x| x.is_nan() || x.abs() > most) {
                let (head, place) = (at / (tokens * dim), at % (tokens * dim));
                let limit = if most < f32::MAX { ", at most 65504, the largest that f16 holds" } else { "" };
                return Err(Error::NotFinite(format!(
                    "{name}: layer {}, head {}, token {}, channel {} is {}; expected finite values{limit}",
                    head / heads,
                    head % heads,
                    place / dim,
                    place % dim,
                    tensor.values[at]
                )));
            }
        }
        let (q, k, v) = (q.values, k.values, v.values);
        Ok(Self { layers, heads, kv_heads, tokens, queries, head_dim, value_dim, q, k, v })
    }
}
