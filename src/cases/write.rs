//! Patterns written, whole and in parts.

use super::{Case, Entry, Expected, Prepared, Sample};
use crate::gpu::{Buffer, Context, Kernel, OpKind, Spec};
use crate::roofs::write::{ROW_BYTES, VARIANTS, bind};
use crate::{Result, oracle};

/// The kernel's place in the house.
pub const ENTRY: Entry =
    Entry { stem: "write", variants: VARIANTS, stages: &[], decoders: &[], op: OpKind::F32, tests, benches };

const SEED: u32 = 0x51ed_270b;

/// The first `rows` rows of a pattern.
pub struct Write {
    /// Rows of 16 bytes.
    pub rows: u32,
    /// Bytes in a part of the buffer, where it is to consist of several.
    pub part: Option<u64>,
}

impl Case for Write {
    fn name(&self) -> String {
        let part = self.part.map_or(String::new(), |part| format!(" part={part}"));
        format!("rows={}{part}", self.rows)
    }

    fn prepare(&self, gpu: &Context, spec: &Spec) -> Result<Prepared> {
        let limit = self.part.unwrap_or(gpu.adapter.max_binding_bytes);
        let rows = u64::from(self.rows);
        let y = Buffer::with_limit(gpu, "y", rows, ROW_BYTES, limit)?;
        let bound = bind(gpu, &Kernel::load(gpu, spec)?, &y, rows, SEED)?;
        Ok(Prepared { passes: vec![bound], outputs: vec![("y", y)], others: vec![], before: vec![] })
    }

    fn expected(&self, _: &Sample) -> Vec<Expected> {
        vec![Expected::Exact(oracle::write::write(self.rows, SEED))]
    }
}

fn tests() -> Vec<Box<dyn Case>> {
    let whole = [0, 1, 63, 64, 65, 255, 256, 257, 1021, 2048, 8209].map(|rows| (rows, None));
    let parts = [(1000, Some(64 * ROW_BYTES)), (8209, Some(1000 * ROW_BYTES))];
    let case = |(rows, part)| -> Box<dyn Case> { Box::new(Write { rows, part }) };
    parts.into_iter().chain(whole).map(case).collect()
}

fn benches(bytes: u64) -> Vec<Box<dyn Case>> {
    let rows = u32::try_from(bytes / ROW_BYTES).unwrap_or(u32::MAX);
    vec![Box::new(Write { rows: rows.max(1), part: None })]
}
