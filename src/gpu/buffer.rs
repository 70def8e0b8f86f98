//! Storage buffers as rows of equal size, cut into parts where the adapter's limits demand it.

use std::ops::Range;
use std::sync::{Mutex, mpsc};

use super::Context;
use super::context::lock;
use crate::{Error, Result};

/// Guard bytes before and behind each part in guarded mode; also the largest offset alignment any adapter asks for.
pub(super) const GUARD: u64 = 256;
/// A quiet NaN as f32 and a value out of every range as an integer.
pub(super) const POISON: u32 = 0x7fc0_dead;
/// Larger uploads go in pieces, of which two are under way at most, so that wgpu's staging memory stays small. Others wait for the
/// next submission, whatever it is.
const PIECE: usize = 16 << 20;

/// A buffer on the device: `rows` rows of `row_bytes` bytes.
///
/// A buffer larger than the adapter's binding limit consists of several parts; a kernel whose shader gives the
/// binding the shape `[rows, …]` runs over such a buffer part by part, and its domain never notices.
#[derive(Debug)]
pub struct Buffer {
    /// The context that it is of.
    context: u64,
    pub(super) label: String,
    pub(super) rows: u64,
    pub(super) row_bytes: u64,
    pub(super) parts: Vec<Part>,
}

#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) raw: wgpu::Buffer,
    pub(super) first_row: u64,
    pub(super) rows: u64,
    /// Where the rows begin in `raw`, in bytes.
    pub(super) start: u64,
}

/// After this many rows of any size (a multiple of 4 bytes), an offset is aligned for a binding on every adapter.
pub(super) const ALIGNED_ROWS: u64 = GUARD / 4;

impl Buffer {
    /// A buffer of `rows` rows of `row_bytes` bytes (a multiple of 4): zeros, or poison in guarded mode.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`]; [`Error::Unsupported`] where a single row is larger than a binding can be.
    pub fn new(gpu: &Context, label: &str, rows: u64, row_bytes: u64) -> Result<Self> {
        Self::with_limit(gpu, label, rows, row_bytes, gpu.adapter.max_binding_bytes)
    }

