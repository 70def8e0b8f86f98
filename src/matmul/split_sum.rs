//! Host of `split_sum`: products whose tiles are few, shared by several workgroups each, and the sum of what these leave.

use super::Operands;
use crate::format::planes::PAIR;
use crate::gpu::{Bound, Buffer, Context, Kernel, Reflection, Spec, Work, params, to_u32};
use crate::{Error, Result};

const FOUR: Spec = Spec::new("matmul/split_sum");

/// One for each number of splits that a product has: no two do the same.
pub const VARIANTS: &[Spec] = &[FOUR, FOUR.consts(&[("SPLITS", 16)])];

params! {
    struct SplitSumParams {
        rows: u32,
        n: u32,
    }
}

/// A product that is bound.
#[derive(Debug)]
pub struct Passes {
    /// What runs, in order.
    pub all: Vec<Bound>,
    /// `[rows, splits, n]` of the first one, where a second one adds them up.
    pub sums: Option<Buffer>,
}

impl From<Bound> for Passes {
    fn from(one: Bound) -> Self {
        Self { all: vec![one], sums: None }
    }
}

/// The compiled kernel, for a number of splits.
#[derive(Debug)]
pub struct SplitSum(Kernel<SplitSumParams>, u64);

impl SplitSum {
    /// Compiles the one of [`VARIANTS`] that adds up so many.
    ///
    /// # Errors
    /// [`Error::Input`] for a number that there is none for.
    pub fn load(gpu: &Context, splits: u64) -> Result<Self> {
        let spec = VARIANTS.iter().find(|spec| added(spec) == splits);
        let spec = spec.ok_or_else(|| Error::Input(format!("nothing adds up {splits} splits")))?;
        Ok(Self(Kernel::load(gpu, spec)?, splits))
    }

    /// Binds `y[row, column] = sum_s sums[row, s, column]`; `sums` is `[rows, splits, n]`, and `y` `[rows, n]`.
    pub fn bind(&self, gpu: &Context, sums: &Buffer, y: &Buffer, n: u64) -> Result<Bound> {
        let params = SplitSumParams {
            rows: to_u32(y.rows(), "the number of rows")?,
            n: to_u32(n, "the number of columns")?,
        };
        let work = Work { bytes: sums.bytes() + y.bytes(), ops: self.1 * y.rows() * n };
        self.0.bind(gpu, &[("sums", sums), ("y", y)], params, work)
    }
}

/// How many splits one of [`VARIANTS`] adds up.
pub fn added(spec: &Spec) -> u64 {
    set(spec).unwrap_or(4)
}

/// Into how many splits a variant of a product cuts it.
pub fn splits(spec: &Spec) -> u64 {
    set(spec).unwrap_or(1)
}

fn set(spec: &Spec) -> Option<u64> {
    spec.consts.iter().find(|(name, _)| *name == "SPLITS").map(|&(_, value)| u64::from(value))
}

/// Binds a product as `shader` cuts it: `bind` with the buffer that it writes, which is y itself where there is one split.
pub(super) fn around(
    gpu: &Context,
    shader: &Reflection,
    on: &Operands<'_>,
    bind: impl FnOnce(&Buffer) -> Result<Bound>,
) -> Result<Passes> {
    let splits = u64::from(shader.groups_per_tile.unwrap_or(1));
    if splits == 1 {
        return bind(on.y).map(Passes::from);
    }
    let sums = Buffer::new(gpu, "sums of splits", on.weights.rows, 4 * splits * on.x.n)?;
    let add = SplitSum::load(gpu, splits)?;
    Ok(Passes { all: vec![bind(&sums)?, add.bind(gpu, &sums, on.y, on.x.n)?], sums: Some(sums) })
}

/// Lanes of all workgroups that fill a large device: more splits only cost memory.
const MOST_LANES: u64 = 768 * 64;
/// Pairs of a split, of which fewer cost less than what is left of them does to add up.
const LEAST_PAIRS: u64 = 4;

/// Whether it may be worth it that `spec`, with a decoder in its slot, cuts a product of `[m, k]` weights and `n` columns as it does.
///
/// # Errors
/// [`Error::Shader`] for one that does not assemble.
pub fn pays(spec: &Spec, [m, k, n]: [u64; 3]) -> Result<bool> {
    let splits = splits(spec);
    if splits == 1 || k.div_ceil(PAIR as u64) < LEAST_PAIRS * splits {
        return Ok(splits == 1);
    }
    let shader = Reflection::of(spec)?;
    let tiles = |count: u64, per: Option<u32>| count.div_ceil(per.unwrap_or(1).into());
    let groups = [tiles(m, shader.rows_per_group), tiles(n, shader.columns_per_group), splits];
    let lanes = shader.workgroup.map(u64::from).into_iter().chain(groups).fold(1, u64::saturating_mul);
    Ok(lanes <= MOST_LANES)
}

/// Those of `list` that may be worth it.
///
/// # Errors
/// Those of [`pays`].
pub fn paying(list: &[Spec], shape: [u64; 3]) -> Result<Vec<Spec>> {
    let pays = |spec: &Spec| pays(spec, shape).map(|pays| pays.then_some(*spec)).transpose();
    list.iter().filter_map(pays).collect()
}
