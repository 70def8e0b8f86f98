//! Cases of `extent`, and the tensors that those of `histogram` share.

use super::{Case, Entry, Expected, FOLDED, Prepared, Random, Sample};
use crate::classify::extent::{Extent, START, VARIANTS, choose, value_of};
use crate::classify::layout::Layout;
use crate::gpu::{Buffer, Context, OpKind, Spec};
use crate::{Result, oracle};

/// The kernel's place in the registry.
pub const ENTRY: Entry =
    Entry { stem: "extent", variants: VARIANTS, stages: &[], decoders: &[], op: OpKind::F32, tests, benches };

/// Activations whose padding, and rows behind those that count, hold what must not be counted.
pub(super) struct Tensor {
    x: Vec<f32>,
    pub(super) rows: usize,
    layout: Layout,
    /// Bytes in a part of the buffer, where it is to consist of several.
    part: Option<u64>,
}

impl Tensor {
    pub(super) fn new(rows: usize, positions: usize, channels: usize, part: Option<u64>) -> Self {
        let mut random = Random::new((rows + 31 * positions + 7 * channels) as u64);
        let place = channels.next_multiple_of(4);
        // Two rows more than count, behind them.
        let mut x = random.floats((rows + 2) * positions * place);
        for position in x.chunks_mut(place) {
            position[channels..].fill(f32::NAN);
        }
        let end = rows * positions * place;
        x[end..].fill(1e30);
        let layout = Layout { positions, channels };
        Self { x, rows, layout, part }
    }

    /// The sizes that every kernel over activations is tested at.
    pub(super) fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for (positions, channels) in [(1, 1), (1, 30), (9, 3), (49, 8), (1, 1025)] {
            for rows in [0, 1, 7, 64, 65, 1031] {
                all.push(Self::new(rows, positions, channels, None));
            }
        }
        all.push(Self::new(3, 12_544, 5, None));
        all.push(Self::new(20_011, 1, 2, None));
        all.push(Self::new(FOLDED, 1, 1, None));
        all.push(Self::new(300, 4, 6, Some(128 * 4 * 32)));
        all
    }

    /// The same with some values that are 0, tiny, huge or not finite.
    pub(super) fn strange(mut self) -> Self {
        let odd = [0.0, -0.0, 1e-42, -1e-42, f32::MAX, f32::MIN, f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
        let odd = odd.into_iter().chain([f32::from_bits(0xffff_ffff), f32::from_bits(0x7f80_0001)]);
        let place = self.layout.channels.next_multiple_of(4);
        for (position, value) in self.x.chunks_mut(place).take(self.rows).step_by(3).zip(odd.cycle()) {
            position[0] = value;
        }
        self
    }

    /// Relu's: half of them 0.
    pub(super) fn positive(mut self) -> Self {
        self.x.iter_mut().for_each(|x| *x = x.max(0.0));
        self
    }

    pub(super) fn name(&self) -> String {
        let part = self.part.map_or(String::new(), |part| format!(" part={part}"));
        let Layout { positions, channels } = self.layout;
        format!("rows={} positions={positions} channels={channels}{part}", self.rows)
    }

    pub(super) fn layout(&self) -> Layout {
        self.layout
    }

    pub(super) fn upload(&self, gpu: &Context) -> Result<Buffer> {
        let limit = self.part.unwrap_or(gpu.adapter.max_binding_bytes);
        let x = Buffer::with_limit(gpu, "x", self.rows as u64 + 2, 16 * self.layout.words() as u64, limit)?;
        x.write(gpu, &self.x)?;
        Ok(x)
    }

    pub(super) fn counted(&self) -> Vec<f32> {
        let Layout { positions, channels } = self.layout;
        oracle::extent::counted(&self.x, self.rows, positions, channels)
    }
}

/// As many rows of 64 channels as make `bytes`.
pub(super) fn filling(bytes: u64) -> Tensor {
    Tensor::new((bytes / 256).max(1) as usize, 1, 64, None)
}

fn tests() -> Vec<Box<dyn Case>> {
    let mut cases: Vec<Box<dyn Case>> = Vec::new();
    for tensor in Tensor::all() {
        cases.push(Box::new(Bounding(tensor, START)));
    }
    // Batches before this one have seen more, or values that are not finite.
    for (rows, before) in [(65, [key(-2.0), key(0.25), 0]), (1031, [key(-0.5), key(7.0), 3]), (0, START)] {
        cases.push(Box::new(Bounding(Tensor::new(rows, 5, 7, None).strange(), before)));
    }
    cases
}

fn benches(bytes: u64) -> Vec<Box<dyn Case>> {
    vec![Box::new(Bounding(filling(bytes), START))]
}

/// By search, so that it is not the formula that it checks.
fn key(value: f32) -> u32 {
    let (mut low, mut high) = (0, u32::MAX);
    while low < high {
        let middle = low + (high - low) / 2;
        if value_of(middle).total_cmp(&value).is_lt() { low = middle + 1 } else { high = middle }
    }
    low
}

struct Bounding(Tensor, [u32; 3]);

impl Case for Bounding {
    fn name(&self) -> String {
        self.0.name()
    }

    fn taken(&self, _: &Context, variants: &[Spec]) -> Result<Spec> {
        Ok(*choose(self.0.layout, variants))
    }

    fn prepare(&self, gpu: &Context, spec: &Spec) -> Result<Prepared> {
        let x = self.0.upload(gpu)?;
        let state = Buffer::new(gpu, "state", 3, 4)?;
        let rows = self.0.rows as u64;
        let bound = Extent::load(gpu, spec)?.bind(gpu, &x, rows, self.0.layout, &state)?;
        Ok(Prepared {
            passes: vec![bound],
            outputs: vec![("state", state)],
            others: vec![x],
            before: vec![("state", self.1.to_vec())],
        })
    }

    fn expected(&self, _: &Sample) -> Vec<Expected> {
        let (bounds, strange) = oracle::extent::extent(&self.0.counted());
        let [least, largest] = bounds.map_or([START[0], START[1]], |bounds| bounds.map(key));
        let [before_least, before_largest, before_strange] = self.1;
        vec![Expected::Exact(vec![
            least.min(before_least),
            largest.max(before_largest),
            before_strange + strange as u32,
        ])]
    }
}
