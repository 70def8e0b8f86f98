//! Points: where they lie while a clustering runs. What fits stays on the device, the rest
//! goes through two buffers in turn, again in every sweep, while the device computes.

use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::assign;
use super::assignment::bound_of;
use super::control::NO_LABEL;
use super::element::{Laid, Layout, Rows, Stored};
use super::frame::Transform;
use super::rerank::HEAD;
use super::source::Source;
use crate::feed::{self, Ahead};
use crate::gpu::{Bound, Buffer, Context, Readback, Recorder};
use crate::{Error, Result};

/// Points that one set of bindings can see.
#[derive(Debug)]
pub struct Block {
    points: Stored,
    /// `[rows]`
    pub labels: Buffer,
    /// `[rows]`, or `[1]` if every point counts as one.
    pub weights: Buffer,
    read: Readback,
}

impl Block {
    fn new(gpu: &Context, reader: &Reader<'_>, rows: u64, weighted: bool) -> Result<Self> {
        let d = reader.source.cols() as u64;
        Ok(Self {
            points: Stored::new(gpu, rows, d, reader.layout, reader.transform)?,
            labels: Buffer::new(gpu, "labels", rows, 4)?,
            weights: Buffer::new(gpu, "weights", if weighted { rows } else { 1 }, 4)?,
            read: Readback::new(gpu, "labels", 4 * rows)?,
        })
    }

    /// Number of points.
    pub fn rows(&self) -> u64 {
        self.labels.rows()
    }

    /// The points as kernels bind them.
    pub fn laid(&self) -> Laid<'_> {
        self.points.laid()
    }
}

/// What a chunk is read from.
#[derive(Clone, Copy)]
struct Reader<'a> {
    source: &'a dyn Source,
    transform: &'a Transform,
    layout: Layout,
    n: u64,
    /// Points of a chunk.
    chunk: u64,
}

impl Reader<'_> {
    fn range(&self, chunk: u64) -> Range<u64> {
        chunk * self.chunk..((chunk + 1) * self.chunk).min(self.n)
    }

    fn load(&self, rows: Range<u64>, values: &mut Vec<f32>) -> Result<Vec<f32>> {
        let d = self.source.cols();
        values.resize((rows.end - rows.start) as usize * d, 0.0);
        self.source.read(rows, values)?;
        Ok(self.transform.apply(values, d))
    }

    /// Rows for the device; `values` is room to read in.
    fn read(&self, rows: Range<u64>, values: &mut Vec<f32>) -> Result<Rows> {
        if !self.layout.framed() {
            return Ok(Rows::Transformed(self.load(rows, values)?));
        }
        let (d, width) = (self.source.cols(), self.layout.element().bytes());
        let mut bytes = vec![0; (rows.end - rows.start) as usize * d * width];
        self.source.read_packed(rows, &mut bytes)?;
        Ok(Rows::stored(bytes, d, self.layout, self.transform))
    }
}

/// All points of a clustering, in chunks of equal size but for the last.
pub struct Points<'a> {
    reader: Reader<'a>,
    weights: Option<&'a [f32]>,
    n: u64,
    d: u64,
    problems: u64,
    /// The chunks that stay, then those that others go through: two, and one for a last one that is smaller.
    blocks: Vec<Block>,
    resident: usize,
    square: Option<f32>,
    /// Labels of the chunks that do not stay.
    labels: Mutex<Vec<u32>>,
}

/// How points are to be kept.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Bytes of the device's memory for points and what belongs to them.
    pub bytes: u64,
    /// Most points of a chunk.
    pub chunk: u64,
}

impl Default for Room {
    fn default() -> Self {
        Self { bytes: u64::MAX, chunk: u64::MAX }
    }
}

impl Room {
    /// The same room, of chunks that `k` centroids label in a piece of work.
    pub(super) fn in_pieces(
        self,
        gpu: &Context,
        source: &dyn Source,
        transform: &Transform,
        square: Option<f64>,
        k: usize,
    ) -> Result<Self> {
        let (n, d) = (source.rows(), source.cols() as u64);
        if !gpu.is_heeding() || n == 0 || d == 0 {
            return Ok(self);
        }
        let layout = Layout::new(source.element(), transform);
        let piece = assign::points_of_a_piece(gpu, layout, bounded(square), (n, n), (k as u64, d))?;
        Ok(Self { chunk: self.chunk.min(piece), ..self })
    }
}

