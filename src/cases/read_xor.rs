//! Reads, whole and in parts.

use super::{Case, Entry, Expected, Prepared, Random, Sample};
use crate::gpu::{Buffer, Context, Kernel, OpKind, Spec};
use crate::roofs::read_xor::{OUT_ROW_BYTES, ROW_BYTES, VARIANTS, bind};
use crate::{Result, oracle};

/// The kernel's place in the house.
pub const ENTRY: Entry = Entry {
    stem: "read_xor",
    variants: VARIANTS,
    stages: &[],
    decoders: &[],
    op: OpKind::F32,
    tests,
    benches,
};

struct Read {
    rows: u64,
    /// Bytes in a part of a buffer, where it is to consist of several.
    part: Option<u64>,
}

impl Read {
    fn words(&self) -> Vec<u32> {
        Random::new(self.rows).words((self.rows * ROW_BYTES / 4) as usize)
    }
}

impl Case for Read {
    fn name(&self) -> String {
        let part = self.part.map_or(String::new(), |part| format!(" part={part}"));
        format!("rows={}{part}", self.rows)
    }

    fn prepare(&self, gpu: &Context, spec: &Spec) -> Result<Prepared> {
        let limit = self.part.unwrap_or(gpu.adapter.max_binding_bytes);
        let x = Buffer::with_limit(gpu, "x", self.rows, ROW_BYTES, limit)?;
        x.write(gpu, &self.words())?;
        let y = Buffer::new(gpu, "y", self.rows, OUT_ROW_BYTES)?;
        let bound = bind(gpu, &Kernel::load(gpu, spec)?, &x, &y)?;
        Ok(Prepared { passes: vec![bound], outputs: vec![("y", y)], others: vec![x], before: vec![] })
    }

    fn expected(&self, _: &Sample) -> Vec<Expected> {
        vec![Expected::Exact(oracle::read_xor::read_xor(&self.words()))]
    }
}

fn tests() -> Vec<Box<dyn Case>> {
    // A workgroup covers 8 rows or 32.
    let whole = [0, 1, 7, 8, 9, 31, 32, 33, 211].map(|rows| (rows, None));
    let parts = [(129, Some(64 * ROW_BYTES)), (300, Some(150 * ROW_BYTES))];
    let case = |(rows, part)| -> Box<dyn Case> { Box::new(Read { rows, part }) };
    parts.into_iter().chain(whole).map(case).collect()
}

fn benches(bytes: u64) -> Vec<Box<dyn Case>> {
    vec![Box::new(Read { rows: (bytes / (ROW_BYTES + OUT_ROW_BYTES)).max(1), part: None })]
}
