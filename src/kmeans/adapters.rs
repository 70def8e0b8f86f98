//! A clustering on several adapters: each has a run of neighbouring points, and the loop over them. Their sums are added
//! up on the host; the first adapter makes the means of them, and all others take its centroids.
//!
//! Sums and labels are exact, so the result is that of any of them alone, to the bit.

use super::centroid::{add_step, read_step};
use super::frame::Transform;
use super::iterate::Lloyd;
use super::labeller::{Labeller, Reranked};
use super::points::{Points, Room};
use super::source::Source;
use super::views::Window;
use crate::feed::fault;
use crate::gpu::Context;
use crate::{Error, Result};

/// The points of one adapter.
pub struct Part<'a> {
    /// The adapter.
    pub gpu: &'a Context,
    window: Window<'a>,
    weights: Option<&'a [f32]>,
}

/// An equal share of the rows for each adapter, in their order; of fewer rows than adapters, one for each of the first.
pub fn share<'a>(
    gpus: &[&'a Context],
    source: &'a dyn Source,
    weights: Option<&'a [f32]>,
) -> Result<Vec<Part<'a>>> {
    let (n, most) = (source.rows(), gpus.len() as u64);
    if most == 0 {
        return Err(Error::Input("there is no adapter to cluster on: give at least one".into()));
    }
    let parts = most.min(n).max(1);
    let bound = |i: u64| (u128::from(n) * u128::from(i) / u128::from(parts)) as u64;
    let part = |(i, &gpu): (u64, &&'a Context)| {
        let rows = bound(i)..bound(i + 1);
        let weights = weights.and_then(|weights| weights.get(rows.start as usize..rows.end as usize));
        Part { gpu, window: Window { of: source, rows }, weights }
    };
    Ok((0..parts).zip(gpus).map(part).collect())
}

/// The adapters, as one name.
pub fn names(gpus: &[&Context]) -> String {
    gpus.iter().map(|gpu| gpu.adapter.name.as_str()).collect::<Vec<_>>().join(" + ")
}

/// Who has which points, if there are several.
pub fn notice(gpus: &[&Context], parts: &[Part<'_>]) -> Option<String> {
    if gpus.len() == 1 {
        return None;
    }
    let of = |part: &Part<'_>| format!("{} on {}", part.window.rows(), part.gpu.adapter.name);
    let mut text = format!("points: {}", parts.iter().map(of).collect::<Vec<_>>().join(", "));
    for gpu in &gpus[parts.len()..] {
        text += &format!(", none on {}", gpu.adapter.name);
    }
    Some(text)
}

/// The points of each part, on its adapter, to be labelled by `k` centroids; `square` as [`Points::within`] takes it, `room` that
/// of each.
pub fn place<'a>(
    parts: &'a [Part<'a>],
    transform: &'a Transform,
    square: Option<f64>,
    k: usize,
    room: Room,
) -> Result<Vec<Points<'a>>> {
    let place = |part: &'a Part<'a>| {
        let room = room.in_pieces(part.gpu, &part.window, transform, square, k)?;
        Points::new(part.gpu, &part.window, part.weights, transform, room)
    };
    at_once(parts, |part| Ok(place(part)?.within(square)))
}

/// Does `work` with each, all at the same time; the first error in their order counts.
pub fn at_once<'a, T: Sync, R: Send>(
    of: &'a [T],
    work: impl Fn(&'a T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    if let [one] = of {
        return Ok(vec![work(one)?]);
    }
    let work = &work;
    std::thread::scope(|scope| {
        let threads: Vec<_> = of.iter().map(|one| scope.spawn(move || work(one))).collect();
        // All are waited for before any error is returned.
        let done: Vec<Result<R>> = threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| Err(fault(&*panic))))
            .collect();
        done.into_iter().collect()
    })
}

/// What one adapter's points add to an iteration.
struct Sums {
    sums: Vec<u32>,
    counts: Vec<u32>,
    changed: u32,
}

impl<'a> Lloyd<'a> {
    /// One loop over the points of several, in their order: the first's, which asks the others for their sums.
    pub fn joined(loops: impl IntoIterator<Item = Result<Self>>) -> Result<Self> {
        let mut loops = loops.into_iter();
        let none = || Err(Error::Input("there is no adapter to cluster on: give at least one".into()));
        let mut first = loops.next().unwrap_or_else(none)?;
        first.others = loops.collect::<Result<_>>()?;
        Ok(first)
    }

