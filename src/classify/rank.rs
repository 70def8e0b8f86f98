//! Host of `rank`: where each score lies among others, for the area under a ROC curve.

use crate::gpu::{Bound, Buffer, Context, Kernel, Recorder, Spec, Work, params, to_u32};
use crate::kmeans::radix_sort::RadixSort;
use crate::{Error, Result};

/// The shader.
pub const SPEC: Spec = Spec::new("classify/rank");

params! {
    struct RankParams {
        rows: u32,
        others: u32,
    }
}

/// The compiled kernel.
#[derive(Debug)]
pub struct Rank(Kernel<RankParams>);

impl Rank {
    /// Compiles it.
    pub fn load(gpu: &Context) -> Result<Self> {
        Kernel::load(gpu, &SPEC).map(Self)
    }

    /// Binds `counts[i] = #{j: sorted[j] < keys[i]} + #{j: sorted[j] <= keys[i]}`.
    pub fn bind(&self, gpu: &Context, keys: &Buffer, sorted: &Buffer, counts: &Buffer) -> Result<Bound> {
        let (rows, others) = (keys.rows(), sorted.rows());
        if others >= 1 << 31 {
            return Err(Error::Input(format!(
                "there are {others} scores to count; fewer than 2^31 can be counted"
            )));
        }
        let params = RankParams {
            rows: to_u32(rows, "the number of scores")?,
            others: to_u32(others, "the number of scores")?,
        };
        let steps = u64::from(u64::BITS - others.leading_zeros());
        let work = Work { bytes: 4 * (2 * rows + others), ops: 2 * rows * steps };
        self.0.bind(gpu, &[("keys", keys), ("sorted", sorted), ("counts", counts)], params, work)
    }
}

/// The number whose order is the score's; both zeros have the same.
pub fn key(score: f32) -> u32 {
    // Adding 0 turns -0 into 0.
    let bits = (score + 0.0).to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

/// For each of `x`, how many of `others` are less, and how many less or equal, added up: what
/// [`crate::oracle::rank::rank`] gives, for [`crate::audit::Counts`].
///
/// # Errors
/// [`Error::Input`] if a score is NaN; the device's.
pub fn counts(gpu: &Context, x: &[f32], others: &[f32]) -> Result<Vec<u32>> {
    if x.iter().chain(others).any(|score| score.is_nan()) {
        return Err(Error::NotFinite("a score is NaN: it has no rank".into()));
    }
    if x.is_empty() || others.is_empty() {
        return Ok(vec![0; x.len()]);
    }
    let upload = |label: &str, scores: &[f32]| {
        let keys: Vec<u32> = scores.iter().map(|&score| key(score)).collect();
        Buffer::from_slice(gpu, label, keys.len() as u64, &keys)
    };
    let (keys, others) = (upload("keys", x)?, upload("others", others)?);
    let counts = Buffer::new(gpu, "counts", keys.rows(), 4)?;
    let (sorter, rank) = (RadixSort::load(gpu)?, Rank::load(gpu)?);
    let scratch = sorter.scratch(gpu, others.rows())?;
    let sort = sorter.bind(gpu, &others, None, u32::BITS, &scratch)?;
    let bound = rank.bind(gpu, &keys, sort.keys, &counts)?;
    Recorder::run(gpu, sort.passes.iter().chain([&bound]))?;
    counts.read(gpu)
}
