//! Host of `max_pool`: the largest element of each window.

use super::layout::{element_file, examples, variant};
use super::pooling::Pooling;
use crate::Result;
use crate::gpu::{Bound, Buffer, Context, Kernel, Spec, Work, params, to_u32};
use crate::network::Element;

/// The shader, for examples of many words and of few; the slot `element` is open.
pub const VARIANTS: &[Spec; 2] = &examples(Spec::new("classify/max_pool"));

params! {
    struct MaxPoolParams {
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
    }
}

/// The variant for `pooling` of `element`s.
///
/// # Errors
/// [`crate::Error::Input`] for I32.
pub fn spec(pooling: &Pooling, element: Element) -> Result<Spec> {
    let file = element_file("max_pool", element)?;
    Ok(variant(VARIANTS, pooling.output_layout().words()).slot("element", file))
}

/// The compiled kernel, for one type of elements.
#[derive(Debug)]
pub struct MaxPool(Kernel<MaxPoolParams>);

impl MaxPool {
    /// Compiles `spec`.
    pub fn load(gpu: &Context, spec: &Spec) -> Result<Self> {
        Kernel::load(gpu, spec).map(Self)
    }

    /// Binds `y = max_pool(x)`; both have a row for each example.
    ///
    /// # Errors
    /// [`crate::Error::Input`] where a window sees nothing but padding.
    pub fn bind(&self, gpu: &Context, x: &Buffer, y: &Buffer, pooling: &Pooling) -> Result<Bound> {
        pooling.check("max_pool", true)?;
        let [c4, height, width, out_height, out_width, kernel_y, kernel_x, rest @ ..] = pooling.sizes()?;
        let [stride_y, stride_x, dilation_y, dilation_x, pad_y, pad_x] = rest;
        let params = MaxPoolParams {
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
        };
        let work = Work { bytes: x.bytes() + y.bytes(), ops: pooling.ops(y.rows()) };
        self.0.bind(gpu, &[("x", x), ("y", y)], params, work)
    }
}
