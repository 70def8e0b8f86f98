//! Host of `radix_sort`: a stable sort of 32-bit keys with 32-bit values, four bits a pass.

use crate::gpu::{Bound, Buffer, Context, Kernel, Spec, Work, params, to_u32};
use crate::{Error, Result};

/// The three shaders of a pass.
pub const STAGES: &[Spec] = &[
    Spec::new("kmeans/radix_sort_count"),
    Spec::new("kmeans/radix_sort_scan"),
    Spec::new("kmeans/radix_sort_scatter"),
];

const DIGIT_BITS: u32 = 4;
const DIGITS: u64 = 1 << DIGIT_BITS;

params! {
    struct Count {
        rows: u32,
        tiles: u32,
        shift: u32,
    }
}
params! {
    struct Scan {
        values: u32,
    }
}
params! {
    struct Scatter {
        rows: u32,
        tiles: u32,
        shift: u32,
        number: u32,
    }
}

/// The compiled passes.
#[derive(Debug)]
pub struct RadixSort {
    count: Kernel<Count>,
    scan: Kernel<Scan>,
    scatter: Kernel<Scatter>,
    tile: u64,
}

/// Room for sorting up to a number of keys; holds the result.
#[derive(Debug)]
pub struct Scratch {
    keys: [Buffer; 2],
    values: [Buffer; 2],
    counts: Buffer,
}

impl Scratch {
    /// Both key lists, both value lists, the digit counts.
    pub fn into_parts(self) -> ([Buffer; 2], [Buffer; 2], Buffer) {
        (self.keys, self.values, self.counts)
    }
}

/// A bound sort.
#[derive(Debug)]
pub struct Sort<'a> {
    /// The dispatches, in order.
    pub passes: Vec<Bound>,
    /// The sorted keys, once the passes have run.
    pub keys: &'a Buffer,
    /// The value of each sorted key.
    pub values: &'a Buffer,
    /// Which of the scratch's two lists that is.
    pub place: usize,
}

impl RadixSort {
    /// Compiles the passes.
    pub fn load(gpu: &Context) -> Result<Self> {
        let count = Kernel::load(gpu, &STAGES[0])?;
        let scatter: Kernel<Scatter> = Kernel::load(gpu, &STAGES[2])?;
        let tile = scatter.reflection().rows_per_group.unwrap_or(1);
        Ok(Self { count, scan: Kernel::load(gpu, &STAGES[1])?, scatter, tile: u64::from(tile) })
    }

    /// Room for `n` keys.
    ///
    /// # Errors
    /// [`Error::Input`] if `n` keys do not fit one binding of the adapter: places are scattered over the whole list.
    pub fn scratch(&self, gpu: &Context, n: u64) -> Result<Scratch> {
        if n * 4 > gpu.adapter.max_binding_bytes {
            let most = gpu.adapter.max_binding_bytes / 4;
            return Err(Error::Unsupported(format!(
                "{n} keys are too many to sort at once on this adapter; {most} fit"
            )));
        }
        let list = |label| Buffer::new(gpu, label, n, 4);
        Ok(Scratch {
            keys: [list("sorted keys 0")?, list("sorted keys 1")?],
            values: [list("sorted values 0")?, list("sorted values 1")?],
            counts: Buffer::new(gpu, "digit counts", DIGITS * n.div_ceil(self.tile).max(1), 4)?,
        })
    }

    /// Binds the sort of `keys`, of whose bits only the lowest `bits` may be set, carrying `values`
    /// (their positions, if none are given).
    pub fn bind<'a>(
        &self,
        gpu: &Context,
        keys: &Buffer,
        values: Option<&Buffer>,
        bits: u32,
        scratch: &'a Scratch,
    ) -> Result<Sort<'a>> {
        let n = keys.rows();
        let tiles = n.div_ceil(self.tile);
        let (rows, tiles32) = (to_u32(n, "the number of keys")?, to_u32(tiles, "the number of tiles")?);
        let rounds = bits.div_ceil(DIGIT_BITS).max(1) as usize;
        let mut passes = Vec::new();
        for round in 0..rounds {
            let shift = round as u32 * DIGIT_BITS;
            let (from_keys, from_values) = match round {
                // A binding must be filled even where the kernel does not read it.
                0 => (keys, values.unwrap_or(keys)),
                _ => (&scratch.keys[(round - 1) % 2], &scratch.values[(round - 1) % 2]),
            };
            passes.push(self.count.bind(
                gpu,
                &[("keys", from_keys), ("counts", &scratch.counts)],
                Count { rows, tiles: tiles32, shift },
                Work { bytes: 4 * n + 4 * DIGITS * tiles, ops: n },
            )?);
            passes.push(self.scan.bind(
                gpu,
                &[("counts", &scratch.counts)],
                Scan { values: to_u32(DIGITS * tiles, "the digit counts")? },
                Work { bytes: 8 * DIGITS * tiles, ops: DIGITS * tiles },
            )?);
            let number = round == 0 && values.is_none();
            passes.push(self.scatter.bind(
                gpu,
                &[
                    ("keys", from_keys),
                    ("values", from_values),
                    ("offsets", &scratch.counts),
                    ("sorted_keys", &scratch.keys[round % 2]),
                    ("sorted_values", &scratch.values[round % 2]),
                ],
                Scatter { rows, tiles: tiles32, shift, number: u32::from(number) },
                Work { bytes: if number { 12 * n } else { 16 * n }, ops: n },
            )?);
        }
        let last = (rounds - 1) % 2;
        Ok(Sort { passes, keys: &scratch.keys[last], values: &scratch.values[last], place: last })
    }
}