    /// The same, cut as if the adapter's binding limit were `limit` bytes.
    #[doc(hidden)]
    pub fn with_limit(gpu: &Context, label: &str, rows: u64, row_bytes: u64, limit: u64) -> Result<Self> {
        let limit = limit.min(gpu.adapter.max_binding_bytes);
        let whole = rows.checked_mul(row_bytes);
        if row_bytes == 0 || !row_bytes.is_multiple_of(4) || whole.is_none() {
            return Err(Error::Input(format!(
                "{label}: {rows} rows of {row_bytes} bytes cannot be a buffer"
            )));
        }
        let rows_per_part = match limit / row_bytes {
            fit if fit >= rows => rows.max(1),
            fit if fit >= ALIGNED_ROWS => fit / ALIGNED_ROWS * ALIGNED_ROWS,
            _ => {
                return Err(Error::Unsupported(format!(
                    "{label}: a row of {row_bytes} bytes is too large for this adapter's bindings of {limit} bytes: \
                     at least {ALIGNED_ROWS} rows must fit"
                )));
            }
        };
        let guard = if gpu.guarded { GUARD } else { 0 };
        let mut parts = Vec::new();
        let mut first_row = 0;
        loop {
            let here = rows_per_part.min(rows - first_row);
            let bytes = (here * row_bytes).max(16) + 2 * guard;
            let raw = gpu.scoped(label, bytes, || {
                gpu.device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some(label),
                    size: bytes,
                    usage: wgpu::BufferUsages::STORAGE
                        | wgpu::BufferUsages::COPY_SRC
                        | wgpu::BufferUsages::COPY_DST,
                    mapped_at_creation: false,
                })
            })?;
            parts.push(Part { raw, first_row, rows: here, start: guard });
            first_row += here;
            if first_row >= rows {
                let buffer = Self { context: gpu.id, label: label.to_owned(), rows, row_bytes, parts };
                if gpu.guarded {
                    buffer.poison(gpu)?;
                }
                return Ok(buffer);
            }
        }
    }

    /// A buffer of `rows` rows that holds `values`; every row has the same number of them.
    pub fn from_slice<T: bytemuck::Pod>(gpu: &Context, label: &str, rows: u64, values: &[T]) -> Result<Self> {
        let bytes = size_of_val(values) as u64;
        let buffer = Self::new(gpu, label, rows, bytes.checked_div(rows).unwrap_or(4))?;
        buffer.write(gpu, values)?;
        Ok(buffer)
    }

    /// Refuses another context's device.
    pub(crate) fn check(&self, gpu: &Context) -> Result<()> {
        if self.context == gpu.id {
            return Ok(());
        }
        Err(Error::Input(format!("{}: this buffer is of another context, and not on its device", self.label)))
    }

    /// Its number of rows.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Its size without guards, in bytes.
    pub fn bytes(&self) -> u64 {
        self.rows * self.row_bytes
    }

    /// Overwrites the whole buffer.
    pub fn write<T: bytemuck::Pod>(&self, gpu: &Context, values: &[T]) -> Result<()> {
        let bytes: &[u8] = bytemuck::cast_slice(values);
        if bytes.len() as u64 != self.bytes() {
            return Err(Error::Shape(format!(
                "{}: {} bytes given for a buffer of {}",
                self.label,
                bytes.len(),
                self.bytes()
            )));
        }
        self.write_rows(gpu, 0, values)
    }

    /// Overwrites whole rows from `first_row` on.
    pub fn write_rows<T: bytemuck::Pod>(&self, gpu: &Context, first_row: u64, values: &[T]) -> Result<()> {
        self.check(gpu)?;
        let bytes: &[u8] = bytemuck::cast_slice(values);
        let rows = bytes.len() as u64 / self.row_bytes;
        if rows * self.row_bytes != bytes.len() as u64 || first_row.saturating_add(rows) > self.rows {
            return Err(Error::Shape(format!(
                "{}: {} bytes from row {first_row} on are not rows of a buffer of {} rows of {} bytes",
                self.label,
                bytes.len(),
                self.rows,
                self.row_bytes
            )));
        }
        gpu.scoped(&self.label, bytes.len() as u64, || {
            for part in &self.parts {
                let from = part.first_row.max(first_row);
                let to = (part.first_row + part.rows).min(first_row + rows);
                if from < to {
                    let piece = ((from - first_row) * self.row_bytes) as usize
                        ..((to - first_row) * self.row_bytes) as usize;
                    let start = part.start + (from - part.first_row) * self.row_bytes;
                    write(gpu, &part.raw, start, &bytes[piece])?;
                }
            }
            Ok(())
        })?
    }

    /// Fills the buffer and its guards with a pattern that is no number and no sensible integer.
    #[doc(hidden)]
    pub fn poison(&self, gpu: &Context) -> Result<()> {
        self.check(gpu)?;
        gpu.scoped(&self.label, self.bytes(), || {
            for part in &self.parts {
                write(
                    gpu,
                    &part.raw,
                    0,
                    bytemuck::cast_slice(&vec![POISON; (part.raw.size() / 4) as usize]),
                )?;
            }
            Ok(())
        })?
    }

    /// Reads the whole buffer back; waits for the device.
    pub fn read<T: bytemuck::Pod>(&self, gpu: &Context) -> Result<Vec<T>> {
        self.read_rows(gpu, 0..self.rows)
    }

    /// Reads these rows back; waits for the device.
    ///
    /// # Errors
    /// [`Error::Input`] for rows that are not there, or that are no whole values; the device's.
    pub fn read_rows<T: bytemuck::Pod>(&self, gpu: &Context, rows: Range<u64>) -> Result<Vec<T>> {
        self.check(gpu)?;
        let all = rows.end.saturating_sub(rows.start).saturating_mul(self.row_bytes);
        if rows.start > rows.end || rows.end > self.rows || !all.is_multiple_of(size_of::<T>() as u64) {
            let (label, each, of) = (&self.label, size_of::<T>(), self.rows);
            return Err(Error::Input(format!(
                "{label}: rows {rows:?} of {of} are no values of {each} bytes"
            )));
        }
        let mut values = vec![T::zeroed(); (all / size_of::<T>() as u64) as usize];
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut values);
        for part in &self.parts {
            let from = part.first_row.max(rows.start);
            let to = (part.first_row + part.rows).min(rows.end);
            if from < to {
                let target = ((from - rows.start) * self.row_bytes) as usize
                    ..((to - rows.start) * self.row_bytes) as usize;
                let start = part.start + (from - part.first_row) * self.row_bytes;
                // In pieces, where somebody may ask for an end between two of them.
                let most = if gpu.is_heeding() { PIECE } else { usize::MAX };
                for (i, piece) in bytes[target].chunks_mut(most).enumerate() {
                    if i > 0 {
                        gpu.go_on(|| format!("while {} was read", self.label))?;
                    }
                    read_raw(gpu, &self.label, &part.raw, start + (i * PIECE) as u64, piece)?;
                }
            }
        }
        Ok(values)
    }

    /// Copies everything to the start of `to`, on the device; both must lie in one part.
    pub fn copy_to(&self, gpu: &Context, to: &Self) -> Result<()> {
        self.check(gpu)?;
        to.check(gpu)?;
        let ([from_part], [to_part], true) =
            (self.parts.as_slice(), to.parts.as_slice(), self.bytes() <= to.bytes())
        else {
            return Err(Error::Input(format!(
                "{} cannot be copied to {} in one piece",
                self.label, to.label
            )));
        };
        gpu.scoped(&self.label, self.bytes(), || {
            let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            encoder.copy_buffer_to_buffer(
                &from_part.raw,
                from_part.start,
                &to_part.raw,
                to_part.start,
                self.bytes(),
            );
            gpu.queue.submit([encoder.finish()]);
        })
    }

    /// Copies runs of rows to other places of the same buffer, on the device: of each the rows and where they go. They must
    /// not overlap, and the buffer must lie in one part.
    ///
    /// # Errors
    /// [`Error::Input`] for rows that are not there, or a buffer in several parts; the device's.
    pub fn copy_rows(&self, gpu: &Context, runs: &[(Range<u64>, u64)]) -> Result<()> {
        self.check(gpu)?;
        let count = |rows: &Range<u64>| rows.end.saturating_sub(rows.start);
        let outside = |(rows, to): &(Range<u64>, u64)| {
            rows.end > self.rows || to.saturating_add(count(rows)) > self.rows
        };
        let ([part], false) = (self.parts.as_slice(), runs.iter().any(outside)) else {
            let (label, count) = (&self.label, runs.len());
            return Err(Error::Input(format!("{label}: {count} runs of rows are not all there in one part")));
        };
        // A copy within one buffer is not allowed, so each goes through another.
        let bytes = runs.iter().map(|(rows, _)| count(rows) * self.row_bytes).max().unwrap_or(0);
        if bytes == 0 {
            return Ok(());
        }
        gpu.scoped(&self.label, bytes, || {
            let between = gpu.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("copied rows"),
                size: bytes,
                usage: wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            });
            let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            for (rows, to) in runs.iter().filter(|(rows, _)| count(rows) > 0) {
                let bytes = count(rows) * self.row_bytes;
                let [from, to] = [rows.start, *to].map(|row| part.start + row * self.row_bytes);
                encoder.copy_buffer_to_buffer(&part.raw, from, &between, 0, bytes);
                encoder.copy_buffer_to_buffer(&between, 0, &part.raw, to, bytes);
            }
            gpu.queue.submit([encoder.finish()]);
        })
    }

    /// Whether the guards around every part still hold the poison; always true outside guarded mode.
    #[doc(hidden)]
    pub fn guards_hold(&self, gpu: &Context) -> Result<bool> {
        for part in self.parts.iter().filter(|part| part.start > 0) {
            let mut all = vec![0u32; (part.raw.size() / 4) as usize];
            read_raw(gpu, &self.label, &part.raw, 0, bytemuck::cast_slice_mut(&mut all))?;
            let front = (part.start / 4) as usize;
            let back = front + (part.rows * self.row_bytes / 4) as usize;
            if all[..front].iter().chain(&all[back..]).any(|&word| word != POISON) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Overwrites the first guard word behind the last row: for the test that such a write is noticed.
    #[doc(hidden)]
    pub fn spoil_guard(&self, gpu: &Context) {
        if let Some(part) = self.parts.last().filter(|part| part.start > 0) {
            gpu.queue.write_buffer(&part.raw, part.start + part.rows * self.row_bytes, &[0; 4]);
        }
    }

    /// The part that holds `row`, and how many rows it holds from there on.
    pub(super) fn part_at(&self, row: u64) -> Option<(&Part, u64)> {
        let part = self.parts.iter().find(|p| row >= p.first_row && row < p.first_row + p.rows)?;
        Some((part, part.first_row + part.rows - row))
    }
}

/// A plain buffer for the GPU's clock, outside the rows and guards of [`Buffer`].
pub(super) struct Raw {
    pub(super) buffer: wgpu::Buffer,
}

impl Raw {
    pub(super) fn new(gpu: &Context, label: &str, bytes: u64) -> Result<Self> {
        let buffer = gpu.scoped(label, bytes, || {
            gpu.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size: bytes,
                usage: wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
                mapped_at_creation: false,
            })
        })?;
        Ok(Self { buffer })
    }

    pub(super) fn read<T: bytemuck::Pod>(&self, gpu: &Context) -> Result<Vec<T>> {
        let mut values = vec![T::zeroed(); (self.buffer.size() / size_of::<T>() as u64) as usize];
        read_raw(gpu, "timestamps", &self.buffer, 0, bytemuck::cast_slice_mut(&mut values))?;
        Ok(values)
    }
}

