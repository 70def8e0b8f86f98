//! Copies, whole and in parts.

use super::{Case, Entry, Expected, Prepared, Random, Sample};
use crate::gpu::{Buffer, Context, Kernel, OpKind, Spec};
use crate::roofs::copy::{ROW_BYTES, VARIANTS, bind};
use crate::{Result, oracle};

/// The kernel's place in the house.
pub const ENTRY: Entry =
    Entry { stem: "copy", variants: VARIANTS, stages: &[], decoders: &[], op: OpKind::F32, tests, benches };

struct Copy {
    rows: u64,
    /// Bytes in a part of a buffer, where it is to consist of several.
    part: Option<u64>,
}

impl Copy {
    fn words(&self) -> Vec<u32> {
        Random::new(self.rows).words(self.rows as usize * 4)
    }
}

impl Case for Copy {
    fn name(&self) -> String {
        let part = self.part.map_or(String::new(), |part| format!(" part={part}"));
        format!("rows={}{part}", self.rows)
    }

    fn prepare(&self, gpu: &Context, spec: &Spec) -> Result<Prepared> {
        let limit = self.part.unwrap_or(gpu.adapter.max_binding_bytes);
        let x = Buffer::with_limit(gpu, "x", self.rows, ROW_BYTES, limit)?;
        x.write(gpu, &self.words())?;
        let y = Buffer::with_limit(gpu, "y", self.rows, ROW_BYTES, limit)?;
        let bound = bind(gpu, &Kernel::load(gpu, spec)?, &x, &y, self.rows)?;
        Ok(Prepared { passes: vec![bound], outputs: vec![("y", y)], others: vec![x], before: vec![] })
    }

    fn expected(&self, _: &Sample) -> Vec<Expected> {
        vec![Expected::Exact(oracle::copy::copy(&self.words()))]
    }
}

fn tests() -> Vec<Box<dyn Case>> {
    let whole = [0, 1, 63, 64, 65, 255, 256, 257, 1021, 2048, 8209].map(|rows| (rows, None));
    let parts = [(1000, Some(64 * ROW_BYTES)), (8209, Some(1000 * ROW_BYTES))];
    let case = |(rows, part)| -> Box<dyn Case> { Box::new(Copy { rows, part }) };
    parts.into_iter().chain(whole).map(case).collect()
}

fn benches(bytes: u64) -> Vec<Box<dyn Case>> {
    vec![Box::new(Copy { rows: (bytes / 2 / ROW_BYTES).max(1), part: None })]
}