    fn labellers(&self) -> Vec<&Labeller<'a>> {
        std::iter::once(&self.labeller).chain(self.others.iter().map(|other| &other.labeller)).collect()
    }

    /// Every labeller, with its first point.
    pub(super) fn placed(&self) -> impl Iterator<Item = (u64, &Labeller<'a>)> {
        self.labellers().into_iter().scan(0, |next, labeller| {
            let first = *next;
            *next += labeller.points.n();
            Some((first, labeller))
        })
    }

    /// A point's row and weight.
    pub(super) fn point(&self, point: u64) -> Result<(Vec<f32>, f32)> {
        let holds = |&(first, labeller): &(u64, &Labeller<'_>)| point - first < labeller.points.n();
        let Some((first, labeller)) = self.placed().find(holds) else {
            return Err(Error::Input(format!("there is no point {point}")));
        };
        Ok((labeller.points.row(point - first)?, labeller.points.weight(point - first)))
    }

    /// As [`Labeller::start_from`].
    pub fn start_from(&self, padded: &[f32]) -> Result<()> {
        self.labellers().into_iter().try_for_each(|labeller| labeller.start_from(padded))
    }

    /// As [`Labeller::label`].
    pub fn label(&self) -> Result<()> {
        at_once(&self.labellers(), |labeller| {
            labeller.label()?;
            labeller.gpu.wait()
        })?;
        Ok(())
    }

    /// As [`Labeller::reranked`], of all points.
    pub(super) fn reranked(&self) -> Result<Reranked> {
        reranked(self.labellers())
    }

    /// As [`Labeller::inertia`].
    pub fn inertia(&self) -> Result<f64> {
        inertia(self.labellers())
    }

    /// As [`Points::labels`].
    pub fn labels(&self) -> Result<Vec<u32>> {
        labels(self.labellers())
    }

    /// As [`Points::forget_labels`].
    pub fn forget_labels(&self) -> Result<()> {
        self.labellers().into_iter().try_for_each(|labeller| labeller.points.forget_labels(labeller.gpu))
    }

    /// An iteration up to the sums, which then are those of all points.
    pub(super) fn add_up(&self) -> Result<()> {
        let loops: Vec<&Self> = std::iter::once(self).chain(&self.others).collect();
        let each = at_once(&loops, |one| {
            let Labeller { gpu, points, changed, .. } = &one.labeller;
            points.sweep(gpu, &|chunk, block| one.passes(chunk, block), None)?;
            let changed: Vec<u32> = changed.read(gpu)?;
            Ok(Sums {
                sums: one.sums.read(gpu)?,
                counts: one.counts.read(gpu)?,
                changed: changed.iter().sum(),
            })
        })?;
        let total = each.into_iter().reduce(|mut total, one| {
            total.changed = total.changed.wrapping_add(one.changed);
            total.counts.iter_mut().zip(&one.counts).for_each(|(to, count)| *to = to.wrapping_add(*count));
            add_wholes(&mut total.sums, &one.sums);
            total
        });
        let Some(Sums { sums, counts, changed }) = total else { return Ok(()) };
        let gpu = self.labeller.gpu;
        self.sums.write(gpu, &sums)?;
        self.counts.write(gpu, &counts)?;
        self.labeller.changed.write(gpu, &[changed])
    }

    /// Gives the first adapter's centroids to the others.
    pub(super) fn pass_on(&self) -> Result<()> {
        if self.others.is_empty() {
            return Ok(());
        }
        let padded: Vec<f32> = self.labeller.centroids.read(self.labeller.gpu)?;
        self.others.iter().try_for_each(|other| other.labeller.start_from(&padded))
    }
}

/// Adds sums to others of as many words.
fn add_wholes(to: &mut [u32], from: &[u32]) {
    for (to, from) in to.chunks_exact_mut(8).zip(from.chunks_exact(8)) {
        (0..4).for_each(|low| add_step(to, low, read_step(from, low)));
    }
}

/// The inertia of all labellers' points, in their order.
pub fn inertia<'a, 'b: 'a>(of: impl IntoIterator<Item = &'a Labeller<'b>>) -> Result<f64> {
    of.into_iter().try_fold(0.0, |sum, labeller| labeller.add_inertia(sum))
}

/// How often all labellers' points were ranked again.
pub fn reranked<'a, 'b: 'a>(of: impl IntoIterator<Item = &'a Labeller<'b>>) -> Result<Reranked> {
    of.into_iter().map(Labeller::reranked).sum()
}

/// The labels of all labellers' points, in their order.
pub fn labels<'a, 'b: 'a>(of: impl IntoIterator<Item = &'a Labeller<'b>>) -> Result<Vec<u32>> {
    let mut all: Vec<u32> = Vec::new();
    for labeller in of {
        let own = labeller.points.labels(labeller.gpu)?;
        // Those of the first stay where they are: they may be most of the host's memory.
        if all.is_empty() { all = own } else { all.extend(own) }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::add_wholes;

    #[test]
    fn wholes_carry_into_their_own_high_word() {
        let of = |value: i64| {
            let mut words = [0u32; 16];
            for first in [0, 8] {
                for i in 0..4 {
                    let value = value * (i as i64 + 1) + first as i64;
                    (words[first + i], words[first + i + 4]) = (value as u32, (value >> 32) as u32);
                }
            }
            words
        };
        for (a, b) in [(0xffff_ffff, 1), (-5, 3), (i64::from(u32::MAX) << 8, -1)] {
            let mut sum = of(a);
            add_wholes(&mut sum, &of(b));
            let mut expected = of(a + b);
            // `of` adds 8 to the fine ones, which come twice in the sum.
            for i in 8..12 {
                let low = u64::from(expected[i]) | (u64::from(expected[i + 4]) << 32);
                (expected[i], expected[i + 4]) =
                    (low.wrapping_add(8) as u32, (low.wrapping_add(8) >> 32) as u32);
            }
            assert_eq!(sum, expected);
        }
    }
}
