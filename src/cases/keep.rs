//! Cases of `keep`.

use super::{Case, Entry, Expected, Prepared, Random};
use crate::Result;
use crate::gpu::{Buffer, Context, OpKind, Spec};
use crate::kv::keep::{Fresh, Keep, Recent, SPEC};
use crate::oracle::keep::positions;

/// The kernel's place in the registry.
pub const ENTRY: Entry =
    Entry { stem: "keep", variants: &[SPEC], stages: &[], decoders: &[], op: OpKind::F32, tests, benches };

/// Heads and dimension; sinks and ring; the first fresh position, and where the parts that come one after another end.
type Size = ((u64, u64), (u64, u64), &'static [u64]);

fn tests() -> Vec<Box<dyn Case>> {
    let sizes: [Size; 8] = [
        ((1, 32), (0, 1), &[0, 0]),
        ((1, 32), (0, 1), &[0, 1]),
        ((2, 80), (4, 32), &[0, 3, 31, 37]),
        ((2, 80), (4, 32), &[100, 131, 133]),
        ((3, 96), (1, 33), &[7, 107]),
        ((2, 64), (5, 0), &[0, 40]),
        ((2, 64), (0, 31), &[1, 33, 64, 65]),
        ((8, 256), (4, 128), &[500, 501]),
    ];
    sizes.into_iter().map(|(shape, window, cuts)| Box::new(Keeping::new(shape, window, cuts)) as _).collect()
}

fn benches(bytes: u64) -> Vec<Box<dyn Case>> {
    let (heads, dim) = (8, 128);
    let tokens = (bytes / (2 * heads * dim)).clamp(64, 1 << 15);
    vec![Box::new(Keeping::new((heads, dim), (4, tokens), &[4, 4 + tokens]))]
}

struct Keeping {
    kv_heads: u64,
    dim: u64,
    sinks: u64,
    ring: u64,
    cuts: Vec<u64>,
    fresh: Vec<u32>,
    before: Vec<u32>,
}

impl Keeping {
    fn new((kv_heads, dim): (u64, u64), (sinks, ring): (u64, u64), cuts: &[u64]) -> Self {
        let mut random = Random::new(dim + ring);
        let words = kv_heads * dim / 2;
        let tokens = cuts[cuts.len() - 1] - cuts[0];
        let fresh = random.words((tokens * words) as usize);
        let before = random.words(((sinks + ring) * words) as usize);
        Self { kv_heads, dim, sinks, ring, cuts: cuts.to_vec(), fresh, before }
    }
}

impl Case for Keeping {
    fn name(&self) -> String {
        let Self { kv_heads, dim, sinks, ring, cuts, .. } = self;
        format!("heads={kv_heads} d={dim} sinks={sinks} ring={ring} at {cuts:?}")
    }

    fn prepare(&self, gpu: &Context, _: &Spec) -> Result<Prepared> {
        let tokens = self.cuts[self.cuts.len() - 1] - self.cuts[0];
        let fresh = Buffer::from_slice(gpu, "fresh", tokens, &self.fresh)?;
        let slots = self.kv_heads * (self.sinks + self.ring);
        let recent = Buffer::new(gpu, "recent", slots, 2 * self.dim)?;
        let keep = Keep::load(gpu)?;
        let to = Recent {
            buffer: &recent,
            kv_heads: self.kv_heads,
            dim: self.dim,
            sinks: self.sinks,
            ring: self.ring,
        };
        let from = Fresh { buffer: &fresh, tokens, base: self.cuts[0] };
        let parts = self.cuts.windows(2).map(|cut| keep.bind(gpu, &to, &from, cut[0]..cut[1]));
        Ok(Prepared {
            passes: parts.collect::<Result<_>>()?,
            outputs: vec![("recent", recent)],
            others: vec![fresh],
            before: vec![("recent", self.before.clone())],
        })
    }

    fn expected(&self) -> Vec<Expected> {
        let mut words = self.before.clone();
        let (each, slots) = ((self.dim / 2) as usize, (self.sinks + self.ring) as usize);
        let end = self.cuts[self.cuts.len() - 1];
        for (slot, position) in positions(end, self.sinks, self.ring).into_iter().enumerate() {
            let Some(token) = position.and_then(|position| position.checked_sub(self.cuts[0])) else {
                continue;
            };
            for head in 0..self.kv_heads as usize {
                let from = (token as usize * self.kv_heads as usize + head) * each;
                let to = (head * slots + slot) * each;
                words[to..to + each].copy_from_slice(&self.fresh[from..from + each]);
            }
        }
        vec![Expected::Exact(words)]
    }
}