fn write(gpu: &Context, raw: &wgpu::Buffer, start: u64, bytes: &[u8]) -> Result<()> {
    for (i, piece) in bytes.chunks(PIECE).enumerate() {
        if i > 0 {
            gpu.go_on(|| "while data was uploaded".into())?;
        }
        gpu.queue.write_buffer(raw, start + (i * PIECE) as u64, piece);
        if bytes.len() > PIECE {
            gpu.uploaded(gpu.queue.submit([]));
        }
    }
    Ok(())
}

fn read_raw(gpu: &Context, label: &str, raw: &wgpu::Buffer, start: u64, target: &mut [u8]) -> Result<()> {
    if target.is_empty() {
        return Ok(());
    }
    let readback = Readback::new(gpu, label, target.len() as u64)?;
    readback.sent(gpu.scoped(label, target.len() as u64, || {
        let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.copy_buffer_to_buffer(raw, start, &readback.raw, 0, target.len() as u64);
        gpu.queue.submit([encoder.finish()])
    })?);
    readback.fetch(gpu, target)
}

/// Memory of the host that a submission copies a result to: kept, it saves a submission and an allocation for each read.
#[derive(Debug)]
pub struct Readback {
    raw: wgpu::Buffer,
    label: String,
    /// What the copy was sent with.
    sent: Mutex<Option<wgpu::SubmissionIndex>>,
}

