//! Every kernel at known sizes with known answers: the one list behind the tests, the benches and the report.
//!
//! A case knows how to set its kernel up on a device and what its oracle says of the result, or of a sample of its rows where
//! it is large ([`crate::gpu::verify`]).

pub mod activation;
pub mod append;
pub mod assign;
pub mod attend;
pub mod average_pool;
pub mod bid;
pub mod centroid;
pub mod copy;
pub mod dense;
pub mod dense_integer;
pub mod dequantize;
pub mod distance;
pub mod dot_i8;
mod examples;
pub mod extent;
pub mod fma_f16;
pub mod fma_f32;
pub mod gather;
pub mod histogram;
pub mod keep;
mod laid;
pub mod lloyd;
pub mod matmul;
pub mod matmul_integer;
pub mod matmul_matrix;
pub mod matvec;
pub mod matvec_fixed;
pub mod matvec_integer;
pub mod max_pool;
pub mod pointwise;
pub mod problems;
mod quantized;
pub mod radix_sort;
pub mod rank;
pub mod read_xor;
pub mod rerank;
pub mod rotate;
pub mod row_scale;
pub mod seed;
pub mod softmax;
pub mod split_sum;
pub mod transform;
pub mod write;

use std::sync::Arc;

use crate::gpu::dispatch::Class;
pub use crate::gpu::verify::{Expected, Measured, Sample, compare};
use crate::gpu::{Bound, Buffer, Context, OpKind, Recorder, Spec, Work, tune};
pub use crate::random::Random;
use crate::{Error, Result};

/// A kernel's place in every room of the house; tests/cpu/names.rs checks that each is furnished.
pub struct Entry {
    /// The stem that its shader, host, oracle, case, test and bench share.
    pub stem: &'static str,
    /// Interchangeable implementations; [`Case::taken`] says which.
    pub variants: &'static [Spec],
    /// Further shaders of the same operation that have no alternative.
    pub stages: &'static [Spec],
    /// What its operations are: which roof they are compared with.
    pub op: OpKind,
    /// Files for the slot of every variant that varies with its case, such as `format`; empty for a kernel without it.
    pub decoders: &'static [&'static str],
    /// Sizes for correctness: small, prime, around the workgroup size.
    pub tests: fn() -> Vec<Box<dyn Case>>,
    /// Sizes that fill a device, for speed; the inputs of each are made for the given number of bytes of memory.
    pub benches: fn(u64) -> Vec<Box<dyn Case>>,
}

impl Entry {
    /// The variants that suit `case`, as it runs them: with its decoder in its slot, if it has one.
    pub fn variants_of(&self, case: &dyn Case) -> Vec<Spec> {
        let fill = |spec: &Spec| case.decoder().map_or(*spec, |decoder| spec.slot(slot_of(decoder), decoder));
        self.variants.iter().filter(|spec| case.suits(spec)).map(fill).collect()
    }

    /// Each test with the variants that it is run as: all of them; where decoders multiply them, two each in turn, and one where
    /// a case says so, since a driver takes a second or more to compile one.
    pub fn checks(&self) -> Vec<(Box<dyn Case>, Vec<Spec>)> {
        let turn = |(i, case): (usize, Box<dyn Case>)| {
            let mut variants = self.variants_of(case.as_ref());
            if let Some(turn) = case.turn() {
                variants = vec![variants[turn % variants.len()]];
            } else if !self.decoders.is_empty() && variants.len() > 2 {
                let count = variants.len();
                variants = vec![variants[i % count], variants[(i + count / 2) % count]];
            }
            (case, variants)
        };
        (self.tests)().into_iter().enumerate().map(turn).collect()
    }

    /// Every shader of the kernel: the variants with every decoder, and the stages.
    pub fn specs(&self) -> Vec<Spec> {
        let filled = self.variants.iter().flat_map(|spec| match self.decoders {
            [] => vec![*spec],
            decoders => decoders.iter().map(|decoder| spec.slot(slot_of(decoder), decoder)).collect(),
        });
        filled.chain(self.stages.iter().copied()).collect()
    }
}