/// The largest sum of squares as kernels take it.
fn bounded(square: Option<f64>) -> Option<f32> {
    square.map(bound_of).filter(|square| square.is_finite())
}

/// Sees a chunk's block and first point.
pub type Each<'a> = &'a mut dyn FnMut(&Block, u64) -> Result<()>;

/// Bytes of a chunk of points that do not all stay: enough for a transfer to take much longer than its submission, and
/// little beside what the driver and this crate hold of it besides.
const STREAMED_BYTES: u64 = 32 << 20;

/// Bytes besides the point itself: label, keys and places of the sort (two lists each), distance, near ties, partial sums.
pub(super) fn bytes_besides(d4: u64, weighted: bool) -> u64 {
    28 + 4 * u64::from(weighted) + d4
}

/// Bytes of a point and what belongs to it.
fn bytes_of_each(layout: Layout, d: u64, weighted: bool) -> u64 {
    layout.row_bytes(d) + layout.frame_bytes() + bytes_besides(d.div_ceil(4), weighted)
}

impl<'a> Points<'a> {
    /// Makes room for the points of `source`, and uploads those that stay.
    ///
    /// # Errors
    /// [`Error::Shape`] if there are no points, [`Error::Input`] for too little room for a chunk; those of reading; the device's.
    pub fn new(
        gpu: &Context,
        source: &'a dyn Source,
        weights: Option<&'a [f32]>,
        transform: &'a Transform,
        room: Room,
    ) -> Result<Self> {
        let (n, d) = (source.rows(), source.cols() as u64);
        if n == 0 || d == 0 {
            return Err(Error::Shape(format!("there are no points: {n} rows of {d} values")));
        }
        let layout = Layout::new(source.element(), transform);
        let each = bytes_of_each(layout, d, weights.is_some());
        // A list of a chunk's points, behind its head, has to fit too.
        let most = ((gpu.adapter.max_binding_bytes - 4 * HEAD) / layout.row_bytes(d)).min(room.chunk).max(1);
        let all = n.saturating_mul(each) <= room.bytes;
        let chunk = if all { most } else { (STREAMED_BYTES.min(room.bytes / 4) / each).min(most) };
        if chunk == 0 {
            return Err(Error::Input(format!(
                "{} bytes of memory are too few for points of {d} dimensions: at least {} are needed",
                room.bytes,
                4 * each
            )));
        }
        let chunk = chunk.min(n);
        let chunks = n.div_ceil(chunk);
        // Two blocks for what goes through, and one for a last chunk that is smaller.
        let through = 2 * chunk + n % chunk;
        let resident =
            if all { chunks } else { ((room.bytes / each).saturating_sub(through) / chunk).min(chunks) };
        let mut points = Self {
            reader: Reader { source, transform, layout, n, chunk },
            weights,
            n,
            d,
            problems: 1,
            blocks: Vec::new(),
            resident: resident as usize,
            square: None,
            labels: Mutex::new(vec![NO_LABEL; (n - (resident * chunk).min(n)) as usize]),
        };
        let mut rows: Vec<u64> =
            (0..resident).map(|i| points.reader.range(i).end - points.reader.range(i).start).collect();
        let streamed = chunks - resident;
        let last = points.reader.range(chunks - 1);
        let tail = last.end - last.start;
        let whole = if tail < chunk { streamed.saturating_sub(1) } else { streamed };
        rows.extend(std::iter::repeat_n(chunk, whole.min(2) as usize));
        if streamed > whole {
            rows.push(tail);
        }
        for rows in rows {
            points.blocks.push(Block::new(gpu, &points.reader, rows, weights.is_some())?);
        }
        points.upload(gpu)?;
        Ok(points)
    }