impl Readback {
    /// Room for `bytes` bytes (a multiple of 4).
    pub fn new(gpu: &Context, label: &str, bytes: u64) -> Result<Self> {
        let raw = gpu.scoped(label, bytes, || {
            gpu.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("read-back"),
                size: bytes.max(4),
                usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        })?;
        Ok(Self { raw, label: label.to_owned(), sent: Mutex::default() })
    }

    /// Records the copy of the first bytes of `buffer`, as many as fit and as it has; it must lie in one part.
    pub(super) fn copy(&self, encoder: &mut wgpu::CommandEncoder, buffer: &Buffer) {
        if let Some(part) = buffer.parts.first() {
            let bytes = self.raw.size().min(part.rows * buffer.row_bytes);
            encoder.copy_buffer_to_buffer(&part.raw, part.start, &self.raw, 0, bytes);
        }
    }

    /// The copy is on its way with this submission.
    pub(super) fn sent(&self, with: wgpu::SubmissionIndex) {
        *lock(&self.sent) = Some(with);
    }

    /// Waits for what was sent last, and takes the first values of it; later submissions go on meanwhile.
    ///
    /// # Errors
    /// The device's.
    pub fn fetch<T: bytemuck::Pod>(&self, gpu: &Context, target: &mut [T]) -> Result<()> {
        let target: &mut [u8] = bytemuck::cast_slice_mut(target);
        let lost = |reason: String| {
            gpu.lost_error().unwrap_or(Error::DeviceLost(format!("{}: {reason}", self.label)))
        };
        let (sender, receiver) = mpsc::channel();
        let range = ..target.len() as u64;
        gpu.scoped(&self.label, target.len() as u64, || {
            self.raw.map_async(wgpu::MapMode::Read, range, move |result| {
                // The receiver outlives the wait below; a send can only fail after an early return.
                let _ = sender.send(result);
            });
        })?;
        let sent = lock(&self.sent).take();
        // Who is asked for an end may read by it later on.
        gpu.wait_for(sent).inspect_err(|error| {
            if matches!(error, Error::Interrupted { .. }) {
                self.raw.unmap();
            }
        })?;
        receiver.recv().map_err(|e| lost(e.to_string()))?.map_err(|e| lost(e.to_string()))?;
        {
            let view = self.raw.get_mapped_range(range).map_err(|e| lost(e.to_string()))?;
            target.copy_from_slice(&view);
        }
        self.raw.unmap();
        Ok(())
    }
}
