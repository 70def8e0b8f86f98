//! Host of `activation`: the columns that weights are multiplied with, in the order that products read them in.

use std::sync::OnceLock;

use super::{PAD_COLUMNS, row_scale};
use crate::format::planes::PAIR;
use crate::gpu::{Bound, Buffer, Context, Kernel, Recorder, Spec, Work, params, to_u32};
use crate::{Error, Result};

/// To int8 with a scale for 32.
pub const INTEGER: Spec = Spec::new("matmul/activation").slot("wide", "lib/wide32");
/// To three digits of int8 with a scale for 32.
pub const FIXED: Spec = Spec::new("matmul/activation_fixed").slot("wide", "lib/wide32");
/// To f32 in the order of a plane.
pub const FLOAT: Spec = Spec::new("matmul/activation_float").slot("wide", "lib/wide32");

params! {
    struct ActivationParams {
        rows: u32,
        first_row: u32,
        n: u32,
        cols: u32,
        pairs: u32,
    }
}

/// Columns of activations on the device, `[n, cols]`: what is laid out or quantized of them once serves every product.
#[derive(Debug)]
pub struct Activations {
    /// The number of columns.
    pub n: u64,
    /// The length of each.
    pub cols: u64,
    values: Buffer,
    finite: bool,
    float: OnceLock<Buffer>,
    scales: OnceLock<Buffer>,
    integer: OnceLock<(Buffer, Buffer)>,
    fixed: OnceLock<(Buffer, Buffer)>,
}

impl Activations {
    /// Uploads `n` columns of `cols` values each, one after the other.
    ///
    /// # Errors
    /// [`Error::Shape`] for no values, or unequal columns; the device's.
    pub fn upload(gpu: &Context, values: &[f32], cols: usize) -> Result<Self> {
        if cols == 0 || values.is_empty() || !values.len().is_multiple_of(cols) {
            return Err(Error::Shape(format!("{} activations are no columns of {cols}", values.len())));
        }
        let n = (values.len() / cols) as u64;
        Ok(Self {
            n,
            cols: cols as u64,
            values: Buffer::from_slice(gpu, "activations", n, values)?,
            finite: values.iter().all(|x| x.is_finite()),
            float: OnceLock::new(),
            scales: OnceLock::new(),
            integer: OnceLock::new(),
            fixed: OnceLock::new(),
        })
    }

    /// Whether none of them is infinite or no number: what int8 codes, fixed point and scaled f16 can stand for.
    pub fn are_finite(&self) -> bool {
        self.finite
    }

    /// Columns with those that pad them.
    #[doc(hidden)]
    pub fn padded(&self) -> u64 {
        self.n.next_multiple_of(PAD_COLUMNS)
    }

    fn pairs(&self) -> u64 {
        self.cols.div_ceil(PAIR as u64)
    }

    /// `[padded, pairs * 16]` wide words of f32.
    #[doc(hidden)]
    pub fn float(&self, gpu: &Context) -> Result<&Buffer> {
        if self.float.get().is_none() {
            let wide = Buffer::new(gpu, "activation plane", self.padded(), self.pairs() * 256)?;
            Recorder::run(gpu, [&self.bind_float(gpu, &wide)?])?;
            let _ = self.float.set(wide);
        }
        self.float.get().ok_or_else(|| Error::Input("the activations were not laid out".into()))
    }

    /// `[padded]` powers of two that bring the columns into the range of f16.
    #[doc(hidden)]
    pub fn scales(&self, gpu: &Context) -> Result<&Buffer> {
        if self.scales.get().is_none() {
            let scales = Buffer::new(gpu, "column scales", self.padded(), 4)?;
            // Columns lie as rows of the format F32 do.
            row_scale::fill(gpu, "format/f32", &[("codes", self.float(gpu)?)], self.pairs(), &scales)?;
            let _ = self.scales.set(scales);
        }
        self.scales.get().ok_or_else(|| Error::Input("the activations were not measured".into()))
    }

    /// `[padded, pairs * 4]` wide words of int8, and `[padded, pairs]` of scales and sums.
    #[doc(hidden)]
    pub fn integer(&self, gpu: &Context) -> Result<(&Buffer, &Buffer)> {
        if self.integer.get().is_none() {
            let codes = Buffer::new(gpu, "activation codes", self.padded(), self.pairs() * 64)?;
            let scales = Buffer::new(gpu, "activation scales", self.padded(), self.pairs() * 16)?;
            Recorder::run(gpu, [&self.bind_integer(gpu, &codes, &scales)?])?;
            let _ = self.integer.set((codes, scales));
        }
        let both = self.integer.get().map(|(codes, scales)| (codes, scales));
        both.ok_or_else(|| Error::Input("the activations were not quantized".into()))
    }

    /// `[padded, pairs * 12]` wide words of digits, and `[padded, pairs * 2]` of scales and sums.
    #[doc(hidden)]
    pub fn fixed(&self, gpu: &Context) -> Result<(&Buffer, &Buffer)> {
        if self.fixed.get().is_none() {
            let digits = Buffer::new(gpu, "activation digits", self.padded(), self.pairs() * 192)?;
            let scales = Buffer::new(gpu, "activation scales", self.padded(), self.pairs() * 32)?;
            Recorder::run(gpu, [&self.bind_fixed(gpu, &digits, &scales)?])?;
            let _ = self.fixed.set((digits, scales));
        }
        let both = self.fixed.get().map(|(digits, scales)| (digits, scales));
        both.ok_or_else(|| Error::Input("the activations were not brought to fixed point".into()))
    }

    /// Binds the kernel behind [`Self::float`].
    #[doc(hidden)]
    pub fn bind_float(&self, gpu: &Context, wide: &Buffer) -> Result<Bound> {
        let work = Work { bytes: 4 * self.n * self.cols + wide.bytes(), ops: 0 };
        Kernel::load(gpu, &FLOAT)?.bind(
            gpu,
            &[("values", &self.values), ("wide", wide)],
            self.params()?,
            work,
        )
    }

    /// Binds the kernel behind [`Self::integer`].
    #[doc(hidden)]
    pub fn bind_integer(&self, gpu: &Context, codes: &Buffer, scales: &Buffer) -> Result<Bound> {
        let values = self.n * self.cols;
        let work = Work { bytes: 4 * values + codes.bytes() + scales.bytes(), ops: 4 * values };
        Kernel::load(gpu, &INTEGER)?.bind(
            gpu,
            &[("values", &self.values), ("codes", codes), ("scales", scales)],
            self.params()?,
            work,
        )
    }

    /// Binds the kernel behind [`Self::fixed`].
    #[doc(hidden)]
    pub fn bind_fixed(&self, gpu: &Context, digits: &Buffer, scales: &Buffer) -> Result<Bound> {
        let values = self.n * self.cols;
        let work = Work { bytes: 4 * values + digits.bytes() + scales.bytes(), ops: 4 * values };
        Kernel::load(gpu, &FIXED)?.bind(
            gpu,
            &[("values", &self.values), ("digits", digits), ("scales", scales)],
            self.params()?,
            work,
        )
    }

    fn params(&self) -> Result<ActivationParams> {
        Ok(ActivationParams {
            rows: to_u32(self.padded(), "the number of columns")?,
            first_row: 0,
            n: to_u32(self.n, "the number of columns")?,
            cols: to_u32(self.cols, "the length of a column")?,
            pairs: to_u32(self.pairs(), "the number of pairs")?,
        })
    }
}
