//! Host of `average_pool`: the mean of each window, in f32.

use super::layout::{examples, variant};
use super::pooling::Pooling;
use crate::Result;
use crate::gpu::{Bound, Buffer, Context, Kernel, Spec, Work, params, to_u32};

/// The shader, for examples of many words and of few.
pub const VARIANTS: &[Spec; 2] = &examples(Spec::new("classify/average_pool"));

params! {
    struct AveragePoolParams {
        rows: u32,
        c4: u32,
        height: u32,
        width: u32,
        out_height: u32,
        out_width: u32,
        kernel_y: u32,
        kernel_x: u32,
        stride_y: u32,
        stride_x: u32,
        dilation_y: u32,
        dilation_x: u32,
        pad_y: u32,
        pad_x: u32,
        include_pad: u32,
    }
}

/// The variant for `pooling`.
pub fn spec(pooling: &Pooling) -> Spec {
    variant(VARIANTS, pooling.output_layout().words())
}

/// The compiled kernel.
#[derive(Debug)]
pub struct AveragePool(Kernel<AveragePoolParams>);

impl AveragePool {
    /// Compiles `spec`.
    pub fn load(gpu: &Context, spec: &Spec) -> Result<Self> {
        Kernel::load(gpu, spec).map(Self)
    }

    /// Binds `y = average_pool(x)`; both have a row for each example. With `include_pad`, padding counts as zeros.
    ///
    /// # Errors
    /// [`crate::Error::Input`] where a window sees nothing but padding that does not count.
    pub fn bind(
        &self,
        gpu: &Context,
        x: &Buffer,
        y: &Buffer,
        pooling: &Pooling,
        include_pad: bool,
    ) -> Result<Bound> {
        pooling.check("average_pool", !include_pad)?;
        let [c4, height, width, out_height, out_width, kernel_y, kernel_x, rest @ ..] = pooling.sizes()?;
        let [stride_y, stride_x, dilation_y, dilation_x, pad_y, pad_x] = rest;
        let params = AveragePoolParams {
            rows: to_u32(y.rows(), "the number of examples")?,
            c4,
            height,
            width,
            out_height,
            out_width,
            kernel_y,
            kernel_x,
            stride_y,
            stride_x,
            dilation_y,
            dilation_x,
            pad_y,
            pad_x,
            include_pad: u32::from(include_pad),
        };
        let work = Work { bytes: x.bytes() + y.bytes(), ops: pooling.ops(y.rows()) };
        self.0.bind(gpu, &[("x", x), ("y", y)], params, work)
    }
}
