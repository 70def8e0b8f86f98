//! Host of `extent`: the least and the largest activation, over any number of batches.

use super::layout::Layout;
use crate::Result;
use crate::gpu::{Bound, Buffer, Context, Kernel, Spec, Work, params, to_u32};
use crate::network::Element;

const FILE: Spec = Spec::new("classify/extent");

/// From one row for each workgroup to thousands.
pub const VARIANTS: &[Spec] = &[
    FILE.overrides(&[("ROWS_PER_GROUP", 1.0)]),
    FILE.overrides(&[("ROWS_PER_GROUP", 8.0)]),
    FILE.overrides(&[("ROWS_PER_GROUP", 64.0)]),
    FILE.overrides(&[("ROWS_PER_GROUP", 512.0)]),
    FILE.overrides(&[("ROWS_PER_GROUP", 4096.0)]),
];

/// What the state is before the first batch: least and largest key, and how many values are not finite.
pub const START: [u32; 3] = [u32::MAX, 0, 0];

params! {
    struct ExtentParams {
        rows: u32,
        words: u32,
        channels: u32,
    }
}

/// Of `variants` from one row for each workgroup to thousands, the one whose workgroups take about 4,096 words:
/// enough to outweigh what each adds to the whole, few enough for many groups.
pub(crate) fn choose(layout: Layout, variants: &[Spec]) -> &Spec {
    let place = [2049, 257, 33, 5].partition_point(|&words| layout.words() < words);
    &variants[place.min(variants.len() - 1)]
}

/// The compiled kernel.
#[derive(Debug)]
pub struct Extent(Kernel<ExtentParams>);

impl Extent {
    /// Compiles `spec`.
    pub fn load(gpu: &Context, spec: &Spec) -> Result<Self> {
        Kernel::load(gpu, spec).map(Self)
    }

    /// Binds the taking of the first `rows` rows of `x` into `state`, which is `[3]` and begins as [`START`].
    ///
    /// # Errors
    /// [`crate::Error::Binding`] where a buffer does not fit.
    pub fn bind(
        &self,
        gpu: &Context,
        x: &Buffer,
        rows: u64,
        layout: Layout,
        state: &Buffer,
    ) -> Result<Bound> {
        let params = ExtentParams {
            rows: to_u32(rows, "the number of rows")?,
            words: to_u32(layout.words(), "the words of a row")?,
            channels: to_u32(layout.channels, "the number of channels")?,
        };
        let work =
            Work { bytes: rows * layout.row_bytes(Element::F32), ops: 2 * rows * layout.elements() as u64 };
        self.0.bind(gpu, &[("x", x), ("state", state)], params, work)
    }
}

/// The value of a key: keys are whole numbers in the order of the values.
pub fn value_of(key: u32) -> f32 {
    f32::from_bits(if key >> 31 == 1 { key ^ (1 << 31) } else { !key })
}
