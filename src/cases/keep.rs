//! Cases of `keep`.

use super::{Case, Entry, Expected, Prepared, Random, Sample};
use crate::Result;
use crate::gpu::{Buffer, Context, OpKind, Spec};
use crate::kv::keep::{Keep, Piece, Pieces, Recent, SPEC};
use crate::oracle::keep::positions;

/// The kernel's place in the registry.
pub const ENTRY: Entry =
    Entry { stem: "keep", variants: &[SPEC], stages: &[], decoders: &[], op: OpKind::F32, tests, benches };

/// Heads and dimension; sinks and ring; of each sequence the first fresh position, and where the parts end that come one after
/// another.
type Size = ((u64, u64), (u64, u64), &'static [&'static [u64]]);

fn tests() -> Vec<Box<dyn Case>> {
    let sizes: [Size; 10] = [
        ((1, 32), (0, 1), &[&[0, 0]]),
        ((1, 32), (0, 1), &[&[0, 1]]),
        ((2, 80), (4, 32), &[&[0, 3, 31, 37]]),
        ((2, 80), (4, 32), &[&[100, 131, 133]]),
        ((3, 96), (1, 33), &[&[7, 107]]),
        ((2, 64), (5, 0), &[&[0, 40]]),
        ((2, 64), (0, 31), &[&[1, 33, 64, 65]]),
        ((8, 256), (4, 128), &[&[500, 501]]),
        ((2, 64), (4, 28), &[&[0, 70], &[9, 10], &[60, 60], &[3, 5]]),
        ((2, 64), (4, 28), &[&[7, 8, 9], &[33, 34, 34], &[0, 1, 44]]),
    ];
    sizes.into_iter().map(|(shape, window, cuts)| Box::new(Keeping::new(shape, window, cuts)) as _).collect()
}

fn benches(bytes: u64) -> Vec<Box<dyn Case>> {
    let (heads, dim) = (8, 128);
    let tokens = (bytes / (2 * heads * dim)).clamp(64, 1 << 15);
    vec![Box::new(Keeping::new((heads, dim), (4, tokens), &[&[4, 4 + tokens]]))]
}

struct Keeping {
    kv_heads: u64,
    dim: u64,
    sinks: u64,
    ring: u64,
    cuts: Vec<Vec<u64>>,
    fresh: Vec<u32>,
    before: Vec<u32>,
}

impl Keeping {
    fn new((kv_heads, dim): (u64, u64), (sinks, ring): (u64, u64), cuts: &[&[u64]]) -> Self {
        let mut random = Random::new(dim + ring);
        let words = kv_heads * dim / 2;
        let cuts: Vec<Vec<u64>> = cuts.iter().map(|cuts| cuts.to_vec()).collect();
        let tokens: u64 = cuts.iter().map(|cuts| cuts[cuts.len() - 1] - cuts[0]).sum();
        let fresh = random.words((tokens * words) as usize);
        // One slot more than there are sequences.
        let before = random.words(((cuts.len() as u64 + 1) * (sinks + ring) * words) as usize);
        Self { kv_heads, dim, sinks, ring, cuts, fresh, before }
    }

    /// The pieces of each part; sequences have their slots backwards.
    fn parts(&self) -> Vec<Vec<Piece>> {
        let count = self.cuts[0].len() - 1;
        let part = |part: usize| {
            let mut row = 0;
            let own = |(sequence, cuts): (usize, &Vec<u64>)| {
                let base = cuts[part];
                let piece = Piece {
                    slot: (self.cuts.len() - sequence) as u32,
                    row: row + (base - cuts[0]) as u32,
                    base: base as u32,
                    tokens: (cuts[part + 1] - base) as u32,
                    ..Piece::default()
                };
                row += (cuts[cuts.len() - 1] - cuts[0]) as u32;
                piece
            };
            self.cuts.iter().enumerate().map(own).collect()
        };
        (0..count).map(part).collect()
    }
}

impl Case for Keeping {
    fn name(&self) -> String {
        let Self { kv_heads, dim, sinks, ring, cuts, .. } = self;
        format!("heads={kv_heads} d={dim} sinks={sinks} ring={ring} at {cuts:?}")
    }

    fn prepare(&self, gpu: &Context, _: &Spec) -> Result<Prepared> {
        let words = self.kv_heads * self.dim / 2;
        let fresh = Buffer::from_slice(gpu, "fresh", self.fresh.len() as u64 / words, &self.fresh)?;
        let slots = (self.cuts.len() as u64 + 1) * self.kv_heads * (self.sinks + self.ring);
        let recent = Buffer::new(gpu, "recent", slots, 2 * self.dim)?;
        let keep = Keep::load(gpu)?;
        let to = Recent {
            buffer: &recent,
            kv_heads: self.kv_heads,
            dim: self.dim,
            sinks: self.sinks,
            ring: self.ring,
        };
        let (mut passes, mut others) = (Vec::new(), Vec::new());
        for list in self.parts() {
            let buffer = Buffer::from_slice(gpu, "pieces", list.len() as u64, &list)?;
            passes.push(keep.bind(gpu, &to, &Pieces { list: &list, buffer: &buffer, fresh: &fresh })?);
            others.push(buffer);
        }
        others.push(fresh);
        let before = vec![("recent", self.before.clone())];
        Ok(Prepared { passes, outputs: vec![("recent", recent)], others, before })
    }

    fn expected(&self, _: &Sample) -> Vec<Expected> {
        let mut words = self.before.clone();
        let (each, slots) = ((self.dim / 2) as usize, (self.sinks + self.ring) as usize);
        let mut row = 0;
        for (sequence, cuts) in self.cuts.iter().enumerate() {
            let end = cuts[cuts.len() - 1];
            for (slot, position) in positions(end, self.sinks, self.ring).into_iter().enumerate() {
                let Some(token) = position.and_then(|position| position.checked_sub(cuts[0])) else {
                    continue;
                };
                for head in 0..self.kv_heads as usize {
                    let from = ((row + token) as usize * self.kv_heads as usize + head) * each;
                    let own = (self.cuts.len() - sequence) * self.kv_heads as usize + head;
                    let to = (own * slots + slot) * each;
                    words[to..to + each].copy_from_slice(&self.fresh[from..from + each]);
                }
            }
            row += end - cuts[0];
        }
        vec![Expected::Exact(words)]
    }
}
