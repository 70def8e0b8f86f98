//! A kernel with its buffers: its rows in windows, each a dispatch; and fewer of those rows where a window would take too long.

use std::sync::Arc;

use super::buffer::{GUARD, Part};
use super::compiled::Compiled;
use super::{Context, Work};
use crate::{Error, Result};

/// Most workgroups in one dimension, on every backend.
pub(super) const MOST_GROUPS: u64 = 65_535;

/// `groups` workgroups folded into two dimensions, if it can be done at most `most` side by side; the fold may overshoot (see
/// shaders/lib/grid.wgsl).
fn grid(groups: u64, most: u64) -> Option<[u32; 3]> {
    let x = groups.div_ceil(groups.div_ceil(most).clamp(1, MOST_GROUPS));
    let y = groups.div_ceil(x.max(1)).max(1);
    (x <= MOST_GROUPS).then(|| [u32::try_from(x).unwrap_or(0), u32::try_from(y).unwrap_or(0), 1])
}

/// What a binding sees of a buffer.
#[derive(Debug)]
pub(super) struct Given {
    pub slot: u32,
    /// Whether it is the rows of a window alone.
    pub splits: bool,
    pub row_bytes: u64,
    pub rows: u64,
    pub parts: Vec<Part>,
}

impl Given {
    /// The part that holds a row; that at the start of a buffer of none.
    fn part(&self, row: u64) -> Option<&Part> {
        let holds = |part: &&Part| (part.first_row..part.first_row + part.rows).contains(&row);
        self.parts.iter().find(holds).or(self.parts.first())
    }
}

/// What a dispatch is: its buffers, and its workgroups.
pub(super) type Dispatch = (wgpu::BindGroup, [u32; 3]);

/// A kernel with its buffers and parameters: one entry in a [`super::Recorder`].
#[derive(Debug)]
pub struct Bound {
    /// The context that it is of.
    pub(super) context: u64,
    pub(super) label: String,
    pub(super) kernel: Arc<Compiled>,
    given: Vec<Given>,
    /// The parameters.
    bytes: Vec<u8>,
    /// As its parameters say them.
    rows: u64,
    /// Workgroups side by side for the same rows.
    tiles: u64,
    /// First row and number of rows of each dispatch.
    pub(super) windows: Vec<(u64, u64)>,
    pub(super) dispatches: Vec<Dispatch>,
    /// Rows at which a window begins, or a row of a grid.
    edges: Vec<u64>,
    pub(super) work: Work,
}

impl Bound {
    pub(super) fn new(
        gpu: &Context,
        kernel: Arc<Compiled>,
        given: Vec<Given>,
        bytes: Vec<u8>,
        (rows, tiles): (u64, u64),
        windows: Vec<(u64, u64)>,
        work: Work,
    ) -> Result<Self> {
        let mut bound = Self {
            context: gpu.id,
            label: kernel.name.clone(),
            kernel,
            given,
            bytes,
            rows,
            tiles,
            windows,
            dispatches: Vec::new(),
            edges: Vec::new(),
            work,
        };
        for at in 0..bound.windows.len() {
            let (first, count) = bound.windows[at];
            let (group, [x, y, z]) = bound.window(gpu, first, count)?;
            let per = bound.kernel.reflection.rows_per_group.map_or(count, u64::from);
            let row = |group: u64| group / tiles * per;
            bound.edges.extend((0..u64::from(y)).map(|y| first + row(y * u64::from(x))));
            bound.dispatches.push((group, [x, y, z]));
        }
        Ok(bound)
    }

