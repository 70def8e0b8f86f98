//! Cases of `activation`.

use super::{Case, Entry, Expected, FOLDED, Prepared, Random, Sample};
use crate::Result;
use crate::format::{Format, planes::PAIR};
use crate::gpu::{Buffer, Context, OpKind, Spec};
use crate::matmul::activation::{FIXED, FLOAT, INTEGER};
use crate::matmul::{Activations, PAD_COLUMNS};
use crate::oracle::activation::{UNIT, allowed, unit};
use crate::oracle::matvec_fixed::{digits, fixed};

/// The kernel's place in the registry.
pub const ENTRY: Entry = Entry {
    stem: "activation",
    variants: &[INTEGER],
    stages: &[FLOAT, FIXED],
    decoders: &[],
    op: OpKind::F32,
    tests,
    benches,
};

fn tests() -> Vec<Box<dyn Case>> {
    let mut cases: Vec<Box<dyn Case>> = Vec::new();
    for (n, cols) in [(1, 1), (1, 32), (3, 65), (9, 600), (2, 1024)] {
        for size in [1.0, 1e6, 1e-30, 1e-37] {
            cases.extend(Kind::ALL.map(|kind| Box::new(Column::new(n, cols, size, kind)) as Box<dyn Case>));
        }
    }
    // The largest values, and steps within a unit from the largest to what is nothing beside it.
    cases.push(Box::new(Column::new(2, 64, f32::MAX, Kind::Fixed)));
    let steps = (0..160).map(|k| (1.0 - 2f32.powi(-(k % 9))) * 2f32.powi(-(k % 32))).collect();
    cases.push(Box::new(Column { values: steps, ..Column::new(1, 160, 1.0, Kind::Fixed) }));
    cases.extend(Kind::ALL.map(|kind| Box::new(Column::new(FOLDED, 3, 1.0, kind)) as Box<dyn Case>));
    cases
}

fn benches(bytes: u64) -> Vec<Box<dyn Case>> {
    let cols = 4096;
    vec![Box::new(Column::new((bytes as usize / (4 * cols)).max(8), cols, 1.0, Kind::Integer))]
}

/// What columns become.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Float,
    Integer,
    Fixed,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Integer, Self::Float, Self::Fixed];
}

/// Columns of random values up to `size`, some of them zeros.
pub(super) struct Column {
    pub(super) n: usize,
    pub(super) cols: usize,
    pub(super) values: Vec<f32>,
    size: f32,
    kind: Kind,
}

impl Column {
    pub(super) fn new(n: usize, cols: usize, size: f32, kind: Kind) -> Self {
        let mut values = Random::new((n * cols) as u64).floats(n * cols);
        for value in &mut values {
            *value *= size;
        }
        values.iter_mut().step_by(7).for_each(|value| *value = 0.0);
        Self { n, cols, values, size, kind }
    }

    fn pairs(&self) -> usize {
        self.cols.div_ceil(PAIR)
    }

    /// Columns, those that pad them and the padding of each included.
    fn padded(&self) -> Vec<f32> {
        let mut padded = vec![0.0; self.n.next_multiple_of(PAD_COLUMNS as usize) * self.pairs() * PAIR];
        for (values, padded) in self.values.chunks(self.cols).zip(padded.chunks_mut(self.pairs() * PAIR)) {
            padded[..self.cols].copy_from_slice(values);
        }
        padded
    }

    /// The plane of f32 that [`Activations::float`] holds: the format F32 lies in the same order.
    pub(super) fn float_plane(&self) -> Vec<u32> {
        plane("F32", bytemuck::cast_slice(&self.padded()), self.pairs() * PAIR)
    }

    /// The planes that [`Activations::integer`] holds, by the oracle; the codes of Q8_0 lie in the same order.
    pub(super) fn integer_planes(&self) -> (Vec<u32>, Vec<u32>) {
        let (mut blocks, mut scales) = (Vec::new(), Vec::new());
        for pair in self.padded().chunks(PAIR) {
            let units = [unit(&pair[..UNIT]), unit(&pair[UNIT..])];
            for unit in &units {
                blocks.extend([0, 0]);
                blocks.extend(unit.codes.map(|code| code as u8));
            }
            scales.extend(units.iter().map(|unit| unit.scale.to_bits()));
            scales.extend(units.iter().map(|unit| sums(&unit.codes)));
        }
        (plane("Q8_0", &blocks, self.pairs() * PAIR), scales)
    }

    /// The planes that [`Activations::fixed`] holds, by the oracle.
    pub(super) fn fixed_planes(&self) -> (Vec<u32>, Vec<u32>) {
        let padded = self.padded();
        let (mut digits_of_all, mut scales) = (vec![0; padded.len() / 4 * 3], Vec::new());
        for (p, pair) in padded.chunks(PAIR).enumerate() {
            let units = [fixed(&pair[..UNIT]), fixed(&pair[UNIT..])];
            let numbers: Vec<i32> = units.iter().flat_map(|unit| unit.numbers).collect();
            let (row, own) = (p / self.pairs(), p % self.pairs());
            for (at, &number) in numbers.iter().enumerate() {
                for (digit, value) in digits(number).into_iter().enumerate() {
                    let wide = wide(self.pairs(), own, 12, at / 16 * 3 + digit);
                    let word = row * self.pairs() * 48 + 4 * wide + at % 16 / 4;
                    digits_of_all[word] |= u32::from(value as u8) << (at % 4 * 8);
                }
            }
            scales.extend([units[0].scale, units[1].scale, 0.0, 0.0].map(f32::to_bits));
            scales.extend(numbers.chunks(16).map(|of_16| (of_16.iter().sum::<i32>() as f32).to_bits()));
        }
        (digits_of_all, scales)
    }
}

