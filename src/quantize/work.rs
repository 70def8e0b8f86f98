//! The work itself: pieces of tensors, on all processors, in their order.

use std::iter;
use std::ops::{Add, Range};
use std::path::Path;
use std::thread;

use super::{Action, Plan, Quantized, Step};
use crate::feed::{Ahead, in_order};
use crate::format::Format;
use crate::io::gguf::Gguf;
use crate::io::quoted;
use crate::{Error, Result};

/// The weights of a piece, or the bytes if the tensor is copied: a multiple of every block, and large against the cost of
/// handing it to another thread.
const PIECE: u64 = 1 << 18;

/// Finished pieces that wait for the disk, for each thread.
const WAITING: usize = 2;

/// Each thread has about 8 MiB in hand, and the disk keeps up with fewer.
const MOST_THREADS: usize = 64;

/// What was written.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Written {
    /// What became of each tensor.
    pub quantized: Quantized,
    /// Of the values of each piece.
    pub(super) hashes: Vec<u64>,
}

/// Sums over weights.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sums {
    /// Squared differences between before and after.
    error: f64,
    /// Squared weights.
    size: f64,
}

impl Sums {
    /// The squared error over the squared weights.
    pub fn relative(&self) -> f64 {
        if self.error == 0.0 { 0.0 } else { self.error / self.size }
    }
}

impl Add for Sums {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { error: self.error + other.error, size: self.size + other.size }
    }
}

/// A part of a tensor.
#[derive(Clone, Copy)]
struct Piece<'a> {
    step: &'a Step<'a>,
    /// In weights, or in bytes if the tensor is copied.
    first: u64,
    count: u64,
}

impl<'a> Piece<'a> {
    /// The pieces of a tensor, in their order.
    fn all(step: &'a Step<'a>) -> impl Iterator<Item = Self> + Clone + use<'a> {
        let units = match step.action {
            Action::Keep => step.tensor.bytes,
            Action::Convert(..) => step.tensor.values(),
        };
        (0..units.div_ceil(PIECE)).map(move |i| {
            let first = i * PIECE;
            Self { step, first, count: PIECE.min(units - first) }
        })
    }

    /// Where its bytes are in the tensor, if that is in `format`.
    fn bytes(&self, format: Option<&Format>) -> Range<u64> {
        // Tensors are whole blocks, and so are pieces.
        let at = |unit: u64| format.map_or(unit, |f| unit / f.elements as u64 * f.bytes as u64);
        at(self.first)..at(self.first + self.count)
    }

    /// Where the weight `index` of the piece is in the tensor.
    fn place(&self, index: usize) -> String {
        let (cols, at) = (self.step.tensor.cols(), self.first + index as u64);
        format!(
            "tensor {}: row {}, column {} (counted from 0)",
            quoted(&self.step.tensor.name),
            at / cols,
            at % cols
        )
    }
}

/// A finished piece.
struct Done {
    bytes: Vec<u8>,
    sums: Sums,
    hash: u64,
}

