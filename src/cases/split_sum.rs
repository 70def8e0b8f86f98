//! Cases of `split_sum`; products that are cut into splits are cases of their own kernels.

use super::{Case, Entry, Expected, Prepared, Random, Sample};
use crate::Result;
use crate::gpu::{Buffer, Context, OpKind, Spec};
use crate::matmul::split_sum::{SplitSum, VARIANTS, added};
use crate::oracle::split_sum::{bound, sum};

/// The kernel's place in the registry.
pub const ENTRY: Entry = Entry {
    stem: "split_sum",
    variants: VARIANTS,
    stages: &[],
    decoders: &[],
    op: OpKind::F32,
    tests,
    benches,
};

fn tests() -> Vec<Box<dyn Case>> {
    let sizes = [(0, 9), (1, 1), (1, 63), (3, 64), (4, 65), (5, 17), (13, 512), (257, 9)];
    both(&sizes)
}

fn benches(bytes: u64) -> Vec<Box<dyn Case>> {
    both(&[((bytes as usize / 4 / 16 / 64).clamp(64, 1 << 14), 64)])
}

/// For both numbers of splits.
fn both(sizes: &[(usize, usize)]) -> Vec<Box<dyn Case>> {
    let of =
        |splits| sizes.iter().map(move |&(rows, n)| Box::new(Split { rows, splits, n }) as Box<dyn Case>);
    of(4).chain(of(16)).collect()
}

struct Split {
    rows: usize,
    splits: usize,
    n: usize,
}

impl Split {
    /// `[rows, splits, n]`.
    fn sums(&self) -> Vec<f32> {
        Random::new((self.rows + self.n) as u64).floats(self.rows * self.splits * self.n)
    }
}

impl Case for Split {
    fn name(&self) -> String {
        format!("m={} n={} splits={}", self.rows, self.n, self.splits)
    }

    fn suits(&self, spec: &Spec) -> bool {
        added(spec) == self.splits as u64
    }

    fn prepare(&self, gpu: &Context, _: &Spec) -> Result<Prepared> {
        let (rows, n) = (self.rows as u64, self.n as u64);
        let sums = Buffer::new(gpu, "sums", rows, 4 * n * self.splits as u64)?;
        sums.write(gpu, &self.sums())?;
        let y = Buffer::new(gpu, "y", rows, 4 * n)?;
        let bound = SplitSum::load(gpu, self.splits as u64)?.bind(gpu, &sums, &y, n)?;
        Ok(Prepared { passes: vec![bound], outputs: vec![("y", y)], others: vec![sums], before: Vec::new() })
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn expected(&self, sample: &Sample) -> Vec<Expected> {
        let (sums, n) = (sample.pick(&self.sums()), self.n);
        let (mut values, mut bounds) = (Vec::new(), Vec::new());
        for row in sums.chunks(self.splits * n) {
            for column in 0..n {
                values.push(sum(row[column..].iter().step_by(n).copied()));
                bounds.push(bound(row[column..].iter().step_by(n).copied()));
            }
        }
        vec![Expected::Within { values, bounds }]
    }
}