/// The slot that a decoder fills: that of its folder, or that of its name where it lies in lib (`lib/element_i8`).
fn slot_of(decoder: &'static str) -> &'static str {
    match decoder.split_once('/') {
        Some(("lib", name)) => name.split_once('_').map_or(name, |(slot, _)| slot),
        Some((folder, _)) => folder,
        None => decoder,
    }
}

/// Every kernel of the crate.
pub const REGISTRY: &[Entry] = &[
    copy::ENTRY,
    read_xor::ENTRY,
    write::ENTRY,
    fma_f32::ENTRY,
    fma_f16::ENTRY,
    dot_i8::ENTRY,
    assign::ENTRY,
    radix_sort::ENTRY,
    centroid::ENTRY,
    lloyd::ENTRY,
    rerank::ENTRY,
    bid::ENTRY,
    distance::ENTRY,
    transform::ENTRY,
    seed::ENTRY,
    dequantize::ENTRY,
    activation::ENTRY,
    matvec::ENTRY,
    matvec_fixed::ENTRY,
    matvec_integer::ENTRY,
    matmul::ENTRY,
    matmul_integer::ENTRY,
    row_scale::ENTRY,
    split_sum::ENTRY,
    matmul_matrix::ENTRY,
    dense::ENTRY,
    dense_integer::ENTRY,
    pointwise::ENTRY,
    max_pool::ENTRY,
    average_pool::ENTRY,
    softmax::ENTRY,
    gather::ENTRY,
    rank::ENTRY,
    extent::ENTRY,
    histogram::ENTRY,
    attend::ENTRY,
    rotate::ENTRY,
    append::ENTRY,
    keep::ENTRY,
];

/// Rows of cases whose grids fold if a workgroup takes one: more than a row of a grid has workgroups.
const FOLDED: usize = 70_001;

/// One kernel at one size.
pub trait Case {
    /// What and how large, such as `n=1000 k=7 d=3`.
    fn name(&self) -> String;
    /// The file that its variants need in the slot `format` or `element`.
    fn decoder(&self) -> Option<&'static str> {
        None
    }
    /// What the choice of a variant depends on, where a table says which.
    fn class(&self) -> Class {
        Class::default()
    }
    /// The one of `variants` that users get.
    fn taken(&self, gpu: &Context, variants: &[Spec]) -> Result<Spec> {
        tune::taken(gpu, variants, &self.class()).copied()
    }
    /// Whether a variant can run it, on any adapter.
    fn suits(&self, _: &Spec) -> bool {
        true
    }
    /// Where overrides make pipelines that other cases do not share: the one variant that tests run it as, modulo their number.
    fn turn(&self) -> Option<usize> {
        None
    }
    /// Uploads the inputs and binds the kernel, as variant `spec`.
    fn prepare(&self, gpu: &Context, spec: &Spec) -> Result<Prepared>;
    /// Rows that an oracle can be asked for one by one; 0 where each answer depends on all of the input. Outputs of as many rows
    /// are compared in a sample of them, others as a whole.
    fn rows(&self) -> usize {
        0
    }
    /// The rows that are compared where all would take the oracle too long.
    fn sample(&self, passes: &[Bound]) -> Sample {
        Sample::of(self.rows(), passes)
    }
    /// What each output must be, by the oracle, in the order of [`Prepared::outputs`]: in the rows of the sample, of those
    /// that [`Self::rows`] counts.
    fn expected(&self, sample: &Sample) -> Vec<Expected>;
}

/// A case on a device, ready to run.
pub struct Prepared {
    /// The dispatches, in order.
    pub passes: Vec<Bound>,
    /// The outputs, by name.
    pub outputs: Vec<(&'static str, Buffer)>,
    /// Buffers whose guards must hold as well.
    pub others: Vec<Buffer>,
    /// What outputs that are inputs too hold before a run, by name.
    pub before: Vec<(&'static str, Vec<u32>)>,
}

impl Prepared {
    /// Runs the passes once and reads every output.
    pub fn run(&self, gpu: &Context) -> Result<Vec<Measured>> {
        for (name, buffer) in &self.outputs {
            match self.before.iter().find(|(before, _)| before == name) {
                Some((_, words)) => buffer.write(gpu, words)?,
                // What is not written must not look as if it had been.
                None => buffer.poison(gpu)?,
            }
        }
        Recorder::run(gpu, &self.passes)?;
        self.outputs.iter().map(|(_, buffer)| Measured::read(gpu, buffer)).collect()
    }

    /// Runs the passes once and compares every output with what is `expected` in the rows of `sample`: what was measured.
    ///
    /// # Errors
    /// [`Error::Mismatch`] with the first difference, for `what`; the device's.
    pub fn check(
        &self,
        gpu: &Context,
        what: &str,
        sample: &Sample,
        expected: &[Expected],
    ) -> Result<Vec<Measured>> {
        let fault = |problem: String| Error::Mismatch { case: what.to_owned(), problem };
        let all = self.run(gpu)?;
        if expected.len() != all.len() {
            return Err(fault(format!("{} outputs, {} expected", all.len(), expected.len())));
        }
        for (((name, buffer), measured), expected) in self.outputs.iter().zip(&all).zip(expected) {
            let sampled = buffer.rows() == sample.whole() as u64;
            let chosen = sampled.then(|| measured.at(sample));
            compare(chosen.as_ref().unwrap_or(measured), expected)
                .map_err(|problem| fault(format!("{name}{problem}")))?;
        }
        Ok(all)
    }

    /// Bytes and operations of one run.
    pub fn work(&self) -> Work {
        self.passes.iter().map(Bound::work).sum()
    }
}

/// A pass of a case that was verified.
#[derive(Clone, Debug)]
pub struct Verified {
    /// Its shader.
    pub shader: String,
    /// Its workgroups, in both dimensions.
    pub grid: [u32; 2],
}

/// Runs `case` as `spec` twice, once as if somebody might ask for an end, and checks: the oracle's answer, the same bits both times, and
/// every guard.
///
/// # Errors
/// The device's, or [`Error::Mismatch`] with the case, the variant and the first difference.
pub fn verify(gpu: &Context, case: &dyn Case, spec: &Spec) -> Result<Vec<Verified>> {
    let what = format!("{} {}", spec.label(), case.name());
    let fault = |problem: &str| Error::Mismatch { case: what.clone(), problem: problem.to_owned() };
    let prepared = case.prepare(gpu, spec)?;
    let all = Sample::all(case.rows());
    let first = prepared.check(gpu, &what, &all, &case.expected(&all))?;
    let heeding = gpu.heed(&Arc::default());
    if prepared.run(gpu)? != first {
        return Err(fault("a second run, in pieces, gave other bits"));
    }
    drop(heeding);
    for buffer in prepared.outputs.iter().map(|(_, buffer)| buffer).chain(&prepared.others) {
        if !buffer.guards_hold(gpu)? {
            return Err(fault("something was written outside a buffer"));
        }
    }
    let verified = |pass: &Bound| Verified { shader: pass.label().to_owned(), grid: pass.grid() };
    Ok(prepared.passes.iter().map(verified).collect())
}
