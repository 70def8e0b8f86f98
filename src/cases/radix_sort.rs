//! Cases of `radix_sort`.

use super::{Case, Entry, Expected, Prepared, Random, Sample};
use crate::Result;
use crate::gpu::{Buffer, Context, OpKind, Spec};
use crate::kmeans::radix_sort::{RadixSort, STAGES};
use crate::oracle;

/// The kernel's place in the registry.
pub const ENTRY: Entry = Entry {
    stem: "radix_sort",
    variants: &[STAGES[2]],
    stages: STAGES,
    decoders: &[],
    op: OpKind::F32,
    tests,
    benches,
};

fn tests() -> Vec<Box<dyn Case>> {
    let mut cases = Vec::new();
    // Around a lane's 8 keys, a tile's 1,024, and a scan's 1,024 counts (64 tiles).
    for n in [0, 1, 7, 8, 9, 1023, 1024, 1025, 5003, 65_537] {
        for (bits, numbered) in [(1, true), (4, true), (9, true), (32, false)] {
            cases.push(Box::new(Sorting::new(n, bits, numbered)) as Box<dyn Case>);
        }
    }
    cases
}

fn benches(bytes: u64) -> Vec<Box<dyn Case>> {
    vec![Box::new(Sorting::new((bytes as usize / 16).clamp(1024, 1 << 24), 8, true))]
}

struct Sorting {
    keys: Vec<u32>,
    values: Option<Vec<u32>>,
    bits: u32,
}

impl Sorting {
    fn new(n: usize, bits: u32, numbered: bool) -> Self {
        let mut random = Random::new(n as u64);
        let keys = random.words(n).iter().map(|word| word >> (32 - bits)).collect();
        Self { keys, values: (!numbered).then(|| random.words(n)), bits }
    }
}

impl Case for Sorting {
    fn name(&self) -> String {
        format!("n={} bits={}", self.keys.len(), self.bits)
    }

    fn prepare(&self, gpu: &Context, _: &Spec) -> Result<Prepared> {
        let n = self.keys.len() as u64;
        let sorter = RadixSort::load(gpu)?;
        let keys = Buffer::from_slice(gpu, "keys", n, &self.keys)?;
        let values =
            self.values.as_ref().map(|values| Buffer::from_slice(gpu, "values", n, values)).transpose()?;
        let scratch = sorter.scratch(gpu, n)?;
        let sort = sorter.bind(gpu, &keys, values.as_ref(), self.bits, &scratch)?;
        let (passes, place) = (sort.passes, sort.place);
        let ([keys_0, keys_1], [values_0, values_1], counts) = scratch.into_parts();
        let (sorted, others) = if place == 0 {
            ((keys_0, values_0), [keys_1, values_1])
        } else {
            ((keys_1, values_1), [keys_0, values_0])
        };
        Ok(Prepared {
            passes,
            outputs: vec![("keys", sorted.0), ("values", sorted.1)],
            others: others.into_iter().chain([keys, counts]).chain(values).collect(),
            before: Vec::new(),
        })
    }

    fn expected(&self, _: &Sample) -> Vec<Expected> {
        let numbers: Vec<u32> = (0..self.keys.len() as u32).collect();
        let (keys, values) =
            oracle::radix_sort::radix_sort(&self.keys, self.values.as_ref().unwrap_or(&numbers));
        vec![Expected::Exact(keys), Expected::Exact(values)]
    }
}