/// The first plane of these blocks.
fn plane(format: &str, blocks: &[u8], cols: usize) -> Vec<u32> {
    let planes = Format::by_name(format).map(|format| format.repack(blocks, cols));
    planes.and_then(Result::ok).map_or(Vec::new(), |mut planes| planes.swap_remove(0))
}

/// The sums of the first and the last 16 codes, as 16 bits each.
fn sums(codes: &[i8]) -> u32 {
    let sum = |codes: &[i8]| codes.iter().map(|&code| i32::from(code)).sum::<i32>() as u32 & 0xffff;
    sum(&codes[..UNIT / 2]) | sum(&codes[UNIT / 2..]) << 16
}

impl Case for Column {
    fn name(&self) -> String {
        let kind = match self.kind {
            Kind::Float => "f32",
            Kind::Integer => "int8",
            Kind::Fixed => "fixed",
        };
        format!("{kind} n={} k={} up to {:e}", self.n, self.cols, self.size)
    }

    fn prepare(&self, gpu: &Context, _: &Spec) -> Result<Prepared> {
        let x = Activations::upload(gpu, &self.values, self.cols)?;
        let (rows, pairs) = (x.padded(), self.pairs() as u64);
        let (pass, outputs) = match self.kind {
            Kind::Float => {
                let wide = Buffer::new(gpu, "wide", rows, 256 * pairs)?;
                (x.bind_float(gpu, &wide)?, vec![("wide", wide)])
            }
            Kind::Integer => {
                let codes = Buffer::new(gpu, "codes", rows, 64 * pairs)?;
                let scales = Buffer::new(gpu, "scales", rows, 16 * pairs)?;
                (x.bind_integer(gpu, &codes, &scales)?, vec![("codes", codes), ("scales", scales)])
            }
            Kind::Fixed => {
                let digits = Buffer::new(gpu, "digits", rows, 192 * pairs)?;
                let scales = Buffer::new(gpu, "scales", rows, 32 * pairs)?;
                (x.bind_fixed(gpu, &digits, &scales)?, vec![("digits", digits), ("scales", scales)])
            }
        };
        Ok(Prepared { passes: vec![pass], outputs, others: Vec::new(), before: Vec::new() })
    }

    fn rows(&self) -> usize {
        self.n.next_multiple_of(PAD_COLUMNS as usize)
    }

    fn expected(&self, sample: &Sample) -> Vec<Expected> {
        // Columns behind the last are zeros.
        let padded: Vec<f32> = self
            .padded()
            .chunks(self.pairs() * PAIR)
            .flat_map(|column| &column[..self.cols])
            .copied()
            .collect();
        let chosen = Self { n: sample.rows().len(), values: sample.pick(&padded), ..*self };
        chosen.answers()
    }
}

impl Column {
    /// What the outputs must be, by the oracle, without the columns that pad them.
    fn answers(&self) -> Vec<Expected> {
        let own = |words: usize| self.n * self.pairs() * words;
        if self.kind == Kind::Float {
            let mut plane = self.float_plane();
            plane.truncate(own(PAIR));
            return vec![Expected::Exact(plane)];
        }
        if self.kind == Kind::Fixed {
            let (mut digits, mut scales) = self.fixed_planes();
            digits.truncate(own(48));
            scales.truncate(own(8));
            return vec![Expected::Exact(digits), Expected::Exact(scales)];
        }
        let (codes, scales) = self.integer_planes();
        let mut codes: Vec<Vec<u32>> = codes.into_iter().map(|word| vec![word]).collect();
        let mut scales: Vec<Vec<u32>> = scales.into_iter().map(|word| vec![word]).collect();
        for (p, pair) in self.padded().chunks(PAIR).enumerate() {
            for (u, values) in pair.chunks(UNIT).enumerate() {
                // A quotient may be an ulp or two off.
                let scale = scales[4 * p + u][0];
                if scale != 0 {
                    scales[4 * p + u] = (scale - 3..=scale + 3).collect();
                }
                let allowed = allowed(values);
                for (at, options) in allowed.iter().enumerate().filter(|(_, options)| options.len() > 1) {
                    let (row, pair) = (p / self.pairs(), p % self.pairs());
                    let word = &mut codes[row * self.pairs() * 16 + place(self.pairs(), pair, u, at / 4)];
                    for old in word.clone() {
                        let shift = at % 4 * 8;
                        word.push(old & !(255 << shift) | u32::from(options[1] as u8) << shift);
                        word.push(old & !(255 << shift) | u32::from(options[0] as u8) << shift);
                    }
                    let sum = &mut scales[4 * p + 2 + u];
                    for old in sum.clone() {
                        let shift = at / 16 * 16;
                        for step in [1, 0xffff] {
                            let moved = (old >> shift).wrapping_add(step) & 0xffff;
                            sum.push(old & !(0xffff << shift) | moved << shift);
                        }
                    }
                }
            }
        }
        codes.truncate(own(PAIR / 4));
        scales.truncate(own(4));
        vec![Expected::OneOf(codes), Expected::OneOf(scales)]
    }
}

/// The word of a row's plane of int8 in which word `word` of unit `unit` of pair `pair` lies.
fn place(pairs: usize, pair: usize, unit: usize, word: usize) -> usize {
    4 * wide(pairs, pair, 4, 2 * unit + word / 4) + word % 4
}

/// The place of wide word `at` of the `per_pair` that pair `pair` of a row has.
fn wide(pairs: usize, pair: usize, per_pair: usize, at: usize) -> usize {
    let first = pair / 8 * 8;
    let tile = (pairs - first).min(8);
    first * per_pair + at * tile + pair - first
}