/// Writes the file; gives the sums of each tensor and the hash of each piece.
pub(super) fn write(
    plan: &Plan<'_>,
    out: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<(Vec<Sums>, Vec<u64>)> {
    let (mut sums, mut hashes, mut read) = (Vec::new(), Vec::new(), 0);
    let pieces = plan.steps.iter().flat_map(Piece::all);
    in_order(
        ahead(),
        pieces,
        |(): &mut (), piece| make(plan, &piece),
        |made| {
            let mut steps = plan.steps.iter();
            plan.writer.write(out, |_, sink| {
                let mut of_tensor = Sums::default();
                // The writer has the tensors of the plan.
                for piece in steps.next().into_iter().flat_map(Piece::all) {
                    let done = made.next()?;
                    sink.write(&done.bytes)?;
                    of_tensor = of_tensor + done.sums;
                    hashes.push(done.hash);
                    let from = match piece.step.action {
                        Action::Keep => None,
                        Action::Convert(from, _) => Some(from),
                    };
                    let Range { start, end } = piece.bytes(from);
                    read += end - start;
                    progress(read);
                }
                sums.push(of_tensor);
                Ok(())
            })
        },
    )?;
    Ok((sums, hashes))
}

/// Reads the file at `out` and compares it with the plan and the hashes.
pub(super) fn verify(
    plan: &Plan<'_>,
    hashes: &[u64],
    out: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<()> {
    let file = Gguf::open(out)?;
    let wrong = |what: String, problem: String| Error::Mismatch {
        case: format!("{}: {what}", out.display()),
        problem,
    };
    let found = file.tensors();
    if found.len() != plan.steps.len() {
        let problem = format!("{} were written, {} are read back", plan.steps.len(), found.len());
        return Err(wrong("tensors".into(), problem));
    }
    for (step, found) in plan.steps.iter().zip(found) {
        let as_planned = (step.tensor.name.as_str(), &step.tensor.dims, step.ty());
        if as_planned != (found.name.as_str(), &found.dims, found.ty) {
            let problem = format!("{as_planned:?} was written, {found:?} is read back");
            return Err(wrong(format!("tensor {}", quoted(&step.tensor.name)), problem));
        }
    }
    let pieces =
        || plan.steps.iter().zip(found).flat_map(|(step, found)| Piece::all(step).zip(iter::repeat(found)));
    let mut read = 0;
    let hash_of = |(): &mut (), (piece, found): (Piece<'_>, &_)| {
        let to = match piece.step.action {
            Action::Keep => None,
            Action::Convert(_, to) => Some(to),
        };
        let range = piece.bytes(to);
        let mut bytes = vec![0; (range.end - range.start) as usize];
        file.read(found, range, &mut bytes)?;
        let Some(to) = to else { return Ok((bytes.len(), hash_bytes(&bytes))) };
        let mut values = vec![0.0; piece.count as usize];
        to.dequantize(&bytes, &mut values)?;
        Ok((bytes.len(), hash(&values)))
    };
    in_order(ahead(), pieces(), hash_of, |read_back| {
        for ((piece, found), &expected) in pieces().zip(hashes) {
            let (bytes, hash) = read_back.next()?;
            if hash != expected {
                let row = |unit: u64| match piece.step.action {
                    Action::Keep => unit / found.row_bytes().max(1),
                    Action::Convert(..) => unit / found.cols(),
                };
                let (first, last) = (row(piece.first), row(piece.first + piece.count - 1));
                let problem = format!("rows {first} to {last} are not what was written: is the disk sound?");
                return Err(wrong(format!("tensor {}", quoted(&found.name)), problem));
            }
            read += bytes as u64;
            progress(read);
        }
        Ok(())
    })
}

/// As many threads as there are processors.
fn ahead() -> Ahead {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
    Ahead { threads, waiting: WAITING }
}

/// Reads a piece and gives it as it is to be written.
fn make(plan: &Plan<'_>, piece: &Piece<'_>) -> Result<Done> {
    let (from, to) = match piece.step.action {
        Action::Keep => (None, None),
        Action::Convert(from, to) => (Some(from), Some(to)),
    };
    let range = piece.bytes(from);
    let mut bytes = vec![0; (range.end - range.start) as usize];
    plan.source.read(piece.step.tensor, range, &mut bytes)?;
    let (Some(from), Some(to)) = (from, to) else {
        return Ok(Done { hash: hash_bytes(&bytes), bytes, sums: Sums::default() });
    };
    let mut weights = vec![0.0; piece.count as usize];
    from.dequantize(&bytes, &mut weights)?;
    let finite = check_finite(plan, piece, to, &weights)?;
    if from.name == to.name {
        let hash = hash(&weights);
        return Ok(Done { bytes, sums: sums(&weights, &weights), hash });
    }
    let mut blocks = vec![0; weights.len() / to.elements * to.bytes];
    if finite {
        to.quantize(&weights, &mut blocks)?;
    } else {
        store(to, &weights, &mut blocks)?;
    }
    let mut back = vec![0.0; weights.len()];
    to.dequantize(&blocks, &mut back)?;
    if finite && !plan.allow_nonfinite || super::is_quantized(to) {
        let spoilt = back.iter().position(|weight| !weight.is_finite());
        if let Some(at) = spoilt {
            let (place, weight, name) = (piece.place(at), weights[at], to.name);
            let what = if super::is_quantized(to) { "it or another one of its block is" } else { "it is" };
            let problem = format!(
                "{place} is {weight}: {what} too large for {name}; `keep` leaves the tensor as it is"
            );
            return Err(Error::Input(problem));
        }
    }
    Ok(Done { bytes: blocks, sums: sums(&weights, &back), hash: hash(&back) })
}

/// Whether all weights are finite; refuses others where they may not be.
fn check_finite(plan: &Plan<'_>, piece: &Piece<'_>, to: &Format, weights: &[f32]) -> Result<bool> {
    let Some(at) = weights.iter().position(|weight| !weight.is_finite()) else { return Ok(true) };
    let (place, weight, name) = (piece.place(at), weights[at], to.name);
    let advice = match (super::is_quantized(to), plan.allow_nonfinite) {
        (true, _) => format!("{name} cannot hold that; `keep` leaves the tensor as it is"),
        (false, false) => "is that meant? `allow-nonfinite` stores it".into(),
        (false, true) => return Ok(false),
    };
    Err(Error::Input(format!("{place} is {weight}: {advice}")))
}

/// Turns weights of which some are not finite into a format of floats.
fn store(to: &Format, weights: &[f32], blocks: &mut [u8]) -> Result<()> {
    let finite: Vec<f32> = weights.iter().map(|&w| if w.is_finite() { w } else { 0.0 }).collect();
    to.quantize(&finite, blocks)?;
    for (&weight, block) in weights.iter().zip(blocks.chunks_exact_mut(to.bytes)) {
        match to.name {
            _ if weight.is_finite() => {}
            "F32" => block.copy_from_slice(&weight.to_le_bytes()),
            "F16" => block.copy_from_slice(&half::f16::from_f32(weight).to_le_bytes()),
            "BF16" => block.copy_from_slice(&half::bf16::from_f32(weight).to_le_bytes()),
            name => return Err(Error::Input(format!("{weight} is nothing that {name} can hold"))),
        }
    }
    Ok(())
}

/// The sums over the weights that are finite, before and after.
fn sums(before: &[f32], after: &[f32]) -> Sums {
    let finite = before.iter().zip(after).filter(|(before, after)| before.is_finite() && after.is_finite());
    finite.fold(Sums::default(), |sums, (&before, &after)| {
        let (before, after) = (f64::from(before), f64::from(after));
        sums + Sums { error: (before - after).powi(2), size: before.powi(2) }
    })
}

/// A hash of the bits of values (FNV-1a, by words).
fn hash(values: &[f32]) -> u64 {
    values.iter().fold(FNV, |hash, value| (hash ^ u64::from(value.to_bits())).wrapping_mul(PRIME))
}

fn hash_bytes(bytes: &[u8]) -> u64 {
    bytes.iter().fold(FNV, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME))
}

const FNV: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0100_0000_01b3;