    /// Uploads the points that stay: again, after the source has changed.
    pub(super) fn upload(&self, gpu: &Context) -> Result<()> {
        let mut values = Vec::new();
        for (i, block) in (0..).zip(&self.blocks[..self.resident]) {
            gpu.go_on(|| "while points were read".into())?;
            let range = self.reader.range(i);
            block.points.write(gpu, &self.reader.read(range.clone(), &mut values)?)?;
            self.write_weights(gpu, block, range)?;
        }
        Ok(())
    }

    /// The same points, of which none has a larger sum of squares on the device and few a much smaller one, if there is such a
    /// bound ([`Statistics::square_of`](super::statistics::Statistics::square_of)): labels then cost less.
    #[must_use]
    pub fn within(self, square: Option<f64>) -> Self {
        Self { square: bounded(square), ..self }
    }

    /// That bound.
    pub fn square(&self) -> Option<f32> {
        self.square
    }

    /// Number of points.
    pub fn n(&self) -> u64 {
        self.n
    }

    /// Dimensions.
    pub fn d(&self) -> u64 {
        self.d
    }

    /// What they are read from.
    pub(super) fn source(&self) -> &'a dyn Source {
        self.reader.source
    }

    /// What is done to them before they lie on the device.
    pub(super) fn transform(&self) -> &'a Transform {
        self.reader.transform
    }

    /// Bytes that all of them would take there, with what belongs to them.
    pub(super) fn bytes(&self) -> u64 {
        self.n.saturating_mul(bytes_of_each(self.layout(), self.d, self.weights.is_some()))
    }

    /// How they lie on the device.
    pub fn layout(&self) -> Layout {
        self.reader.layout
    }

    /// The same points as those of so many problems of equal size, one behind the other.
    ///
    /// # Errors
    /// [`Error::Input`] if their number is no multiple of that, or they do not stay on the device in one block.
    pub fn split(self, problems: u64) -> Result<Self> {
        if problems == 0 || !self.n.is_multiple_of(problems) || (problems > 1 && self.whole().is_none()) {
            return Err(Error::Input(format!("{} points cannot be kept as {problems} problems", self.n)));
        }
        Ok(Self { problems, ..self })
    }

    /// How many problems the points belong to.
    pub fn problems(&self) -> u64 {
        self.problems
    }

    /// Points of one problem.
    pub fn each(&self) -> u64 {
        self.n / self.problems
    }

    /// A weight for each point, if they have any.
    pub fn weights(&self) -> Option<&[f32]> {
        self.weights
    }

    fn streamed_labels(&self) -> MutexGuard<'_, Vec<u32>> {
        self.labels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes every point's next label a changed one.
    pub fn forget_labels(&self, gpu: &Context) -> Result<()> {
        self.streamed_labels().fill(NO_LABEL);
        for block in &self.blocks[..self.resident] {
            block.labels.write(gpu, &vec![NO_LABEL; block.labels.rows() as usize])?;
        }
        Ok(())
    }

    /// Points of the largest block.
    pub fn largest(&self) -> u64 {
        self.reader.chunk
    }

    /// Everything that bindings are made for.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// Whether all points stay on the device.
    pub fn all_resident(&self) -> bool {
        self.resident as u64 == self.chunks()
    }

    /// All points, if they lie in one buffer.
    pub fn whole(&self) -> Option<&Block> {
        self.blocks.first().filter(|_| self.resident == 1 && self.chunks() == 1)
    }

    fn chunks(&self) -> u64 {
        self.n.div_ceil(self.reader.chunk)
    }

    /// The block that a chunk lies in while it is used.
    fn block_of(&self, chunk: u64) -> usize {
        let range = self.reader.range(chunk);
        match chunk.checked_sub(self.resident as u64) {
            None => chunk as usize,
            Some(_) if range.end - range.start < self.reader.chunk => self.blocks.len() - 1,
            Some(streamed) => self.resident + (streamed % 2) as usize,
        }
    }

    fn write_weights(&self, gpu: &Context, block: &Block, rows: Range<u64>) -> Result<()> {
        match self.weights {
            Some(weights) => block.weights.write(gpu, &weights[rows.start as usize..rows.end as usize]),
            None => Ok(()),
        }
    }

    /// A point as it is clustered, without padding.
    pub fn row(&self, point: u64) -> Result<Vec<f32>> {
        let mut row = self.reader.load(point..point + 1, &mut Vec::new())?;
        row.truncate(self.d as usize);
        Ok(row)
    }

    /// The weight of a point.
    pub fn weight(&self, point: u64) -> f32 {
        self.weights.map_or(1.0, |weights| weights[point as usize])
    }

    /// What the distances of the points from `first` on count, in their order: times their weights.
    pub fn weighed(&self, first: u64, distances: &[f32]) -> impl Iterator<Item = f64> {
        let each = (first..).zip(distances);
        each.map(|(point, &distance)| f64::from(distance) * f64::from(self.weight(point)))
    }

    /// The label of every point.
    pub fn labels(&self, gpu: &Context) -> Result<Vec<u32>> {
        let mut all = Vec::with_capacity(self.n as usize);
        for block in &self.blocks[..self.resident] {
            all.extend(block.labels.read::<u32>(gpu)?);
        }
        all.extend_from_slice(&self.streamed_labels());
        Ok(all)
    }

    /// Gives every point a label (`[n]`).
    pub fn set_labels(&self, gpu: &Context, labels: &[u32]) -> Result<()> {
        let mut rest = labels;
        for block in &self.blocks[..self.resident] {
            let (own, behind) = rest.split_at(block.rows() as usize);
            block.labels.write(gpu, own)?;
            rest = behind;
        }
        self.streamed_labels().copy_from_slice(rest);
        Ok(())
    }

    /// Runs what `passes` says of every chunk (its number, and the block it lies in), in order. `each` then sees every
    /// chunk's block and first point; without it, chunks that stay are one submission.
    pub fn sweep<'b>(
        &self,
        gpu: &'b Context,
        passes: &dyn Fn(u64, usize) -> Vec<&'b Bound>,
        mut each: Option<Each<'_>>,
    ) -> Result<()> {
        let mut record = Recorder::new(gpu);
        for chunk in 0..self.resident as u64 {
            passes(chunk, chunk as usize).into_iter().for_each(|pass| record.dispatch(pass));
            if let Some(each) = &mut each {
                std::mem::replace(&mut record, Recorder::new(gpu)).submit()?;
                each(&self.blocks[chunk as usize], self.reader.range(chunk).start)?;
            }
        }
        record.submit()?;
        if self.all_resident() {
            return Ok(());
        }
        let streamed = self.resident as u64..self.chunks();
        let reader = self.reader;
        let read = |values: &mut Vec<f32>, chunk| reader.read(reader.range(chunk), values);
        let mut labels = self.streamed_labels();
        let first = reader.range(streamed.start).start;
        let place = |chunk: u64| {
            let range = reader.range(chunk);
            (range.start - first) as usize..(range.end - first) as usize
        };
        // One chunk is read while one is on its way and one computed.
        feed::in_order(Ahead { threads: 1, waiting: 1 }, streamed.clone(), read, |chunks| {
            let mut under_way: Option<u64> = None;
            for chunk in streamed {
                let rows = chunks.next()?;
                gpu.go_on(|| "while points were read".into())?;
                let at = self.block_of(chunk);
                let block = &self.blocks[at];
                block.points.write(gpu, &rows)?;
                block.labels.write(gpu, &labels[place(chunk)])?;
                self.write_weights(gpu, block, reader.range(chunk))?;
                let mut record = Recorder::new(gpu);
                passes(chunk, at).into_iter().for_each(|pass| record.dispatch(pass));
                record.submit_copies(&[(&block.labels, &block.read)])?;
                if let Some(each) = &mut each {
                    each(block, reader.range(chunk).start)?;
                }
                if let Some(before) = under_way.replace(chunk) {
                    self.blocks[self.block_of(before)].read.fetch(gpu, &mut labels[place(before)])?;
                }
            }
            if let Some(last) = under_way {
                self.blocks[self.block_of(last)].read.fetch(gpu, &mut labels[place(last)])?;
            }
            Ok(())
        })
    }
}
