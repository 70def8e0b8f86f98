//! Cases of `rank`.

use super::{Case, Entry, Expected, Prepared, Random, Sample};
use crate::classify::rank::{Rank, SPEC, key};
use crate::gpu::{Buffer, Context, OpKind, Spec};
use crate::{Result, oracle};

/// The kernel's place in the registry.
pub const ENTRY: Entry =
    Entry { stem: "rank", variants: &[SPEC], stages: &[], decoders: &[], op: OpKind::F32, tests, benches };

fn tests() -> Vec<Box<dyn Case>> {
    let sizes = [(0, 5), (1, 0), (1, 1), (2, 2), (63, 3), (64, 1023), (65, 1024), (257, 1025), (4099, 997)];
    let case = |(rows, others), tied| -> Box<dyn Case> { Box::new(Ranking::new(rows, others, tied)) };
    sizes.into_iter().flat_map(|size| [case(size, false), case(size, true)]).collect()
}

fn benches(bytes: u64) -> Vec<Box<dyn Case>> {
    let n = (bytes as usize / 12).clamp(1024, 1 << 22);
    vec![Box::new(Ranking::new(n, n, false))]
}

struct Ranking {
    x: Vec<f32>,
    others: Vec<f32>,
    /// Few distinct scores, both zeros and infinities among them.
    tied: bool,
}

impl Ranking {
    fn new(rows: usize, others: usize, tied: bool) -> Self {
        let mut random = Random::new((rows + others) as u64);
        let few = [f32::NEG_INFINITY, -1.0, -0.0, 0.0, f32::MIN_POSITIVE, 0.5, f32::INFINITY];
        let mut draw = |n| match tied {
            true => (0..n).map(|_| few[random.below(few.len() as u64) as usize]).collect(),
            false => random.floats(n),
        };
        Self { x: draw(rows), others: draw(others), tied }
    }
}

impl Case for Ranking {
    fn name(&self) -> String {
        format!("n={} others={}{}", self.x.len(), self.others.len(), if self.tied { " ties" } else { "" })
    }

    fn prepare(&self, gpu: &Context, _: &Spec) -> Result<Prepared> {
        let keys = |scores: &[f32]| scores.iter().map(|&score| key(score)).collect::<Vec<u32>>();
        let (x, mut others) = (keys(&self.x), keys(&self.others));
        others.sort_unstable();
        let x = Buffer::from_slice(gpu, "keys", x.len() as u64, &x)?;
        let sorted = Buffer::from_slice(gpu, "sorted", others.len() as u64, &others)?;
        let counts = Buffer::new(gpu, "counts", x.rows(), 4)?;
        let bound = Rank::load(gpu)?.bind(gpu, &x, &sorted, &counts)?;
        Ok(Prepared {
            passes: vec![bound],
            outputs: vec![("counts", counts)],
            others: vec![x, sorted],
            before: Vec::new(),
        })
    }

    fn rows(&self) -> usize {
        self.x.len()
    }

    fn expected(&self, sample: &Sample) -> Vec<Expected> {
        vec![Expected::Exact(oracle::rank::rank(&sample.pick(&self.x), &self.others))]
    }
}
