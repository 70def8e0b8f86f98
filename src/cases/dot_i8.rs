//! Chains of int8 dot products.

use super::{Case, Entry, Expected, Prepared, Random, Sample};
use crate::gpu::{Buffer, Context, Kernel, OpKind, Spec};
use crate::roofs::dot_i8::{ROW_BYTES, STEPS, VARIANTS, bind};
use crate::{Result, oracle};

/// The kernel's place in the house.
pub const ENTRY: Entry =
    Entry { stem: "dot_i8", variants: VARIANTS, stages: &[], decoders: &[], op: OpKind::I8, tests, benches };

struct Dot {
    rows: u64,
    batches: u32,
    weight: u32,
}

impl Dot {
    fn words(&self) -> Vec<u32> {
        let mut words = Random::new(self.rows).words(self.rows as usize * 4);
        // -128 * -128, four times, is the largest product there is.
        if let Some(first) = words.first_mut() {
            *first = 0x8080_8080;
        }
        words
    }
}

impl Case for Dot {
    fn name(&self) -> String {
        format!("rows={} batches={} weight={:#x}", self.rows, self.batches, self.weight)
    }

    fn prepare(&self, gpu: &Context, spec: &Spec) -> Result<Prepared> {
        let x = Buffer::from_slice(gpu, "x", self.rows, &self.words())?;
        let y = Buffer::new(gpu, "y", self.rows, ROW_BYTES)?;
        let bound = bind(gpu, &Kernel::load(gpu, spec)?, &x, &y, self.batches, self.weight)?;
        Ok(Prepared { passes: vec![bound], outputs: vec![("y", y)], others: vec![x], before: vec![] })
    }

    fn expected(&self, _: &Sample) -> Vec<Expected> {
        let steps = STEPS * u64::from(self.batches);
        vec![Expected::Exact(oracle::dot_i8::dot_i8(&self.words(), self.weight, steps))]
    }
}

fn tests() -> Vec<Box<dyn Case>> {
    let rows = [(0, 1), (1, 0), (1, 1), (63, 2), (64, 1), (65, 1), (255, 1), (256, 3), (257, 1), (4099, 2)];
    let weights = [0x8080_8080, 0x7f81_35fb];
    let case = |(rows, batches), weight| -> Box<dyn Case> { Box::new(Dot { rows, batches, weight }) };
    rows.into_iter().flat_map(|size| weights.map(|weight| case(size, weight))).collect()
}

/// Arithmetic fills a device long before memory does, so there are at most 2^20 rows.
fn benches(bytes: u64) -> Vec<Box<dyn Case>> {
    vec![Box::new(Dot { rows: (bytes / 2 / ROW_BYTES).clamp(1, 1 << 20), batches: 64, weight: 0x7f81_35fb })]
}