    /// The dispatch of `count` rows from `first` on, which lie in one part of every buffer.
    pub(super) fn window(&self, gpu: &Context, first: u64, count: u64) -> Result<Dispatch> {
        let reflection = &self.kernel.reflection;
        let mut bytes = self.bytes.clone();
        for (name, value) in [("rows", count), ("first_row", first)] {
            if let Some(at) = reflection.offset(name) {
                bytes[at..at + 4].copy_from_slice(&super::to_u32(value, name)?.to_le_bytes());
            }
        }
        let groups = reflection.rows_per_group.map_or(1, |per| count.div_ceil(per.into()));
        let grid = grid(groups * self.tiles, gpu.fold).ok_or_else(|| {
            Error::Input(format!(
                "{}: {} rows need more workgroups than a dispatch can have",
                self.label, self.rows
            ))
        })?;
        let group = gpu.scoped(&self.label, bytes.len() as u64, || {
            let uniform = gpu.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("params"),
                size: (bytes.len() as u64).next_multiple_of(16),
                usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            });
            gpu.queue.write_buffer(&uniform, 0, &bytes);
            let mut entries = vec![wgpu::BindGroupEntry {
                binding: reflection.params_slot,
                resource: uniform.as_entire_binding(),
            }];
            for given in &self.given {
                let (from, rows) = if given.splits { (first, count) } else { (0, given.rows) };
                let Some(part) = given.part(from) else { continue };
                entries.push(wgpu::BindGroupEntry {
                    binding: given.slot,
                    resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                        buffer: &part.raw,
                        offset: part.start + (from - part.first_row) * given.row_bytes,
                        size: wgpu::BufferSize::new((rows * given.row_bytes).max(16)),
                    }),
                });
            }
            gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some(&self.label),
                layout: &self.kernel.layout,
                entries: &entries,
            })
        })?;
        Ok((group, grid))
    }

    /// Of how many rows a part of a window has to be a multiple, so that every buffer's begins at an aligned offset and no
    /// workgroup lacks rows; nothing where its rows cannot be cut.
    pub(super) fn unit(&self) -> Option<u64> {
        let split = self.given.iter().filter(|given| given.splits);
        // Both are powers of two, or the bytes have one as their largest such factor.
        let aligned =
            |given: &Given| (GUARD >> given.row_bytes.trailing_zeros().min(GUARD.trailing_zeros())).max(1);
        let aligned = split.map(aligned).max()?;
        Some(self.kernel.reflection.rows_per_group.map_or(1, u64::from).next_multiple_of(aligned))
    }

    /// The kernel's name.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Bytes and operations of one dispatch.
    pub fn work(&self) -> Work {
        self.work
    }

    /// The rows of its grid.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Where what a workgroup finds its rows by changes: the first row of each window, and of each row of a folded grid.
    pub fn edges(&self) -> &[u64] {
        &self.edges
    }

    /// The workgroups of its largest dispatch, in both dimensions.
    pub fn grid(&self) -> [u32; 2] {
        let grids = self.dispatches.iter().map(|&(_, [x, y, _])| [x, y]);
        grids.max_by_key(|&[x, y]| u64::from(x) * u64::from(y)).unwrap_or_default()
    }

    /// In how many windows the rows are done.
    pub fn windows(&self) -> usize {
        self.dispatches.len()
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST_GROUPS, grid};

    #[test]
    fn grid_covers_every_group_and_stays_within_the_limit() {
        for most in [1, 2, 7, MOST_GROUPS] {
            for groups in [1, 2, 3, 65_534, 65_535, 65_536, 65_537, 1_000_003, 65_535 * 65_535] {
                let [x, y, z] = grid(groups, most).unwrap();
                assert!(x <= 65_535 && y <= 65_535 && z == 1);
                assert!(u64::from(x) <= most || groups > most * MOST_GROUPS, "{groups} {most}: {x}");
                assert!(u64::from(x) * u64::from(y) >= groups);
                assert!(u64::from(x) * u64::from(y - 1) < groups, "a whole row of groups is wasted");
            }
            assert!(grid(65_535 * 65_535 + 1, most).is_none());
        }
        assert_eq!(grid(70_000, MOST_GROUPS), Some([35_000, 2, 1]));
        assert_eq!(grid(0, MOST_GROUPS), Some([0, 1, 1]));
    }
}
