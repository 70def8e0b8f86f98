//! Host of `dequantize`: quantized weights as f32.

use super::Weights;
use crate::Result;
use crate::gpu::{Bound, Buffer, Context, Kernel, Spec, Work, params, to_u32};

/// The shader, for either kind of wide load.
pub const VARIANTS: &[Spec] = &[
    Spec::new("matmul/dequantize").slot("wide", "lib/wide32"),
    Spec::new("matmul/dequantize").slot("wide", "lib/wide64"),
];

params! {
    struct DequantizeParams {
        rows: u32,
        cols: u32,
        pairs: u32,
    }
}

/// The compiled kernel, for one format.
#[derive(Debug)]
pub struct Dequantize(Kernel<DequantizeParams>);

impl Dequantize {
    /// Compiles `spec`, with the decoder of the weights in its slot `format`.
    pub fn load(gpu: &Context, spec: &Spec) -> Result<Self> {
        Kernel::load(gpu, spec).map(Self)
    }

    /// Binds `values[row, k] = weights[row, k]`; `values` is `[rows, cols]`.
    pub fn bind(&self, gpu: &Context, weights: &Weights, values: &Buffer) -> Result<Bound> {
        let params = DequantizeParams {
            rows: to_u32(weights.rows, "the number of rows")?,
            cols: to_u32(weights.cols, "the number of columns")?,
            pairs: to_u32(weights.pairs(), "the number of pairs")?,
        };
        let count = weights.rows * weights.cols;
        let work = Work { bytes: weights.bytes() + 4 * count, ops: 2 * count };
        let mut buffers = weights.buffers();
        buffers.push(("weights", values));
        self.0.bind(gpu, &buffers, params, work)
    }
}
